"""Pods that hold a copy of their LM on each of their GPUs (docs/twin.md, Batches and copies), worked out by hand."""

from __future__ import annotations

from dataclasses import replace

from domain.cluster import Cluster, Node
from domain.large_model import LargeModel
from domain.serving import Batching, Dispatch, Serving
from domain.telemetry import Outcome
from tests.oracle.hand import CORE, LM, NODE, TWO_VGPUS, VGPU, WORLDS, Line, World, cluster, gpu_node, play, weighing
from tests.twin.test_twin_batches import BATCHED

pytestmark = WORLDS
SUCCESS = Outcome.SUCCESS
GPUS = gpu_node(2, 2)
COPIES = Serving(copies=True)


def copied(*nodes: Node, lms: int = 1, lm: LargeModel = LM, serving: Serving = COPIES) -> Cluster:
    return cluster(*nodes, lms=lms, lm=lm, serving=serving)


def test_copies_compute_prompts_side_by_side(world: World) -> None:
    played = play(world, copied(GPUS), [(3, 0, 0, 3)], {0: [TWO_VGPUS]}, 1)
    assert played.lines == [Line(SUCCESS, 0, 0, 4)]
    assert played.after(0).busy_s[0, 0] == 4.0


def test_copies_hold_the_whole_lm_each(world: World) -> None:
    seen = play(world, copied(GPUS), [], {0: [TWO_VGPUS]}, 1).after(0)
    assert [seen.free_ram_gb[0], seen.free_vram_gb[0], seen.free_vgpus[0], seen.free_cores[0]] == [6.0, 6.0, 2, 2]


def test_copies_in_unified_memory_hold_all_of_it_each(world: World) -> None:
    seen = play(world, copied(replace(GPUS, vram_gb=0.0, unified_memory=True)), [], {0: [TWO_VGPUS]}, 1).after(0)
    assert [seen.free_ram_gb[0], seen.free_vram_gb[0]] == [4.0, 0.0]


def test_a_pod_that_finds_no_memory_for_copies_spans(world: World) -> None:
    too_large, too_many = replace(LM, vram_gb=5.0), replace(LM, ram_gb=5.0)
    for lm, ram, vram in ((too_large, 7.0, 3.0), (too_many, 3.0, 7.0)):
        played = play(world, copied(GPUS, lm=lm), [(3, 0, 0, 3)], {0: [TWO_VGPUS]}, 1)
        assert played.lines == [Line(SUCCESS, 0, 0, 6)]
        assert [played.after(0).free_ram_gb[0], played.after(0).free_vram_gb[0]] == [ram, vram]


def test_vgpus_of_one_gpu_are_one_copy(world: World) -> None:
    played = play(world, copied(gpu_node(1, 2)), [(3, 0, 0, 3)], {0: [TWO_VGPUS]}, 1)
    assert played.lines == [Line(SUCCESS, 0, 0, 6)]


def test_a_copy_meets_the_neighbours_on_its_own_gpu_alone(world: World) -> None:
    played = play(world, copied(GPUS, lms=2), [(3, 0, 0, 3), (3, 0, 1, 1)], {0: [TWO_VGPUS, VGPU]}, 1)
    # On the second GPU from 3 to 5 and to 7 s; on the first one 3.185 s beside the neighbour.
    assert played.lines == [Line(SUCCESS, 0, 0, 4), Line(SUCCESS, 0, 0, 3.185)]


def test_a_request_may_finish_before_the_one_at_the_head(world: World) -> None:
    where = copied(GPUS, lm=BATCHED, serving=Serving(batching=Batching.QUEUE, copies=True))
    played = play(world, where, [(1, 0, 0, 5), (2, 0, 0, 1)], {0: [TWO_VGPUS]}, 1)
    # Four in 4 s on the first GPU; the fifth with the one behind it in 3 s on the second.
    assert played.lines == [Line(SUCCESS, 0, 2, 4), Line(SUCCESS, 0, 1, 3)]


def test_a_stop_interrupts_a_request_once_however_many_copies_work_on_it(world: World) -> None:
    played = play(world, copied(GPUS), [(9, 0, 0, 2), (9, 0, 0, 1)], {0: [TWO_VGPUS], 1: [VGPU]}, 3)
    # READY at 17 s with one copy: two prompts by 21 s, the third by 23 s.
    assert played.lines == [Line(SUCCESS, 0, 7, 5, interruptions=1), Line(SUCCESS, 0, 12, 2)]


def test_origins_count_the_copies(world: World) -> None:
    where = copied(NODE, GPUS, serving=Serving(Dispatch.ARRIVAL, copies=True))
    played = play(world, where, [(5, 0, 0, 4)], {(0, 0): [CORE], (0, 1): [TWO_VGPUS]}, 2, weighing(where, 0.5, 1.0))
    # 8 / 0.5 s at home; 3 + 4 + 5 s there.
    assert (played.lines, played.targets) == ([Line(SUCCESS, 3, 0, 4, 5)], [1])
