"""Pods that share GPUs by demand (docs/twin.md, Speed), in cases worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from domain.large_model import GpuProfile
from domain.telemetry import Outcome
from tests.oracle.hand import LM, TWO_VGPUS, VGPU, WORLDS, Asked, Line, World, cluster, gpu_node, play
from tests.oracle.speed import by_demand, nearest, networks

SUCCESS = Outcome.SUCCESS


def both_at_three(count: int) -> list[Asked]:
    """One prompt for each of so many LMs, at the moment at which their pods are READY."""
    return [(3, 0, i, 1) for i in range(count)]


def inference(world: World, pods: int, gpus: int = 1, allocations: Sequence[int] = ()) -> list[float]:
    vgpus = [TWO_VGPUS if count == 2 else VGPU for count in allocations or [1] * pods]
    where = cluster(gpu_node(gpus, 16), lms=pods)
    where = replace(where, nodes=(replace(where.nodes[0], vram_gb=100.0, ram_gb=100.0),))
    return [line.inference for line in play(world, where, both_at_three(pods), {0: vgpus}, 3).lines]


@WORLDS
def test_two_pods_queue_for_the_gpu_by_demand(world: World) -> None:
    # 0.5 x 1.12 on the host, and 1.5 x (1 + 1.5 / 2) on the GPU, where the other one is found three times in four.
    assert inference(world, 2) == [3.185, 3.185]


@WORLDS
def test_three_pods_queue_for_those_that_queue(world: World) -> None:
    # 0.5 x 1.24 + 1.5 x (1 + 2 x 2.625 / 3.185)
    assert inference(world, 3) == [4.593] * 3


@WORLDS
def test_a_pod_with_more_vgpus_of_one_gpu_gets_no_more_of_it(world: World) -> None:
    assert inference(world, 2, allocations=(2, 1)) == [3.185, 3.185]


@WORLDS
def test_a_pod_over_two_gpus_meets_its_neighbour_on_one_of_them(world: World) -> None:
    # 0.56 + 0.75 x 1.75 + 0.75 over both; 0.56 + 1.5 x (1 + 0.75 / 2) on the first.
    assert inference(world, 2, gpus=2, allocations=(2, 1)) == [2.622, 2.622]  # 2.6225


@WORLDS
def test_pods_on_gpus_of_their_own_do_not_meet(world: World) -> None:
    assert inference(world, 2, gpus=2) == [2.0, 2.0]


@WORLDS
def test_what_is_left_of_a_prompt_goes_on_at_the_new_pace(world: World) -> None:
    where = cluster(gpu_node(1, 2), lms=2)
    played = play(world, where, [(3, 0, 0, 1), (4, 0, 1, 1)], {0: [VGPU, VGPU]}, 1)
    # The half of 3.185 s after 4; then 1.5925 s of 3.185 s are left of the other one, which is a half of 2 s.
    assert played.lines == [Line(SUCCESS, 0, 0, 2.592), Line(SUCCESS, 0, 0, 2.592)]


@WORLDS
def test_pods_without_a_part_on_the_host_divide_the_gpu_evenly(world: World) -> None:
    where = cluster(gpu_node(1, 3), lms=3, lm=replace(LM, gpu_profiles={"gpu": GpuProfile(0.0, 2.0)}))
    played = play(world, where, both_at_three(3), {0: [VGPU] * 3}, 2)
    assert [line.inference for line in played.lines] == [6.0] * 3


@WORLDS
def test_more_than_ten_pods_are_schweitzers_approximation(world: World) -> None:
    # All alike: x = 1 + 10 q, q = 1.5 x / (1.1 + 1.5 x), so 1.5 x^2 - 15.4 x - 1.1 = 0; R = 1.1 + 1.5 x.
    assert inference(world, 11) == [16.606] * 11


def test_up_to_ten_pods_are_exact() -> None:
    alike = [(500_000, 1_500_000, ((0, 1),))]
    customers, takes = 0.0, 0.0
    for others in range(10):
        there = 1_500_000 * (1 + others * customers)
        takes = 500_000 * (1 + 0.12 * others) + there
        customers = there / takes
    assert by_demand(tuple(alike * 10)) == [round(takes)] * 10


def test_pods_that_meet_through_others_are_one_network() -> None:
    pods = [(1, 1, tuple((p, 1) for p in gpus)) for gpus in [(0,), (2,), (1,), (0, 1)]]
    assert sorted(networks(pods)) == [[0, 2, 3], [1]]


def test_what_is_close_to_a_half_is_rounded_as_a_half() -> None:
    times = ["2.5", "3.5", "2.5009", "3.4991", "2.502", "3.498", "2.0", "2.4"]
    assert [nearest(Decimal(time)) for time in times] == [2, 4, 2, 4, 3, 3, 2, 2]
