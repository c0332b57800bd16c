"""The compiled twin equals an event-by-event simulation, written apart from it from the same page (docs/twin.md).

All columns of all records and everything observed at every slot boundary, in 320 random scenarios. For thousands:

    EDGEWISE_SCENARIOS=5000 .venv/bin/python -m pytest tests/test_twin_is_exact.py -n 2
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from domain.telemetry import Outcome, Phase, Records
from tests.oracle.scenarios import Scenario, tied, ugly
from tests.oracle.simulation import simulate
from tests.oracle.worlds import assert_equal, assert_same, by_number, run_twin, step
from twin.twin import Twin, run_schedule

KINDS = pytest.mark.parametrize("draw", [ugly, tied])
SCENARIOS = int(os.environ.get("EDGEWISE_SCENARIOS", "320"))
BLOCK = 20


@pytest.mark.parametrize("block", range(SCENARIOS // (2 * BLOCK)))
@KINDS
def test_the_twin_equals_the_event_by_event_simulation(draw: Callable[[int], Scenario], block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        s = draw(seed)
        plays = [play(s.cluster, s.arrivals, s.plans, s.deployments, s.slots) for play in (run_twin, simulate)]
        try:
            assert_same(*plays)
        except AssertionError as error:
            error.add_note(f"{draw.__name__} scenario {seed}, the twin first")
            raise


@KINDS
def test_the_random_scenarios_use_every_feature(draw: Callable[[int], Scenario]) -> None:
    seen: Counter[str] = Counter()
    for seed in range(80):
        s = draw(seed)
        history = simulate(s.cluster, s.arrivals, s.plans, s.deployments, s.slots)
        r = Records.concatenate(history.records)
        seen.update(Outcome(value).name for value in r.outcome.tolist())
        seen.update(Phase(int(value)).name for snapshot in history.snapshots for value in snapshot.phase.flat)
        seen["pods that span GPUs"] += history.spanning
        seen["pods that no GPU has memory for"] += history.crowded
        seen["pods on vGPUs in unified memory"] += history.unified
        seen["left waiting"] += history.waiting[-1]
        for name, here in {
            "interrupted": r.interruptions > 0,
            "interrupted twice": r.interruptions > 1,
            "interrupted and finished": (r.interruptions > 0) & (r.outcome == Outcome.SUCCESS),
            "gone before it joined": r.uplink_s == s.cluster.deadline_s,
            "more than a slot on the uplink": (r.uplink_s > s.cluster.slot_s) & (r.inference_s > 0),
        }.items():
            seen[name] += int(np.count_nonzero(here))
    hard = ["interrupted twice", "pods that span GPUs"] if draw is ugly else []
    names = {*Outcome.__members__, *Phase.__members__, *seen} - {"interrupted twice", "pods that span GPUs"}
    print(seen)
    assert not [name for name in [*names, *hard] if seen[name] < (3 if name in hard else 10)], seen


def schedule(s: Scenario) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Targets, cores, vGPUs and who decided, as `run_schedule` takes them."""
    shape = (s.slots, s.cluster.n_nodes, s.cluster.n_lms)
    cores, vgpus = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    decided = np.zeros(shape[:2], dtype=np.int64)
    for t, deployments in enumerate(s.deployments):
        for deployment in deployments:
            decided[t, deployment.node] = 1
            cores[t, deployment.node] = [a.cores for a in deployment.allocations]
            vgpus[t, deployment.node] = [a.vgpus for a in deployment.allocations]
    return np.array([plan.targets for plan in s.plans]), cores, vgpus, decided


@KINDS
def test_one_schedule_of_many_slots_equals_slot_after_slot(draw: Callable[[int], Scenario]) -> None:
    for seed in range(30):
        s, at_once, stepped = draw(seed), Twin(draw(seed).cluster), Twin(draw(seed).cluster)
        arrivals = s.arrivals.between(0.0, s.slots * s.cluster.slot_s)
        parts = [step(stepped, arrivals, s.plans, s.deployments) for _ in range(s.slots)]
        records = by_number(run_schedule(at_once, arrivals, *schedule(s)))
        assert_equal(records, by_number(Records.concatenate(parts)), f"{draw.__name__} {seed}")
        assert_equal(at_once.observe(), stepped.observe(), f"{draw.__name__} {seed}")
