"""Model servers as they are: what they do not take is left out, what they say is shown, odd answers are named."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from aiohttp import web
from langchain_core.tools import tool

import graph.models.calling
from domain.ledger import Attempt, Reason, Role
from graph.models.agent import Agent, AnswerFormat
from graph.models.asking import Asking
from graph.models.client import ModelSettings, open_agents
from tests.fake_openai import (
    Behaviour,
    FakeOpenAI,
    calls_tool,
    completion,
    fails,
    fake_openai,
    in_turn,
    knows_only,
    says,
    speaks,
)

KEY = "sk-proj-" + "A1b2C3d4" * 20
MESSAGES = [{"role": "system", "content": "Answer in JSON."}, {"role": "user", "content": "What now?"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}


async def ask_twice(behaviour: Behaviour, **changes: Any) -> tuple[FakeOpenAI, Agent, list[Attempt]]:
    """Ask two questions one after the other, through the whole client."""
    async with fake_openai(behaviour) as server:
        given = {"temperature": 0.0, "seed": 5, "timeout_s": 5.0, **changes}
        settings = ModelSettings("small", base_url=server.base_url, **given)
        async with open_agents({Role.DEPLOYER: settings}, {"OPENAI_API_KEY": KEY}) as agents:
            agent = agents[Role.DEPLOYER]
            asking = Asking(agent)
            attempts = [await asking.for_decision(slot, "edge-1")(MESSAGES, SCHEMA, 0) for slot in range(2)]
            return server, agent, attempts


def complains(name: str, message: str, status: int = 400, **more: Any) -> Behaviour:
    """Answer unless the request holds a parameter."""

    async def behave(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if name in body:
            return web.json_response({"error": {"message": message, **more}}, status=status)
        return await says('{"a": 1}')(request, body)

    return behave


@pytest.mark.parametrize(
    ("behaviour", "without", "instead"),
    [
        (
            complains(
                "max_completion_tokens",
                "[{'type': 'extra_forbidden', 'loc': ('body', 'max_completion_tokens'), "
                "'msg': 'Extra inputs are not permitted', 'input': 2048}]",
                422,
            ),
            "max_completion_tokens",
            {"max_tokens": 2048},
        ),
        (
            complains("temperature", "Only the default (1) value is supported.", param="temperature"),
            "temperature",
            {"seed": 5},
        ),
        (complains("seed", "Unsupported parameter: 'seed'"), "seed", {"temperature": 0.0}),
    ],
    ids=["length", "temperature", "seed"],
)
async def test_a_parameter_that_a_server_complains_of_is_left_out_from_then_on(
    behaviour: Behaviour, without: str, instead: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    server, _, attempts = await ask_twice(behaviour)
    assert [attempt.answer for attempt in attempts] == ['{"a": 1}'] * 2
    assert len(server.requests) == 3, "one complaint, and no second one"
    for body in server.requests[1:]:
        assert without not in body
        assert instead.items() <= body.items()
        assert body["response_format"]["type"] == "json_schema", "the form was not what it complained of"
    assert [record.message.partition(" takes no ")[2].partition(":")[0] for record in caplog.records] == [without]


async def test_a_parameter_that_was_left_out_in_vain_is_sent_again() -> None:
    async def behave(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body.get("response_format", {}).get("type") == "json_schema":
            message = "the body {temperature: 0, seed: 5, response_format: …} is not valid"
            return web.json_response({"error": {"message": message}}, status=400)
        return await says('{"a": 1}')(request, body)

    server, agent, attempts = await ask_twice(behave)
    assert attempts[-1].answer == '{"a": 1}'
    assert agent.abilities.left_out == frozenset()
    assert agent.abilities.answer_format == AnswerFormat.JSON_OBJECT
    assert {"temperature": 0.0, "seed": 5}.items() <= server.requests[-1].items()


async def test_what_one_model_does_not_take_is_not_kept_from_another_on_the_same_server() -> None:
    async def behave(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body["model"] == "old":
            return await knows_only("text", text='{"a": 1}')(request, body)
        return await says('{"a": 1}')(request, body)

    async with fake_openai(behave) as server:
        settings = {
            Role.PLANNER: ModelSettings("new", base_url=server.base_url),
            Role.SCHEDULER: ModelSettings("old", base_url=server.base_url),
            Role.DEPLOYER: ModelSettings("old", base_url=server.base_url, breaker_failures=50, breaker_pause_s=1.0),
        }
        async with open_agents(settings, {}) as agents:
            for role in (Role.SCHEDULER, Role.DEPLOYER, Role.PLANNER):
                assert (await Asking(agents[role]).for_decision(0)(MESSAGES, SCHEMA, 0)).answer == '{"a": 1}'
            breakers = [agents[role].endpoint.breaker for role in Role]
        forms = [body.get("response_format", {}).get("type") for body in server.requests]
    assert forms == ["json_schema", "json_object", None, None, "json_schema"]
    assert len({id(breaker) for breaker in breakers}) == 3, "each role's breaker is as its settings say"


def breaks_down(times: int = 10**9) -> Behaviour:
    """Answer HTTP 500 to the tightest form, so often."""
    left = [times]

    async def behave(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if left[0] and body.get("response_format", {}).get("type") == "json_schema":
            left[0] -= 1
            return await fails(500, "Internal Server Error: json_schema is not implemented")(request, body)
        return await says('{"a": 1}')(request, body)

    return behave


async def test_a_server_that_breaks_down_over_a_form_is_asked_in_a_looser_one() -> None:
    server, agent, attempts = await ask_twice(breaks_down())
    assert [attempt.answer for attempt in attempts] == ['{"a": 1}'] * 2
    assert len(server.requests) == 4
    assert agent.abilities.answer_format == AnswerFormat.JSON_OBJECT


async def test_a_server_that_breaks_down_once_keeps_the_tightest_form() -> None:
    server, agent, _ = await ask_twice(breaks_down(1))
    assert agent.abilities.answer_format == AnswerFormat.JSON_SCHEMA
    assert [body["response_format"]["type"] for body in server.requests] == [
        "json_schema",
        "json_object",
        "json_schema",
    ]


@pytest.mark.parametrize(
    ("error", "reason", "words", "requests"),
    [
        (
            {"message": "Provider returned error", "code": 502},
            Reason.CONNECTION,
            "HTTP 502: Provider returned error",
            8,
        ),
        ({"message": "No credit left", "code": "402"}, Reason.REJECTED_BY_SERVER, "No credit left", 2),
        ("the model has crashed", Reason.REJECTED_BY_SERVER, "the model has crashed", 2),
    ],
)
async def test_an_error_inside_a_reply_of_status_200_is_that_error(
    error: object, reason: Reason, words: str, requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph.models.calling, "FIRST_WAIT_S", 0.01)
    server, _, attempts = await ask_twice(speaks(json.dumps({"error": error})))
    assert [attempt.error for attempt in attempts] == [f"{reason}: {words}"] * 2
    assert len(server.requests) == requests


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "The model `gpt-5` does not exist"}}, "HTTP 404: The model `gpt-5` does not exist"),
        ({"error": "no such model"}, "HTTP 404: no such model"),
        ({"detail": [{"loc": ["body"], "msg": "not found"}]}, 'HTTP 404: [{"loc": ["body"], "msg": "not found"}]'),
        ({"detail": "Not Found"}, "HTTP 404: Not Found"),
        ("<html><b>404</b> nginx</html>", "HTTP 404: 404 nginx"),
    ],
)
async def test_the_servers_own_sentence_is_shown_whatever_its_form(body: object, words: str) -> None:
    async def behave(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.Response(text=body, status=404) if isinstance(body, str) else web.json_response(body, status=404)

    _, _, attempts = await ask_twice(behave)
    assert attempts[0].error == f"rejected_by_server: {words}"


async def test_a_quota_that_is_used_up_is_no_rate_limit_and_not_waited_for() -> None:
    async def behave(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        error = {"message": "You exceeded your current quota.", "code": "insufficient_quota"}
        return web.json_response({"error": error}, status=429, headers={"Retry-After": "1"})

    server, _, attempts = await ask_twice(behave)
    assert attempts[0].error == "rejected_by_server: HTTP 429: You exceeded your current quota."
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "shown", [KEY, KEY[:30], KEY[:12] + "*" * 20 + KEY[-4:], "sk-abcd", f"{'x' * 200} {KEY} {KEY}", "Bearer abcdefgh"]
)
async def test_no_part_of_a_key_is_in_what_a_server_says(shown: str) -> None:
    _, _, attempts = await ask_twice(fails(401, f"Incorrect API key provided: {shown}"))
    told = str(attempts[0].error)
    assert told.startswith("rejected_by_server: HTTP 401: Incorrect API key provided: ")
    assert "***" in told
    assert not [part for part in (KEY[:8], KEY[-6:], "abcd") if part in told]


async def test_an_answer_as_reasoning_is_named_as_such() -> None:
    async def behave(_: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(completion(body, {"content": None, "reasoning_content": '{"a": 1}'}))

    _, agent, attempts = await ask_twice(behave)
    assert attempts[0].answer is None
    assert str(attempts[0].error).startswith("misplaced: the answer came as reasoning_content and the content is empty")
    assert not agent.endpoint.breaker.is_open
    assert attempts[0].completion_tokens == 7, "it was paid for all the same"


async def test_an_answer_as_the_call_of_a_tool_that_nobody_offered_is_named_as_such() -> None:
    _, _, attempts = await ask_twice(calls_tool("deployer", '{"a": 1}'))
    assert str(attempts[0].error).startswith("misplaced: the answer came as a call of a tool 'deployer', and no tool")


async def test_thoughts_beside_an_answer_are_no_harm() -> None:
    async def behave(_: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(completion(body, {"content": '{"a": 1}', "reasoning_content": "Let me see."}))

    _, _, attempts = await ask_twice(behave)
    assert attempts[0].answer == '{"a": 1}'


async def test_what_a_server_was_found_to_take_survives_the_connections(caplog: pytest.LogCaptureFixture) -> None:
    from graph.models.client import Servers

    caplog.set_level(logging.ERROR)
    known = Servers()
    async with fake_openai(in_turn(knows_only("text", text='{"a": 1}'))) as server:
        settings = {Role.DEPLOYER: ModelSettings("small", base_url=server.base_url)}
        for world in (known, known.anew()):
            async with open_agents(settings, {}, known=world) as agents:
                await Asking(agents[Role.DEPLOYER]).for_decision(0)(MESSAGES, SCHEMA, 0)
    assert len(server.requests) == 3 + 1


async def test_a_server_that_takes_no_tools_is_asked_without_them_from_then_on() -> None:
    @tool
    async def look() -> str:
        """Look."""
        return ""

    async with fake_openai(complains("tools", "tools is not supported by this model")) as server:
        settings = ModelSettings("small", base_url=server.base_url, temperature=0.0)
        async with open_agents({Role.PLANNER: settings}, {}) as agents:
            asking = Asking(agents[Role.PLANNER], tools=[look])
            for slot in range(2):
                assert (await asking.for_decision(slot)(MESSAGES, SCHEMA, 0)).answer == '{"a": 1}'
    assert ["tools" in body for body in server.requests] == [True, False, False]


async def test_parameters_are_left_out_where_tools_are_offered_too() -> None:
    @tool
    async def look() -> str:
        """Look."""
        return ""

    async with fake_openai(complains("temperature", "Only the default is supported.", param="temperature")) as server:
        settings = ModelSettings("small", base_url=server.base_url, temperature=0.0)
        async with open_agents({Role.PLANNER: settings}, {}) as agents:
            asking = Asking(agents[Role.PLANNER], tools=[look])
            assert (await asking.for_decision(0)(MESSAGES, SCHEMA, 0)).answer == '{"a": 1}'
    assert ["temperature" in body for body in server.requests] == [True, False]
    assert "tools" in server.requests[1]
