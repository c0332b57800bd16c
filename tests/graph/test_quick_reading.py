"""The quick reading of a deployer's answer takes the form that was asked for, and leaves everything else alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from domain.decisions import OFF, Allocation, Deployment
from graph.gate import quick_reading
from graph.gate.answers import parse_deployment
from graph.gate.quick_reading import DeploymentReader
from tests.clusters import as_text, renamed, tiny

ANSWER = {
    "reasoning": 'It says "wait"\n\\ and ключ 🔑',
    "deployment": {"chat": {"mode": "cpu", "amount": 4}, "draw": {"mode": "gpu", "amount": 1}},
}
NODE = 1
SOUND = Deployment(NODE, (Allocation(cores=4), Allocation(vgpus=1)))


class LeftAlone(Exception):
    """The answer went to the other reading."""


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> DeploymentReader:
    def refuse(*_: Any) -> None:
        raise LeftAlone

    monkeypatch.setattr(quick_reading, "parse_deployment", refuse)
    return DeploymentReader(tiny())


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ANSWER),
        json.dumps(ANSWER, ensure_ascii=False),
        json.dumps(ANSWER, separators=(",", ":")),
        json.dumps(ANSWER, indent=2) + "\r\n\t ",
    ],
)
def test_an_answer_as_the_prompt_shows_it_is_read_quickly(alone: DeploymentReader, text: str) -> None:
    assert alone.read(NODE, text) == SOUND == parse_deployment(tiny(), NODE, text)


def test_an_lm_that_the_node_cannot_run_is_not_expected(alone: DeploymentReader) -> None:
    assert alone.read(0, '{"reasoning": "", "deployment": {"chat": {"mode": "off", "amount": 0}}}').allocations == (
        OFF,
        OFF,
    )


PLAIN = json.dumps(ANSWER)


@pytest.mark.parametrize(
    "text",
    [
        "",
        PLAIN[:-1],
        PLAIN + "}",
        f"```json\n{PLAIN}\n```",
        "\u00a0" + PLAIN,
        PLAIN.replace('"amount": 4', '"amount": 04'),
        PLAIN.replace('"amount": 4', '"amount": 4.0'),
        PLAIN.replace('"amount": 4', '"amount": \u0664'),
        PLAIN.replace('"amount": 4', '"amount": 0'),
        PLAIN.replace('"amount": 4', '"amount": 4000'),
        PLAIN.replace('"cpu", "amount": 4', '"off", "amount": 4'),
        PLAIN.replace('"draw"', '"chat"'),
        PLAIN.replace('"amount": 4', '"amount": 4, "amount": 5'),
        PLAIN.replace('"mode"', '"m\\u006fde"'),
        PLAIN.replace("wait", "\n"),
        PLAIN.replace("wait", "\\x"),
        PLAIN.replace("wait", "\ud800"),
        PLAIN.replace("wait", "x" * 2**18),
        json.dumps({**ANSWER, "more": 1}),
        json.dumps({"deployment": ANSWER["deployment"]}),
        json.dumps(dict(reversed(ANSWER.items()))),
    ],
)
def test_whatever_differs_goes_to_the_reading_that_explains_itself(alone: DeploymentReader, text: str) -> None:
    with pytest.raises(LeftAlone):
        alone.read(NODE, text)


@pytest.mark.parametrize("name", ['a "b" c', "a.b", "back\\slash", "two words", "#1 (x|y)*", "ключ 🔑"])
def test_odd_names_stand_for_themselves(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    cluster = renamed(tiny(), {"chat": name})
    answer = {**ANSWER, "deployment": {name: {"mode": "cpu", "amount": 4}, "draw": {"mode": "gpu", "amount": 1}}}
    reader = DeploymentReader(cluster)
    assert reader.read(NODE, as_text(answer)) == SOUND
    monkeypatch.setattr(quick_reading, "parse_deployment", lambda *_: None)
    assert reader.read(NODE, json.dumps(answer, ensure_ascii=False)) == SOUND
    assert reader.read(NODE, json.dumps(ANSWER)) is None
