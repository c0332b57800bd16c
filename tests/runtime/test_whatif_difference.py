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
    assert all(d.value == d.low == d.high == 0.0 for d in found)


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


@pytest.mark.parametrize("seeds", [1, 3])
def test_an_interval_holds_the_true_difference_about_as_often_as_it_says(seeds: int) -> None:
    cluster = dataclasses.replace(BRISTOL, lms=BRISTOL.lms[:1], deadline_s=450.0)
    rng, held, widths = np.random.default_rng(5), 0, list[float]()
    for _ in range(60):
        found = differences(*paired(seeds, 120, rng, -4.0), cluster)[1]
        assert found.low is not None
        assert found.high is not None
        held += found.low <= -4.0 <= found.high
        widths.append(found.high - found.low)
    assert 0.88 <= held / 60 <= 1.0
    assert np.mean(widths) < 0.1 * 300.0, "the wave that both runs share does not widen it"


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


def test_blocks_are_as_long_as_a_request_may_live_where_there_are_slots_enough() -> None:
    assert [block_slots(BRISTOL, slots) for slots in (1, 9, 50, 150, 5000)] == [1, 1, 10, 30, 30]


def test_a_difference_within_the_twins_error_is_not_called_better() -> None:
    change = Change(figure="J", base=0.2, other=0.1, difference=-0.1, low=-0.15, high=-0.05)
    assert verdict(change, 0.0) == "better"
    assert verdict(change, 0.11) == "unsure"
    assert verdict(change.model_copy(update={"figure": "served LM1"}), 0.0) == "worse"
    assert verdict(change.model_copy(update={"high": 0.01}), 0.0) == "unsure"
