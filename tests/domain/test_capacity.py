"""What the pods of a node hold must fit on it, and on each of its GPUs: the rules say what the twin does."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings

from domain.cluster import Cluster
from domain.constraints import Rule, check_capacity, check_deployment, fits_together
from domain.decisions import OFF, Allocation, Deployment, RoutingPlan
from domain.gpus import Gpus
from domain.telemetry import Phase
from domain.workload import Arrivals
from tests.clusters import tiny
from tests.memory_nodes import alone, box, crowded, crowded_deployments, lm
from tests.oracle.simulation import simulate
from twin.twin import Twin

G1, G2, G3 = (Allocation(vgpus=k) for k in (1, 2, 3))


def broken(cluster: Cluster, *allocations: Allocation) -> list[tuple[Rule, float]]:
    return [(v.rule, v.amount) for v in check_deployment(cluster, Deployment(0, allocations))]


# One GPU after the other


def test_an_lm_that_is_larger_than_a_gpu_needs_as_many_of_them_as_hold_it() -> None:
    where = alone(box(4, 8.0, vgpus_per_gpu=1), (lm("llama", 18.0),))
    assert where.least_vgpus(0, 0) == 3
    [violation] = check_deployment(where, Deployment(0, (G1,)))
    assert (violation.rule, violation.amount) == (Rule.GPU_VRAM, 10.0)
    assert violation.sentence == (
        "llama needs 18 GB of vRAM and each GPU of box has 8 GB; "
        "give it 3 vGPUs or more there, so that it lies on as many GPUs, or turn it off."
    )
    assert broken(where, G2) == [(Rule.GPU_VRAM, 1.0)]
    assert broken(where, G3) == []


@pytest.mark.parametrize(
    ("vram_gb", "least"), [(0.0, 1), (8.0, 1), (8.1, 2), (16.0, 2), (23.9999999999, 3), (32.0, 4), (32.1, 0)]
)
def test_the_fewest_vgpus_follow_from_the_memory_of_one_gpu(vram_gb: float, least: int) -> None:
    where = alone(box(4, 8.0), (lm("one", vram_gb),))
    assert where.least_vgpus(0, 0) == least
    assert where.runs_on_gpu(0, 0) == (least > 0)


def test_what_fits_in_sum_must_fit_on_each_gpu() -> None:
    three = tuple(lm(name, 5.0) for name in ("a", "b", "c"))
    [violation] = check_deployment(alone(box(2, 8.0), three), Deployment(0, (G1, G1, G1)))
    assert (violation.rule, violation.place, violation.amount) == (Rule.GPU_VRAM, "box/c", 5.0)
    assert violation.sentence == (
        "Each GPU of box has 8 GB of vRAM; beside the LMs before it there is room for 0 of the 1 vGPUs of c, "
        "5 GB each; turn it or another off there."
    )
    assert broken(alone(box(1, 16.0, vgpus_per_gpu=4), three), G1, G1, G1) == []


def test_a_pod_on_several_gpus_holds_its_part_on_each() -> None:
    where = alone(box(2, 8.0), (lm("wide", 12.0), lm("small", 2.0), lm("other", 3.0)))
    assert broken(where, G2, G1, OFF) == []
    assert broken(where, G2, OFF, G1) == [(Rule.GPU_VRAM, 3.0)]


def test_two_thirds_of_the_vgpus_on_one_gpu_are_two_thirds_of_the_memory_there() -> None:
    gpus = Gpus(box(2, 8.0))
    assert gpus.admit(3, 9.0).tolist() == [True]
    assert gpus.vgpus.tolist() == [[2, 1]]
    assert gpus.held_gb.tolist() == [[6.0, 3.0]]
    assert gpus.admit(2, 8.0).tolist() == [False]
    assert gpus.held_gb.tolist() == [[6.0, 3.0]]


def test_vgpus_come_from_the_emptiest_gpu_that_has_memory_for_them() -> None:
    gpus = Gpus(box(2, 8.0, vgpus_per_gpu=3))
    assert [gpus.admit(1, gb)[0] for gb in (6.0, 1.0, 1.0, 3.0)] == [True] * 4
    # The third would share with the first on a tie, the fourth finds no memory there.
    assert (gpus.vgpus.tolist(), gpus.held_gb.tolist()) == ([[2, 2]], [[7.0, 4.0]])


# One memory for CPU and GPUs


def unified(**changes: float) -> Cluster:
    node = box(1, 0.0, ram_gb=8.0, vram_gb=0.0, unified_memory=True)
    return alone(node, (lm("chat", 3.0, **changes), lm("second", 3.0, **changes)))


def test_unified_memory_is_counted_once_for_cpu_and_gpus() -> None:
    where, core = unified(), Allocation(cores=1)
    assert broken(where, G1, G1) == []
    assert (where.ram_gb(0, 0, False), where.ram_gb(0, 0, True), where.vram_gb(0, 0)) == (1.0, 4.0, 0.0)
    assert broken(where, core, G1) == []
    larger = unified(unified_gb=4.5)
    assert broken(larger, G1, G1) == [(Rule.RAM, 1.0)]
    [violation] = check_deployment(larger, Deployment(0, (G1, G1)))
    assert violation.sentence == ("box has 8 GB of memory for CPU and GPUs, the active LMs ask for 9; free 1.")


def test_an_lm_that_unified_memory_cannot_hold_does_not_run_on_its_gpu() -> None:
    assert not unified(unified_gb=8.5).runs_on_gpu(0, 0)
    assert unified(unified_gb=8.0).runs_on_gpu(0, 0)
    assert unified(unified_gb=8.5).runs_on_cpu(0, 0)


# The rules and the worlds


def admitted(cluster: Cluster, allocations: tuple[Allocation, ...]) -> list[bool]:
    """Whether the twin, and the event-by-event simulation, start all pods of a deployment on the empty node at once."""
    deployment, plan = Deployment(0, allocations), RoutingPlan(np.zeros((1, cluster.n_lms), dtype=np.int64))
    twin = Twin(cluster)
    twin.deploy(deployment)
    twin.advance(Arrivals.empty())
    history = simulate(cluster, Arrivals.empty(), [plan], [[deployment]], 1)
    seen = [snapshot.phase for snapshot in (twin.observe(), history.snapshots[1])]
    return [not (phase == Phase.PENDING).any() for phase in seen]


@settings(deadline=None, max_examples=80)
@given(crowded_deployments())
def test_a_deployment_passes_the_rules_just_where_both_worlds_can_start_all_its_pods(
    drawn: tuple[Cluster, tuple[Allocation, ...]],
) -> None:
    cluster, allocations = drawn
    sound = check_deployment(cluster, Deployment(0, allocations)) == []
    assert admitted(cluster, allocations) == [sound, sound]


@pytest.mark.live
@settings(deadline=None, max_examples=1000)
@given(crowded_deployments())
def test_many_deployments_pass_the_rules_just_where_both_worlds_can_start_all_their_pods(
    drawn: tuple[Cluster, tuple[Allocation, ...]],
) -> None:
    one = test_a_deployment_passes_the_rules_just_where_both_worlds_can_start_all_its_pods
    one.hypothesis.inner_test(drawn)  # type: ignore[attr-defined]  # Hypothesis adds the attribute


@settings(deadline=None, max_examples=80)
@given(crowded())
def test_lms_fit_together_just_where_some_choice_of_their_smallest_modes_is_sound(cluster: Cluster) -> None:
    lms = range(cluster.n_lms)
    smallest = [
        [Allocation(cores=cluster.least_cores(0, i))] * cluster.runs_on_cpu(0, i)
        + [Allocation(vgpus=cluster.least_vgpus(0, i))] * cluster.runs_on_gpu(0, i)
        for i in lms
    ]
    sound = any(not check_deployment(cluster, Deployment(0, choice)) for choice in itertools.product(*smallest))
    assert fits_together(cluster, 0, list(lms)) == sound


@pytest.mark.live
@settings(deadline=None, max_examples=1000)
@given(crowded())
def test_lms_of_many_clusters_fit_together_just_where_some_choice_is_sound(cluster: Cluster) -> None:
    one = test_lms_fit_together_just_where_some_choice_of_their_smallest_modes_is_sound
    one.hypothesis.inner_test(cluster)  # type: ignore[attr-defined]  # Hypothesis adds the attribute


def test_forty_lms_are_settled_within_what_their_resources_allow() -> None:
    lms = tuple(lm(f"lm{k}", 0.3 + 0.01 * k, ram_gb=0.1) for k in range(40))
    assert not fits_together(alone(box(4, 4.0, 4), lms), 0, list(range(40)))
    assert fits_together(alone(box(4, 8.0, 8, cpu_cores=48), lms), 0, list(range(40)))


def test_no_lms_fit_on_any_node() -> None:
    assert fits_together(tiny(), 0, [])


def test_an_lm_that_does_not_run_on_a_node_fits_with_nobody_there() -> None:
    assert not fits_together(tiny(), 0, [1])
    assert check_capacity(tiny(), 0, (OFF, OFF)) == []
