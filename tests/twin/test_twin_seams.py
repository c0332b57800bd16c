"""A twin can be copied, saved and restored at every slot, and refuses what no cluster could do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from domain.decisions import NOWHERE, OFF, Allocation, Deployment, RoutingPlan
from domain.large_model import CpuProfile
from domain.telemetry import Phase
from domain.workload import Arrivals
from tests.oracle.hand import CORE, LM, NODE, VGPU, cluster
from tests.oracle.scenarios import ugly
from tests.oracle.worlds import assert_equal, step
from twin.twin import Twin


def test_a_copy_that_goes_its_own_way_leaves_the_original_alone() -> None:
    for seed in range(20):
        s = ugly(seed)
        alone, original = Twin(s.cluster), Twin(s.cluster)
        for _ in range(s.slots // 2):
            step(alone, s.arrivals, s.plans, s.deployments)
            step(original, s.arrivals, s.plans, s.deployments)
        copy = original.copy()
        for t in range(copy.slot, s.slots):
            for n in range(s.cluster.n_nodes):
                copy.deploy(Deployment(n, (OFF,) * s.cluster.n_lms))
            copy.advance(s.arrivals.between(t * s.cluster.slot_s, (t + 1) * s.cluster.slot_s))
        for t in range(original.slot, s.slots):
            a, b = (step(twin, s.arrivals, s.plans, s.deployments) for twin in (alone, original))
            assert_equal(a, b, f"records of slot {t} of scenario {seed}")
            assert_equal(alone.observe(), original.observe(), f"snapshot after slot {t} of scenario {seed}")


def test_a_copy_does_what_the_original_does() -> None:
    for seed in range(20):
        s = ugly(seed)
        original = Twin(s.cluster)
        for t in range(s.slots):
            copy = original.copy()
            a, b = (step(twin, s.arrivals, s.plans, s.deployments) for twin in (copy, original))
            assert_equal(a, b, f"records of slot {t} of scenario {seed}")
            assert_equal(copy.observe(), original.observe(), f"snapshot after slot {t} of scenario {seed}")


def test_a_restored_twin_goes_on_as_if_never_saved() -> None:
    for seed in range(20):
        s = ugly(seed)
        original, restored = Twin(s.cluster), Twin(s.cluster)
        for t in range(s.slots):
            restored = Twin.restore(s.cluster, restored.save())
            assert restored.save() == original.save()
            a, b = (step(twin, s.arrivals, s.plans, s.deployments) for twin in (restored, original))
            assert_equal(a, b, f"records of slot {t} of scenario {seed}")
            assert_equal(restored.observe(), original.observe(), f"snapshot after slot {t} of scenario {seed}")


def test_decisions_that_wait_for_the_next_slot_are_saved_too() -> None:
    s = ugly(0)
    original = Twin(s.cluster)
    assert s.plans[0] is not None
    original.route(s.plans[0])
    for deployment in s.deployments[0]:
        original.deploy(deployment)
    restored = Twin.restore(s.cluster, original.save())
    arrivals = s.arrivals.between(0.0, s.cluster.slot_s)
    assert_equal(restored.advance(arrivals), original.advance(arrivals), "records of slot 0")
    assert_equal(restored.observe(), original.observe(), "snapshot after slot 0")


@pytest.mark.parametrize(
    "allocation", [Allocation(-1), Allocation(1, 1), Allocation(0, 1)], ids=["negative", "both", "no GPU"]
)
def test_an_allocation_that_nothing_could_run_with_is_refused(allocation: Allocation) -> None:
    with pytest.raises(ValueError, match="lm0 cannot run on node"):
        Twin(cluster(NODE)).deploy(Deployment(0, (allocation,)))


def test_cores_are_refused_where_even_all_of_the_node_are_too_few_and_awaited_where_they_would_do() -> None:
    hungry = replace(LM, cpu_profiles={"cpu": CpuProfile(((3, 2.0), (4, 1.0)))})
    for cores in (2, 3, 4):
        with pytest.raises(ValueError, match="lm0 cannot run on node"):
            Twin(cluster(NODE, lm=hungry)).deploy(Deployment(0, (Allocation(cores),)))
    twin = Twin(cluster(NODE))
    twin.deploy(Deployment(0, (Allocation(4),)))
    twin.advance(Arrivals.empty())
    assert twin.observe().phase.tolist() == [[Phase.PENDING]]


def test_a_refused_deployment_changes_nothing() -> None:
    twin = Twin(cluster(NODE, lms=2))
    twin.deploy(Deployment(0, (CORE, CORE)))
    with pytest.raises(ValueError, match="cannot run"):
        twin.deploy(Deployment(0, (OFF, VGPU)))
    twin.advance(Arrivals.empty())
    assert twin.observe().cores.tolist() == [[1, 1]]


def test_a_deployment_of_another_number_of_lms_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 2 allocations"):
        Twin(cluster(NODE, lms=2)).deploy(Deployment(0, (CORE,)))


@pytest.mark.parametrize("targets", [[[1]], [[-2]], [[0, 0]]], ids=["unknown", "negative", "shape"])
def test_a_route_to_a_node_that_does_not_exist_is_refused(targets: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="targets from -1 to 0"):
        Twin(cluster(NODE)).route(RoutingPlan(np.array(targets)))


@pytest.mark.parametrize("time_s", [9.0, 20.0])
def test_arrivals_of_another_slot_are_refused(time_s: float) -> None:
    twin = Twin(cluster(NODE))
    twin.advance(Arrivals.empty())
    with pytest.raises(ValueError, match="do not lie in slots 1 to 1"):
        twin.advance(Arrivals.of([time_s], [0], [0], [1]))
    assert [twin.slot, twin.arrived, twin.waiting] == [1, 0, 0]


def test_an_arrival_that_rounds_out_of_its_slot_comes_at_the_nearest_moment_of_it() -> None:
    short = replace(cluster(NODE), slot_s=0.1)
    twin = Twin(short)
    for slot in range(4):
        given = {2: [0.3], 3: [0.3, 0.3]}.get(slot, [])
        records = twin.advance(Arrivals.of(given, [0] * len(given), [0] * len(given), [1] * len(given)))
        assert records.arrival_s.tolist() == {2: [0.299999999], 3: [0.3, 0.3]}.get(slot, [])


def test_a_record_tells_the_arrival_that_was_given_to_the_last_digit() -> None:
    times = [1 / 3, 2 / 3, np.nextafter(9.0, 0.0)]
    records = Twin(cluster(NODE)).advance(Arrivals.of(times, [0] * 3, [0] * 3, [1] * 3))
    assert records.arrival_s.tolist() == times


def test_before_the_first_plan_routes_lead_nowhere() -> None:
    records = Twin(cluster(NODE)).advance(Arrivals.of([0.0], [0], [0], [1]))
    assert records.target.tolist() == [NOWHERE]


def test_a_route_stays_in_force_until_the_next_one() -> None:
    twin = Twin(cluster(NODE))
    twin.route(RoutingPlan(np.array([[0]])))
    twin.advance(Arrivals.empty())
    assert len(twin.advance(Arrivals.of([10.0], [0], [0], [1]))) == 0
    assert twin.waiting == 1


def test_damaged_or_foreign_data_are_not_restored() -> None:
    saved = Twin(cluster(NODE)).save()
    for data in (b"", b"not a twin", saved[: len(saved) // 2]):
        with pytest.raises(ValueError, match="not a saved twin"):
            Twin.restore(cluster(NODE), data)
    for place in range(0, len(saved), 97):
        with pytest.raises(ValueError, match="not a saved twin"):
            Twin.restore(cluster(NODE), saved[:place] + bytes([saved[place] ^ 1]) + saved[place + 1 :])
    with pytest.raises(ValueError, match="other nodes, LMs, GPUs or ways of serving"):
        Twin.restore(cluster(NODE, lms=2), saved)
