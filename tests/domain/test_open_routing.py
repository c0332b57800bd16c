"""Open routing plans: what they must keep to, and when two plans are the same."""

import dataclasses

import numpy as np
import pytest

from domain.constraints import Rule, check_routing
from domain.decisions import NOWHERE, RoutingPlan
from domain.serving import Batching, Dispatch, Serving
from tests.clusters import opened, tiny

OPEN = opened(tiny())
ALL = np.array([[[1.0, 1.0], [0.0, 1.0]]])  # chat on both nodes, draw in the south
ROLES = np.array([[True, False], [True, True]])


def broken(weights: np.ndarray, roles: np.ndarray | None = ROLES, local: bool = False) -> list[tuple[Rule, str]]:
    found = check_routing(OPEN, RoutingPlan.open(weights), roles, local)
    return [(violation.rule, str(violation)) for violation in found]


def test_an_open_plan_for_all_origins_or_for_each_is_sound() -> None:
    assert broken(ALL) == []
    assert broken(np.repeat(ALL, 2, axis=0)) == []
    assert broken(ALL * 1000.0) == []
    assert broken(ALL * 1e-9) == []


@pytest.mark.parametrize(
    ("i", "n", "weight", "rule", "sentence"),
    [
        (
            0,
            0,
            np.nan,
            Rule.WEIGHT,
            "The weight of north for chat is nan; use a number from 0, for not at all, to 1000.",
        ),
        (
            0,
            1,
            -0.5,
            Rule.WEIGHT,
            "The weight of south for chat is -0.5; use a number from 0, for not at all, to 1000.",
        ),
        (
            0,
            1,
            np.inf,
            Rule.WEIGHT,
            "The weight of south for chat is inf; use a number from 0, for not at all, to 1000.",
        ),
        (
            0,
            1,
            1001.0,
            Rule.WEIGHT,
            "The weight of south for chat is 1001; use a number from 0, for not at all, to 1000.",
        ),
        (1, 0, 1.0, Rule.GPU_ONLY, "draw runs on vGPUs only and north has none; leave it out of the nodes of draw."),
        (1, 1, 0.0, Rule.FEASIBLE, "* -> draw may go nowhere though some node can serve draw; allow at least one"),
    ],
)
def test_each_rule_of_an_open_plan_has_its_sentence(i: int, n: int, weight: float, rule: Rule, sentence: str) -> None:
    weights = ALL.copy()
    weights[0, i, n] = weight
    ((found, said),) = broken(weights)
    assert found is rule
    assert said.startswith(sentence)


def test_a_node_without_the_role_is_left_out_unless_nobody_has_it() -> None:
    roles = np.array([[False, False], [True, True]])
    sentence = "chat is not among the roles of north; leave it out of the nodes of chat."
    assert broken(ALL, roles) == [(Rule.ROLE, sentence)]
    roles[:, 0] = False
    assert broken(ALL, roles) == []
    assert broken(ALL, None) == []


def test_a_node_that_is_not_for_an_lm_is_named_once_whatever_the_number_of_origins() -> None:
    assert [rule for rule, _ in broken(np.ones((2, 2, 2)))] == [Rule.GPU_ONLY]


def test_an_origin_that_may_use_nobody_is_named() -> None:
    weights = np.repeat(ALL, 2, axis=0)
    weights[1, 0] = 0.0
    ((rule, said),) = broken(weights)
    assert rule is Rule.FEASIBLE
    assert said.startswith("south -> chat may go nowhere")


def test_a_plan_that_nobody_can_serve_may_lead_nowhere() -> None:
    lms = (OPEN.lms[0], dataclasses.replace(OPEN.lms[1], ram_gb=99.0))
    cluster = dataclasses.replace(OPEN, lms=lms)
    assert check_routing(cluster, RoutingPlan.open(np.array([[[1.0, 1.0], [0.0, 0.0]]]))) == []


def test_a_request_may_stay_where_it_came_where_routing_is_local() -> None:
    weights = np.repeat(ALL, 2, axis=0)
    weights[0, 1] = (1.0, 0.0)
    assert [rule for rule, _ in broken(weights)] == [Rule.GPU_ONLY]
    assert broken(weights, local=True) == []


def test_an_open_plan_needs_a_cluster_whose_origins_choose_and_weights_for_each_node() -> None:
    (violation,) = check_routing(tiny(), RoutingPlan.open(ALL))
    assert violation.rule is Rule.SHAPE
    assert "Requests go to fixed targets here" in str(violation)
    plan = RoutingPlan(np.zeros((2, 2), dtype=np.int64), np.ones((3, 2, 2)))
    (violation,) = check_routing(OPEN, plan)
    assert str(violation) == "The weights of the routing plan must have shape (2, 2, 2) or (1, 2, 2)."


def test_a_fixed_plan_is_in_order_where_origins_choose() -> None:
    assert check_routing(OPEN, RoutingPlan(np.ones((2, 2), dtype=np.int64)), ROLES) == []


# When two plans are the same


def test_open_plans_differ_where_their_weights_do() -> None:
    plan, other = RoutingPlan.open(ALL), ALL.copy()
    assert not plan.differing(RoutingPlan.open(np.repeat(ALL, 2, axis=0))).any()
    other[0, 0, 0] = 0.5  # the target of the largest weight may stay the same
    assert plan.differing(RoutingPlan.open(other)).tolist() == [[True, False], [True, False]]


def test_an_open_plan_is_no_fixed_one_and_fixed_ones_differ_by_target() -> None:
    plan, fixed = RoutingPlan.open(ALL), RoutingPlan(np.array([[0, 1], [1, 1]]))
    assert fixed.targets.tolist() == plan.targets.tolist()
    assert plan.differing(fixed).all()
    assert fixed.differing(plan).all()
    other = RoutingPlan(np.array([[0, 1], [0, NOWHERE]]))
    assert fixed.differing(other).tolist() == [[False, False], [True, True]]
    assert other.differing(None).tolist() == [[True, True], [True, False]]
    assert plan.differing(None).all()


# What epochs must share to compare


@pytest.mark.parametrize(
    ("serving", "setting"),
    [
        (Serving(), "tiny"),
        (Serving(Dispatch.ARRIVAL), "tiny (dispatch arrival)"),
        (
            Serving(Dispatch.SPLIT, 2.0, Batching.QUEUE, copies=True),
            "tiny (dispatch split, news 2 s old, batching queue, copies)",
        ),
    ],
)
def test_the_setting_of_a_cluster_says_what_is_not_p1s_way(serving: Serving, setting: str) -> None:
    assert tiny(serving=serving).setting == setting
