"""Workloads: the same requests whenever they are asked for, at the rates and sizes that their files state."""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.cluster import Cluster
from domain.errors import InputError
from domain.workload import Arrivals, Workload
from twin.testbeds import generate_testbed, load_builtin
from twin.workloads import Streams, builtin_names, describe, load_workload
from twin.workloads.batches import geometric
from twin.workloads.modulation import Bursts, Points, Wave
from twin.workloads.randomness import hashed
from twin.workloads.renewal import RenewalStream, renewals
from twin.workloads.replay import resample

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
TEMPLATE = Path(__file__).parent.parent / "twin" / "workloads" / "real.example.yaml"
BRISTOL = load_builtin("bristol")
BUILTIN = {name: load_workload(name, BRISTOL, seed=11) for name in builtin_names()}
SLOT_S = BRISTOL.slot_s


def write(tmp_path: Path, text: str, name: str = "workload.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def stream(tmp_path: Path, text: str, seed: int = 1, cluster: Cluster = BRISTOL) -> Streams:
    """A workload of one stream, written in YAML's flow style."""
    return load_workload(write(tmp_path, f"streams: [{text}]"), cluster, seed)


def first(workload: Workload, slots: int, start: int = 0) -> Arrivals:
    return Arrivals.concatenate([workload.arrivals(t) for t in range(start, start + slots)])


def same(a: Arrivals, b: Arrivals) -> bool:
    return all(np.array_equal(getattr(a, c), getattr(b, c)) for c in ("time_s", "origin", "lm", "prompts"))


# What holds for every workload


@pytest.mark.parametrize("name", builtin_names())
@settings(deadline=None, max_examples=10)
@given(asked=st.lists(st.integers(0, 5000), min_size=1, max_size=6), seed=st.integers(0, 2**64 - 1))
def test_a_slot_has_the_same_requests_whatever_was_asked_before(name: str, asked: Sequence[int], seed: int) -> None:
    workload = load_workload(name, BRISTOL, seed) if name != "real" else BUILTIN[name]
    before = [workload.arrivals(slot) for slot in asked]
    for slot, arrivals in zip(reversed(asked), reversed(before), strict=True):
        assert same(arrivals, workload.arrivals(slot))
    fresh = load_workload(name, BRISTOL, seed if name != "real" else 11)
    assert same(before[-1], fresh.arrivals(asked[-1]))


@pytest.mark.parametrize("name", builtin_names())
@pytest.mark.parametrize("slot", [0, 1, 7, 59, 60, 2879, 100_000, 2**40])
def test_requests_of_a_slot_lie_in_it_in_order_with_nodes_lms_and_prompts_that_exist(name: str, slot: int) -> None:
    arrivals = BUILTIN[name].arrivals(slot)
    assert ((arrivals.time_s >= slot * SLOT_S) & (arrivals.time_s < (slot + 1) * SLOT_S)).all()
    assert (np.diff(arrivals.time_s) >= 0).all()
    assert ((arrivals.origin >= 0) & (arrivals.origin < BRISTOL.n_nodes)).all()
    assert ((arrivals.lm >= 0) & (arrivals.lm < BRISTOL.n_lms)).all()
    assert ((arrivals.prompts >= 1) & (arrivals.prompts <= 8)).all()
    for column in (arrivals.origin, arrivals.lm, arrivals.prompts):
        assert column.dtype == np.int64


@pytest.mark.parametrize("name", builtin_names())
def test_another_seed_gives_other_requests(name: str) -> None:
    assert not same(first(BUILTIN[name], 20), first(load_workload(name, BRISTOL, seed=12), 20))


@pytest.mark.parametrize("name", builtin_names())
def test_every_builtin_workload_says_what_it_is(name: str) -> None:
    lines = describe(BUILTIN[name])
    assert lines[0].startswith(f"{name} (never ends): ")
    assert len(lines) > 1
    assert BUILTIN[name].slots is None


@pytest.mark.parametrize("name", ["poisson", "bursty", "drift", "hotspot", "real"])
def test_the_builtin_workloads_are_about_as_heavy_as_p1(name: str) -> None:
    slots = 1920 if name == "real" else 2880
    arrivals = first(BUILTIN[name], slots)
    prompts_per_s = arrivals.prompts.sum() / (slots * SLOT_S)
    assert prompts_per_s == pytest.approx(6 * 4 * 4 / SLOT_S, rel=0.12)


def test_a_late_slot_costs_no_more_than_an_early_one() -> None:
    for workload in BUILTIN.values():
        begin = time.process_time()
        workload.arrivals(10**9)
        assert time.process_time() - begin < 0.5


def test_the_example_of_the_documentation_works(tmp_path: Path) -> None:
    page = (TEMPLATE.parent.parent.parent / "docs" / "workloads.md").read_text()
    example = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(example) == 1
    assert load_workload(write(tmp_path, example[0]), BRISTOL, 1).slots == 2880


# P1


def test_p1_sends_each_lm_at_most_one_request_per_slot_and_node() -> None:
    for slot in range(50):
        arrivals = BUILTIN["p1"].arrivals(slot)
        assert len(set(zip(arrivals.origin.tolist(), arrivals.lm.tolist(), strict=True))) == len(arrivals) <= 24


def test_p1_draws_the_number_of_prompts_uniformly_from_zero_to_eight() -> None:
    slots = 2000
    arrivals = first(BUILTIN["p1"], slots)
    cells = slots * 24
    counts = np.bincount(arrivals.prompts, minlength=9)
    counts[0] = cells - len(arrivals)
    np.testing.assert_allclose(counts, cells / 9, atol=5 * math.sqrt(cells / 9))
    for column, things in ((arrivals.lm, 4), (arrivals.origin, 6)):
        np.testing.assert_allclose(np.bincount(column), len(arrivals) / things, rtol=0.05)


def test_p1_spreads_arrivals_over_the_slot_or_its_first_seconds(tmp_path: Path) -> None:
    whole = first(BUILTIN["p1"], 500).time_s % SLOT_S
    assert whole.mean() == pytest.approx(15, abs=0.5)
    early = first(stream(tmp_path, "{kind: p1, spread_s: 2}"), 500).time_s % SLOT_S
    assert early.max() < 2
    assert early.mean() == pytest.approx(1, abs=0.05)


def test_p1_may_send_to_some_lms_only(tmp_path: Path) -> None:
    arrivals = first(stream(tmp_path, "{kind: p1, lms: [LM4, LM2], most_prompts: 2}"), 100)
    assert set(arrivals.lm.tolist()) == {1, 3}
    assert set(arrivals.prompts.tolist()) == {1, 2}


# Generators


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
    np.testing.assert_allclose(shares(145), [0.5, 0.375, 0.125, 0], atol=0.03)
    np.testing.assert_allclose(shares(1000), [0, 0.75, 0.25, 0], atol=0.03)


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


# Composition


def test_a_workload_is_the_sum_of_its_streams_until_its_last_slot(tmp_path: Path) -> None:
    a, b = "{kind: poisson, rate_s: 0.3, lms: {LM1: 1}}", "{kind: p1, lms: [LM2]}"
    both = load_workload(write(tmp_path, f"slots: 9\nstreams: [{a}, {b}]"), BRISTOL, 5)
    alone = stream(tmp_path, a, seed=5)
    assert both.slots == 9
    for slot in range(9):
        arrivals = both.arrivals(slot)
        of_a = arrivals.lm == 0
        assert np.array_equal(arrivals.time_s[of_a], alone.arrivals(slot).time_s)
        assert not same(arrivals, alone.arrivals(slot))
    assert len(both.arrivals(9)) == 0
    with pytest.raises(ValueError, match="slots count from 0"):
        both.arrivals(-1)


def test_two_equal_streams_are_not_the_same_requests_twice(tmp_path: Path) -> None:
    one = "{kind: poisson, rate_s: 1}"
    twice = load_workload(write(tmp_path, f"streams: [{one}, {one}]"), BRISTOL, 5)
    times = first(twice, 20).time_s
    assert len(np.unique(times)) == len(times) > 1000


# Traces


PLAIN = "time_s,node,lm,prompts\n1.5,VM2,LM1,1\n2,VM7,LM4,8\n35,VM3,LM2,2\n100,VM4,LM3,3\n"


def test_a_plain_trace_is_played_back_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, PLAIN, "mine.csv")
    workload = stream(tmp_path, "{kind: trace, path: mine.csv}")
    assert workload.slots == 4
    arrivals = first(workload, 4)
    assert arrivals.time_s.tolist() == [1.5, 2, 35, 100]
    assert arrivals.origin.tolist() == [0, 5, 1, 2]
    assert arrivals.lm.tolist() == [0, 3, 1, 2]
    assert arrivals.prompts.tolist() == [1, 8, 2, 3]
    assert len(workload.arrivals(4)) == 0


def test_a_trace_may_start_late_run_faster_and_repeat(tmp_path: Path) -> None:
    write(tmp_path, PLAIN, "mine.csv")
    late = stream(tmp_path, "{kind: trace, path: mine.csv, start_s: 2, time_scale: 2, repeat: true}")
    assert late.slots is None
    # The round is 98 s of the trace, 49 s of the run, so two slots.
    assert first(late, 6).time_s.tolist() == [0, 16.5, 49, 60, 76.5, 109, 120, 136.5, 169]
    assert first(late, 2, start=2 * 10**6).prompts.tolist() == [8, 2, 3]


def test_conditions_choose_rows_but_do_not_move_them_in_time(tmp_path: Path) -> None:
    rows = "".join(f"2023-11-16 18:00:{s:02},10,{tokens}\n" for s, tokens in [(0, 9), (7, 200), (20, 199), (50, 700)])
    write(tmp_path, "TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows, "azure.csv")
    text = "{{kind: trace, path: azure.csv, lm: LM2, where: [{{column: GeneratedTokens, {}}}]}}"
    assert first(stream(tmp_path, text.format("min: 200")), 2).time_s.tolist() == [7, 50]
    assert first(stream(tmp_path, text.format("below: 200")), 2).time_s.tolist() == [0, 20]
    assert first(stream(tmp_path, text.format("min: 100, below: 200")), 2).time_s.tolist() == [20]
    assert first(stream(tmp_path, text.format("one_of: ['9', '700']")), 2).time_s.tolist() == [0, 50]
    assert set(first(stream(tmp_path, text.format("min: 0")), 2).lm.tolist()) == {1}


def test_prompts_of_a_trace_may_come_from_a_column_or_a_distribution(tmp_path: Path) -> None:
    rows = "".join(f"2023-11-16 18:00:{s:02},{s + 1},5\n" for s in range(40))
    write(tmp_path, "TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows, "azure.csv")
    text = "{{kind: trace, path: azure.csv, lm: LM2, prompts: {{{}}}}}"
    column = first(stream(tmp_path, text.format("kind: column, column: ContextTokens")), 2)
    assert column.prompts.tolist() == list(range(1, 41))
    assert set(first(stream(tmp_path, text.format("kind: uniform, low: 2, high: 3")), 2).prompts.tolist()) == {2, 3}


def test_a_user_of_a_trace_keeps_the_node_that_the_seed_gave(tmp_path: Path) -> None:
    users = [f"G{k % 50}" for k in range(500)]
    rows = "".join(f"2024-11-15 16:00:{k % 60:02},TXT_2_IMG,SUCCEED,{user},1\n" for k, user in enumerate(users))
    write(tmp_path, "gmt_create,predict_type,predict_status,groupId,num_images_per_prompt\n" + rows, "images.csv")
    text = "{kind: trace, path: images.csv, lm: LM4, max_malformed: 0, origins: {kind: hash, column: groupId}}"
    pairs = hashed(1, np.array(users))
    arrivals = first(stream(tmp_path, text), 2)
    assert len(np.unique(pairs)) == 50
    np.testing.assert_array_equal(np.bincount(arrivals.origin, minlength=6),
                                  np.bincount((pairs * 6).astype(np.int64), minlength=6))  # fmt: skip
    other = first(stream(tmp_path, text, seed=2), 2)
    assert not np.array_equal(arrivals.origin, other.origin)


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.6])
def test_scaling_a_trace_keeps_a_seeded_share_or_lays_shifted_copies_over_each_other(scale: float) -> None:
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 1000, 20_000))
    rows, at = resample(times, 1000.0, scale, rng.random(20_000))
    assert len(rows) == pytest.approx(scale * 20_000, rel=0.02)
    assert (np.diff(at) >= 0).all()
    assert at[0] >= 0
    assert at[-1] <= 1000
    copies = math.ceil(scale)
    shift = (at - times[rows]) % 1000
    steps = np.minimum(np.round(shift / (1000 / copies)) % copies, copies)
    counts = np.bincount(steps.astype(np.int64), minlength=copies)
    np.testing.assert_allclose(counts[:-1], 20_000)
    assert counts[-1] == pytest.approx((scale - copies + 1) * 20_000, rel=0.03)


def test_scaling_twice_with_the_same_seed_keeps_the_same_requests(tmp_path: Path) -> None:
    real = "{kind: trace, path: %s, lm: LM1, rate_scale: 0.1}" % (
        TEMPLATE.parent / "../traces/samples/azure_conv_2023_excerpt.csv"
    )
    assert same(first(stream(tmp_path, real), 20), first(stream(tmp_path, real), 20))
    assert not same(first(stream(tmp_path, real), 20), first(stream(tmp_path, real, seed=2), 20))


# ServeGen


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


def servegen(tmp_path: Path, windows: int = 6) -> None:
    rows = [f"m,{c},{600 * w},{(c + 1) * (w + 1) * 0.05},1.4,Gamma,0.5,1" for w in range(windows) for c in range(4)]
    write(
        tmp_path, "model,client,window_start_s,rate_per_s,cv,distribution,shape,scale\n" + "\n".join(rows), "rates.csv"
    )


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


# Mistakes


NODES = "'VM2', 'VM3', 'VM4', 'VM5', 'VM6' or 'VM7'"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[{kind: p1, lms: [LM9]}]", r"workload.yaml:1: streams\[0\].lms\[0\] must be 'LM1', .* not 'LM9'"),
        ("[{kind: p1, lms: [LM1, LM1]}]", r"streams\[0\].lms must name each LM once"),
        ("[{kind: p1, spread_s: 31}]", r"spread_s must be at most a slot \(30 s\), not 31"),
        ("[{kind: p2}]", r"streams\[0\].kind must be 'p1'.* not 'p2'"),
        ("[{kind: p1, loda: 2}]", r"unknown field 'loda'"),
        ("[]", r"streams"),
        ("[{kind: poisson}]", r"streams\[0\] must have rate_s or rate_per_node_s, one of the two"),
        ("[{kind: poisson, rate_s: 1, rate_per_node_s: 1}]", r"must have rate_s or rate_per_node_s, one of the two"),
        ("[{kind: poisson, rate_s: -1}]", r"rate_s must be greater than 0, not -1"),
        ("[{kind: poisson, rate_s: 1, lms: {GPT: 1}}]", r"lms.GPT must be 'LM1'"),
        ("[{kind: poisson, rate_s: 1, lms: {LM1: 0}}]", r"lms must have a weight above 0"),
        ("[{kind: poisson, rate_s: 1, lms: {LM1: 1}, lm_points: [{at_s: 0, lms: {LM1: 1}}]}]", r"lms or lm_points"),
        ("[{kind: poisson, rate_s: 1, origins: {kind: node, node: VM1}}]", rf"origins.node must be {NODES}, not 'VM1'"),
        ("[{kind: poisson, rate_s: 1, origins: {kind: weights, nodes: {VMX: 1}}}]", r"origins.nodes.VMX must be"),
        ("[{kind: poisson, rate_s: 1, origins: {kind: hash, column: user}}]", r"origins.kind must be .* not 'hash'"),
        ("[{kind: poisson, rate_s: 1, prompts: {kind: fixed, prompts: 0}}]", r"prompts.prompts must be .*1, not 0"),
        ("[{kind: poisson, rate_s: 1, prompts: {kind: uniform, low: 9}}]", r"low up to high, not low 9 above high 8"),
        ("[{kind: poisson, rate_s: 1, rate_points: [{at_s: 9, factor: 1}, {at_s: 9, factor: 2}]}]",
         r"rate_points\[1\].at_s must be later than the point before \(9\), not 9"),
        ("[{kind: poisson, rate_s: 1, wave: {amplitude: 1.5}}]", r"wave.amplitude must be .*1, not 1.5"),
        ("[{kind: trace, path: none.csv, lm: LM1}]", r"none.csv: there is no such file"),
        ("[{kind: trace, path: azure.csv}]", r"streams\[0\] must have the field 'lm': azure.csv does not say"),
        ("[{kind: trace, path: azure.csv, lm: LMX}]", r"streams\[0\].lm must be 'LM1'"),
        ("[{kind: trace, <azure>, start_s: 60}]", r"start_s must be before the last request, at 30 s"),
        ("[{kind: trace, <azure>, where: [{column: Tokens, min: 1}]}]", r"where\[0\].column must be 'TIMESTAMP'"),
        ("[{kind: trace, <azure>, where: [{column: GeneratedTokens}]}]", r"must have min, below or one_of"),
        ("[{kind: trace, <azure>, where: [{column: GeneratedTokens, min: 1000}]}]", r"where must leave a row of"),
        ("[{kind: trace, <azure>, prompts: {kind: column, column: GeneratedTokens}}]",
         r"prompts.column must hold whole numbers from 1 to 1000, not '0' as on line 3 of azure.csv"),
        ("[{kind: trace, <azure>, origins: {kind: hash, column: user}}]", r"origins.column must be 'TIMESTAMP'"),
        ("[{kind: trace, <azure>, rate_scale: 1.0e-9}]", r"rate_scale must be larger: 1e-09 leaves none of 2"),
        ("[{kind: trace, path: rates.csv, lm: LM1}]", r"kind must be 'servegen' for rates.csv"),
        ("[{kind: trace, path: plain.csv}]", r"plain.csv:3: lm must be 'LM1', .* not 'LM5'; did you mean"),
        ("[{kind: trace, path: away.csv, lm: LM1}]", rf"away.csv:3: node must be {NODES}, not 'Paris'"),
        ("[{kind: servegen, path: rates.csv, model: n, lm: LM1}]", r"model must be 'm', not 'n'"),
        ("[{kind: servegen, <rates>, clients: ['8'], lm: LM1}]", r"clients\[0\] must be '0'"),
        ("[{kind: servegen, <rates>, lm: LM1, start_s: 6000}]", r"start_s must be before .* at 3600 s"),
        ("[{kind: servegen, <rates>, lm: LM1, origins: {kind: hash, column: user}}]", r"must be 'client' for"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_workload_file_gets_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    servegen(tmp_path)
    write(
        tmp_path,
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00,1,7\n2023-11-16 18:00:30,1,0\n",
        "azure.csv",
    )
    write(tmp_path, "time,node,lm,prompts\n0,VM2,LM1,1\n1,VM2,LM5,1\n", "plain.csv")
    write(tmp_path, "time,node,lm,prompts\n0,VM2,LM1,1\n1,Paris,LM1,1\n", "away.csv")
    text = text.replace("<azure>", "path: azure.csv, lm: LM1").replace("<rates>", "path: rates.csv, model: m")
    with pytest.raises(InputError, match=sentence) as refusal:
        load_workload(write(tmp_path, f"streams: {text}"), BRISTOL, 1)
    assert re.fullmatch(r"[^\n]*[.?]", str(refusal.value))


def test_an_unknown_name_is_answered_with_those_that_exist() -> None:
    with pytest.raises(
        InputError, match=r"poison: there is no such workload; give bursty, drift, .*did you mean 'poisson'\?$"
    ):
        load_workload("poison", BRISTOL, 1)
    with pytest.raises(InputError, match=r"load must be above 0, not 0\.$"):
        load_workload("p1", BRISTOL, 1, load=0)


def test_a_workload_for_other_lms_says_which_ones_the_cluster_has() -> None:
    renamed = replace(BRISTOL, lms=tuple(replace(lm, name=f"X{lm.name}") for lm in BRISTOL.lms))
    with pytest.raises(InputError, match=r"drift.yaml:\d+: streams\[0\].lm_points\[0\].lms.LM1 must be 'XLM1'"):
        load_workload("drift", renamed, 1)
    assert len(first(load_workload("p1", renamed, 1), 3)) > 0


# Real files


def test_the_template_of_real_traces_works_beside_the_real_files(tmp_path: Path) -> None:
    files = {
        "AzureLLMInferenceTrace_conv.csv": SHARED / "azure-llm-2023" / "AzureLLMInferenceTrace_conv.csv",
        "lora_request_trace.csv": SHARED / "alibaba-gentd26" / "lora_request_trace_2024-11.csv",
        "servegen.csv.gz": SHARED / "servegen" / "week1.csv.gz",
    }
    for name, source in files.items():
        if not source.exists():
            pytest.skip(f"{source} is not here: it holds real traces that are not part of the project")
        (tmp_path / name).symlink_to(source)
    workload = load_workload(write(tmp_path, TEMPLATE.read_text(), "real.yaml"), BRISTOL, 1)
    assert workload.slots == 115
    arrivals = first(workload, 115)
    counts = np.bincount(arrivals.lm, minlength=4)
    assert counts[0] + counts[1] == pytest.approx(19_366 * 0.25, rel=0.05)
    assert (counts > 50).all()
    assert set(arrivals.prompts[arrivals.lm == 3].tolist()) <= {1, 2, 3, 4, 5, 8}
    assert any("13 malformed and left out" in line for line in describe(workload))


def test_burstiness_of_a_real_trace_survives_playback() -> None:
    counts = np.array([len(BUILTIN["real"].parts[0].arrivals(t)) for t in range(60)])
    assert counts.var() / counts.mean() > 1.5


# Speed


@pytest.mark.bench
def test_the_requests_of_a_slot_take_microseconds() -> None:
    large = generate_testbed(600, seed=1)
    print()
    for name in builtin_names():
        micros = []
        for cluster, slots in ((BRISTOL, 200), (large, 50)):
            workload = load_workload(name, cluster, seed=1)
            batches = []
            for batch in range(12):
                begin = time.process_time()
                for slot in range(batch * slots, (batch + 1) * slots):
                    workload.arrivals(slot)
                batches.append((time.process_time() - begin) / slots * 1e6)
            micros.append(min(batches[1:]))
        print(f"{name:8} {micros[0]:6.0f} us a slot at 6 nodes, {micros[1]:6.0f} us at 600")
        assert micros[0] < 500
        assert micros[1] < 5000
