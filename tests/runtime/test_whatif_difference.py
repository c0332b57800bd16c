"""Differences between runs on the same requests, and intervals that hold the truth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.objective import summarise
from domain.telemetry import Records
from policies.families import make
from runtime.runs.loop import run_slots
from runtime.whatif.answer import Change
from runtime.whatif.difference import block_slots, differences, figure_names, sums
from runtime.whatif.report import verdict
from tests.recordings import BRISTOL
from twin.twin import Twin
from twin.workloads import load_workload

pytestmark = pytest.mark.usefixtures("little_time")


def slot_sums(cluster: Cluster, code: str, seed: int, slots: int) -> np.ndarray:
    run = run_slots(Twin(cluster), make(code, cluster), load_workload("p1", cluster, seed), slots, seed)
    records = Records.concatenate([result.records for result in run])
    slot = (records.arrival_s // cluster.slot_s).astype(np.int64)
    return sums(records.lm, slot, records.success, records.latency_s, slots, cluster.n_lms)


def test_figures_are_those_of_the_objective() -> None:
    run = run_slots(Twin(BRISTOL), make("RR", BRISTOL), load_workload("p1", BRISTOL, 4), 20, 4)
    records = Records.concatenate([result.records for result in run])
    told = summarise(records, BRISTOL.n_lms, BRISTOL.deadline_s, BRISTOL.latency_weight)
    table = slot_sums(BRISTOL, "RR", 4, 20)
    found = differences([table], [table], BRISTOL)
    assert [d.figure for d in found] == figure_names([lm.name for lm in BRISTOL.lms])
    expected = [told.objective, told.global_mean_latency_s, told.fairness, *told.success_ratio]
    assert [d.base for d in found[:-1]] == pytest.approx(expected)
    assert all((d.value, d.low, d.high) == (0.0, None, None) for d in found)


def paired(n: int, slots: int, rng: np.random.Generator, shift: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Runs of one LM whose latencies go up and down together, slowly, and differ by `shift` and noise of 10 s."""
    base, other = list[np.ndarray](), list[np.ndarray]()
    for _ in range(n):
        wave = np.convolve(rng.normal(size=slots + 9), np.ones(10), "valid") * 30.0
        noise = np.convolve(rng.normal(size=slots + 4), np.ones(5), "valid") * 10.0 / np.sqrt(5.0)
        counts = np.ones(slots)
        base.append(np.column_stack([counts, counts, 300.0 + wave]))
        other.append(np.column_stack([counts, counts, 300.0 + wave + shift + noise]))
    return base, other


MANY = pytest.mark.live
"""A thousand trials take seconds; a hundred tell an interval that is far off."""


def coverage(seeds: int, slots: int, lasting: float, passing: float, trials: int) -> float:
    """Share of intervals that hold a true difference of 5 s in the mean latency of one LM.

    Args:
        seeds: of each trial.
        slots: of each seed.
        lasting: standard deviation of what stays for a whole run, seconds.
        passing: of what lasts a deadline, seconds.
        trials: how many intervals.
    """
    cluster, held = dataclasses.replace(BRISTOL, lms=BRISTOL.lms[:1]), 0
    life, rng, counts = 30, np.random.default_rng([seeds, slots]), np.ones(slots)
    for _ in range(trials):
        base, other = list[np.ndarray](), list[np.ndarray]()
        for _ in range(seeds):
            drift = np.convolve(rng.normal(size=slots + life - 1), np.ones(life), "valid") / np.sqrt(life)
            base.append(np.column_stack([counts, counts, np.full(slots, 50.0)]))
            other.append(np.column_stack([counts, counts, 55.0 + lasting * rng.normal() + passing * drift]))
        found = differences(base, other, cluster)[1]
        held += found.low is not None and found.high is not None and found.low <= 5.0 <= found.high
    return held / trials


@pytest.mark.parametrize(("trials", "within"), [(100, 0.06), pytest.param(1000, 0.02, marks=MANY)])
@pytest.mark.parametrize(("lasting", "passing"), [(5.0, 0.2), (3.0, 4.0)])
@pytest.mark.parametrize("seeds", [2, 3, 6, 20])
def test_an_interval_over_seeds_holds_the_truth_95_times_of_100(
    seeds: int, lasting: float, passing: float, trials: int, within: float
) -> None:
    assert abs(coverage(seeds, 150, lasting, passing, trials) - 0.95) <= within


@pytest.mark.parametrize(("trials", "within"), [(100, 0.06), pytest.param(1000, 0.0, marks=MANY)])
@pytest.mark.parametrize(("slots", "least"), [(150, 0.90), (300, 0.92), (600, 0.93), (2000, 0.93)])
def test_an_interval_of_one_seed_holds_it_nearly_as_often_where_the_run_is_long(
    slots: int, least: float, trials: int, within: float
) -> None:
    assert least - within <= coverage(1, slots, 0.0, 4.0, trials) <= 0.97 + within


def test_what_both_runs_share_does_not_widen_an_interval() -> None:
    cluster = dataclasses.replace(BRISTOL, lms=BRISTOL.lms[:1], deadline_s=450.0)
    for seeds in (1, 6):
        found = differences(*paired(seeds, 120, np.random.default_rng(5), -4.0), cluster)[1]
        assert found.low is not None
        assert found.high is not None
        assert found.high - found.low < 0.1 * 300.0


def steady(shift: float, slots: int = 20) -> np.ndarray:
    """A run of one LM in which every request takes as long as any other."""
    return np.column_stack([np.ones(slots), np.ones(slots), np.full(slots, 300.0 + shift)])


@pytest.mark.parametrize(("seeds", "slots"), [(1, 20), (1, 1), (3, 20)])
def test_where_nothing_varies_or_one_block_is_all_there_is_no_interval(seeds: int, slots: int) -> None:
    cluster = dataclasses.replace(BRISTOL, lms=BRISTOL.lms[:1])
    for d in differences([steady(0.0, slots)] * seeds, [steady(5.0, slots)] * seeds, cluster):
        assert d.value is not None
        assert (d.low, d.high) == (None, None)


def test_an_interval_does_not_reach_beyond_what_is_possible() -> None:
    cluster, wave = dataclasses.replace(BRISTOL, lms=BRISTOL.lms[:1]), np.linspace(0.0, 400.0, 20)
    run, later = steady(0.0), steady(0.0)
    later[:, 2] += wave
    mean = next(d for d in differences([run, run], [run, later], cluster) if d.figure == "mean s")
    assert (mean.low, mean.high) == (-BRISTOL.deadline_s, BRISTOL.deadline_s)


def test_the_same_runs_give_the_same_interval_and_a_longer_run_a_narrower_one() -> None:
    cluster = dataclasses.replace(BRISTOL, lms=BRISTOL.lms[:1])
    short, again = (differences(*paired(1, 100, np.random.default_rng(3), 5.0), cluster)[1] for _ in range(2))
    assert short == again
    longer = differences(*paired(1, 1600, np.random.default_rng(3), 5.0), cluster)[1]
    assert (longer.high or 0) - (longer.low or 0) < 0.5 * ((short.high or 0) - (short.low or 0))


def test_what_has_no_value_has_no_difference() -> None:
    served, nobody = slot_sums(BRISTOL, "RF", 1, 4), slot_sums(BRISTOL, "RF", 1, 4)
    nobody[:, BRISTOL.n_lms :] = 0.0
    found = {d.figure: d for d in differences([nobody], [served], BRISTOL)}
    assert (found["mean s"].base, found["mean s"].value, found["mean s"].low) == (None, None, None)
    assert found["J"].base == 1.0
    assert found["served"].value == 1.0


def test_blocks_are_twice_as_long_as_a_request_may_live_in_5_to_10_of_them() -> None:
    assert [block_slots(BRISTOL, slots) for slots in (1, 9, 50, 150, 400, 5000)] == [1, 1, 10, 30, 60, 500]


def test_a_difference_within_the_twins_error_is_not_called_better() -> None:
    change = Change(figure="J", base=0.2, other=0.1, difference=-0.1, low=-0.15, high=-0.05)
    assert verdict(change, 0.0) == "better"
    assert verdict(change, 0.11) == "unsure"
    assert verdict(change.model_copy(update={"figure": "served LM1"}), 0.0) == "worse"
    assert verdict(change.model_copy(update={"high": 0.01}), 0.0) == "unsure"


@pytest.mark.parametrize(("difference", "word"), [(0.0, "same"), (-0.1, "unsure"), (None, "")])
def test_without_an_interval_only_what_is_the_same_is_called_so(difference: float | None, word: str) -> None:
    assert verdict(Change(figure="J", base=0.2, other=0.1, difference=difference, low=None, high=None), 0.0) == word
