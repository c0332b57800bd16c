"""Prompts that are computed together (docs/twin.md, Batches and copies), in cases worked out by hand.

A batch of 1, 2, 3, 4 prompts takes 2, 3, 3.5, 4 s, and 4 are the most.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.cluster import Cluster
from domain.decisions import OFF
from domain.large_model import CpuProfile, GpuProfile
from domain.serving import BatchCurve, Batching, Dispatch, Serving
from domain.telemetry import Outcome
from tests.oracle.hand import CORE, LM, NODE, VGPU, WORLDS, Line, World, cluster, gpu_node, play, weighing

pytestmark = WORLDS
SUCCESS, EXPIRED_RUNNING = Outcome.SUCCESS, Outcome.EXPIRED_RUNNING
CURVE = BatchCurve(((1, 1.0), (2, 1.5), (4, 2.0)))
BATCHED = replace(
    LM,
    cpu_profiles={"cpu": CpuProfile(((1, 2.0),), CURVE)},
    gpu_profiles={"gpu": GpuProfile(0.5, 1.5, CURVE)},
)
NONE, REQUEST, QUEUE = Batching.NONE, Batching.REQUEST, Batching.QUEUE


def batching(how: Batching, tau: float = 100.0, nodes: int = 1) -> Cluster:
    serving = Serving(Dispatch.FIXED if nodes == 1 else Dispatch.ARRIVAL, batching=how)
    return cluster(*[NODE] * nodes, lm=BATCHED, tau=tau, serving=serving)


@pytest.mark.parametrize(("how", "seconds"), [(NONE, 10), (REQUEST, 6), (QUEUE, 6)])
def test_prompts_of_a_request_are_computed_together(world: World, how: Batching, seconds: float) -> None:
    # A batch of four and one of one.
    assert play(world, batching(how), [(3, 0, 0, 5)], {0: [CORE]}, 2).lines == [Line(SUCCESS, 0, 0, seconds)]


def test_an_lm_without_a_curve_takes_one_prompt_at_a_time(world: World) -> None:
    where = cluster(NODE, serving=Serving(batching=QUEUE))
    assert play(world, where, [(3, 0, 0, 2)], {0: [CORE]}, 1).lines == [Line(SUCCESS, 0, 0, 4)]


def test_prompts_of_requests_are_computed_together_from_the_queue_alone(world: World) -> None:
    requests = [(3, 0, 0, 1), (4, 0, 0, 1), (4.5, 0, 0, 1)]
    assert play(world, batching(QUEUE), requests, {0: [CORE]}, 1).lines == [
        Line(SUCCESS, 0, 0, 2),
        Line(SUCCESS, 0, 1, 3),
        Line(SUCCESS, 0, 0.5, 3),
    ]
    assert play(world, batching(REQUEST), requests, {0: [CORE]}, 1).lines == [
        Line(SUCCESS, 0, 0, 2),
        Line(SUCCESS, 0, 1, 2),
        Line(SUCCESS, 0, 2.5, 2),
    ]


def test_a_batch_takes_the_first_prompts_of_the_queue(world: World) -> None:
    played = play(world, batching(QUEUE), [(1, 0, 0, 3), (2, 0, 0, 3)], {0: [CORE]}, 1)
    # Three and one, then two.
    assert played.lines == [Line(SUCCESS, 0, 2, 4), Line(SUCCESS, 0, 1, 7)]


def test_of_two_that_arrive_at_once_the_first_is_a_batch_of_its_own(world: World) -> None:
    played = play(world, batching(QUEUE), [(3, 0, 0, 1), (3, 0, 0, 2)], {0: [CORE]}, 1)
    assert played.lines == [Line(SUCCESS, 0, 0, 2), Line(SUCCESS, 0, 2, 3)]


def test_a_batch_goes_on_as_large_as_it_was_for_those_that_stay(world: World) -> None:
    played = play(world, batching(QUEUE, tau=4.0), [(1, 0, 0, 1), (2, 0, 0, 1)], {0: [CORE]}, 1)
    assert played.lines == [Line(EXPIRED_RUNNING, 0, 2, 2), Line(SUCCESS, 0, 1, 3)]


def test_a_batch_in_which_nobody_is_left_ends_at_once(world: World) -> None:
    played = play(world, batching(QUEUE, tau=4.0), [(1, 0, 0, 2), (3.5, 0, 0, 1)], {0: [CORE]}, 1)
    assert played.lines == [Line(EXPIRED_RUNNING, 0, 2, 2), Line(SUCCESS, 0, 1.5, 2)]
    assert played.after(0).busy_s[0, 0] == 4.0


def test_a_stop_loses_the_batch_in_hand_for_all_that_are_in_it(world: World) -> None:
    requests = [(1, 0, 0, 4), (6, 0, 0, 1), (6, 0, 0, 2)]
    played = play(world, batching(QUEUE), requests, {0: [CORE], 1: [OFF], 2: [CORE]}, 3)
    # Three prompts from 7 s on, stopped at 10 s; READY at 23 s, done at 26.5 s.
    again = Line(SUCCESS, 0, 14, 6.5, interruptions=1)
    assert played.lines == [Line(SUCCESS, 0, 2, 4), again, again]
    assert played.after(0).backlog_prompts.tolist() == [[3]]


def test_between_two_batches_nothing_is_interrupted(world: World) -> None:
    played = play(world, batching(REQUEST), [(6, 0, 0, 5)], {0: [CORE], 1: [OFF], 2: [CORE]}, 3)
    assert played.lines == [Line(SUCCESS, 0, 13, 6)]


def test_batches_on_one_gpu_slow_each_other_down(world: World) -> None:
    where = cluster(gpu_node(1, 2), lms=2, lm=BATCHED, serving=Serving(batching=REQUEST))
    played = play(world, where, [(3, 0, 0, 4), (3, 0, 1, 4)], {0: [VGPU, VGPU]}, 1)
    assert [line.inference for line in played.lines] == [6.37, 6.37]
    # Half of the first batch is done when the second begins; the other half takes 2 x 3.185 / 2 s.
    played = play(world, where, [(3, 0, 1, 4), (5, 0, 0, 1)], {0: [VGPU, VGPU]}, 2)
    assert [line.inference for line in played.lines] == [5.185, 3.185]


@pytest.mark.parametrize(("prompts", "how", "target"), [(4, QUEUE, 1), (3, QUEUE, 0), (3, REQUEST, 1)])
def test_origins_count_batches_of_what_waits(world: World, prompts: int, how: Batching, target: int) -> None:
    where = batching(how, nodes=2)
    requests = [(5, 0, 0, prompts), (6, 0, 0, 1)]
    played = play(world, where, requests, {(0, 0): [CORE], (0, 1): [CORE]}, 2, weighing(where, 0.9, 1.0))
    # At home 4 + 2 s beside four; beside three 3.5 + 0.5 s, as the batch grows, or 3.5 + 2 s: against 5.5 s x 0.9.
    assert played.targets == [0, target]
