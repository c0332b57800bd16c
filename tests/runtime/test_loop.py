from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.decisions import MacroPolicy, RoutingPlan
from domain.objective import summarise
from domain.telemetry import EpochTelemetry, Records, Snapshot
from domain.workload import Arrivals
from policies.families import FAMILIES, Family, make
from runtime.results.slots import SlotResult
from runtime.results.tally import Tally
from runtime.runs.loop import LostRequests, drain_slots, run_slots, total_slots
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

SLOTS = 6
pytestmark = pytest.mark.usefixtures("small_effort")


@cache
def bristol() -> Cluster:
    return replace(load_builtin("bristol"), epoch_slots=4, deadline_s=150.0)


@pytest.fixture
def cluster() -> Cluster:
    return bristol()


@cache
def results(code: str, seed: int = 1) -> list[SlotResult]:
    cluster = bristol()
    return list(run_slots(Twin(cluster), make(code, cluster), load_workload("p1", cluster, seed), SLOTS, seed))


def records(run: list[SlotResult]) -> Records:
    return Records.concatenate([result.records for result in run])


@pytest.mark.parametrize("code", FAMILIES)
def test_the_fate_of_every_request_is_known_at_the_end(cluster: Cluster, code: str) -> None:
    run = results(code)
    arrived = sum(len(result.arrivals) for result in run)
    assert arrived > 100
    assert sorted(records(run).request) == list(range(arrived))
    assert run[-1].after.backlog_requests.sum() == 0
    assert len(run) == total_slots(cluster, SLOTS) == SLOTS + 5
    assert not any(len(result.arrivals) for result in run[SLOTS:])


def test_every_family_meets_the_same_requests(cluster: Cluster) -> None:
    first, *others = [records(results(code)) for code in FAMILIES]
    order = np.argsort(first.request)
    for other in others:
        same = np.argsort(other.request)
        for column in ("arrival_s", "origin", "lm", "prompts"):
            assert np.array_equal(getattr(other, column)[same], getattr(first, column)[order])


def test_the_same_seed_gives_the_same_records_and_another_one_others(cluster: Cluster) -> None:
    once, other = (records(results("RR", seed)) for seed in (1, 2))
    again = records(results.__wrapped__("RR", 1))
    assert np.array_equal(once.latency_s, again.latency_s)
    assert not np.array_equal(once.latency_s, other.latency_s)


def test_a_slot_is_decided_on_what_was_known_before_it(cluster: Cluster) -> None:
    seen = list[int]()

    class Watching:
        def schedule(self, snapshot: Snapshot, policy: MacroPolicy, rng: np.random.Generator) -> RoutingPlan:
            seen.append(snapshot.slot)
            return RoutingPlan(np.full((cluster.n_nodes, cluster.n_lms), 1))

    family = replace(make("RF", cluster), scheduler=Watching())
    run = list(run_slots(Twin(cluster), family, load_workload("p1", cluster, 1), SLOTS, 1))
    assert seen == [result.slot for result in run]
    assert set(records(run).target) == {1}


def test_a_planner_plans_at_each_epoch_and_knows_the_epochs_before(cluster: Cluster) -> None:
    calls = list[tuple[int, list[int]]]()
    planned = MacroPolicy.unrestricted(cluster)
    followed = list[bool]()

    class Planner:
        def plan(self, snapshot: Snapshot, history: Sequence[EpochTelemetry], rng: np.random.Generator) -> MacroPolicy:
            calls.append((snapshot.slot, [int(epoch.arrived.sum()) for epoch in history]))
            return planned

    base = make("RF", cluster)

    class Follower:
        def schedule(self, snapshot: Snapshot, policy: MacroPolicy, rng: np.random.Generator) -> RoutingPlan:
            followed.append(policy is planned)
            return base.scheduler.schedule(snapshot, policy, rng)

    family = replace(base, planner=Planner(), scheduler=Follower(), planner_name="test")
    run = list(run_slots(Twin(cluster), family, load_workload("p1", cluster, 1), SLOTS, 1))
    ended = [len(result.records) for result in run]
    assert calls == [(first, [sum(ended[at : at + 4]) for at in range(0, first, 4)]) for first in range(0, len(run), 4)]
    assert all(followed)
    assert sum(result.decided_by["planner", "test"] for result in run) == len(calls)


def test_decisions_are_counted_by_who_made_them(cluster: Cluster) -> None:
    run = results("RL")
    tally = Tally(cluster)
    for result in run:
        tally.add(result)
    assert tally.decided_by == {("scheduler", "random"): len(run), ("deployer", "lyapunov"): 6 * len(run)}


def test_a_tally_comes_to_what_the_records_come_to(cluster: Cluster) -> None:
    run, tally = results("RR"), Tally(cluster)
    for result in run:
        tally.add(result)
    known = summarise(records(run), cluster.n_lms, cluster.deadline_s, cluster.latency_weight)
    counted = tally.telemetry()
    assert counted.objective == known.objective
    assert np.array_equal(counted.p95_latency_s, known.p95_latency_s, equal_nan=True)
    assert sum(int(epoch.arrived.sum()) for epoch in tally.epochs) == known.arrived.sum()
    assert len(tally.epochs) == 3


def test_an_empty_tally_has_nothing_to_blame(cluster: Cluster) -> None:
    assert Tally(cluster).telemetry().objective == 0.0


def test_a_request_that_gets_lost_stops_the_run(cluster: Cluster) -> None:
    class Leaky(Twin):
        def advance(self, arrivals: Arrivals) -> Records:
            ended = super().advance(arrivals)
            return ended if len(ended) < 2 else Records.concatenate([])

    family: Family = make("RF", cluster)
    with pytest.raises(LostRequests, match="requests arrived"):
        list(run_slots(Leaky(cluster), family, load_workload("p1", cluster, 1), SLOTS, 1))


def test_a_run_goes_on_until_the_last_deadline(cluster: Cluster) -> None:
    assert drain_slots(replace(cluster, deadline_s=301.0)) == 11
