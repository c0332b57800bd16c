"""Answers of a scheduler where origins choose: what is read from them, and the sentences about what cannot be read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.constraints import check_routing
from domain.decisions import MacroPolicy, RoutingPlan
from domain.ledger import Reason
from domain.serving import Dispatch
from graph.gate.answers import AnswerError, parse_routing, schema_for_routing
from graph.slot.open_plans import by_roles, by_shares
from tests.clusters import all_alike, as_text, opened, scheduler_answer, tiny
from twin.testbeds import generate_testbed, load_builtin

OPEN = opened(tiny())
CHAT, DRAW = {"north": 1}, {"south": 1}


def cluster_of(name: str) -> Cluster:
    made = {"tiny": tiny(), "bristol": load_builtin("bristol"), "generated": generate_testbed(40, seed=5)}
    return opened(made[name], Dispatch.SPLIT)


def entry(origin: Any = "*", **nodes: Any) -> dict[str, Any]:
    return {"origin": origin, "nodes": {"chat": CHAT, "draw": DRAW, **nodes}}


def said(routes: Any, cluster: Cluster = OPEN) -> tuple[Reason, list[str]]:
    with pytest.raises(AnswerError) as caught:
        parse_routing(cluster, json.dumps({"routes": routes}))
    return caught.value.reason, list(caught.value.violations)


def read(routes: Any) -> RoutingPlan:
    return parse_routing(OPEN, json.dumps({"reasoning": "", "routes": routes}))


@pytest.mark.parametrize("name", ["tiny", "bristol", "generated"])
def test_an_open_plan_reads_back_as_it_was_written(name: str) -> None:
    cluster = cluster_of(name)
    weights = np.random.default_rng(1).uniform(0.1, 2.0, (1, cluster.n_lms, cluster.n_nodes)) * cluster.feasible.T
    plan = RoutingPlan.open(weights)
    found = parse_routing(cluster, as_text(scheduler_answer(cluster, plan)))
    np.testing.assert_array_equal(found.weights, weights)
    np.testing.assert_array_equal(found.targets, plan.targets)
    assert check_routing(cluster, found) == []


def test_an_entry_of_an_origin_takes_the_place_of_the_one_for_all() -> None:
    own = entry("south", chat={"south": 2, "north": 0.5})
    for routes in ([entry(), own], [own, entry()]):
        plan = read(routes)
        assert plan.weights is not None
        assert plan.weights[:, 0].tolist() == [[1.0, 0.0], [0.5, 2.0]]
        assert plan.targets[:, 0].tolist() == [0, 1]
    assert not read([entry("north"), own]).differing(plan).any()


def test_a_node_that_is_left_out_is_not_used() -> None:
    assert not read([entry(chat={"north": 1, "south": 0.0})]).differing(read([entry()])).any()


def test_an_lm_without_a_node_is_read_and_left_to_the_rules() -> None:
    plan = read([entry(chat={"south": 0})])
    (violation,) = check_routing(OPEN, plan)
    assert str(violation).startswith("* -> chat may go nowhere")


@pytest.mark.parametrize(
    ("routes", "sentences"),
    [
        ({"*": {}}, ['"routes" must be a list, not an object.']),
        ([], ['"routes" has no origin; give an entry with the origin "*", which stands for all others.']),
        (
            [entry("north")],
            ['"routes" has no "south"; give an entry with the origin "*", which stands for all others.'],
        ),
        ([entry(), "north"], ['Each entry of "routes" must be an object with "origin" and "nodes" alone.']),
        ([entry(), entry("west")], ['"west" in "routes" is no node; use "*", "north", "south".']),
        ([entry(), entry(3)], ['The origin of an entry of "routes" must be a node name or "*", not a number.']),
        ([entry(), entry()], ['The origin "*" stands twice in "routes"; give it one entry.']),
        (
            [{"origin": "*", "nodes": []}],
            ['"nodes" of "*" must be an object of LM names and nodes, not a list.'],
        ),
        (
            [{"origin": "*", "nodes": {"paint": CHAT}}],
            [
                '"paint" in "nodes" of "*" is no LM; use "chat", "draw".',
                '"nodes" of "*" has no "chat", "draw"; give the nodes of each LM.',
            ],
        ),
        (
            [entry(chat=["north"])],
            ['The nodes of "chat" from "*" must be an object of node names and weights, not a list.'],
        ),
        ([entry(chat={"west": 1})], ['"west" in the nodes of "chat" from "*" is no node; use "north", "south".']),
        (
            [entry(chat={"north": True})],
            ['The weight of "north" for "chat" from "*" must be a number, not true.'],
        ),
        (
            [entry(chat={"north": None})],
            ['The weight of "north" for "chat" from "*" must be a number, not null.'],
        ),
    ],
)
def test_mistakes_of_form_get_their_sentences(routes: Any, sentences: list[str]) -> None:
    assert said(routes) == (Reason.SCHEMA, sentences)


@pytest.mark.parametrize("weight", [-1, 1000.5, 10**19, 1e308])
def test_a_weight_beyond_its_bounds_is_read_and_left_to_the_rules(weight: float) -> None:
    (violation,) = check_routing(OPEN, read([entry(chat={"north": weight, "south": 1})]))
    assert (
        str(violation) == f"The weight of north for chat is {weight:g}; use a number from 0, for not at all, to 1000."
    )


def test_each_way_to_dispatch_reads_its_own_form_alone() -> None:
    fixed = {node: {"chat": "south", "draw": "south"} for node in ("north", "south")}
    assert said(fixed)[0] is Reason.SCHEMA
    assert said([entry()], tiny()) == (Reason.SCHEMA, ['"routes" must be an object, not a list.'])
    assert not parse_routing(tiny(), json.dumps({"routes": fixed})).is_open


def test_on_a_large_cluster_all_origins_are_told_the_same() -> None:
    cluster = cluster_of("generated")
    every = all_alike(
        {lm.name: [cluster.nodes[int(cluster.feasible[:, i].argmax())].name] for i, lm in enumerate(cluster.lms)}
    )
    (only,) = every["routes"]
    plan = parse_routing(cluster, json.dumps(every))
    assert plan.weights is not None
    assert plan.weights.shape == (1, cluster.n_lms, 40)
    assert list(plan.to_json(cluster)) == ["*"]
    own = {**only, "origin": cluster.nodes[3].name}
    sentence = f'"{own["origin"]}" in "routes" is no origin of its own; use "*".'
    assert said([only, own], cluster) == (Reason.SCHEMA, [sentence])
    assert schema_for_routing(cluster)["properties"]["routes"]["items"]["properties"]["origin"]["enum"] == ["*"]


# Plans that follow from a macro-policy


def test_plans_of_a_macro_policy_allow_its_roles_or_its_shares_all_alike() -> None:
    cluster = OPEN
    roles = np.array([[True, False], [True, True]])
    policy = MacroPolicy(np.array([[0.3, 0.0], [0.0, 1.0]]), roles)
    assert by_roles(cluster, policy).weights.tolist() == [[[1.0, 1.0], [0.0, 1.0]]]  # type: ignore[union-attr]  # it is open
    assert by_shares(cluster, policy).weights.tolist() == [[[1.0, 0.0], [0.0, 1.0]]]  # type: ignore[union-attr]  # it is open
    nobody = MacroPolicy(np.zeros((2, 2)), np.zeros((2, 2), dtype=np.bool_))
    for plan in (by_roles(cluster, nobody), by_shares(cluster, nobody)):
        assert plan.weights is not None
        assert plan.weights.tolist() == [[[1.0, 1.0], [0.0, 1.0]]]
