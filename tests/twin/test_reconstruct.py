"""A twin rebuilt from a snapshot goes on like the one that the snapshot was taken of, as far as a snapshot can tell."""

from __future__ import annotations

import numpy as np
import pytest

from domain.decisions import MacroPolicy
from domain.telemetry import Phase, Snapshot
from policies.families import make
from policies.roles import DEPLOYER, SCHEDULER, generator
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
    from domain.workload import Arrivals

    for _ in range(3):
        rebuilt.advance(Arrivals.empty())
    assert not (rebuilt.observe().phase[pending] == int(Phase.PENDING)).any()


def test_backlogs_drain_in_nearly_the_same_time() -> None:
    from domain.workload import Arrivals

    twin = driven(40, "RF")
    rebuilt = reconstruct(twin.cluster, twin.observe())
    left = []
    for world in (twin, rebuilt):
        for _ in range(4):
            world.advance(Arrivals.empty())
        left.append(world.observe().backlog_prompts.sum())
    assert abs(left[0] - left[1]) <= 3
