"""A twin rebuilt from a snapshot goes on like the one that the snapshot was taken of, as far as a snapshot can tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.decisions import OFF, Allocation, Deployment, MacroPolicy, RoutingPlan
from domain.telemetry import Phase, Snapshot
from domain.workload import Arrivals
from policies.families import make
from policies.roles import DEPLOYER, SCHEDULER, generator
from tests.oracle.scenarios import Scenario
from tests.oracle.served import served_decimal, served_tied, served_ugly
from tests.oracle.worlds import step
from twin.reconstruct import reconstruct
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload


def driven(slots: int, code: str = "RL") -> Twin:
    """A twin of bristol after some slots of a family's decisions."""
    cluster = load_builtin("bristol")
    twin, family = Twin(cluster), make(code, cluster)
    workload, policy = load_workload("p1", cluster, 3), MacroPolicy.unrestricted(cluster)
    for slot in range(slots):
        snapshot = twin.observe()
        twin.route(family.scheduler.schedule(snapshot, policy, generator(3, SCHEDULER, slot)))
        for n in range(cluster.n_nodes):
            deployment = family.deployer.deploy(snapshot, n, policy, generator(3, DEPLOYER, slot, n))
            if deployment is not None:
                twin.deploy(deployment)
        twin.advance(workload.arrivals(slot))
    return twin


@pytest.mark.parametrize("code", ["RR", "RL", "RF"])
@pytest.mark.parametrize("slots", [0, 1, 7, 40])
def test_the_rebuilt_twin_shows_the_same_snapshot(code: str, slots: int) -> None:
    twin = driven(slots, code)
    before = twin.observe()
    after = reconstruct(twin.cluster, before).observe()
    for name in Snapshot.__slots__:
        if name in ("arrived_requests", "arrived_prompts", "busy_s"):
            continue  # of the slot that has passed
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=1e-9, err_msg=name)


def test_a_pending_pod_is_admitted_when_the_old_one_has_ended() -> None:
    twin = driven(9, "RR")
    rebuilt = reconstruct(twin.cluster, twin.observe())
    pending = rebuilt.observe().phase == int(Phase.PENDING)
    for _ in range(3):
        rebuilt.advance(Arrivals.empty())
    assert not (rebuilt.observe().phase[pending] == int(Phase.PENDING)).any()


def with_pending(cluster: Cluster, *pods: tuple[int, int, Allocation]) -> Snapshot:
    """An empty cluster but for pods that are Pending, as one may show them that has not bound them yet."""
    seen = Twin(cluster).observe()
    for n, i, size in pods:
        seen.phase[n, i], seen.cores[n, i], seen.vgpus[n, i] = int(Phase.PENDING), size.cores, size.vgpus
    return seen


def test_a_pending_pod_that_fits_is_admitted_in_the_order_of_the_lms() -> None:
    cluster = load_builtin("bristol")
    node, other = 1, 2
    assert cluster.nodes[node].vgpus == 2
    each = [(node, i, Allocation(vgpus=1)) for i in (0, 1, 2)]
    rebuilt = reconstruct(cluster, with_pending(cluster, *each, (other, 1, Allocation(cores=1))))
    assert (rebuilt.observe().phase == int(Phase.PENDING)).sum() == 4, "the snapshot is as it was"
    rebuilt.advance(Arrivals.empty())
    running = np.isin(rebuilt.observe().phase, [int(Phase.STARTING), int(Phase.READY)])
    assert np.argwhere(running).tolist() == [[node, 0], [node, 1], [other, 1]]
    assert np.argwhere(rebuilt.observe().phase == int(Phase.PENDING)).tolist() == [[node, 2]]


def test_what_is_deployed_on_a_rebuilt_twin_comes_in_place_of_what_was_pending() -> None:
    cluster = load_builtin("bristol")
    rebuilt = reconstruct(cluster, with_pending(cluster, (0, 0, Allocation(cores=1)), (1, 0, Allocation(cores=1))))
    rebuilt.deploy(Deployment(0, (OFF,) * 4))
    rebuilt.advance(Arrivals.empty())
    assert rebuilt.observe().phase[:2, 0].tolist() == [Phase.OFF, Phase.READY]


def test_a_pod_behind_one_that_stops_waits_for_it() -> None:
    bristol = load_builtin("bristol")
    cluster = replace(bristol, lms=tuple(replace(lm, stop_s=70.0) for lm in bristol.lms))
    twin = Twin(cluster)
    for cores in (2, 3):
        twin.deploy(Deployment(0, (Allocation(cores=cores), OFF, OFF, OFF)))
        twin.advance(Arrivals.empty())
    worlds, seen = (twin, reconstruct(cluster, twin.observe())), list[list[int]]()
    for _ in range(4):
        seen.append([int(world.observe().phase[0, 0]) for world in worlds])
        for world in worlds:
            world.advance(Arrivals.empty())
    assert [pair[0] for pair in seen] == [pair[1] for pair in seen]
    assert {Phase.PENDING, Phase.READY} <= {phase for pair in seen for phase in pair}


def test_backlogs_drain_in_nearly_the_same_time() -> None:
    twin = driven(40, "RF")
    rebuilt = reconstruct(twin.cluster, twin.observe())
    left = []
    for world in (twin, rebuilt):
        for _ in range(4):
            world.advance(Arrivals.empty())
        left.append(world.observe().backlog_prompts.sum())
    assert abs(left[0] - left[1]) <= 3


@pytest.mark.parametrize("draw", [served_ugly, served_tied, served_decimal])
def test_a_rebuilt_twin_shows_what_it_was_rebuilt_from_however_it_serves(draw: Callable[[int], Scenario]) -> None:
    for seed in range(12):
        s = draw(seed)
        twin = Twin(s.cluster)
        for _ in range(s.slots):
            step(twin, s.arrivals, s.plans, s.deployments)
            shown = twin.observe()
            rebuilt = reconstruct(s.cluster, shown)
            again = rebuilt.observe()
            plain = ~(shown.phase == int(Phase.PENDING)).any(axis=1)
            names = ("backlog_prompts", "backlog_requests", "phase", "cores", "vgpus", "free_cores", "free_vgpus")
            for name in names:
                assert np.array_equal(getattr(shown, name)[plain], getattr(again, name)[plain]), (
                    seed,
                    shown.slot,
                    name,
                )
            t0, t1 = (t * s.cluster.slot_s for t in (shown.slot, shown.slot + 1))
            rebuilt.route(s.plans[0] or RoutingPlan(np.zeros(shown.phase.shape, dtype=np.int64)))
            records = rebuilt.advance(s.arrivals.between(t0, t1))
            there = int(shown.backlog_requests.sum()) + len(s.arrivals.between(t0, t1))
            assert len(records) + rebuilt.waiting <= there  # parts of one request count as requests there
