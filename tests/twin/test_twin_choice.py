"""What origins choose as requests come (docs/twin.md, The choice), in cases worked out by hand.

A prompt takes 2 s at home, and 5.5 s at the other node: 1.5 s there, 2 s, and 2 s back.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.decisions import Allocation, RoutingPlan
from domain.serving import Dispatch, Serving
from domain.telemetry import Outcome
from tests.oracle.hand import (
    CORE,
    NODE,
    TWO_CORES,
    VGPU,
    WORLDS,
    Asked,
    Line,
    Played,
    World,
    cluster,
    gpu_node,
    play,
    weighing,
)

pytestmark = WORLDS
SUCCESS, EXPIRED_WAITING, UNROUTABLE = Outcome.SUCCESS, Outcome.EXPIRED_WAITING, Outcome.UNROUTABLE
HERE, THERE = Line(SUCCESS, 0, 0, 2), Line(SUCCESS, 1.5, 0, 2, 2)
CORES: dict[tuple[int, int], list[Allocation]] = {(0, n): [CORE] for n in range(3)}

CORES_OF_TWO = {(0, 0): [CORE], (0, 1): [CORE]}


def choosing(nodes: int, news_s: float = 0.0, tau: float = 100.0) -> Cluster:
    return cluster(*[NODE] * nodes, tau=tau, serving=Serving(Dispatch.ARRIVAL, news_s))


def two(world: World, requests: list[Asked], weights: tuple[float, ...] = (1.0, 1.0), news_s: float = 0.0) -> Played:
    """Play two slots on two nodes with a pod each."""
    where = choosing(2, news_s)
    return play(world, where, requests, CORES_OF_TWO, 3, weighing(where, *weights))


def test_a_request_goes_where_it_would_be_back_first(world: World) -> None:
    # At home 3.6 s of work are left at 4.9 s.
    assert two(world, [(4.5, 0, 0, 2), (4.9, 0, 0, 1)]).lines == [Line(SUCCESS, 0, 0, 4), THERE]


@pytest.mark.parametrize("weight", [1e-300, 5e-324])
def test_a_pod_is_chosen_before_none_however_small_the_weights_are(world: World, weight: float) -> None:
    where = choosing(2)
    played = play(world, where, [(4.5, 0, 0, 1)], {(0, 1): [CORE]}, 3, weighing(where, weight, weight))
    assert played.lines == [THERE]


def test_a_tie_is_decided_for_home(world: World) -> None:
    # At home 3.5 s of work are left at 5 s.
    assert two(world, [(4.5, 1, 0, 2), (5, 1, 0, 1)]).lines == [Line(SUCCESS, 0, 0, 4), Line(SUCCESS, 0, 3.5, 2)]


def test_a_tie_of_others_is_decided_for_the_lowest(world: World) -> None:
    where = choosing(3)
    played = play(world, where, [(5, 0, 0, 1), (5, 0, 0, 1)], CORES, 2, weighing(where, 0.0, 1.0, 1.0))
    assert played.targets == [1, 2]


@pytest.mark.parametrize(("weight", "line"), [(0.5, HERE), (0.25, THERE), (0.0, THERE)])
def test_a_node_of_half_the_weight_must_be_twice_as_soon(world: World, weight: float, line: Line) -> None:
    assert two(world, [(5, 0, 0, 1)], (weight, 1.0)).lines == [line]


def test_every_origin_has_weights_of_its_own(world: World) -> None:
    plan = RoutingPlan.open(np.array([[[0.0, 1.0]], [[0.0, 0.0]]]))
    played = play(world, choosing(2), [(5, 0, 0, 1), (5, 1, 0, 1)], {(0, 1): [CORE]}, 1, plan)
    assert played.lines == [THERE, Line(UNROUTABLE, 0, 0, 0)]


def test_a_fixed_plan_is_followed_where_origins_might_choose(world: World) -> None:
    assert play(world, choosing(2), [(5, 0, 0, 1)], CORES_OF_TWO, 1, lambda n, i: 1).lines == [THERE]


BUSY: list[Asked] = [(5, 1, 0, 3), (6, 0, 0, 4), (6.5, 1, 0, 1)]
"""The last one finds 4.5 s of work at home, and 7.5 s at the other node, which came half a second ago."""


def test_fresh_news_tell_of_all_that_has_joined(world: World) -> None:
    assert two(world, BUSY).lines[2] == Line(SUCCESS, 0, 4.5, 2)


def test_old_news_lead_to_a_queue_that_has_grown_since(world: World) -> None:
    assert two(world, BUSY, news_s=0.5).lines[2] == Line(SUCCESS, 0, 4.5, 2)
    assert two(world, BUSY, news_s=0.6).lines[2] == Line(SUCCESS, 1.5, 6, 2, 2)


def test_news_of_the_moment_of_an_arrival_include_it(world: World) -> None:
    # At 6 s the first of the other node's requests has come, at 6.5 s its second.
    requests = [(5, 1, 0, 3), (6, 0, 0, 1), (6.5, 0, 0, 4), (7, 1, 0, 1)]
    # At home 4 s are left; there 1.5 s by news of 6.5 s for the first and 8 for the second.
    assert two(world, requests, news_s=0.5).lines[3] == Line(SUCCESS, 0, 4, 2)


def test_an_origin_remembers_what_it_has_sent_itself(world: World) -> None:
    where = choosing(3, news_s=5.0)
    requests = [(5, 2, 0, 4), (5.5, 2, 0, 1), (6, 1, 0, 1)]
    played = play(world, where, requests, CORES, 3, weighing(where, 1.0, 1.0, 0.0))
    # The first to 0, as that is the lowest; the second to 1, since 8 s of work are on their way to 0.
    assert played.targets == [0, 1, 1]


@pytest.mark.parametrize("at", [7.4, 7.5, 8.0])
@pytest.mark.parametrize(("weight", "target"), [(0.6, 0), (0.8, 1)])
def test_what_an_origin_sent_counts_once(world: World, at: float, weight: float, target: int) -> None:
    where = choosing(3, news_s=2.0)
    # The first joins at 5.5 s. The second would be back after 7.5 to 8 s, or from the idle node after 5.5 s by weight.
    requests = [(3, 2, 0, 3), (at, 2, 0, 1)]
    played = play(world, where, requests, CORES, 3, weighing(where, 1.0, weight, 0.0))
    assert played.targets == [0, target]


@pytest.mark.parametrize(("at", "target"), [(8.5, 1), (9.5, 0)])
def test_what_an_origin_sent_counts_until_it_joins_or_leaves(world: World, at: float, target: int) -> None:
    where = choosing(3, tau=4.0)
    # The first is 5 s on its way, and gone at 9 s.
    requests = [(5, 2, 0, 8), (at, 2, 0, 1)]
    assert play(world, where, requests, CORES, 2, weighing(where, 1.0, 1.0, 0.0)).targets == [0, target]


def test_where_nobody_has_a_pod_the_largest_weight_decides(world: World) -> None:
    where = choosing(3, tau=4.0)
    for weights, target in (((1.0, 1.0, 0.0), 1), ((2.0, 1.0, 9.0), 2), ((1.0, 0.5, 1.0), 0)):
        played = play(world, where, [(1, 1, 0, 2)], {}, 1, weighing(where, *weights))
        assert played.targets == [target]


def test_a_pod_that_starts_is_preferred_to_none(world: World) -> None:
    where = choosing(2)
    played = play(world, where, [(1, 1, 0, 1)], {0: [CORE]}, 1, weighing(where, 1.0, 9.0))
    assert played.lines == [Line(SUCCESS, 1.5, 0.5, 2, 2)]


@pytest.mark.parametrize(("at", "line"), [(14.4, THERE), (14.5, Line(SUCCESS, 0, 4.5, 1))])
def test_what_was_interrupted_waits_for_the_pod_that_starts(world: World, at: float, line: Line) -> None:
    where = choosing(2)
    deployments = {(0, 0): [CORE], (0, 1): [CORE], (1, 0): [TWO_CORES]}
    requests = [(5, 0, 0, 4), (at, 0, 0, 1)]
    # Stopped at 10 s with two prompts to go, READY again at 17 s, with 1 s a prompt: free at 19 s, back at 20 s.
    played = play(world, where, requests, deployments, 3, weighing(where, 1.0, 1.0))
    assert played.lines == [Line(SUCCESS, 0, 7, 7, interruptions=1), line]


@pytest.mark.parametrize(("weight", "target"), [(0.3, 0), (0.3125, 1)])
def test_what_a_pod_had_in_hand_that_has_stopped_since_counts_whole(world: World, weight: float, target: int) -> None:
    where = choosing(2, news_s=6.0)
    deployments = {(0, 0): [CORE], (0, 1): [CORE], (1, 0): [TWO_CORES]}
    # By news of 9.5 s two prompts are left, half a second of work done on one of them. The new pod is READY at 17 s:
    # free at 19 s, back at 22 s, 6.5 s after the arrival; at home 2 s by weight.
    requests = [(5, 0, 0, 4), (15.5, 1, 0, 1)]
    played = play(world, where, requests, deployments, 3, weighing(where, 1.0, weight))
    assert played.targets == [0, target]


@pytest.mark.parametrize(("at", "target"), [(3.79624, 1), (3.79625, 0)])
def test_what_is_left_counts_at_the_pace_without_neighbours(world: World, at: float, target: int) -> None:
    where = replace(cluster(gpu_node(1, 2), gpu_node(1, 2), lms=2), serving=Serving(Dispatch.ARRIVAL))
    requests = [(3, 0, 0, 2), (3, 0, 1, 1), (at, 0, 0, 1)]
    # 2.38875 of 3.185 s are three quarters of 2 s; with the second prompt 3.5 s.
    played = play(world, where, requests, {(0, 0): [VGPU, VGPU], (0, 1): [VGPU]}, 3, weighing(where, 1.0, 1.0))
    assert played.targets == [0, 0, target]
