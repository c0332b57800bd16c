"""Asking a model: whatever it does, an attempt comes back, in time, and says why."""

import asyncio
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.exceptions import ContextOverflowError, ModelConnectionError, ModelInvalidRequestError
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from domain.errors import InputError
from domain.ledger import Attempt, Reason, Role
from graph.models.agent import AnswerFormat
from graph.models.asking import Asking
from graph.models.budget import Budget, Limits, Price
from memory.secrets import Secrets
from tests.asking import MESSAGES, SCHEMA, agent, ask, calls, now, reason
from tests.scripted import (
    RateLimited,
    Reply,
    answers,
    counted,
    hangs,
    in_turn,
    is_dead,
    rate_limits,
    refuses,
    takes,
    truncates,
)

pytestmark = pytest.mark.looptime


async def test_an_answer_comes_back_with_what_was_sent_and_what_it_cost() -> None:
    asked = agent(in_turn(takes(1.5, '{"a": 1}'), answers(counted('{"a": 2}', 120, 8))))
    attempt = await ask(asked)
    assert attempt == Attempt(messages=tuple(MESSAGES), answer='{"a": 1}', seconds=1.5)
    assert (attempt.prompt_tokens, attempt.completion_tokens) == (0, 0), "uncounted tokens are not made up"
    counts = await ask(asked)
    assert (counts.prompt_tokens, counts.completion_tokens) == (120, 8)
    sent, options = calls(asked)[0]
    assert [(message.type, message.content) for message in sent] == [
        ("system", "Answer in JSON."),
        ("human", "What now?"),
    ]
    form = options["response_format"]
    assert form == {"type": "json_schema", "json_schema": {"name": "scheduler", "strict": True, "schema": SCHEMA}}


async def test_a_model_that_hangs_is_given_up_on_time() -> None:
    attempt = await ask(agent(hangs(), timeout_s=8.0))
    assert attempt.error == "timeout: no answer from scripted in the 8 s that it had"
    assert attempt.seconds == now() == 8.0


async def test_a_question_that_is_cancelled_from_outside_stays_cancelled() -> None:
    asked = agent(hangs())
    task = asyncio.create_task(ask(asked))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asked.endpoint.breaker.admit(), "a question taken back says nothing about the server"


@pytest.mark.parametrize(
    ("reply", "expected", "words"),
    [
        (refuses("I will not."), Reason.REFUSAL, "I will not."),
        (truncates('{"a": '), Reason.TRUNCATED, "cut off after 6 characters"),
        (lambda *_: ContextOverflowError("too long"), Reason.REJECTED_BY_SERVER, "too long"),
        (lambda *_: ModelInvalidRequestError("bad"), Reason.REJECTED_BY_SERVER, "bad"),
        (lambda *_: TimeoutError("of its own"), Reason.TIMEOUT, "of its own"),
        (lambda *_: ConnectionResetError("reset"), Reason.CONNECTION, "reset"),
        (lambda *_: KeyError("choices"), Reason.INTERNAL, "KeyError: 'choices'"),
    ],
)
async def test_trouble_becomes_a_reason_of_the_ledger(reply: Reply, expected: Reason, words: str) -> None:
    attempt = await ask(agent(reply))
    assert reason(attempt) == expected
    assert words in str(attempt.error)


async def test_an_error_of_a_server_that_talks_much_is_cut() -> None:
    attempt = await ask(agent(lambda *_: ModelInvalidRequestError("spam \n" * 1000)))
    assert len(str(attempt.error)) < 350
    assert "\n" not in str(attempt.error)


async def test_a_rate_limit_is_waited_for_as_long_as_the_server_asks() -> None:
    asked = agent(in_turn(rate_limits(7.0), answers('{"a": 1}')))
    attempt = await ask(asked)
    assert (attempt.answer, attempt.seconds) == ('{"a": 1}', 7.0)


async def test_a_date_to_wait_for_is_read_against_the_servers_own_clock() -> None:
    headers = {"date": "Sat, 21 Nov 2026 10:00:00 GMT", "retry-after": "Sat, 21 Nov 2026 10:00:05 GMT"}
    asked = agent(in_turn(lambda *_: RateLimited(headers), answers("{}")))
    assert (await ask(asked)).seconds == 5.0


async def test_a_wait_that_the_question_has_no_time_for_ends_it_at_once() -> None:
    asked = agent(in_turn(rate_limits(60.0), answers('{"a": 1}')))
    attempt = await ask(asked)
    assert reason(attempt) == Reason.RATE_LIMIT
    assert (attempt.seconds, len(calls(asked))) == (0.0, 1)


async def test_a_connection_that_comes_back_is_no_failure() -> None:
    asked = agent(in_turn(is_dead(), is_dead(), answers('{"a": 1}')))
    attempt = await ask(asked)
    assert attempt.answer == '{"a": 1}'
    assert 0.75 <= attempt.seconds < 1.5, "half of 0.5 + 1 s at least, all of it at most"


async def test_retries_end_with_the_last_try_or_the_time() -> None:
    patient = agent(is_dead())
    assert reason(await ask(patient)) == Reason.CONNECTION
    assert len(calls(patient)) == 4
    hurried = agent(is_dead(), timeout_s=1.0)
    before = now()
    assert reason(await ask(hurried)) == Reason.CONNECTION
    assert now() - before < 1.0
    assert 1 <= len(calls(hurried)) < 4


async def test_nothing_but_rate_limits_and_connections_is_retried() -> None:
    for reply in (refuses(), truncates("{"), lambda *_: ContextOverflowError("x"), lambda *_: KeyError("x")):
        asked = agent(reply)
        await ask(asked)
        assert len(calls(asked)) == 1


async def test_agents_side_by_side_do_not_retry_in_step() -> None:
    asking = Asking(agent(in_turn(*[rate_limits()] * 8, answers("{}"))), clock=now)
    attempts = await asyncio.gather(*(asking.for_decision(0, f"edge-{n}")(MESSAGES, SCHEMA, 0) for n in range(8)))
    assert len({attempt.seconds for attempt in attempts}) == 8


def only(*kinds: str) -> Reply:
    """A server that knows these response formats."""

    def reply(_: list[BaseMessage], options: dict[str, Any]) -> str | Exception:
        kind = options.get("response_format", {"type": "text"})["type"]
        return '{"a": 1}' if kind in kinds else ModelInvalidRequestError(f"unknown response_format {kind}")

    return reply


@pytest.mark.parametrize(
    ("kinds", "learned", "first"),
    [
        (("json_schema", "json_object", "text"), AnswerFormat.JSON_SCHEMA, 1),
        (("json_object", "text"), AnswerFormat.JSON_OBJECT, 2),
        (("text",), AnswerFormat.TEXT, 3),
    ],
)
async def test_a_server_that_rejects_a_form_is_asked_in_a_looser_one_from_then_on(
    kinds: tuple[str, ...], learned: AnswerFormat, first: int
) -> None:
    asked = agent(only(*kinds))
    assert (await ask(asked)).answer == '{"a": 1}'
    assert (asked.abilities.answer_format, len(calls(asked))) == (learned, first)
    neighbour = agent(only(*kinds), endpoint=asked.endpoint)
    assert (await ask(neighbour)).answer == '{"a": 1}'
    assert len(calls(neighbour)) == 1


async def test_what_one_model_does_not_take_says_nothing_about_another_behind_the_same_endpoint() -> None:
    old = agent(only("text"), name="old")
    assert (await ask(old)).answer == '{"a": 1}'
    new = agent(only("json_schema"), name="new", endpoint=old.endpoint)
    assert (await ask(new)).answer == '{"a": 1}'
    assert (len(calls(old)), len(calls(new))) == (3, 1)


async def test_a_request_that_is_rejected_in_every_form_teaches_nothing() -> None:
    asked = agent(only())
    assert reason(await ask(asked)) == Reason.REJECTED_BY_SERVER
    assert asked.abilities.answer_format == AnswerFormat.JSON_SCHEMA


async def test_a_server_that_keeps_failing_is_left_alone_and_tried_again_later() -> None:
    asked = agent(in_turn(hangs(), hangs(), answers('{"a": 1}')), timeout_s=5.0)
    assert [reason(await ask(asked)) for _ in range(2)] == [Reason.TIMEOUT] * 2
    refused = await ask(asked)
    assert refused.error == "breaker_open: http://model.test/v1 kept failing and is left alone for 60 s more"
    assert (refused.seconds, len(calls(asked))) == (0.0, 2)
    await asyncio.sleep(60)
    assert (await ask(asked)).answer == '{"a": 1}'
    assert (await ask(asked)).answer == '{"a": 1}'


async def test_agents_of_one_endpoint_share_its_breaker() -> None:
    planner = agent(hangs(), role=Role.PLANNER)
    deployer = agent(answers("{}"), role=Role.DEPLOYER, endpoint=planner.endpoint)
    for _ in range(2):
        await ask(planner)
    assert reason(await ask(deployer)) == Reason.BREAKER_OPEN


async def test_answers_that_are_no_use_do_not_open_the_breaker() -> None:
    asked = agent(in_turn(refuses(), truncates("{"), lambda *_: ContextOverflowError("x"), answers("garbage")))
    for _ in range(4):
        await ask(asked)
    assert not asked.endpoint.breaker.is_open


async def test_a_slot_whose_tokens_are_spent_makes_no_call() -> None:
    asked = agent(answers(counted("{}", 90, 10)), max_completion_tokens=100)
    budget = Budget(Limits(tokens=600), clock=now)
    for _ in range(2):
        assert (await ask(asked, budget=budget)).error is None
    attempt = await ask(asked, budget=budget)
    assert reason(attempt) == Reason.BUDGET
    assert "and 400 of the slot's 600 are left" in str(attempt.error)
    assert len(calls(asked)) == 2
    assert (await ask(asked, slot=1, budget=budget)).answer == "{}", "the next slot has its own"
    assert not asked.endpoint.breaker.is_open


async def test_calls_that_never_reached_the_model_are_not_charged() -> None:
    budget = Budget(Limits(tokens=2000), clock=now)
    await ask(agent(rate_limits(60.0), max_completion_tokens=100), budget=budget)
    assert budget.account(0).tokens == 0
    await ask(agent(hangs(), max_completion_tokens=100), budget=budget)
    assert budget.account(0).tokens > 100, "what a model did before it was given up is not known"


async def test_the_seconds_of_a_slot_end_every_question_of_it() -> None:
    budget = Budget(Limits(seconds=25.0), clock=now)
    assert (await ask(agent(takes(18.0, "{}")), budget=budget)).answer == "{}"
    attempt = await ask(agent(hangs()), budget=budget)
    assert attempt.error == "budget: no answer from scripted in the 7 s that it had"
    late = agent(answers("{}"))
    assert (await ask(late, budget=budget)).error == "budget: the seconds of the slot are spent"
    assert calls(late) == []
    assert now() == 25.0


def test_a_budget_in_money_wants_a_price() -> None:
    budget = Budget(Limits(cost_usd=1.0))
    with pytest.raises(InputError, match="needs the price of scripted"):
        Asking(agent(answers("{}")), budget=budget)
    Asking(agent(answers("{}"), price=Price(1.0, 1.0)), budget=budget)


class Listener(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[str] = []

    async def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        self.heard.append("start")

    async def on_llm_end(self, *_: Any, **__: Any) -> None:
        self.heard.append("end")


async def test_a_callback_of_the_surrounding_run_hears_every_call() -> None:
    listener, asked = Listener(), agent(answers(counted('{"a": 1}', 5, 2)))

    async def inside(_: str) -> Attempt:
        return await ask(asked)

    attempt = await RunnableLambda(inside).ainvoke("", config={"callbacks": [listener]})
    assert listener.heard == ["start", "end"]
    assert (attempt.answer, attempt.prompt_tokens) == ('{"a": 1}', 5)
    assert (await ask(asked)) == attempt, "the way beneath the callbacks gives the same"


async def test_each_surrounding_run_is_looked_at_for_callbacks_of_its_own() -> None:
    asked, listeners = agent(answers("{}")), (Listener(), Listener())
    asker = Asking(asked, clock=now).for_decision(0)

    async def inside(_: str) -> None:
        await asyncio.gather(*(asker(MESSAGES, SCHEMA, 0) for _ in range(3)))

    node = RunnableLambda(inside)
    for heard in (listeners[:1], (), listeners[1:], ()):
        await node.ainvoke("", config={"callbacks": [*heard]})
    assert [len(listener.heard) for listener in listeners] == [6, 6]
    asked.model.callbacks = [listeners[0]]
    await node.ainvoke("")
    assert len(listeners[0].heard) == 12, "callbacks of the model itself"
    await asker(MESSAGES, SCHEMA, 0)
    assert len(listeners[0].heard) == 14, "and without any run around"


async def test_a_cache_of_the_model_is_used() -> None:
    asked = agent(answers("{}"))
    asked.model.cache = InMemoryCache()
    for _ in range(2):
        assert (await ask(asked)).answer == "{}"
    assert len(calls(asked)) == 1


KEY = "sk-9fQ2xv7Lw0ZrTqY5uE1h"


async def test_of_a_secret_that_the_server_throws_back_nothing_stays() -> None:
    errors = [f"bad key {KEY}", f"{{'error': 'bad key {KEY[:12]}…'}}", 1990 * "x" + KEY]
    errors += [n * "x" + f" bad key {KEY}, go away" for n in range(270, 300, 3)]
    replies = [answers(f'{{"a": "{KEY}"}}'), *[refuses(words) for words in errors]]
    for reply in [*replies, *[lambda *_, said=words: ModelInvalidRequestError(said) for words in errors]]:
        asked = agent(reply, secrets=Secrets([KEY]))
        attempt = await ask(asked)
        assert all(KEY[at : at + 6] not in repr((attempt, asked)) for at in range(len(KEY) - 5))
        assert len(attempt.error or "") <= 340


async def test_of_a_secret_that_a_tool_throws_back_nothing_stays_where_its_reply_is_cut_off() -> None:
    @tool
    async def look() -> str:
        """Look."""
        return 19_990 * "x" + KEY

    wish = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}])
    attempt = await ask(agent(in_turn(answers(wish), answers('{"a": 1}')), secrets=Secrets([KEY])), tools=[look])
    assert (attempt.answer, attempt.messages[3]["content"][19_985:]) == ('{"a": 1}', "xxxxx***")
    assert KEY[:6] not in repr(attempt)


async def test_a_late_rate_limit_does_not_shut_out_a_server_that_is_well_again() -> None:
    """One question hangs while others find the server away, then well; only then it is told to come back much later."""

    async def late() -> Exception:
        await asyncio.sleep(70.0)
        return RateLimited({"retry-after": "300"})

    def reply(*_: object) -> Any:
        if len(calls(asked)) == 1:
            return late()
        return ModelConnectionError("gone") if now() < 60.0 else '{"a": 1}'

    asked = agent(reply, timeout_s=100.0)
    breaker = asked.endpoint.breaker
    hanging = asyncio.create_task(ask(asked))
    await asyncio.sleep(1.0)
    for _ in range(2):
        assert reason(await ask(asked)) == Reason.CONNECTION
    assert breaker.is_open
    await asyncio.sleep(breaker.seconds_left)
    assert (await ask(asked)).answer == '{"a": 1}'
    assert now() < 70.0
    assert reason(await hanging) == Reason.RATE_LIMIT
    assert not breaker.is_open
    assert (await ask(asked)).answer == '{"a": 1}'
