"""What happens at one and the same instant, where the figures are decimals that no double holds (docs/twin.md, Time).

Each case runs in the twin and in the simulation that it is tested against.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from domain.cluster import Cluster
from domain.decisions import NOWHERE, OFF, Deployment, RoutingPlan
from domain.large_model import CpuProfile, LargeModel
from domain.telemetry import Outcome, Phase, Records
from domain.workload import Arrivals
from tests.oracle.hand import CORE, LM, NODE, TWO_CORES, VGPU, WORLDS, Line, World, cluster, gpu_node, play

pytestmark = WORLDS
SUCCESS, EXPIRED_WAITING = Outcome.SUCCESS, Outcome.EXPIRED_WAITING
READY, PENDING, OFF_PHASE = Phase.READY, Phase.PENDING, Phase.OFF


def prompts_of(seconds: float, start_s: float = 3.0) -> LargeModel:
    """An LM that takes so many seconds a prompt on one core, and moves no bytes."""
    profiles = {"cpu": CpuProfile(((1, seconds),))}
    return replace(LM, cpu_profiles=profiles, start_cpu_s=start_s, uplink_bytes=0.0, downlink_bytes=0.0)


def slots_of(seconds: float, lm: LargeModel = LM, tau: float = 100.0) -> Cluster:
    """A node with two cores and slots of another length."""
    return replace(cluster(NODE, lm=lm, tau=tau), slot_s=seconds)


def test_whose_turn_comes_as_the_pod_is_switched_off_was_neither_begun_nor_interrupted(world: World) -> None:
    where = slots_of(30.0, prompts_of(9.6, 1.2), tau=40.0)
    played = play(world, where, [(0, 0, 0, 3), (0.1, 0, 0, 1)], {0: [CORE], 1: [OFF]}, 2)
    # 1.2 + 3 x 9.6 is 30 for people, and 29.999999999999996 or 30.000000000000004 for doubles.
    assert played.lines == [Line(SUCCESS, 0, 1.2, 28.8), Line(EXPIRED_WAITING, 0, 40, 0)]
    assert played.ended == [[0], [1]]


def test_a_time_out_that_is_over_as_a_slot_ends_strikes_in_that_slot(world: World) -> None:
    where = replace(cluster(NODE, lms=2, timeout=21.9), slot_s=7.3)
    played = play(world, where, [], {0: [TWO_CORES], 18: [TWO_CORES, CORE]}, 22)
    # Created at 131.4 s; 153.3 s is the end of slot 20, in doubles 153.29999999999998.
    assert played.phases(i=1)[17:] == [OFF_PHASE, PENDING, PENDING, OFF_PHASE, OFF_PHASE]


def test_a_deadline_at_the_end_of_a_slot_belongs_to_it(world: World) -> None:
    played = play(world, slots_of(12.1, tau=363.0), [(72.6, 0, 0, 1)], {}, 37)
    # 435.6 s is the end of slot 35, in doubles 435.59999999999997.
    assert [slot for slot, ended in enumerate(played.ended) if ended] == [35]
    assert played.lines == [Line(EXPIRED_WAITING, 0, 363, 0)]


def test_an_arrival_at_the_start_of_a_slot_takes_its_route_whatever_the_digits(world: World) -> None:
    # In doubles slot 13 of 7.3 s begins before 94.9 s, slot 3 of 0.1 s after 0.3 s.
    for slot_s, slot, at in ((7.3, 13, 94.9), (0.1, 3, 0.3)):
        plans = [RoutingPlan(np.array([[NOWHERE if t < slot else 0]])) for t in range(slot + 1)]
        history = world(slots_of(slot_s), Arrivals.of([at], [0], [0], [1]), plans, [[]] * (slot + 1), slot + 1)
        assert history.waiting == [0] * (slot + 1) + [1]
        assert history.snapshots[-1].arrived_requests.tolist() == [[1]]


def test_of_two_that_join_at_once_the_one_that_arrived_first_goes_first_whatever_the_digits(world: World) -> None:
    where = replace(cluster(NODE, NODE, lm=prompts_of(2.0, 0.0)), latency_s=0.2 * (1.0 - np.eye(2)))
    # 0.1 + 0.2 is 0.30000000000000004 in doubles.
    played = play(world, where, [(0.1, 1, 0, 2), (0.3, 0, 0, 1)], {0: [CORE]}, 1)
    assert played.lines == [Line(SUCCESS, 0.2, 0, 4, 0.2), Line(SUCCESS, 0, 4, 2)]


def test_an_inference_that_ends_at_its_deadline_has_finished_whatever_the_digits(world: World) -> None:
    where = slots_of(30.0, prompts_of(0.7, 0.1), tau=2.2)
    played = play(world, where, [(0, 0, 0, 3), (0.7, 0, 0, 1), (0.7, 0, 0, 1)], {0: [CORE]}, 1)
    assert played.lines == [Line(SUCCESS, 0, 0.1, 2.1), Line(SUCCESS, 0, 1.5, 0.7), Line(EXPIRED_WAITING, 0, 2.2, 0)]


def test_an_answer_that_is_back_at_its_deadline_is_no_late_one_whatever_the_digits(world: World) -> None:
    where = replace(cluster(NODE, NODE, lm=prompts_of(0.7, 0.3), tau=1.2), latency_s=0.2 * (1.0 - np.eye(2)))
    played = play(world, where, [(0.1, 1, 0, 1)], {0: [CORE]}, 1)
    assert played.lines == [Line(SUCCESS, 0.2, 0, 0.7, 0.2)]


def test_a_long_prompt_is_not_finished_a_moment_before_its_end(world: World) -> None:
    # A twentieth of a second short of a prompt of a million seconds.
    where = slots_of(1_000_002.95, prompts_of(1e6), tau=1e9)
    played = play(world, where, [(0, 0, 0, 2)], {0: [CORE], 1: [OFF]}, 2)
    assert played.after(1).backlog_prompts.tolist() == [[2]]
    longer = slots_of(1_000_003.0, prompts_of(1e6), tau=1e9)
    played = play(world, longer, [(0, 0, 0, 2)], {0: [CORE], 1: [OFF]}, 2)
    assert played.after(1).backlog_prompts.tolist() == [[1]]


def test_both_parts_of_a_prompt_are_slowed_down_in_its_middle(world: World) -> None:
    # A half of 0.5 + 1.5 s is done when the neighbour comes: the other half of both takes 3.185 / 2 s.
    where = cluster(gpu_node(1, 2), lms=2)
    played = play(world, where, [(3, 0, 0, 1), (4, 0, 1, 2)], {0: [VGPU, VGPU]}, 1)
    assert played.lines[0] == Line(SUCCESS, 0, 0, 2.592)


def test_a_neighbour_that_changes_requests_changes_no_pace(world: World) -> None:
    where = cluster(gpu_node(1, 2), lms=2, lm=replace(LM, start_gpu_s=0.0))
    requests = [(0, 0, 0, 3), *[(0, 0, 1, 1)] * 3]
    played = play(world, where, requests, {0: [VGPU, VGPU]}, 2)
    assert [line.inference for line in played.lines] == [9.555, 3.185, 3.185, 3.185]


def test_pods_that_start_and_stop_in_no_time_hand_over_at_once(world: World) -> None:
    where = cluster(NODE, lms=2, lm=replace(LM, start_cpu_s=0.0, stop_s=0.0), timeout=0.0)
    requests = [(0, 0, 0, 1), (1, 0, 0, 5), (1, 0, 1, 1)]
    played = play(world, where, requests, {0: [TWO_CORES], 1: [OFF, CORE]}, 2)
    # At 10 s the first pod is gone before the time-out of the second strikes, which is READY and works at once.
    assert played.lines == [Line(SUCCESS, 0, 0, 1), Line(SUCCESS, 0, 0, 5), Line(SUCCESS, 0, 9, 2)]
    assert [played.phases(i=i) for i in range(2)] == [[READY, OFF_PHASE], [OFF_PHASE, READY]]


def test_a_pod_that_finds_no_room_is_withdrawn_at_once_with_a_time_out_of_none(world: World) -> None:
    played = play(world, cluster(NODE, lms=2, timeout=0.0), [], {0: [TWO_CORES, CORE]}, 1)
    assert [played.phases(i=i) for i in range(2)] == [[READY], [OFF_PHASE]]


def test_a_slot_without_a_plan_keeps_the_one_before_it(world: World) -> None:
    arrivals = Arrivals.of([1.0, 11.0, 21.0], [0] * 3, [0] * 3, [1] * 3)
    plans = [None, RoutingPlan(np.array([[0]])), None]
    history = world(cluster(NODE), arrivals, plans, [[Deployment(0, (CORE,))], [], []], 3)
    records = Records.concatenate(history.records)
    assert records.outcome.tolist() == [Outcome.UNROUTABLE, SUCCESS, SUCCESS]


def test_of_two_deployments_of_a_node_the_later_one_counts(world: World) -> None:
    plans = [RoutingPlan(np.array([[0, 0]]))]
    given = [[Deployment(0, (CORE, CORE)), Deployment(0, (OFF, CORE))]]
    history = world(cluster(NODE, lms=2), Arrivals.empty(), plans, given, 1)
    assert history.snapshots[1].phase.tolist() == [[OFF_PHASE, READY]]


def test_a_pod_behind_one_that_shuts_down_shows_what_it_wants_and_how_long_that_takes(world: World) -> None:
    slow = cluster(NODE, lm=replace(LM, stop_s=14.0))
    seen = play(world, slow, [(0, 0, 0, 8)], {0: [CORE], 1: [TWO_CORES]}, 2).after(1)
    assert [seen.phase[0, 0], seen.cores[0, 0], seen.vgpus[0, 0]] == [PENDING, 2, 0]
    assert [seen.phase_left_s[0, 0], seen.free_cores[0], seen.free_ram_gb[0]] == [4.0, 1, 7.0]
    assert [seen.busy_s[0, 0], seen.oldest_wait_s[0, 0]] == [0.0, 20.0]
