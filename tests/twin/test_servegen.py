"""ServeGen's client rates become requests of the same rates and gaps."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.workload_files import BRISTOL, first, servegen, stream
from twin.workloads.renewal import RenewalStream, renewals


def test_a_renewal_process_has_exactly_its_rate_however_few_requests_that_is() -> None:
    rng = np.random.default_rng(1)
    for rate, weibull, shape in [(0.001, False, 0.3), (0.0005, True, 0.45), (0.5, True, 0.45), (0.5, False, 4.0)]:
        clients = 20_000 if rate < 0.1 else 400
        columns = (np.full(clients, rate), np.full(clients, shape), np.full(clients, weibull))
        times, client = renewals(rng, *columns, 600.0)
        counts = np.bincount(client, minlength=clients)
        error = 5 * counts.std() / math.sqrt(clients)
        assert counts.mean() == pytest.approx(rate * 600, abs=error)
        # Stationary: the first half of the window is no busier than the second.
        halves = np.bincount(client[times < 300], minlength=clients)
        assert halves.mean() == pytest.approx(rate * 300, abs=error)


@pytest.mark.parametrize(("weibull", "shape"), [(False, 0.25), (False, 1.0), (False, 4.0), (True, 0.5), (True, 2.0)])
def test_gaps_have_the_coefficient_of_variation_of_their_shape(weibull: bool, shape: float) -> None:
    gamma = math.gamma
    cv = math.sqrt(gamma(1 + 2 / shape) / gamma(1 + 1 / shape) ** 2 - 1) if weibull else 1 / math.sqrt(shape)
    one = np.ones(1)
    times, _ = renewals(np.random.default_rng(2), 20 * one, shape * one, np.array([weibull]), 10_000.0)
    gaps = np.diff(times)
    assert gaps.mean() == pytest.approx(1 / 20, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


def test_extreme_shapes_neither_fail_nor_warn() -> None:
    shape = np.array([0.001, 0.001, 0.007, 0.0155, 2198.0])
    rate = np.array([1e-6, 1.0, 0.05, 3.0, 5.0])
    for weibull in (True, False):
        times, client = renewals(np.random.default_rng(3), rate, shape, np.full(5, weibull), 600.0)
        assert np.isfinite(times).all()
        assert (client == 4).sum() == pytest.approx(3000, rel=0.01)


def test_the_rates_of_windows_are_reproduced_window_by_window(tmp_path: Path) -> None:
    servegen(tmp_path)
    counts = np.zeros(6)
    for seed in range(25):
        workload = stream(tmp_path, "{kind: servegen, path: rates.csv, model: m, lm: LM3}", seed)
        assert workload.slots == 120
        counts += [len(first(workload, 20, 20 * w)) / 25 for w in range(6)]
    np.testing.assert_allclose(counts, 600 * 0.5 * np.arange(1, 7), rtol=0.08)


def test_rates_are_scaled_and_time_is_stretched_and_rounds_differ(tmp_path: Path) -> None:
    servegen(tmp_path, windows=1)
    text = "{kind: servegen, path: rates.csv, model: m, lm: LM3, rate_scale: 0.5, time_scale: 0.5, repeat: true}"
    workload = stream(tmp_path, text)
    rounds = [first(workload, 40, 40 * k) for k in range(50)]
    assert np.mean([len(r) for r in rounds]) == pytest.approx(600 * 0.5 * 0.5, rel=0.05)
    assert len({len(r) for r in rounds}) > 10


def test_a_repeated_file_begins_again_at_start_s_and_not_at_its_window(tmp_path: Path) -> None:
    servegen(tmp_path, windows=2)
    text = "{kind: servegen, path: rates.csv, model: m, lm: LM3, rate_scale: 4, start_s: 450, repeat: true}"
    counts = np.zeros(100)
    for seed in range(20):
        workload = stream(tmp_path, text, seed)
        assert workload.slots is None
        counts += [len(workload.arrivals(slot)) / 20 for slot in range(100)]
    # A round is 150 s of the first window (rate 0.5 a second) and the 600 s of the second (1.0): 25 slots.
    np.testing.assert_allclose(counts.reshape(4, 25)[:, :5].mean(axis=1), 4 * 0.5 * 30, rtol=0.12)
    np.testing.assert_allclose(counts.reshape(4, 25)[:, 5:].mean(axis=1), 4 * 1.0 * 30, rtol=0.12)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    slot_s=st.sampled_from([7.3, 30.0, 900.0]),
    scale=st.sampled_from([0.1, 0.37, 1.0, 3.3]),
    start_s=st.sampled_from([0.0, 300.0, 600.0, 1234.5]),
    repeat=st.booleans(),
)
def test_slots_hold_every_request_of_every_round_once(
    tmp_path: Path, slot_s: float, scale: float, start_s: float, repeat: bool
) -> None:
    servegen(tmp_path, windows=4)
    text = (
        f"{{kind: servegen, path: rates.csv, model: m, lm: LM3, start_s: {start_s}, time_scale: {scale}, "
        f"repeat: {str(repeat).lower()}}}"
    )
    workload = stream(tmp_path, text, cluster=dataclasses.replace(BRISTOL, slot_s=slot_s))
    (part,) = workload.parts
    assert isinstance(part, RenewalStream)
    windows, round_s = 4 - int(start_s // 600), (2400 - start_s) / scale
    slots = workload.slots or math.ceil(3 * round_s / slot_s)
    times = first(workload, slots).time_s
    rounds = 1 + math.ceil(slots * slot_s / round_s)
    drawn = np.sort(np.concatenate([part._draw(number).time_s for number in range(rounds * windows)]))
    np.testing.assert_array_equal(times, drawn[drawn < slots * slot_s])


def test_clients_whose_bursts_never_end_are_refused_before_they_fill_the_memory() -> None:
    one = np.ones(1)
    with pytest.raises(OverflowError, match="more than 50,000 requests, the last of them with shape 4"):
        renewals(np.random.default_rng(1), 1e3 * one, 4 * one, np.array([False]), 600.0, most=50_000)
    many = np.full(500, 0.5)
    with pytest.raises(OverflowError, match=r"the last of them with shape 0\.05"):
        renewals(np.random.default_rng(1), many, 0.1 * many, many > 0, 600.0, most=200_000)


def test_clients_may_be_chosen_and_each_has_its_node_unless_told_otherwise(tmp_path: Path) -> None:
    servegen(tmp_path)
    text = "{kind: servegen, path: rates.csv, model: m, lm: LM3, clients: ['2']%s}"
    assert len(set(first(stream(tmp_path, text % ""), 120).origin.tolist())) == 1
    assert len(set(first(stream(tmp_path, text % ", origins: {kind: even}"), 120).origin.tolist())) == 6


def test_no_request_is_lost_or_doubled_where_windows_and_slots_meet(tmp_path: Path) -> None:
    servegen(tmp_path)
    text = "{kind: servegen, path: rates.csv, model: m, lm: LM3, rate_scale: 20, start_s: 77.7, time_scale: 1.7}"
    whole = stream(tmp_path, text)
    times = first(whole, whole.slots or 0).time_s
    (part,) = whole.parts
    assert isinstance(part, RenewalStream)
    drawn = np.concatenate([part._draw(w).time_s for w in range(6)])
    np.testing.assert_array_equal(times, np.sort(drawn))
