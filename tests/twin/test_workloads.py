"""Workloads: the same requests whenever they are asked for, at the rates and sizes that their files state."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workload_files import BRISTOL, BUILTIN, SLOT_S, first, same, stream, write
from twin.testbeds import generate_testbed
from twin.workloads import builtin_names, describe, load_workload

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
    page = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text()
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
