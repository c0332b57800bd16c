"""Speed, pods and what is observed by docs/twin.md, in cases worked out by hand.

The cluster is that of `tests.oracle.hand`; every case runs in the twin and in the simulation that it is tested against.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.cluster import Node
from domain.decisions import OFF, Allocation
from domain.telemetry import Outcome, Phase
from tests.oracle.hand import (
    CORE,
    LM,
    NODE,
    TWO_CORES,
    TWO_VGPUS,
    VGPU,
    WORLDS,
    Line,
    World,
    cluster,
    gpu_node,
    play,
)

pytestmark = WORLDS
SUCCESS, EXPIRED_RUNNING = Outcome.SUCCESS, Outcome.EXPIRED_RUNNING
READY, TERMINATING, PENDING = Phase.READY, Phase.TERMINATING, Phase.PENDING

# Speed


def test_idle_cores_do_not_speed_up_a_pod(world: World) -> None:
    played = play(world, cluster(replace(NODE, cpu_cores=64)), [(3, 0, 0, 2)], {0: [CORE]}, 1)
    assert played.lines == [Line(SUCCESS, 0, 0, 4)]


def test_a_lone_busy_pod_has_the_whole_gpu(world: World) -> None:
    played = play(world, cluster(gpu_node(1, 2), lms=2), [(3, 0, 0, 3)], {0: [VGPU, VGPU]}, 1)
    assert played.lines == [Line(SUCCESS, 0, 0, 6)]


def test_a_busy_neighbour_slows_the_rest_of_a_prompt(world: World) -> None:
    played = play(world, cluster(gpu_node(1, 2), lms=2), [(3, 0, 0, 1), (4, 0, 1, 1)], {0: [VGPU, VGPU]}, 1)
    # Half of the first is done when the second comes; its other half takes 1.5925 s, and half of the second with it.
    assert played.lines == [Line(SUCCESS, 0, 0, 2.592), Line(SUCCESS, 0, 0, 2.592)]


def test_more_vgpus_are_no_larger_share_of_a_busy_gpu(world: World) -> None:
    three = Allocation(vgpus=3)
    played = play(world, cluster(gpu_node(1, 4), lms=2), [(3, 0, 0, 1), (3, 0, 1, 1)], {0: [three, VGPU]}, 1)
    assert played.lines == [Line(SUCCESS, 0, 0, 3.185), Line(SUCCESS, 0, 0, 3.185)]


def test_a_pod_on_two_gpus_is_no_faster(world: World) -> None:
    played = play(world, cluster(gpu_node(2, 1)), [(3, 0, 0, 3)], {0: [TWO_VGPUS]}, 1)
    assert played.lines == [Line(SUCCESS, 0, 0, 6)]


def test_a_pod_on_two_gpus_shares_one_of_them(world: World) -> None:
    where = cluster(gpu_node(2, 2), lms=2)
    # 0.5 x 1.12 on the host; 0.75 x 1.75 + 0.75 over both GPUs, 1.5 x 1.375 on the first.
    played = play(world, where, [(3, 0, 0, 1), (3, 0, 1, 1)], {0: [TWO_VGPUS, VGPU]}, 1)
    assert played.lines == [Line(SUCCESS, 0, 0, 2.622), Line(SUCCESS, 0, 0, 2.622)]


def test_vgpus_come_from_the_gpu_with_the_most_free_ones(world: World) -> None:
    requests = [(3.0, 0, i, 1) for i in range(3)]
    played = play(world, cluster(gpu_node(2, 2), lms=3), requests, {0: [VGPU, VGPU, VGPU]}, 1)
    assert [line.inference for line in played.lines] == [3.185, 2, 3.185]


def test_an_interrupted_neighbour_leaves_the_gpu_to_the_other(world: World) -> None:
    requests = [(9.0, 0, 0, 8), (9.0, 0, 1, 1)]
    played = play(world, cluster(gpu_node(1, 2), lms=2, tau=11.0), requests, {0: [VGPU, VGPU], 1: [OFF, VGPU]}, 2)
    assert played.lines[1] == Line(SUCCESS, 0, 0, round(1 + 2 * (1 - 1 / 3.185), 3))
    assert played.lines[0] == Line(EXPIRED_RUNNING, 0, 10, 1, interruptions=1)


# Pods


def test_a_pod_that_shuts_down_holds_its_resources(world: World) -> None:
    played = play(world, cluster(NODE, lms=2), [(0, 0, 1, 1)], {0: [TWO_CORES], 1: [OFF, TWO_CORES]}, 2)
    # The second pod is admitted at 14, when the first is gone, and ready at 17.
    assert played.lines == [Line(SUCCESS, 0, 17, 1)]
    assert played.phases(i=0) == [READY, Phase.OFF]


def test_a_pod_behind_one_that_shuts_down_is_pending(world: World) -> None:
    slow = cluster(NODE, lm=replace(LM, stop_s=14.0))
    played = play(world, slow, [], {0: [CORE], 1: [TWO_CORES]}, 3)
    assert played.phases() == [READY, PENDING, READY]
    seen = played.after(1)
    assert [seen.cores[0, 0], seen.free_cores[0]] == [2, 1], "wanted, and free beside what is held"


def test_a_pending_pod_voids_new_demands(world: World) -> None:
    demands = {0: [CORE], 1: [CORE, TWO_CORES], 2: [TWO_CORES, CORE, CORE]}
    played = play(world, cluster(NODE, lms=3), [], demands, 3)
    assert played.phases(i=0) == [READY, READY, READY]
    assert played.phases(i=1) == [Phase.OFF, PENDING, PENDING]
    assert played.phases(i=2) == [Phase.OFF, Phase.OFF, Phase.OFF]
    assert played.after(2).cores.tolist() == [[1, 2, 0]], "neither pod took the new size"


def test_beside_a_pending_pod_others_can_be_turned_off(world: World) -> None:
    played = play(world, cluster(NODE, lms=2), [], {0: [CORE], 1: [CORE, TWO_CORES], 2: [OFF, TWO_CORES]}, 3)
    assert played.phases(i=0) == [READY, READY, Phase.OFF]
    assert played.phases(i=1) == [Phase.OFF, PENDING, READY]


def test_a_demand_is_void_where_its_own_deployment_withdraws_the_pending_pod(world: World) -> None:
    played = play(world, cluster(NODE, lms=2), [], {0: [OFF, Allocation(3)], 1: [CORE, OFF], 2: [CORE, OFF]}, 3)
    assert played.phases(i=1) == [PENDING, Phase.OFF, Phase.OFF]
    assert played.phases(i=0) == [Phase.OFF, Phase.OFF, READY]


def test_new_demands_of_one_deployment_do_not_block_each_other(world: World) -> None:
    played = play(world, cluster(NODE, lms=3), [], {0: [Allocation(3), CORE, CORE]}, 1)
    assert [played.phases(i=i) for i in range(3)] == [[PENDING], [READY], [READY]]


def test_a_pod_that_does_not_fit_lets_those_behind_it_pass(world: World) -> None:
    played = play(world, cluster(NODE, lms=3), [], {0: [CORE, TWO_CORES, CORE]}, 1)
    assert [played.phases(i=i) for i in range(3)] == [[READY], [PENDING], [READY]]


def test_a_pod_that_shuts_down_comes_back_only_through_pending(world: World) -> None:
    slow = cluster(NODE, lm=replace(LM, stop_s=14.0))
    played = play(world, slow, [], {0: [CORE], 1: [OFF], 2: [CORE]}, 3)
    assert played.phases() == [READY, TERMINATING, READY]
    assert played.after(1).phase_left_s.tolist() == [[4.0]]


def test_a_pending_pod_is_withdrawn_after_the_time_out(world: World) -> None:
    where = cluster(NODE, lms=2, timeout=14.0)
    played = play(world, where, [], {0: [CORE], 1: [CORE, TWO_CORES], 3: [TWO_CORES]}, 4)
    assert played.phases(i=1) == [Phase.OFF, PENDING, Phase.OFF, Phase.OFF]
    assert played.phases(i=0)[3] == READY, "the node is not blocked any more"
    assert played.after(3).cores.tolist() == [[2, 0]]


def test_a_pod_is_admitted_before_its_time_out_strikes(world: World) -> None:
    where = cluster(NODE, lms=2, timeout=4.0)
    played = play(world, where, [], {0: [TWO_CORES], 1: [OFF, TWO_CORES]}, 2)
    assert played.phases(i=1) == [Phase.OFF, READY]


def test_a_withdrawn_pod_leaves_the_one_before_it_shutting_down(world: World) -> None:
    slow = cluster(NODE, lm=replace(LM, stop_s=24.0), timeout=4.0)
    played = play(world, slow, [], {0: [CORE], 1: [TWO_CORES]}, 4)
    assert played.phases() == [READY, TERMINATING, TERMINATING, Phase.OFF]


def test_a_pod_on_vgpus_holds_its_host_cores_and_memory(world: World) -> None:
    where = cluster(gpu_node(1, 2), lm=replace(LM, host_cores=1))
    seen = play(world, where, [], {0: [VGPU]}, 1).after(0)
    free = [seen.free_cores, seen.free_ram_gb, seen.free_vgpus, seen.free_vram_gb]
    assert [float(amount[0]) for amount in free] == [1, 7, 1, 7]
    assert [seen.cores[0, 0], seen.vgpus[0, 0]] == [0, 1]


@pytest.mark.parametrize(
    ("node", "allocation"),
    [(replace(NODE, ram_gb=1.5), CORE), (replace(gpu_node(1, 2), vram_gb=1.5), VGPU)],
    ids=["RAM", "vRAM"],
)
def test_memory_that_is_short_leaves_a_pod_pending(world: World, node: Node, allocation: Allocation) -> None:
    played = play(world, cluster(node, lms=2), [], {0: [allocation, allocation]}, 1)
    assert [played.phases(i=i) for i in range(2)] == [[READY], [PENDING]]


def test_a_node_without_a_deployment_keeps_what_it_has(world: World) -> None:
    where = cluster(NODE, NODE)
    played = play(world, where, [], {(0, 0): [CORE], (0, 1): [CORE], (1, 1): [OFF]}, 2)
    assert [played.phases(0), played.phases(1)] == [[READY, READY], [READY, Phase.OFF]]


# What is observed


def test_a_snapshot_counts_what_was_sent_and_has_not_ended(world: World) -> None:
    requests = [(1, 0, 0, 5), (2, 0, 0, 2), (9, 1, 0, 3)]
    seen = play(world, cluster(NODE, NODE), requests, {0: [CORE]}, 1).after(0)
    # Three of five prompts are done at 9, the fourth is in hand; the third request is still on its uplink.
    assert seen.backlog_prompts.tolist() == [[2 + 2 + 3], [0]]
    assert seen.backlog_requests.tolist() == [[3], [0]]
    assert seen.oldest_wait_s.tolist() == [[9.0], [0.0]]
    assert seen.arrived_prompts.tolist() == [[7], [3]]
    assert seen.arrived_requests.tolist() == [[2], [1]]
    assert seen.busy_s.tolist() == [[7.0], [0.0]]


def test_a_queue_that_nobody_has_joined_is_not_old(world: World) -> None:
    seen = play(world, cluster(NODE, NODE), [(9, 1, 0, 3)], {0: [CORE]}, 1).after(0)
    assert seen.oldest_wait_s.tolist() == [[0.0], [0.0]]
