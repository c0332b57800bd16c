"""What each GPU of a node can hold, or a memory that it shares with the CPU, in cases worked out by hand.

Every case runs in the twin and in the simulation that it is tested against.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from domain.decisions import OFF, Allocation
from domain.telemetry import Phase
from tests.oracle.hand import CORE, LM, NODE, TWO_VGPUS, VGPU, WORLDS, World, cluster, gpu_node, play
from twin.reconstruct import reconstruct

pytestmark = WORLDS
OFF_PHASE, READY, TERMINATING, PENDING = Phase.OFF, Phase.READY, Phase.TERMINATING, Phase.PENDING
THREE_VGPUS = Allocation(vgpus=3)


def test_an_lm_larger_than_a_gpu_stays_pending_until_it_has_vgpus_on_enough_of_them(world: World) -> None:
    where = cluster(replace(gpu_node(4, 1), vram_gb=32.0), lm=replace(LM, vram_gb=18.0))
    played = play(world, where, [], {0: [VGPU], 1: [OFF], 2: [TWO_VGPUS], 3: [OFF], 4: [THREE_VGPUS]}, 5)
    assert played.phases() == [PENDING, OFF_PHASE, PENDING, OFF_PHASE, READY]
    assert played.after(4).free_vram_gb.tolist() == [14.0]


def test_a_pod_that_no_gpu_has_memory_for_waits_though_the_sum_would_do(world: World) -> None:
    # Each GPU has 4 GB: 2 + 2 on them, 4 GB are left in sum, and 3 of them on no GPU.
    large, node = replace(LM, vram_gb=2.0), gpu_node(2, 2)
    where = cluster(node, lms=3, lm=large)
    where = replace(where, lms=(*where.lms[:2], replace(where.lms[2], vram_gb=3.0)))
    played = play(world, where, [], {0: [VGPU, VGPU, VGPU], 1: [VGPU, OFF, VGPU]}, 2)
    assert played.phases(0, 2) == [PENDING, READY]  # the second pod's 4 s of shutdown, then 3 s of start
    assert played.after(0).free_vram_gb.tolist() == [4.0]
    assert played.after(1).free_vram_gb.tolist() == [3.0]


def test_vgpus_come_from_a_gpu_with_memory_where_the_emptiest_has_none(world: World) -> None:
    # The first takes 4 of 4 GB of GPU 0, the second and the third share GPU 1 and so slow each other down.
    where = cluster(gpu_node(2, 3), lms=3, lm=replace(LM, vram_gb=2.0))
    where = replace(where, lms=(replace(where.lms[0], vram_gb=4.0), *where.lms[1:]))
    requests = [(3.0, 0, 1, 1), (3.0, 0, 2, 1), (3.0, 0, 0, 1)]
    played = play(world, where, requests, {0: [VGPU, VGPU, VGPU]}, 1)
    assert [line.inference for line in played.lines] == [3.185, 3.185, 2.0]


def test_a_pod_on_two_gpus_leaves_on_each_what_it_does_not_hold_there(world: World) -> None:
    where = cluster(gpu_node(2, 2), lms=2, lm=replace(LM, vram_gb=6.0))
    for vram_gb, phase in ((1.0, READY), (1.5, PENDING)):
        both = replace(where, lms=(where.lms[0], replace(where.lms[1], vram_gb=vram_gb)))
        assert play(world, both, [], {0: [TWO_VGPUS, VGPU]}, 1).phases(0, 1) == [phase]


def test_unified_memory_is_one_store_of_which_everybody_holds(world: World) -> None:
    node = replace(NODE, gpu_model="gpu", gpus=1, vgpus_per_gpu=4, ram_gb=8.0, unified_memory=True)
    where = cluster(node, lms=3, lm=replace(LM, ram_gb=1.0, vram_gb=2.0))
    played = play(world, where, [], {0: [VGPU, VGPU, VGPU], 1: [VGPU, VGPU, OFF], 2: [VGPU, VGPU, CORE]}, 3)
    assert played.phases(0, 2) == [PENDING, OFF_PHASE, READY]
    assert [played.after(t).free_ram_gb.tolist() for t in range(3)] == [[2.0], [2.0], [1.0]]
    assert [played.after(t).free_vram_gb.tolist() for t in range(3)] == [[0.0]] * 3


def test_what_an_lm_takes_of_unified_memory_can_be_given(world: World) -> None:
    node = replace(NODE, gpu_model="gpu", gpus=2, vgpus_per_gpu=2, ram_gb=8.0, unified_memory=True)
    where = cluster(node, lms=3, lm=replace(LM, ram_gb=2.0, vram_gb=2.0, unified_gb=2.5))
    played = play(world, where, [], {0: [VGPU, VGPU, VGPU]}, 1)
    assert played.after(0).free_ram_gb.tolist() == [0.5]


def test_a_twin_rebuilt_from_what_is_seen_holds_the_same_on_each_gpu(world: World) -> None:
    where = cluster(gpu_node(2, 2), lms=3, lm=replace(LM, vram_gb=3.0))
    where = replace(where, lms=(*where.lms[:2], replace(where.lms[2], vram_gb=1.0)))
    played = play(world, where, [], {0: [TWO_VGPUS, OFF, VGPU]}, 1)
    rebuilt = reconstruct(where, played.after(0))
    assert rebuilt.copy()._state.on_gpu[0].tolist() == [[1, 1], [0, 0], [1, 0]]
    told = reconstruct(where, played.after(0), gpu=np.array([[3, 0, 2]]))
    assert told.copy()._state.on_gpu[0].tolist() == [[1, 1], [0, 0], [0, 1]]
