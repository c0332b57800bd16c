"""What a testbed may hold and nobody means is said in a sentence."""

import dataclasses

import pytest

from domain.cluster import Node
from domain.warnings import most_prompts, warnings_of
from tests.clusters import CHAT, tiny
from tests.memory_nodes import alone, box, lm


def test_a_deadline_that_the_fastest_node_cannot_meet_is_said_of_each_lm_with_what_would_help() -> None:
    assert warnings_of(tiny(deadline_s=1.0)) == [
        "No node can serve draw within the deadline of 1 s: the fastest, south, takes 5 s for one prompt. "
        "No request of draw can succeed; raise deadline_s, or give draw faster hardware."
    ]
    assert [sentence[:32] for sentence in warnings_of(tiny(deadline_s=0.5))] == [
        "No node can serve chat within th",
        "No node can serve draw within th",
    ]


def test_a_deadline_that_one_prompt_meets_exactly_is_no_matter_for_a_warning() -> None:
    assert warnings_of(tiny(deadline_s=5.0)) == []


def test_a_node_that_is_too_slow_is_no_matter_where_another_is_fast_enough() -> None:
    slow = dataclasses.replace(CHAT, gpu_profiles={"G": dataclasses.replace(CHAT.gpu_profiles["G"], fixed_s=99.0)})
    assert warnings_of(tiny(lms=(slow,), deadline_s=3.0)) == []


@pytest.mark.parametrize(("deadline_s", "expected"), [(900.0, [1500, 180]), (5.0, [8, 1]), (4.9, [8, 0])])
def test_the_prompts_that_a_request_can_have_follow_from_the_fastest_node(
    deadline_s: float, expected: list[int]
) -> None:
    assert most_prompts(tiny(deadline_s=deadline_s)).tolist() == expected


def test_an_lm_that_runs_nowhere_can_have_no_prompts_and_needs_no_word_about_its_speed() -> None:
    nowhere = dataclasses.replace(CHAT, ram_gb=99.0)
    assert most_prompts(tiny(lms=(nowhere,))).tolist() == [0]
    assert warnings_of(tiny(lms=(nowhere,))) == []


def test_cores_that_are_lost_by_giving_whole_ones_are_said_for_nodes_alike_at_once() -> None:
    cluster = tiny()
    north, south = cluster.nodes

    def spare(node: Node, whole: int, cores: float, *names: str) -> list[Node]:
        return [dataclasses.replace(node, name=name, cpu_cores=whole, spare_cores=cores) for name in names]

    nodes = [*spare(north, 3, 0.92, "a"), *spare(north, 7, 0.5, "b", "c"), *spare(south, 1, 0.25, *"defgh"), south]
    assert warnings_of(tiny(nodes=tuple(nodes))) == [
        "LMs get whole cores: of the 3.92 cores of a 0.92 stay unused.",
        "LMs get whole cores: of the 7.5 cores of each of b and c 0.5 stay unused.",
        "LMs get whole cores: of the 1.25 cores of each of d, e, f and 2 more 0.25 stay unused.",
    ]
    assert warnings_of(tiny(nodes=(*spare(north, 0, 0.5, "a"), south))) == [
        "LMs get whole cores: of the 0.5 cores of a 0.5 stay unused. "
        "Nothing runs on its CPU; what arrives there is served elsewhere."
    ]


def test_gpus_that_are_too_small_for_every_lm_are_said() -> None:
    own, shared = box(1, 2.0), box(1, 0.0, ram_gb=8.0, vram_gb=0.0, unified_memory=True)
    assert warnings_of(alone(own, (lm("chat", 3.0),))) == [
        "Nothing runs on the GPUs of box, since no LM that could fits there."
    ]
    assert warnings_of(alone(shared, (lm("chat", 5.0, ram_gb=5.0),))) == [
        "Nothing runs on the GPUs of box, since no LM that could fits there: of a memory that CPU and GPUs share, "
        "an LM takes unified_gb, or ram_gb and vram_gb in sum."
    ]
    assert warnings_of(alone(shared, (lm("chat", 5.0, ram_gb=5.0, unified_gb=5.5), lm("other", 9.0)))) == []
