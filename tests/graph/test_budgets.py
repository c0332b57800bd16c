"""Budgets are kept whatever a request holds and a server counts, and our own limits are no fault of a server."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from langchain_core.exceptions import ModelConnectionError
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from domain.ledger import Attempt, Reason, Role
from graph.models.agent import Agent, Endpoint
from graph.models.asking import Asking
from graph.models.breaker import CircuitBreaker
from graph.models.budget import Budget, Limits
from tests.scripted import RateLimited, Reply, ScriptedChatModel, answers, counted, hangs, in_turn, rate_limits, takes

pytestmark = pytest.mark.looptime

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
ANSWER = '{"a": 1}'


def now() -> float:
    return asyncio.get_running_loop().time()


def agent(reply: Reply, **changes: Any) -> Agent:
    given = {"role": Role.DEPLOYER, "model": ScriptedChatModel(reply=reply), "name": "scripted", "timeout_s": 10.0}
    endpoint = Endpoint("http://model.test/v1", CircuitBreaker(failures=2, pause_s=60.0, clock=now))
    return Agent(**{"endpoint": endpoint, "max_completion_tokens": 100, **given, **changes})


async def side_by_side(
    asked: Agent, budget: Budget, text: str = "What now?", count: int = 3, schema: dict[str, Any] = SCHEMA, **parts: Any
) -> list[Attempt]:
    asking = Asking(asked, budget=budget, clock=now, **parts)
    messages = [{"role": "user", "content": text}]
    askers = [asking.for_decision(1, f"edge-{n}") for n in range(count)]
    return await asyncio.gather(*(asker(messages, schema, 0) for asker in askers))


def reasons(attempts: list[Attempt]) -> Counter[str]:
    return Counter("answered" if a.error is None else a.error.partition(":")[0] for a in attempts)


@pytest.mark.parametrize(("limit", "answered"), [(3300, 0), (4100, 0), (4500, 1), (9000, 2), (13_500, 3)])
async def test_a_prompt_of_digits_cannot_overdraw_a_budget(limit: int, answered: int) -> None:
    digits = "1" * 4000  # of which each may be a token
    budget = Budget(Limits(tokens=limit), now)
    attempts = await side_by_side(agent(lambda *_: counted(ANSWER, 4000 + 40, 100)), budget, digits)
    assert budget.account(1).tokens <= limit
    assert reasons(attempts)["answered"] == answered


async def test_a_long_schema_counts() -> None:
    long = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(5000)}}
    budget = Budget(Limits(tokens=20_000), now)
    attempts = await side_by_side(agent(lambda *_: counted(ANSWER, 60_000, 100)), budget, schema=long)
    assert reasons(attempts) == {"budget": 3}
    assert budget.account(1).tokens == 0


async def test_tools_and_what_was_called_of_them_count() -> None:
    @tool
    async def look(where: str) -> str:
        """Look."""
        return "nothing"

    look.description = "Look closely. " * 500
    budget = Budget(Limits(tokens=5000), now)
    asked = agent(answers(ANSWER))
    assert reasons(await side_by_side(asked, budget, count=1, tools=[look])) == {"budget": 1}
    said = [
        {"role": "user", "content": "What now?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": json.dumps([{"name": "look", "args": {"where": "x" * 9000}, "id": "1"}]),
        },
        {"role": "tool", "content": "nothing", "tool_call_id": "1", "name": "look"},
    ]
    attempt = await Asking(asked, budget=budget, clock=now).for_decision(1)(said, SCHEMA, 1)
    assert reasons([attempt]) == {"budget": 1}
    assert asked.model.calls == []  # type: ignore[attr-defined]  # it is a scripted model


@pytest.mark.parametrize("reply", [counted(ANSWER, 0, 0), AIMessage(ANSWER)], ids=["zeros", "nothing"])
async def test_a_server_that_does_not_count_is_not_free(reply: AIMessage) -> None:
    budget = Budget(Limits(tokens=1500), now)
    attempts = [a for _ in range(10) for a in await side_by_side(agent(answers(reply)), budget, count=1)]
    assert 0 < reasons(attempts)["answered"] < 5
    assert {attempt.completion_tokens for attempt in attempts} == {0}, "what was not counted is not made up"


async def test_a_connection_that_breaks_after_the_request_is_paid_for_with_every_try() -> None:
    class ReadError(Exception):
        pass

    def breaks(*_: Any) -> Exception:
        error = ModelConnectionError("Connection error.")
        error.__cause__ = ReadError()
        return error

    budget = Budget(Limits(tokens=1200), now)
    attempts = await side_by_side(agent(breaks), budget, count=1)
    assert 800 < budget.account(1).tokens <= 1200
    assert reasons(attempts) == {"budget": 1}, "no try is made that the slot cannot pay"


async def test_time_that_the_slot_did_not_have_is_no_fault_of_the_server() -> None:
    budget = Budget(Limits(seconds=0.4), now)
    asked = agent(takes(0.3, ANSWER))
    assert reasons(await side_by_side(asked, budget, count=1)) == {"answered": 1}
    assert reasons(await side_by_side(asked, budget, count=6)) == {"budget": 6}
    assert not asked.endpoint.breaker.is_open
    again = await Asking(asked, budget=budget, clock=now).for_decision(2)([{"role": "user", "content": "?"}], SCHEMA, 0)
    assert again.answer == ANSWER


async def test_a_tool_that_takes_the_time_is_no_fault_of_the_server() -> None:
    @tool
    async def stare() -> str:
        """Stare."""
        await asyncio.sleep(1e9)
        return ""

    call = AIMessage("", tool_calls=[{"name": "stare", "args": {}, "id": "1", "type": "tool_call"}])
    asked = agent(answers(call))
    attempts = await side_by_side(asked, Budget(Limits(), now), tools=[stare])
    assert reasons(attempts) == {"timeout": 3}
    assert "tools and earlier answers took 10 s of them" in str(attempts[0].error)
    assert not asked.endpoint.breaker.is_open
    hanging = agent(hangs())
    await side_by_side(hanging, Budget(Limits(), now))
    assert hanging.endpoint.breaker.is_open


async def test_agents_that_a_server_sent_away_together_do_not_come_back_together() -> None:
    times = list[float]()

    def reply(*_: Any) -> Exception | str:
        times.append(now())
        return RateLimited({"retry-after": "0.3"}) if len(times) <= 60 else ANSWER

    attempts = await side_by_side(agent(reply, timeout_s=10.0), Budget(Limits(), now), count=60)
    assert reasons(attempts) == {"answered": 60}
    returned = [time for time in times if time > 0]
    windows = Counter(int(time / 0.5) for time in returned)
    assert max(windows.values()) <= 11, "twenty a second"
    assert min(returned) == pytest.approx(0.3)


async def test_agents_for_whom_no_turn_is_left_in_their_time_give_up_at_once() -> None:
    times = list[float]()

    def reply(*_: Any) -> Exception:
        times.append(now())
        return RateLimited({"retry-after": "0.3"})

    patient = Endpoint("http://model.test/v1", CircuitBreaker(failures=1000, clock=now))
    asked = agent(reply, timeout_s=2.0, endpoint=patient)
    attempts = await side_by_side(asked, Budget(Limits(), now), count=200)
    assert reasons(attempts) == {"rate_limit": 200}
    assert sum(attempt.seconds == 0 for attempt in attempts) > 150
    assert max(Counter(int(time / 0.5) for time in times if time > 0).values()) <= 11


async def test_a_server_that_asks_for_longer_than_a_question_has_is_left_alone_for_so_long() -> None:
    asked = agent(in_turn(rate_limits(120.0), answers(ANSWER)))
    budget = Budget(Limits(), now)
    assert reasons(await side_by_side(asked, budget, count=1)) == {"rate_limit": 1}
    await asyncio.sleep(119)
    (attempt,) = await side_by_side(asked, budget, count=1)
    assert Reason(str(attempt.error).partition(":")[0]) is Reason.BREAKER_OPEN
    await asyncio.sleep(1)
    assert reasons(await side_by_side(asked, budget, count=1)) == {"answered": 1}


@pytest.mark.parametrize("tools", [True, False])
async def test_an_answer_that_is_nested_too_deeply_is_no_fault_of_the_server(tools: bool) -> None:
    @tool
    async def look() -> str:
        """Look."""
        return ""

    asked = agent(answers("[" * 200_000))
    attempts = await side_by_side(asked, Budget(Limits(), now), count=4, tools=[look] if tools else [])
    assert reasons(attempts) == {"answered": 4}, "the gate says what is wrong with it"
    assert not asked.endpoint.breaker.is_open


async def test_what_a_model_gives_to_a_tool_is_not_kept_at_any_length() -> None:
    @tool
    async def look(where: str) -> str:
        """Look."""
        return where

    big = AIMessage("y" * 10**6, tool_calls=[{"name": "look", "args": {"where": "x" * 10**6}, "id": "1"}])
    (attempt,) = await side_by_side(agent(answers(big, ANSWER)), Budget(Limits(), now), count=1, tools=[look])
    assert attempt.answer == ANSWER
    assert sum(len(text) for message in attempt.messages for text in message.values()) < 50_000
    assert "longer than 20000 characters" in attempt.messages[2]["content"]
