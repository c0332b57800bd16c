"""Generators of requests: rates, batches, weights, hot spots, bursts and waves are those that their file states."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.workload_files import BRISTOL, BUILTIN, first, stream
from twin.workloads import load_workload
from twin.workloads.batches import geometric
from twin.workloads.choice import Moving
from twin.workloads.modulation import Bursts, Points, Wave


@pytest.mark.parametrize("name", ["p1", "poisson", "bursty", "drift", "hotspot", "real"])
@pytest.mark.parametrize("load", [0.3, 2.5])
def test_load_multiplies_the_requests_of_any_workload(name: str, load: float) -> None:
    slots = 960
    plain, scaled = (len(first(w, slots)) for w in (BUILTIN[name], load_workload(name, BRISTOL, seed=11, load=load)))
    assert scaled / plain == pytest.approx(load, rel=0.1)


def test_a_poisson_stream_has_its_rate_and_counts_as_variable_as_their_mean(tmp_path: Path) -> None:
    workload = stream(tmp_path, "{kind: poisson, rate_s: 2.0, prompts: {kind: fixed, prompts: 3}}")
    counts = np.array([len(workload.arrivals(t)) for t in range(3000)])
    assert counts.mean() == pytest.approx(60, rel=0.01)
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.1)
    assert set(workload.arrivals(0).prompts.tolist()) == {3}


@pytest.mark.parametrize(
    ("prompts", "mean", "most"),
    [
        ("{kind: fixed, prompts: 5}", 5, 5),
        ("{kind: uniform, low: 2, high: 6}", 4, 6),
        ("{kind: uniform}", 4.5, 8),
        ("{kind: weights, weights: [3, 0, 1]}", 1.5, 3),
        ("{kind: geometric, mean: 2.0, most: 8}", geometric(2.0, 8).mean, 8),
    ],
)
def test_batches_have_the_mean_of_their_distribution(tmp_path: Path, prompts: str, mean: float, most: int) -> None:
    arrivals = first(stream(tmp_path, f"{{kind: poisson, rate_s: 20, prompts: {prompts}}}"), 50)
    assert arrivals.prompts.mean() == pytest.approx(mean, rel=0.03)
    assert arrivals.prompts.max() == most
    assert arrivals.prompts.min() >= 1


def test_lms_and_nodes_get_requests_by_weight_and_none_without(tmp_path: Path) -> None:
    text = "{kind: poisson, rate_s: 20, lms: {LM1: 3, LM3: 1}, origins: {kind: weights, nodes: {VM7: 9, VM2: 1}}}"
    arrivals = first(stream(tmp_path, text), 50)
    np.testing.assert_allclose(np.bincount(arrivals.lm, minlength=4) / len(arrivals), [0.75, 0, 0.25, 0], atol=0.02)
    np.testing.assert_allclose(np.bincount(arrivals.origin) / len(arrivals), [0.1, 0, 0, 0, 0, 0.9], atol=0.02)


def test_weights_move_linearly_between_points_and_stay_outside_of_them(tmp_path: Path) -> None:
    points = "[{at_s: 3000, lms: {LM1: 1}}, {at_s: 6000, lms: {LM2: 3, LM3: 1}}]"
    workload = stream(tmp_path, f"{{kind: poisson, rate_s: 20, lm_points: {points}}}")

    def shares(start: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        arrivals = first(workload, 10, start)
        return np.bincount(arrivals.lm, minlength=4) / len(arrivals)

    np.testing.assert_array_equal(shares(0), [1, 0, 0, 0])
    # Half way the weights are LM1 0.5, LM2 1.5, LM3 0.5.
    np.testing.assert_allclose(shares(145), [0.2, 0.6, 0.2, 0], atol=0.03)
    np.testing.assert_allclose(shares(1000), [0, 0.75, 0.25, 0], atol=0.03)


def test_weights_of_different_sums_move_as_weights_and_not_as_shares() -> None:
    moving = Moving([0, 100], [[100, 0, 0], [0, 1, 1]])
    u = np.random.default_rng(0).random((2, 40_000))
    for at_s, part in ((0, 0.0), (50, 0.5), (90, 0.9), (100, 1.0), (250, 1.0)):
        weights = np.array([100 * (1 - part), part, part])
        picked = moving.pick(np.full(40_000, at_s, dtype=np.float64), u)
        expected = weights / weights.sum()
        np.testing.assert_allclose(np.bincount(picked, minlength=3) / 40_000, expected, atol=0.01)


def test_a_hot_spot_walks_around_the_nodes_and_fades_from_place_to_place(tmp_path: Path) -> None:
    spot = "origins: {kind: hot_spot, share: 0.6, nodes: 2, stay_s: 9000}"
    workload = stream(tmp_path, f"{{kind: poisson, rate_s: 20, {spot}}}")
    even = 0.4 / 6
    for start, hot in [(0, [0.3, 0.3, 0, 0, 0, 0]), (150, [0.15] * 4 + [0, 0]), (600, [0, 0, 0, 0, 0.3, 0.3]),
                       (900, [0.3, 0.3, 0, 0, 0, 0])]:  # fmt: skip
        arrivals = first(workload, 4, max(start - 2, 0))
        shares = np.bincount(arrivals.origin, minlength=6) / len(arrivals)
        np.testing.assert_allclose(shares, np.array(hot) + even, atol=0.045)


def test_a_hot_spot_may_have_everything_or_nothing(tmp_path: Path) -> None:
    for share, nodes in ((1.0, {0}), (0.0, {0, 1, 2, 3, 4, 5})):
        text = f"{{kind: poisson, rate_s: 5, origins: {{kind: hot_spot, share: {share}, stay_s: 1.0e+9}}}}"
        assert set(first(stream(tmp_path, text), 20).origin.tolist()) == nodes


def test_the_rate_follows_its_points_and_its_wave(tmp_path: Path) -> None:
    points = "rate_points: [{at_s: 0, factor: 0}, {at_s: 3000, factor: 2}]"
    ramp = stream(tmp_path, f"{{kind: poisson, rate_s: 20, {points}}}")
    assert len(first(ramp, 100)) == pytest.approx(20 * 3000, rel=0.02)
    assert len(first(ramp, 50)) == pytest.approx(20 * 1500 / 2, rel=0.03)
    assert len(first(ramp, 100, 1000)) == pytest.approx(2 * 20 * 3000, rel=0.02)
    wave = stream(tmp_path, "{kind: poisson, rate_s: 20, wave: {amplitude: 1.0, period_s: 3000, peak_s: 750}}")
    assert len(first(wave, 100)) == pytest.approx(20 * 3000, rel=0.02)
    assert len(first(wave, 50)) == pytest.approx(20 * 1500 * (1 + 2 / math.pi), rel=0.03)


def test_factors_stay_below_what_they_promise() -> None:
    times = np.linspace(0, 10_000, 5001)
    for factor in (Points([0, 5000], [0.5, 3]), Wave(0.7, 900, 100), Bursts(300, 60, 8, seed=1, stream=0)):
        assert factor.at(times).max() == pytest.approx(factor.bound(0, 10_000), rel=1e-4)
        for part in np.split(times[:5000], 250):
            assert 0 <= factor.at(part).min() <= factor.at(part).max() <= factor.bound(part[0], part[-1])
        assert factor.at(times[:0]).shape == (0,)


def test_bursts_keep_the_mean_rate_and_stay_as_long_as_stated() -> None:
    times = np.arange(0, 4_000_000, 2.0)
    factor = np.concatenate([Bursts(300, 60, 8, seed=3, stream=1).at(part) for part in np.array_split(times, 400)])
    burst = factor == factor.max()
    assert factor.max() / factor.min() == pytest.approx(8)
    assert factor.mean() == pytest.approx(1, rel=0.03)
    assert burst.mean() == pytest.approx(60 / 360, rel=0.05)
    changes = np.flatnonzero(np.diff(burst))
    stays = np.diff(changes) * 2.0
    after = burst[changes[:-1] + 1]
    assert stays[after].mean() == pytest.approx(60, rel=0.05)
    assert stays[~after].mean() == pytest.approx(300, rel=0.05)
    # Exponential stays: standard deviation equal to the mean.
    assert stays[~after].std() == pytest.approx(300, rel=0.07)


def test_bursts_are_the_same_whichever_slot_is_asked_first() -> None:
    forth, back = (Bursts(300, 60, 8, seed=3, stream=1) for _ in range(2))
    slots = [np.arange(t * 30.0, t * 30.0 + 30) for t in range(400)]
    ahead = [forth.at(slot) for slot in slots]
    behind = [back.at(slot) for slot in reversed(slots)][::-1]
    np.testing.assert_array_equal(ahead, behind)


def test_a_bursty_workload_has_counts_far_more_variable_than_their_mean() -> None:
    counts = np.array([len(BUILTIN["bursty"].arrivals(t)) for t in range(2880)])
    assert counts.var() / counts.mean() > 10
