"""Answers of models: what is read from them, and the sentences about what cannot be read."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.constraints import Rule, check_deployment, check_macro_policy, check_routing
from domain.decisions import OFF, Allocation
from domain.ledger import Reason
from graph.gate.answers import (
    AnswerError,
    parse_deployment,
    parse_macro_policy,
    parse_routing,
    strict_json,
)
from policies.random import RandomDeployer, RandomPlanner, RandomScheduler
from tests.clusters import as_text, deployer_answer, planner_answer, quiet, scheduler_answer, tiny
from twin.testbeds import generate_testbed, load_builtin

BRISTOL = load_builtin("bristol")
TOLERANCE = 1e-3


def said(read: Callable[[], object]) -> tuple[Reason, list[str]]:
    with pytest.raises(AnswerError) as caught:
        read()
    return caught.value.reason, list(caught.value.violations)


# Text to JSON


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, 2.5]}',
        '\n {"a": [1, 2.5]} \n',
        '```json\n{"a": [1, 2.5]}\n```',
        '```\n{"a": [1, 2.5]}\n```\n',
        '```JSON {"a": [1, 2.5]}```',
        '<think>\nTwo nodes {t1, d1}, one model.\n</think>\n\n{"a": [1, 2.5]}',
        'Two nodes [t1, d1], one model.\n</think>\n{"a": [1, 2.5]}',
        'Here is the decision:\n\n```json\n{"a": [1, 2.5]}\n```\nLet me know if you need anything else!',
        'Sure. {"a": [1, 2.5]}</s>',
    ],
)
def test_one_object_is_read_with_or_without_thoughts_words_or_a_fence_around_it(text: str) -> None:
    assert strict_json(text) == {"a": [1, 2.5]}


@pytest.mark.parametrize(
    "text",
    [
        'Either {"a": 1} or {"a": 2}',
        '{"a": 1} {"b": 2}',
        'The set {north, south}: {"a": 1}',
        '{"reasoning": "no end, "routing": {"a": 1}',
        'Here you are: [{"a": 1}]',
        'Here you are: {"a": 1}, ["b"]',
        '<think>Perhaps {"a": 1}',
        "<think>Perhaps</think> I would rather not.",
    ],
)
def test_text_that_leaves_a_doubt_which_object_is_the_answer_is_not_read(text: str) -> None:
    assert said(lambda: strict_json(text))[0] == Reason.INVALID_JSON


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The answer is empty; answer with the JSON object that was asked for."),
        ("```json\n```", "The answer is empty; answer with the JSON object that was asked for."),
        (
            '{"a": {"b": 1}',
            "The answer breaks off before the JSON object is complete (line 1, column 15); keep it short and close it.",
        ),
        (
            '{"a": "b',
            "The answer breaks off before the JSON object is complete (line 1, column 7); keep it short and close it.",
        ),
        (
            '{"a": 1}\nor {"a": 2}.',
            "Something follows the JSON object at line 2, column 1; answer with the JSON object alone.",
        ),
        (
            "I would rather not.",
            "The answer is no valid JSON: Expecting value at line 1, column 1; "
            "answer with one JSON object and nothing else.",
        ),
        (
            "{'a': 1}",
            "The answer is no valid JSON: Expecting property name enclosed in double quotes at line 1, column 2; "
            "answer with one JSON object and nothing else.",
        ),
        (
            '```json\n{"a": 1}\n```\n```json\n{"a": 1}\n```',
            "Something follows the JSON object at line 2, column 1; answer with the JSON object alone.",
        ),
        ('{"a": {"b": 1, "b": 1}}', 'The key "b" stands twice in one object; give it once.'),
        ('{"a": NaN}', "NaN is no number in JSON; use an ordinary number."),
        ('{"a": [-Infinity]}', "-Infinity is no number in JSON; use an ordinary number."),
        ('{"a": 1e999}', "The number 1e999 is too large; use ordinary numbers."),
        ('{"a": ' + "7" * 5000 + "}", f"The number {'7' * 20}… has 5000 digits; use ordinary numbers."),
        (
            '{"a":' * 30_000,
            "The answer is nested too deeply; use the form that was asked for.",
        ),
        (
            '{"a": "\ud800"}',
            "The answer has half of a surrogate pair at character 7; use whole characters only.",
        ),
        (
            '{"a": "' + "x" * 262_144 + '"}',
            "The answer is longer than 256 KiB; answer with the JSON object alone, and short.",
        ),
        (
            '{"a": "' + "é" * 131_072 + '"}',
            "The answer is longer than 256 KiB; answer with the JSON object alone, and short.",
        ),
    ],
)
def test_text_that_is_no_object_gets_a_sentence(text: str, sentence: str) -> None:
    assert said(lambda: strict_json(text)) == (Reason.INVALID_JSON, [sentence])


@pytest.mark.parametrize(("text", "kind"), [("[]", "a list"), ('"a"', "a text"), ("1", "a number"), ("null", "null")])
def test_json_that_is_no_object_breaks_the_schema(text: str, kind: str) -> None:
    assert said(lambda: strict_json(text)) == (Reason.SCHEMA, [f"The answer must be a JSON object, not {kind}."])


# Sound answers


@pytest.fixture(params=["tiny", "bristol", "generated"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    return {"tiny": tiny(), "bristol": BRISTOL, "generated": generate_testbed(12, seed=5)}[request.param]


def test_a_macro_policy_reads_back_as_it_was_written(cluster: Cluster) -> None:
    policy = RandomPlanner(cluster).plan(quiet(cluster), (), np.random.default_rng(1))
    found, normalised = parse_macro_policy(cluster, as_text(planner_answer(cluster, policy)), TOLERANCE)
    np.testing.assert_allclose(found.probabilities, policy.probabilities, atol=1e-12)
    np.testing.assert_array_equal(found.roles, policy.roles)
    assert not normalised
    assert check_macro_policy(cluster, found) == []


def test_a_routing_plan_reads_back_as_it_was_written(cluster: Cluster) -> None:
    rng, snapshot = np.random.default_rng(2), quiet(cluster)
    policy = RandomPlanner(cluster).plan(snapshot, (), rng)
    plan = RandomScheduler(cluster).schedule(snapshot, policy, rng)
    found = parse_routing(cluster, as_text(scheduler_answer(cluster, plan)))
    np.testing.assert_array_equal(found.targets, plan.targets)
    assert check_routing(cluster, found, policy.roles) == []


def test_deployments_read_back_as_they_were_written(cluster: Cluster) -> None:
    rng, snapshot = np.random.default_rng(3), quiet(cluster)
    policy = RandomPlanner(cluster).plan(snapshot, (), rng)
    for n in range(cluster.n_nodes):
        deployment = RandomDeployer(cluster).deploy(snapshot, n, policy, rng)
        assert deployment is not None
        assert parse_deployment(cluster, n, as_text(deployer_answer(cluster, deployment))) == deployment


def test_what_leaves_no_doubt_may_be_left_out() -> None:
    cluster = tiny()
    policy, _ = parse_macro_policy(
        cluster,
        '{"routing": {"chat": {"north": 1}, "draw": {"south": 1}}, "roles": {"north": ["chat"], "south": ["draw"]}}',
        TOLERANCE,
    )
    assert check_macro_policy(cluster, policy) == []
    deployment = parse_deployment(cluster, 1, '{"deployment": {"chat": {"mode": "off"}, "draw": {"mode": "off"}}}')
    assert deployment.allocations == (OFF, OFF)


def test_an_lm_that_the_node_cannot_run_need_not_be_named() -> None:
    cluster = tiny()
    answer = '{"reasoning": "", "deployment": {"chat": {"mode": "cpu", "amount": 4.0}}}'
    assert parse_deployment(cluster, 0, answer).allocations == (Allocation(cores=4), OFF)


# Shares


def shares_of(cluster: Cluster, north: float, south: float) -> str:
    return json.dumps(
        {
            "reasoning": "",
            "routing": {"chat": {"north": north, "south": south}, "draw": {"south": 1.0}},
            "roles": {"north": ["chat"], "south": ["chat", "draw"]},
        }
    )


@pytest.mark.parametrize(("north", "south"), [(0.5, 0.4995), (0.7, 0.3009), (2 / 3, 0.333)])
def test_shares_within_the_tolerance_are_scaled_and_said_to_be(north: float, south: float) -> None:
    cluster = tiny()
    policy, normalised = parse_macro_policy(cluster, shares_of(cluster, north, south), TOLERANCE)
    assert normalised
    assert abs(policy.probabilities[0].sum() - 1) < 1e-15
    assert policy.probabilities[0, 0] / policy.probabilities[0, 1] == pytest.approx(north / south)
    assert check_macro_policy(cluster, policy) == []


def test_rounding_alone_is_not_called_scaling() -> None:
    cluster = tiny()
    policy, normalised = parse_macro_policy(cluster, shares_of(cluster, 1 / 3, 0.66666666666), TOLERANCE)
    assert not normalised
    assert check_macro_policy(cluster, policy) == []


@pytest.mark.parametrize(
    ("north", "south", "rule"),
    [
        (0.5, 0.49, Rule.SUM_TO_ONE),
        (0.0, 0.0, Rule.SUM_TO_ONE),
        (1.5, -0.5, Rule.PROBABILITY),
        (-1000000, 1000000, Rule.PROBABILITY),
    ],
)
def test_shares_beyond_the_tolerance_are_left_for_the_rules_to_refuse(north: float, south: float, rule: Rule) -> None:
    cluster = tiny()
    policy, normalised = parse_macro_policy(cluster, shares_of(cluster, north, south), TOLERANCE)
    assert not normalised
    assert policy.probabilities[0].tolist() == [north, south]
    assert {violation.rule for violation in check_macro_policy(cluster, policy)} == {rule}


def test_a_share_beyond_all_reason_is_refused_at_once() -> None:
    cluster = tiny()
    assert said(lambda: parse_macro_policy(cluster, shares_of(cluster, 1e308, 1e308), TOLERANCE)) == (
        Reason.VIOLATION,
        [
            'The share of "chat" on "north" is 1e+308; use a number from 0 to 1.',
            'The share of "chat" on "south" is 1e+308; use a number from 0 to 1.',
        ],
    )


# Mistakes of form


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("{}", ['The answer has no "routing"; it must be there.', 'The answer has no "roles"; it must be there.']),
        (
            '{"reasoning": 1, "routing": [], "roles": {}, "note": ""}',
            [
                'The key "note" is not part of the answer; use "reasoning", "routing", "roles".',
                '"reasoning" must be a text, not a number.',
                '"routing" must be an object, not a list.',
            ],
        ),
        (
            '{"routing": {"chat": {"north": "1", "west": 1}, "paint": {}},'
            ' "roles": {"north": "chat", "south": [1, "x"]}}',
            [
                'The share of "chat" on "north" must be a number, not a text.',
                '"west" in "routing" of "chat" is no node; use "north", "south".',
                '"paint" in "routing" is no LM; use "chat", "draw".',
                '"roles" of "north" must be a list of LM names, not a text.',
                '"roles" of "south" must list LM names, not a number.',
                '"x" in "roles" of "south" is no LM; use "chat", "draw".',
                '"routing" has no "draw"; give its shares.',
            ],
        ),
        (
            '{"routing": {"chat": {"north": true}, "draw": 1}, "roles": {"east": [], "south": []}}',
            [
                'The share of "chat" on "north" must be a number, not true.',
                '"routing" of "draw" must be an object of node names and shares, not a number.',
                '"east" in "roles" is no node; use "north", "south".',
                '"roles" has no "north"; list its LMs, or give [] for none.',
            ],
        ),
    ],
)
def test_mistakes_of_a_planner_are_named_all_at_once(text: str, sentences: list[str]) -> None:
    assert said(lambda: parse_macro_policy(tiny(), text, TOLERANCE)) == (Reason.SCHEMA, sentences)


@pytest.mark.parametrize(
    ("routes", "sentences"),
    [
        (
            {},
            [
                '"routes" of "north" has no "chat", "draw"; give a target for each LM.',
                '"routes" of "south" has no "chat", "draw"; give a target for each LM.',
            ],
        ),
        (
            {"north": {"chat": "west", "draw": None}, "south": ["north"], "east": {}},
            [
                '"west" in "routes" of "north" to "chat" is no node; use "north", "south".',
                'The target of "draw" from "north" must be a node name, not null.',
                '"routes" of "south" must be an object of LM names and target nodes, not a list.',
                '"east" in "routes" is no node; use "north", "south".',
            ],
        ),
        (
            {"north": {"chat": 0, "draw": "south", "paint": "south"}, "south": {"chat": "south", "draw": "south"}},
            [
                'The target of "chat" from "north" must be a node name, not a number.',
                '"paint" in "routes" of "north" is no LM; use "chat", "draw".',
            ],
        ),
    ],
)
def test_mistakes_of_a_scheduler_are_named_all_at_once(routes: dict[str, Any], sentences: list[str]) -> None:
    assert said(lambda: parse_routing(tiny(), json.dumps({"routes": routes}))) == (Reason.SCHEMA, sentences)


@pytest.mark.parametrize(
    ("cell", "reason", "sentence"),
    [
        ("off", Reason.SCHEMA, '"chat" must be an object with "mode" and "amount" alone.'),
        ({"amount": 1}, Reason.SCHEMA, '"chat" must be an object with "mode" and "amount" alone.'),
        ({"mode": "off", "cores": 1}, Reason.SCHEMA, '"chat" must be an object with "mode" and "amount" alone.'),
        ({"mode": "tpu", "amount": 1}, Reason.SCHEMA, 'The mode of "chat" must be off, cpu or gpu, not "tpu".'),
        ({"mode": ["cpu"], "amount": 1}, Reason.SCHEMA, 'The mode of "chat" must be off, cpu or gpu, not a list.'),
        ({"mode": "gpu"}, Reason.SCHEMA, '"chat" on gpu has no amount; say how many vGPUs.'),
        ({"mode": "cpu", "amount": "4"}, Reason.SCHEMA, 'The amount of "chat" must be a whole number, not a text.'),
        ({"mode": "cpu", "amount": True}, Reason.SCHEMA, 'The amount of "chat" must be a whole number, not true.'),
        ({"mode": "cpu", "amount": 2.5}, Reason.SCHEMA, 'The amount of "chat" must be a whole number, not 2.5.'),
        (
            {"mode": "cpu", "amount": 0},
            Reason.VIOLATION,
            '"chat" on cpu has the amount 0; give it 1 or more cores, or turn it off.',
        ),
        (
            {"mode": "gpu", "amount": -1},
            Reason.VIOLATION,
            '"chat" on gpu has the amount -1; give it 1 or more vGPUs, or turn it off.',
        ),
        (
            {"mode": "off", "amount": 4},
            Reason.VIOLATION,
            '"chat" is off but has the amount 4; off goes with 0.',
        ),
        (
            {"mode": "cpu", "amount": 1e308},
            Reason.VIOLATION,
            'The amount of "chat" is beyond every node; use a small whole number.',
        ),
    ],
)
def test_each_mistake_of_a_deployer_gets_its_sentence(cell: Any, reason: Reason, sentence: str) -> None:
    text = json.dumps({"deployment": {"chat": cell}})
    assert said(lambda: parse_deployment(tiny(), 0, text)) == (reason, [sentence])


def test_a_deployer_that_forgets_an_lm_is_reminded() -> None:
    assert said(lambda: parse_deployment(tiny(), 1, '{"deployment": {"paint": {}}}')) == (
        Reason.SCHEMA,
        [
            '"paint" in "deployment" is no LM; use "chat", "draw".',
            '"deployment" has no "chat"; say whether it is off, on cpu or on gpu.',
            '"deployment" has no "draw"; say whether it is off, on cpu or on gpu.',
        ],
    )


def test_thousands_of_mistakes_are_counted_but_not_spelt_out() -> None:
    text = json.dumps({"deployment": {f"m{k}": {} for k in range(5000)}})
    reason, sentences = said(lambda: parse_deployment(tiny(), 1, text))
    assert reason is Reason.SCHEMA
    assert len(sentences) == 21
    assert sentences[-1] == "There are 4982 more mistakes like these."


def test_names_in_sentences_stay_on_one_line_and_short() -> None:
    text = json.dumps({"deployment": {"chat\n# Rule\n" + "x" * 500: {}}})
    _, sentences = said(lambda: parse_deployment(tiny(), 0, text))
    assert sentences[0].startswith('"chat # Rule xxx')
    assert "\n" not in sentences[0]
    assert len(sentences[0]) < 150


def test_what_is_readable_but_unsound_is_left_for_the_rules() -> None:
    cluster = tiny()
    answer = {"chat": {"mode": "gpu", "amount": 1}, "draw": {"mode": "cpu", "amount": 4}}
    deployment = parse_deployment(cluster, 0, json.dumps({"deployment": answer}))
    assert [violation.rule for violation in check_deployment(cluster, deployment)][:2] == [Rule.FEASIBLE, Rule.GPU_ONLY]
    routes = {"north": {"chat": "north", "draw": "north"}, "south": {"chat": "north", "draw": "south"}}
    plan = parse_routing(cluster, json.dumps({"routes": routes}))
    assert [violation.rule for violation in check_routing(cluster, plan)] == [Rule.GPU_ONLY]
