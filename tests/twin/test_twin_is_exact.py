"""The compiled twin equals an event-by-event simulation, written apart from it from the same page (docs/twin.md).

All columns of all records and everything observed at every slot boundary, in random scenarios: with real numbers, where
nothing is tied; with powers of two; with decimals, where much is tied and no double holds the figures; with decimals
far from the start of a run; and with all of these where origins choose, or pods compute in batches or copies. But for
real numbers, held to 1e-6 s, they agree to the last bit. For thousands of each:

    EDGEWISE_SCENARIOS=5000 .venv/bin/python -m pytest tests/twin/test_twin_is_exact.py -n 2
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from _pytest.mark.structures import ParameterSet

from domain.decisions import NOWHERE, RoutingPlan
from domain.telemetry import Outcome, Phase, Records
from tests.oracle.clock import slot_start
from tests.oracle.decimals import decimal, far
from tests.oracle.scenarios import Scenario, tied, ugly
from tests.oracle.served import served_decimal, served_far, served_tied, served_ugly
from tests.oracle.simulation import simulate
from tests.oracle.worlds import SECONDS, assert_equal, assert_same, by_number, run_twin, step
from twin.layout import Schedule, allowed
from twin.twin import Twin

SERVED = [served_ugly, served_tied, served_decimal, served_far]
KINDS = pytest.mark.parametrize("draw", [ugly, tied, decimal, far, *SERVED])
BLOCK = 10
USUAL = {
    decimal: 60,
    far: 20,
    tied: 20,
    ugly: 30,
    served_decimal: 50,
    served_far: 20,
    served_tied: 20,
    served_ugly: 30,
}
"""Scenarios of each kind that are played at every change; MORE in the live lane."""
MORE = 100


def blocks() -> list[ParameterSet]:
    """Return what to play: kinds, and numbers of blocks of seeds."""
    asked = int(os.environ.get("EDGEWISE_SCENARIOS", "0"))
    return [
        pytest.param(draw, block, marks=[pytest.mark.live] if not asked and block * BLOCK >= usual else [])
        for draw, usual in USUAL.items()
        for block in range((asked or MORE) // BLOCK)
    ]


@pytest.mark.parametrize(("draw", "block"), blocks())
def test_the_twin_equals_the_event_by_event_simulation(draw: Callable[[int], Scenario], block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        s = draw(seed)
        mine, theirs = (play(s.cluster, s.arrivals, s.plans, s.deployments, s.slots) for play in (run_twin, simulate))
        try:
            assert_same(mine, theirs, SECONDS if draw in (ugly, served_ugly) else 0.0)
        except AssertionError as error:
            error.add_note(f"{draw.__name__} scenario {seed}, the twin first")
            raise


ENDS_TIED = {"finished as a slot ends", "expired as a slot ends", "finished at its deadline"}
RARE = {"interrupted twice", "finished at its deadline", "requests that overtake others"}
USED = {
    *ENDS_TIED,
    "interrupted",
    "interrupted twice",
    "interrupted and finished",
    "gone before it joined",
    "more than a slot on the uplink",
    "left waiting",
    "pods that no GPU has memory for",
    "pods that span GPUs",
    "pods on vGPUs in unified memory",
}
"""What turns up in the scenarios, beside all outcomes and phases."""
SERVED_USE = {
    "batches of several prompts",
    "batches over several requests",
    "batches that go on for others",
    "choices of a pod that starts",
    "choices that old news misleads",
    "choices without a pod",
    "copies",
    "copies that do not fit",
    "interrupted batches",
    "networks of three that are busy",
    "parts that expire",
    "requests in several batches at once",
    "requests of which a part expires",
    "requests that overtake others",
    "split requests",
    "ties of others",
    "ties with home",
}
"""What turns up besides in those that are served otherwise than in P1."""


def moments(r: Records) -> np.ndarray:
    """Nanosecond at which each request had finished, expired or failed, its downlink left out."""
    times = np.rint(np.array([r.arrival_s, r.uplink_s, r.queue_s, r.inference_s]) * 1e9)
    return np.asarray(times.sum(axis=0))


@pytest.mark.live
@KINDS
def test_the_random_scenarios_use_every_feature(draw: Callable[[int], Scenario]) -> None:
    wanted = {*Outcome.__members__, *Phase.__members__, *USED} | (SERVED_USE if draw in SERVED else set())
    wanted -= ENDS_TIED if draw in (ugly, served_ugly) else {"pods that span GPUs"} if draw is tied else set()
    seen, missing = Counter[str](), wanted
    for seed in range(100 if draw is ugly or draw in SERVED else 60):
        s = draw(seed)
        history = simulate(s.cluster, s.arrivals, s.plans, s.deployments, s.slots)
        r = Records.concatenate(history.records)
        seen.update(Outcome(value).name for value in r.outcome.tolist())
        seen.update(Phase(int(value)).name for snapshot in history.snapshots for value in snapshot.phase.flat)
        seen.update(history.features)
        seen["left waiting"] += history.waiting[-1]
        ended, edges = moments(r), [slot_start(s.cluster, t) for t in range(s.slots + 1)]
        for name, here in {
            "interrupted": r.interruptions > 0,
            "interrupted twice": r.interruptions > 1,
            "interrupted and finished": (r.interruptions > 0) & (r.outcome == Outcome.SUCCESS),
            "gone before it joined": np.isclose(r.uplink_s, s.cluster.deadline_s, rtol=0.0, atol=1e-6),
            "more than a slot on the uplink": (r.uplink_s > s.cluster.slot_s) & (r.inference_s > 0),
            "finished as a slot ends": (r.outcome <= Outcome.LATE) & np.isin(ended, edges),
            "expired as a slot ends": (r.inference_s > 0) & (r.outcome > Outcome.LATE) & np.isin(ended, edges),
            "finished at its deadline": (r.outcome <= Outcome.LATE)
            & (ended == np.rint((r.arrival_s + s.cluster.deadline_s) * 1e9)),
        }.items():
            seen[name] += int(np.count_nonzero(here))
        missing = {name for name in wanted if seen[name] < (1 if name in RARE else 8)}
        if not missing:
            break
    assert not missing, seen


def schedule(s: Scenario) -> Schedule:
    """All that is decided, as `Twin.run` takes it."""
    n_nodes, n_lms = shape = s.cluster.n_nodes, s.cluster.n_lms
    cores, vgpus = np.zeros((s.slots, *shape), dtype=np.int64), np.zeros((s.slots, *shape), dtype=np.int64)
    decided = np.zeros((s.slots, n_nodes), dtype=np.int64)
    for t, deployments in enumerate(s.deployments):
        for deployment in deployments:
            decided[t, deployment.node] = 1
            cores[t, deployment.node] = [a.cores for a in deployment.allocations]
            vgpus[t, deployment.node] = [a.vgpus for a in deployment.allocations]
    plans, plan = [], RoutingPlan(np.full(shape, NOWHERE))
    for given in s.plans:
        plan = given or plan
        plans.append(plan)
    none = np.zeros((1, n_lms, n_nodes))
    weights = [np.broadcast_to(none if p.weights is None else p.weights, (n_nodes, n_lms, n_nodes)) for p in plans]
    nodes, weight = allowed(np.concatenate(weights))
    return Schedule.fixed(np.array([p.targets for p in plans]), cores, vgpus, decided)._replace(
        is_open=np.array([p.is_open for p in plans], dtype=np.int64),
        allowed=nodes.reshape(s.slots, n_nodes, n_lms, -1),
        weight=weight.reshape(s.slots, n_nodes, n_lms, -1),
    )


@KINDS
def test_one_schedule_of_many_slots_equals_slot_after_slot(draw: Callable[[int], Scenario]) -> None:
    for seed in range(20):
        s, at_once, stepped = draw(seed), Twin(draw(seed).cluster), Twin(draw(seed).cluster)
        arrivals = s.arrivals.between(0.0, s.slots * s.cluster.slot_s)
        parts = [step(stepped, arrivals, s.plans, s.deployments) for _ in range(s.slots)]
        records = by_number(at_once.run(arrivals, schedule(s)))
        assert_equal(records, by_number(Records.concatenate(parts)), f"{draw.__name__} {seed}")
        assert_equal(at_once.observe(), stepped.observe(), f"{draw.__name__} {seed}")


@KINDS
def test_a_saved_twin_goes_on_as_the_one_that_was_saved(draw: Callable[[int], Scenario]) -> None:
    for seed in range(20):
        s = draw(seed)
        twin, other = Twin(s.cluster), Twin(s.cluster)
        for t in range(s.slots):
            if t % 3 == 2:
                other = Twin.restore(s.cluster, other.save())
            if t % 3 == 1:
                other = other.copy()
            mine, theirs = (step(one, s.arrivals, s.plans, s.deployments) for one in (twin, other))
            assert_equal(mine, theirs, f"{draw.__name__} {seed}, slot {t}")
