"""Requests whose prompts go to several nodes (docs/twin.md, Parts), in cases worked out by hand.

k prompts take 2 k s at home, and 2 + 3.5 k s at the other node, so that six of them are dealt as four and two.
"""

from __future__ import annotations

from domain.cluster import Cluster
from domain.decisions import OFF
from domain.serving import Dispatch, Serving
from domain.telemetry import Outcome
from tests.oracle.hand import CORE, NODE, WORLDS, Line, World, cluster, play, weighing

pytestmark = WORLDS
SUCCESS, LATE = Outcome.SUCCESS, Outcome.LATE
EXPIRED_WAITING, EXPIRED_RUNNING = Outcome.EXPIRED_WAITING, Outcome.EXPIRED_RUNNING
CORES = {(0, 0): [CORE], (0, 1): [CORE]}


def splitting(nodes: int = 2, tau: float = 100.0) -> Cluster:
    return cluster(*[NODE] * nodes, tau=tau, serving=Serving(Dispatch.SPLIT))


def test_prompts_are_dealt_one_after_the_other(world: World) -> None:
    where = splitting()
    played = play(world, where, [(5, 0, 0, 5)], CORES, 2, weighing(where, 1.0, 1.0))
    # Four at home, 8 s; one at the other node, back after 5.5 s.
    assert (played.lines, played.targets) == ([Line(SUCCESS, 0, 0, 8)], [0])
    assert played.after(0).backlog_prompts.tolist() == [[2], [0]]


def test_the_record_tells_of_the_part_that_is_back_last(world: World) -> None:
    where = splitting()
    played = play(world, where, [(5, 0, 0, 6)], CORES, 2, weighing(where, 1.0, 1.0))
    assert (played.lines, played.targets) == ([Line(SUCCESS, 2, 0, 4, 3)], [1])
    # Handed out as the part at home ends, at 13 s.
    assert played.ended == [[], [0]]
    assert played.history.records[1].prompts.tolist() == [6]


def test_a_part_that_is_back_too_late_makes_the_request_late(world: World) -> None:
    where = splitting(tau=8.5)
    played = play(world, where, [(5, 0, 0, 6)], CORES, 2, weighing(where, 1.0, 1.0))
    assert played.lines == [Line(LATE, 2, 0, 4, 3)]


def test_of_parts_that_are_back_at_once_the_lowest_node_is_told(world: World) -> None:
    where = splitting(3)
    pods = {**CORES, (0, 2): [CORE]}
    played = play(world, where, [(5, 0, 0, 2)], pods, 2, weighing(where, 0.0, 1.0, 1.0))
    assert (played.lines, played.targets) == ([Line(SUCCESS, 1.5, 0, 2, 2)], [1])


def test_parts_are_seen_as_requests_at_their_nodes(world: World) -> None:
    where = splitting()
    played = play(world, where, [(5, 0, 0, 6)], CORES, 2, weighing(where, 1.0, 1.0))
    seen = played.after(0)
    assert seen.backlog_prompts.tolist() == [[2], [1]]
    assert seen.backlog_requests.tolist() == [[1], [1]]
    assert [seen.arrived_requests.tolist(), seen.arrived_prompts.tolist()] == [[[1], [0]], [[6], [0]]]
    assert played.history.waiting == [0, 1, 0]


def test_a_part_that_expires_makes_the_request_expire(world: World) -> None:
    where = splitting(tau=7.0)
    played = play(world, where, [(5, 0, 0, 6)], CORES, 2, weighing(where, 1.0, 1.0))
    # Two prompts are finished at 11 s, the four at home are not at 12 s.
    assert (played.lines, played.targets) == ([Line(EXPIRED_RUNNING, 0, 0, 7)], [0])


def test_of_parts_that_expire_the_one_with_the_most_inference_is_told(world: World) -> None:
    where = splitting(tau=5.0)
    played = play(world, where, [(5, 0, 0, 6)], CORES, 2, weighing(where, 1.0, 1.0))
    assert (played.lines, played.targets) == ([Line(EXPIRED_RUNNING, 0, 0, 5)], [0])
    assert played.ended == [[0], []]


def test_work_on_a_part_that_finished_counts_for_one_that_expires(world: World) -> None:
    where = splitting(tau=9.0)
    played = play(world, where, [(8.2, 0, 0, 6)], {**CORES, (1, 1): [OFF]}, 2, weighing(where, 1.0, 1.0))
    # The two prompts for the other node find no pod when they come at 10.2 s.
    assert (played.lines, played.targets) == ([Line(EXPIRED_RUNNING, 2, 7, 0)], [1])


def test_parts_that_nobody_worked_on_expired_waiting(world: World) -> None:
    where = splitting(tau=1.5)
    played = play(world, where, [(1, 0, 0, 6)], CORES, 1, weighing(where, 1.0, 1.0))
    # At home till 2.5 s; the other part is on its uplink then, with as little inference.
    assert (played.lines, played.targets) == ([Line(EXPIRED_WAITING, 0, 1.5, 0)], [0])


def test_interruptions_of_parts_add_up(world: World) -> None:
    where = splitting()
    deployments = {**CORES, (1, 0): [OFF], (1, 1): [OFF], (2, 0): [CORE], (2, 1): [CORE]}
    played = play(world, where, [(5, 0, 0, 6)], deployments, 3, weighing(where, 1.0, 1.0))
    # Stopped at 10 s, a second after each began another prompt. READY at 23 s: back at 27 s, and at 25 + 3 s.
    assert played.lines == [Line(SUCCESS, 2, 13, 5, 3, interruptions=2)]


def test_a_request_is_not_split_where_nobody_has_a_pod(world: World) -> None:
    where = splitting(tau=4.0)
    played = play(world, where, [(1, 1, 0, 2)], {}, 1, weighing(where, 2.0, 1.0))
    assert (played.lines, played.targets) == ([Line(EXPIRED_WAITING, 2, 2, 0)], [0])
