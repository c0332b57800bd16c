"""The life of a request by docs/twin.md, in cases worked out by hand.

The cluster is that of `tests.oracle.hand`; every case runs in the twin and in the simulation that it is tested against.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from domain.decisions import NOWHERE, OFF, Deployment, RoutingPlan
from domain.telemetry import Outcome, Phase
from domain.workload import Arrivals
from tests.oracle.hand import (
    CORE,
    LM,
    NODE,
    TWO_CORES,
    WORLDS,
    Line,
    World,
    cluster,
    nowhere,
    play,
)

pytestmark = WORLDS
SUCCESS, LATE = Outcome.SUCCESS, Outcome.LATE
EXPIRED_WAITING, EXPIRED_RUNNING = Outcome.EXPIRED_WAITING, Outcome.EXPIRED_RUNNING
READY = Phase.READY

# Requests


def test_a_request_waits_until_the_pod_is_ready(world: World) -> None:
    played = play(world, cluster(NODE), [(1, 0, 0, 2)], {0: [CORE]}, 1)
    assert played.lines == [Line(SUCCESS, 0, 2, 4)]


def test_a_queue_is_served_first_come_first_served(world: World) -> None:
    played = play(world, cluster(NODE), [(1, 0, 0, 2), (2, 0, 0, 1), (9, 0, 0, 1)], {0: [CORE]}, 2)
    assert played.lines == [Line(SUCCESS, 0, 2, 4), Line(SUCCESS, 0, 5, 2), Line(SUCCESS, 0, 0, 2)]


def test_who_joins_first_is_served_first_whoever_arrived_first(world: World) -> None:
    played = play(world, cluster(NODE, NODE), [(1, 1, 0, 4), (3, 0, 0, 1)], {0: [CORE]}, 2)
    assert played.lines == [Line(SUCCESS, 3, 1, 8, 5), Line(SUCCESS, 0, 0, 2)]


def test_of_two_that_join_at_once_the_one_that_arrived_first_goes_first(world: World) -> None:
    played = play(world, cluster(NODE, NODE), [(3, 1, 0, 2), (5, 0, 0, 1)], {0: [CORE]}, 2)
    assert played.lines == [Line(SUCCESS, 2, 0, 4, 3), Line(SUCCESS, 0, 4, 2)]


def test_a_queue_whose_lm_is_not_deployed_waits(world: World) -> None:
    played = play(world, cluster(NODE, lms=2), [(0, 0, 1, 1)], {0: [CORE], 2: [OFF, CORE]}, 3)
    assert played.lines == [Line(SUCCESS, 0, 23, 2)]


def test_a_request_that_is_routed_nowhere_fails_at_once(world: World) -> None:
    played = play(world, cluster(NODE), [(11, 0, 0, 2)], {0: [CORE]}, 2, nowhere)
    assert played.lines == [Line(Outcome.UNROUTABLE, 0, 0, 0)]
    assert played.ended == [[], [0]]


def test_an_arrival_at_a_slot_boundary_takes_the_new_route(world: World) -> None:
    plans = [RoutingPlan(np.array([[target]])) for target in (NOWHERE, 0)]
    arrivals = Arrivals.of([9.5, 10.0], [0, 0], [0, 0], [1, 1])
    history = world(cluster(NODE), arrivals, plans, [[Deployment(0, (CORE,))], []], 2)
    assert [records.outcome.tolist() for records in history.records] == [[Outcome.UNROUTABLE], [SUCCESS]]


def test_a_record_is_handed_out_with_the_slot_in_which_inference_ended(world: World) -> None:
    played = play(world, cluster(NODE, NODE), [(0, 1, 0, 3)], {0: [CORE]}, 2)
    assert played.lines == [Line(SUCCESS, 2.5, 0.5, 6, 4)]
    assert played.ended == [[0], []]


def test_an_inference_that_ends_at_the_end_of_a_slot_belongs_to_it(world: World) -> None:
    played = play(world, cluster(NODE), [(4, 0, 0, 3)], {0: [CORE]}, 2)
    assert played.ended == [[0], []]


# Deadlines


def test_an_inference_that_ends_exactly_at_its_deadline_has_finished(world: World) -> None:
    played = play(world, cluster(NODE, tau=7.0), [(0, 0, 0, 2)], {0: [CORE]}, 1)
    assert played.lines == [Line(SUCCESS, 0, 3, 4)]


def test_an_answer_that_reaches_its_origin_after_the_deadline_is_late(world: World) -> None:
    played = play(world, cluster(NODE, NODE, tau=8.0), [(1, 1, 0, 2)], {0: [CORE]}, 1)
    assert played.lines == [Line(LATE, 2, 0, 4, 3)]


def test_at_a_deadline_the_pod_turns_to_the_next_request_at_once(world: World) -> None:
    played = play(world, cluster(NODE, tau=8.0), [(1, 0, 0, 8), (2, 0, 0, 1)], {0: [CORE]}, 2)
    assert played.lines == [Line(EXPIRED_RUNNING, 0, 2, 6), Line(EXPIRED_RUNNING, 0, 7, 1)]
    assert played.after(0).busy_s[0, 0] == 7.0
    later = play(world, cluster(NODE, tau=8.0), [(1, 0, 0, 8), (3, 0, 0, 1)], {0: [CORE]}, 2)
    assert later.lines == [Line(EXPIRED_RUNNING, 0, 2, 6), Line(SUCCESS, 0, 6, 2)]


def test_requests_expire_in_order_of_their_deadlines_not_of_their_places(world: World) -> None:
    requests = [(1.0, 1, 0, 2), (2.5, 0, 0, 1)]
    played = play(world, cluster(NODE, NODE, tau=6.0), requests, {}, 1)
    assert played.lines == [Line(EXPIRED_WAITING, 2, 4, 0), Line(EXPIRED_WAITING, 0, 6, 0)]
    assert [played.after(0).backlog_requests[0, 0], played.history.waiting] == [0, [0, 0]]


def test_a_request_can_expire_on_its_uplink(world: World) -> None:
    played = play(world, cluster(NODE, NODE, tau=4.0), [(1, 1, 0, 8), (5, 1, 0, 6)], {0: [CORE]}, 1)
    assert played.lines == [Line(EXPIRED_WAITING, 4, 0, 0), Line(EXPIRED_WAITING, 4, 0, 0)]


def test_a_request_that_expires_after_an_interruption_was_running(world: World) -> None:
    played = play(world, cluster(NODE, tau=25.0), [(0, 0, 0, 8)], {0: [CORE], 1: [OFF]}, 3)
    assert played.lines == [Line(EXPIRED_RUNNING, 0, 18, 7, interruptions=1)]


# Interruptions


def test_an_interruption_loses_only_the_prompt_in_hand(world: World) -> None:
    played = play(world, cluster(NODE), [(0, 0, 0, 5)], {0: [CORE], 1: [OFF], 2: [CORE]}, 3)
    # Three prompts done at 9, one second lost; ready again at 23, the last two done at 27.
    assert played.lines == [Line(SUCCESS, 0, 16, 11, interruptions=1)]


def test_an_interruption_between_two_prompts_counts_and_loses_nothing(world: World) -> None:
    played = play(world, cluster(NODE), [(4, 0, 0, 5)], {0: [CORE], 1: [OFF], 2: [CORE]}, 3)
    assert played.lines == [Line(SUCCESS, 0, 13, 10, interruptions=1)]


def test_a_request_that_ends_as_its_pod_stops_was_not_interrupted(world: World) -> None:
    played = play(world, cluster(NODE), [(4, 0, 0, 3), (5, 0, 0, 1)], {0: [CORE], 1: [OFF], 2: [CORE]}, 3)
    # Nor was the next one, which would have begun at that moment.
    assert played.lines == [Line(SUCCESS, 0, 0, 6), Line(SUCCESS, 0, 18, 2)]


def test_a_pod_that_is_ready_as_it_is_stopped_begins_nothing(world: World) -> None:
    slow = cluster(NODE, lm=replace(LM, start_cpu_s=10.0), tau=20.0)
    played = play(world, slow, [(0, 0, 0, 1)], {0: [CORE], 1: [OFF]}, 2)
    assert played.lines == [Line(EXPIRED_WAITING, 0, 20, 0)]


def test_a_pod_of_another_size_goes_on_with_the_interrupted_request(world: World) -> None:
    played = play(world, cluster(NODE), [(0, 0, 0, 5)], {0: [CORE], 1: [TWO_CORES]}, 2)
    # Stopped at 10, gone at 14, ready at 17; the fourth prompt begins anew, at one second a prompt.
    assert played.lines == [Line(SUCCESS, 0, 10, 9, interruptions=1)]
    assert played.phases() == [READY, READY]


def test_an_interrupted_request_stays_ahead_of_all_others(world: World) -> None:
    requests = [(0, 0, 0, 4), (1, 0, 0, 1)]
    played = play(world, cluster(NODE), requests, {0: [CORE], 1: [TWO_CORES]}, 2)
    assert played.lines == [Line(SUCCESS, 0, 10, 8, interruptions=1), Line(SUCCESS, 0, 17, 1)]
