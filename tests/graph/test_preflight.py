"""Before the first slot every model is asked once: what its server can do is said, and so is that it is not there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.exceptions import ModelConnectionError
from langchain_core.messages import BaseMessage

from domain.ledger import Role
from graph.models.agent import Agent, AnswerFormat, Endpoint
from graph.models.breaker import CircuitBreaker
from graph.models.preflight import preflight
from tests.scripted import Reply, ScriptedChatModel, answers, counted, hangs, is_dead

pytestmark = pytest.mark.looptime
READY = '{"ready": true}'


class ServerError(Exception):
    """An HTTP error, as a client of a model server raises it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status_code, self.body = status, {"message": message}


def now() -> float:
    return asyncio.get_running_loop().time()


def agent(reply: Reply, role: Role = Role.SCHEDULER, **changes: Any) -> Agent:
    endpoint = Endpoint("http://model.test/v1", CircuitBreaker(clock=now))
    given = {"model": ScriptedChatModel(reply=reply), "name": "m", "endpoint": endpoint, "timeout_s": 10.0}
    return Agent(**{"role": role, "parameters": {"temperature": 0.0}, **given, **changes})


async def said_of(*agents: Agent, patience_s: float = 300.0) -> list[str]:
    said = list[str]()
    await preflight({one.role: one for one in agents}, patience_s, said.append, now)
    return said


def calls(asked: Agent) -> list[tuple[list[BaseMessage], dict[str, Any]]]:
    assert isinstance(asked.model, ScriptedChatModel)
    return asked.model.calls


async def test_what_a_server_can_do_is_said_in_a_sentence() -> None:
    asked = agent(answers(counted(READY, 40, 5)))
    assert await said_of(asked) == [
        "m at http://model.test/v1 (scheduler) answers in 0.0 s: holds answers to a JSON schema"
    ]
    form = calls(asked)[0][1]["response_format"]
    assert (form["type"], form["json_schema"]["strict"]) == ("json_schema", True)


async def test_what_it_cannot_do_is_said_too_and_is_known_from_then_on() -> None:
    def reply(_: list[BaseMessage], options: dict[str, Any]) -> Exception | str:
        if "temperature" not in options.get("left_out", ()):
            return ServerError(400, "temperature does not support 0 with this model")
        if "response_format" in options:
            return ServerError(400, "response_format is not supported")
        return f"<think>Hm.</think>{READY}"

    asked = agent(reply)
    assert await said_of(asked) == [
        "m at http://model.test/v1 (scheduler) answers in 0.0 s: holds answers to no form, takes no temperature, "
        "counts no tokens, puts something around its answers"
    ]
    known = asked.abilities
    assert (known.answer_format, known.left_out) == (AnswerFormat.TEXT, frozenset({"temperature"}))


async def test_a_server_that_ignores_the_form_is_found_out() -> None:
    (line,) = await said_of(agent(answers("Yes, I am ready.")))
    assert line.endswith('did not keep to the form that it was given, with "Yes, I am ready.", counts no tokens')


async def test_roles_that_ask_one_model_ask_once() -> None:
    planner = agent(answers(READY), Role.PLANNER)
    known = planner.endpoint.abilities
    alike = [agent(answers(READY), role, endpoint=Endpoint("http://model.test/v1", abilities=known)) for role in Role]
    other = agent(answers(READY), Role.DEPLOYER, name="other", endpoint=Endpoint(abilities=known))
    lines = await said_of(planner, alike[1], other)
    assert len(lines) == 2
    assert lines[0].startswith("m at http://model.test/v1 (planner, scheduler) answers")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ServerError(401, "Incorrect API key provided: sk-abcd"), "HTTP 401: Incorrect API key provided: ***"),
        (ServerError(404, "The model `m` does not exist"), "HTTP 404: The model `m` does not exist"),
    ],
)
async def test_a_server_that_refuses_is_said_at_once(error: Exception, words: str) -> None:
    asked = agent(lambda *_: error)
    assert await said_of(asked) == [
        f"m at http://model.test/v1 (scheduler) does not answer: rejected_by_server: {words}"
    ]
    assert now() == 0.0


async def test_a_server_that_loads_its_model_is_waited_for() -> None:
    asked = agent(lambda *_: ServerError(503, "Loading model") if now() < 40 else READY)
    lines = await said_of(asked)
    assert lines[0] == (
        "m at http://model.test/v1 (scheduler) does not answer yet (connection: HTTP 503: Loading model); "
        "waiting for it, 300 s at most"
    )
    assert "answers in" in lines[1]
    assert 40 <= now() < 50
    assert not asked.abilities.given_up


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (is_dead(), "connection: Connection error."),
        (lambda *_: ServerError(502, "Bad Gateway"), "connection: HTTP 502: Bad Gateway"),
    ],
)
async def test_a_server_that_does_not_say_that_it_loads_is_waited_for_a_little(reply: Reply, words: str) -> None:
    asked = agent(reply)
    lines = await said_of(asked)
    assert lines[1].endswith(f"does not answer: {words}")
    assert 15 <= now() < 25
    assert asked.abilities.given_up, "so no slot of the run waits for it"


async def test_without_patience_nothing_is_waited_for() -> None:
    assert len(await said_of(agent(lambda *_: ModelConnectionError("gone")), patience_s=0.0)) == 1
    assert now() < 5


async def test_models_are_tried_side_by_side() -> None:
    slow = agent(hangs(), Role.PLANNER, endpoint=Endpoint("http://slow.test/v1"))
    lines = await said_of(slow, agent(answers(READY)), patience_s=0.0)
    assert [line.partition(" (")[2].partition(")")[0] for line in lines] == ["scheduler", "planner"]
    assert now() == 10.0
