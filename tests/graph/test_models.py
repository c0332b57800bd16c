"""The real client against a server on loopback: settings, keys, and every way in which a server can fail."""

import asyncio
import itertools
import logging
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from domain.errors import InputError
from domain.ledger import Attempt, Reason, Role
from graph.models import client as models
from graph.models.agent import AnswerFormat
from graph.models.asking import Asking
from graph.models.budget import Price
from graph.models.client import ModelSettings, can_be_asked, default_settings, make_agent, open_agents, with_base_url
from graph.models.tape import Tape
from memory.secrets import Secrets
from tests.fake_openai import (
    Behaviour,
    FakeOpenAI,
    calls_tool,
    drops,
    fails,
    fake_openai,
    hangs,
    in_turn,
    knows_only,
    refuses,
    says,
    speaks,
)

KEY = "sk-not-a-real-key-7f3a"
MESSAGES = [{"role": "system", "content": "Answer in JSON."}, {"role": "user", "content": "What now?"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}


async def ask(behaviour: Behaviour, timeout_s: float = 5.0, **parts: Any) -> tuple[FakeOpenAI, Attempt]:
    """Ask once, with the whole client, through a socket."""
    async with fake_openai(behaviour) as server:
        settings = ModelSettings("small", base_url=server.base_url, temperature=0.0, seed=5, timeout_s=timeout_s)
        async with open_agents({Role.DEPLOYER: settings}, {"OPENAI_API_KEY": KEY}) as agents:
            asking = Asking(agents[Role.DEPLOYER], **parts)
            return server, await asking.for_decision(3, "edge-1")(MESSAGES, SCHEMA, 0)


async def test_a_question_reaches_the_server_as_the_settings_say() -> None:
    server, attempt = await ask(says('{"a": 1}', usage=(120, 8)))
    assert (attempt.answer, attempt.prompt_tokens, attempt.completion_tokens) == ('{"a": 1}', 120, 8)
    assert 0 < attempt.seconds < 5
    body = server.requests[0]
    assert body["messages"] == [{"content": m["content"], "role": m["role"]} for m in MESSAGES]
    assert {name: body[name] for name in ("model", "temperature", "seed", "max_completion_tokens")} == {
        **{"model": "small", "temperature": 0.0, "seed": 5, "max_completion_tokens": 2048}
    }
    assert body["response_format"]["json_schema"] == {"name": "deployer", "strict": True, "schema": SCHEMA}
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


async def test_a_server_that_counts_no_tokens_is_said_to_have_counted_none() -> None:
    _, attempt = await ask(says('{"a": 1}', usage=None))
    assert (attempt.answer, attempt.prompt_tokens, attempt.completion_tokens) == ('{"a": 1}', 0, 0)


@pytest.mark.parametrize(
    ("behaviour", "expected", "words", "requests"),
    [
        (says('{"a": ', finish="length"), Reason.TRUNCATED, "after 7 tokens", 1),
        (says("", finish="content_filter"), Reason.REFUSAL, "7 tokens", 1),
        (refuses("No."), Reason.REFUSAL, "the model refuses: No.", 1),
        (fails(500, "out of memory"), Reason.REJECTED_BY_SERVER, "HTTP 500: out of memory", 3),
        (fails(404, "no such model"), Reason.REJECTED_BY_SERVER, "no such model", 1),
        (fails(401, f"Incorrect API key provided: {KEY}"), Reason.REJECTED_BY_SERVER, "HTTP 401: Incorrect API key", 1),
        (fails(400, "temperature"), Reason.REJECTED_BY_SERVER, "HTTP 400: temperature", 4),
        (fails(400, "exceeds the available context size"), Reason.REJECTED_BY_SERVER, "context size", 1),
        (fails(429, headers={"Retry-After": "60"}), Reason.RATE_LIMIT, "429", 1),
        (fails(503, headers={"Retry-After": "60"}), Reason.CONNECTION, "503", 1),
        (speaks("<html>", "text/html"), Reason.INTERNAL, "OpenAI-compatible", 1),
        (speaks("{"), Reason.INTERNAL, "JSONDecodeError", 1),
        (speaks('{"choices": []}'), Reason.INTERNAL, "OpenAI-compatible", 1),
        (speaks("null"), Reason.INTERNAL, "OpenAI-compatible", 1),
    ],
    ids=itertools.count(),
)
async def test_every_failure_of_a_server_is_an_attempt_with_its_reason(
    behaviour: Behaviour, expected: Reason, words: str, requests: int
) -> None:
    server, attempt = await ask(behaviour)
    assert attempt.answer is None
    assert str(attempt.error).startswith(f"{expected}: ")
    assert words in str(attempt.error)
    assert KEY not in repr(attempt)
    assert len(server.requests) == requests


async def test_tokens_of_an_answer_that_was_cut_off_are_counted() -> None:
    _, attempt = await ask(says('{"a": ', finish="length", usage=(120, 64)))
    assert (attempt.prompt_tokens, attempt.completion_tokens) == (120, 64)


async def test_a_rate_limit_is_waited_for_and_asked_again() -> None:
    server, attempt = await ask(in_turn(fails(429, headers={"Retry-After-Ms": "30"}), says('{"a": 1}')))
    assert attempt.answer == '{"a": 1}'
    assert attempt.seconds >= 0.03
    assert len(server.requests) == 2


async def test_a_connection_that_breaks_in_an_answer_is_made_again() -> None:
    server, attempt = await ask(in_turn(drops(), says('{"a": 1}')))
    assert attempt.answer == '{"a": 1}'
    assert len(server.requests) == 2


async def test_a_server_that_hangs_is_given_up_on_time() -> None:
    _, attempt = await ask(hangs(), timeout_s=0.2)
    assert attempt.error is not None
    assert attempt.error.startswith("timeout: ")
    assert 0.19 < attempt.seconds < 2


async def test_a_server_that_is_not_there_is_a_lost_connection() -> None:
    async with fake_openai(says("{}")) as server:
        base_url = server.base_url
    settings = ModelSettings("small", base_url=base_url, timeout_s=0.4)
    async with open_agents({Role.PLANNER: settings}, {}) as agents:
        attempt = await Asking(agents[Role.PLANNER]).for_decision(0)(MESSAGES, SCHEMA, 0)
    assert attempt.error == "connection: Connection error."


@pytest.mark.parametrize(
    ("formats", "learned"),
    [(("json_object", "text"), AnswerFormat.JSON_OBJECT), (("text",), AnswerFormat.TEXT)],
)
async def test_all_agents_of_a_server_learn_which_form_it_can_hold(
    formats: tuple[str, ...], learned: AnswerFormat, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_openai(knows_only(*formats, text='{"a": 1}')) as server:
        settings = {role: ModelSettings("small", base_url=server.base_url) for role in Role}
        async with open_agents(settings, {}) as agents:
            for role in Role:
                attempt = await Asking(agents[role]).for_decision(0)(MESSAGES, SCHEMA, 0)
                assert attempt.answer == '{"a": 1}'
            assert {agent.abilities.answer_format for agent in agents.values()} == {learned}
        tries = [body.get("response_format", {"type": "text"})["type"] for body in server.requests]
    assert tries == [*list(AnswerFormat)[: tries.index(learned) + 1], learned, learned]
    assert [record.message.partition(" holds ")[2] for record in caplog.records] == [f"answers to {learned} only"]


async def test_tools_go_through_the_real_client() -> None:
    @tool
    async def read_snapshot(node: str) -> str:
        """Read the last snapshot of a node."""
        return f"{node}: 12 prompts"

    called = calls_tool("read_snapshot", '{"node": "edge-1"}')
    broken = calls_tool("read_snapshot", '{"node": ')
    server, attempt = await ask(in_turn(called, broken, says("Hm."), says('{"a": 1}')), tools=[read_snapshot])
    assert attempt.answer == '{"a": 1}'
    assert (attempt.prompt_tokens, attempt.completion_tokens) == (44, 28)
    said = [message["content"] for message in attempt.messages if message["role"] == "tool"]
    assert said == ["edge-1: 12 prompts", "error: the arguments of read_snapshot are no JSON object"]
    last = server.requests[-1]["messages"]
    assert [message["role"] for message in last[2:]] == ["assistant", "tool", "assistant", "tool", "assistant", "user"]
    assert last[3]["tool_call_id"] == last[2]["tool_calls"][0]["id"]


async def test_a_key_of_the_environment_appears_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    path = tmp_path / "run.tape"
    attempts: list[Attempt] = []
    with Tape.record(path) as tape:
        for behaviour in (says(f'{{"a": "{KEY}"}}'), fails(401, f"wrong key {KEY}"), speaks(KEY, "text/html")):
            async with fake_openai(behaviour) as server:
                settings = ModelSettings("small", base_url=server.base_url)
                async with open_agents({Role.DEPLOYER: settings}, {"OPENAI_API_KEY": KEY}) as agents:
                    agent = agents[Role.DEPLOYER]
                    asking = Asking(agent, tape=tape)
                    attempts.append(await asking.for_decision(len(attempts))(MESSAGES, SCHEMA, 0))
                assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
            for text in (repr(agent), repr(agent.model), repr(settings)):
                assert KEY not in text
    assert KEY not in repr(attempts)
    assert KEY not in path.read_text()
    assert KEY not in caplog.text


async def test_each_role_sends_the_key_that_its_settings_name_and_no_other() -> None:
    async with fake_openai(says("{}")) as server:
        settings = {
            Role.PLANNER: ModelSettings("m", base_url=server.base_url, key_variable="OTHER_KEY"),
            Role.SCHEDULER: ModelSettings("m", base_url=server.base_url, key_variable=None),
        }
        environ = {"OPENAI_API_KEY": KEY, "OTHER_KEY": "sk-other\n"}
        async with open_agents(settings, environ) as agents:
            for role in settings:
                await Asking(agents[role]).for_decision(0)(MESSAGES, SCHEMA, 0)
            assert agents[Role.PLANNER].endpoint is not agents[Role.SCHEDULER].endpoint
        assert [headers["Authorization"] for headers in server.headers] == ["Bearer sk-other", "Bearer none"]


async def test_a_proxy_of_the_environment_does_not_stand_before_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    _, attempt = await ask(says('{"a": 1}'))
    assert attempt.answer == '{"a": 1}'


async def test_many_agents_ask_one_server_side_by_side() -> None:
    async with fake_openai(says('{"a": 1}')) as server:
        settings = ModelSettings("small", base_url=server.base_url, timeout_s=30.0)
        async with open_agents({Role.DEPLOYER: settings}, {}) as agents:
            asking = Asking(agents[Role.DEPLOYER])
            askers = [asking.for_decision(0, f"edge-{n}") for n in range(60)]
            attempts = await asyncio.gather(*(asker(MESSAGES, SCHEMA, 0) for asker in askers))
    assert {attempt.answer for attempt in attempts} == {'{"a": 1}'}


async def test_a_run_from_a_tape_needs_neither_key_nor_server(tmp_path: Path) -> None:
    path = tmp_path / "run.tape"
    with Tape.record(path) as tape:
        _, first = await ask(says('{"a": 1}'), tape=tape)
    settings = ModelSettings("small", base_url="http://127.0.0.1:1/v1", temperature=0.0, seed=5)
    silent = models.make_silent_agent(Role.DEPLOYER, settings)
    with Tape.replay(path) as tape:
        again = await Asking(silent, tape=tape).for_decision(3, "edge-1")(MESSAGES, SCHEMA, 0)
    assert again == first
    asked = await Asking(silent).for_decision(3, "edge-1")(MESSAGES, SCHEMA, 0)
    assert "this run plays a tape and asks no model" in str(asked.error)


def test_the_planner_and_the_others_differ_by_default_as_in_the_paper() -> None:
    assert default_settings(Role.PLANNER).model == "gpt-5"
    assert default_settings(Role.SCHEDULER) == default_settings(Role.DEPLOYER)
    assert default_settings(Role.DEPLOYER).model.startswith("gpt-4")


def test_a_role_can_be_asked_with_a_key_or_with_a_server_of_ones_own() -> None:
    settings = ModelSettings("m")
    assert not can_be_asked(settings, {})
    assert not can_be_asked(settings, {"OPENAI_API_KEY": " "})
    assert can_be_asked(settings, {"OPENAI_API_KEY": KEY})
    assert can_be_asked(settings, {"OPENAI_BASE_URL": "http://127.0.0.1:8080/v1"})
    assert can_be_asked(ModelSettings("m", base_url="http://127.0.0.1:8080/v1"), {})


def test_without_a_key_openai_is_not_asked() -> None:
    with pytest.raises(InputError, match="the planner asks gpt-5 at .*: set OPENAI_API_KEY in the environment, or"):
        make_agent(Role.PLANNER, default_settings(Role.PLANNER), {})


@pytest.mark.parametrize("key", ["sk-a b", "sk-a\nb", "sk-é"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(InputError, match="OPENAI_API_KEY is no key") as raised:
        make_agent(Role.PLANNER, default_settings(Role.PLANNER), {"OPENAI_API_KEY": key})
    assert key not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": ""}, "needs a name"),
        ({"temperature": 2.5}, "give one from 0 to 2"),
        ({"temperature": float("nan")}, "give one from 0 to 2"),
        ({"timeout_s": 0.0}, "time limit of m is 0.0 s"),
        ({"timeout_s": float("inf")}, "time limit"),
        ({"max_completion_tokens": 0}, "at least 1"),
        ({"breaker_failures": 0}, "circuit breaker"),
        ({"base_url": "localhost:8080"}, "is no base URL"),
        ({"base_url": "http://"}, "is no base URL"),
        ({"base_url": "https://me:sk-1@model.test/v1"}, "must hold no name, no password and no query"),
        ({"base_url": "me:sk-1@model.test/v1"}, "must hold no name, no password and no query"),
        ({"base_url": "https://model.test/v1?api_key=sk-1"}, "put the key into OPENAI_API_KEY"),
        ({"base_url": "https://model.test/v1#sk-1"}, "put the key into OPENAI_API_KEY"),
    ],
)
def test_settings_that_make_no_sense_are_one_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        ModelSettings(**{"model": "m", **changes})
    assert "sk-1" not in str(raised.value)


def test_a_server_on_this_machine_takes_the_place_of_every_model_and_gets_no_key() -> None:
    settings = with_base_url({role: default_settings(role) for role in Role}, "smol", "http://127.0.0.1:8080/v1")
    for role in Role:
        agent = make_agent(role, settings[role], {"OPENAI_API_KEY": KEY})
        assert agent.name == "smol"
        assert isinstance(agent.model, ChatOpenAI)
        assert agent.model.openai_api_key == SecretStr("none")
        assert agent.secrets == Secrets([KEY]), "it may be told to throw back what it does not get"
        assert agent.endpoint.address == "http://127.0.0.1:8080/v1"


async def test_prices_of_the_user_find_their_models() -> None:
    settings = ModelSettings("small", base_url="http://127.0.0.1:1/v1")
    async with open_agents({Role.PLANNER: settings}, {}, prices={"small": Price(1.0, 2.0)}) as agents:
        assert agents[Role.PLANNER].price == Price(1.0, 2.0)
