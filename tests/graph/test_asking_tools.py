"""A model that may look before it answers: rounds of tools, and what goes wrong in them."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, tool

from domain.ledger import Attempt, Reason
from graph.models.agent import Agent
from graph.models.asking import Asking
from tests.asking import MESSAGES, SCHEMA, agent, ask, calls, now, reason
from tests.scripted import (
    Reply,
    answers,
    in_turn,
    refuses,
)

pytestmark = pytest.mark.looptime


@tool
async def read_snapshot(node: str) -> str:
    """Read the last snapshot of a node."""
    if node == "edge-9":
        raise ValueError("no node edge-9")
    return json.dumps({"node": node, "backlog": 12})


def wants(name: str, number: int = 1, **arguments: Any) -> AIMessage:
    call = {"name": name, "args": arguments, "id": f"call-{number}", "type": "tool_call"}
    return AIMessage("", tool_calls=[call])


async def consult(reply: Reply, tools: list[BaseTool] | None = None) -> tuple[Agent, Attempt]:
    asked = agent(reply)
    return asked, await ask(asked, tools=tools or [read_snapshot])


async def test_a_model_may_look_before_it_answers_and_every_look_is_in_the_attempt() -> None:
    asked, attempt = await consult(answers(wants("read_snapshot", node="edge-1"), "Let me think.", '{"a": 12}'))
    assert attempt.answer == '{"a": 12}'
    assert [message["role"] for message in attempt.messages] == [
        *("system", "user", "assistant", "tool", "assistant", "user")
    ]
    look = attempt.messages[2:4]
    assert json.loads(look[0]["tool_calls"])[0]["args"] == {"node": "edge-1"}
    assert json.loads(look[1]["content"]) == {"node": "edge-1", "backlog": 12}
    offered = [options for _, options in calls(asked)]
    assert offered[0]["tools"][0]["function"]["name"] == "read_snapshot"
    assert "response_format" not in offered[0]
    assert offered[-1]["response_format"]["json_schema"]["schema"] == SCHEMA
    assert "tools" not in offered[-1]
    shown = calls(asked)[1][0][-1]
    assert isinstance(shown, ToolMessage)
    assert shown.tool_call_id == "call-1"


async def test_an_answer_in_the_right_form_right_away_needs_no_second_call() -> None:
    asked, attempt = await consult(answers('{"a": 1}'))
    assert attempt.answer == '{"a": 1}'
    assert (len(calls(asked)), attempt.messages) == (1, tuple(MESSAGES))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (wants("read_snapshot", node="edge-9"), "error: ValueError: no node edge-9"),
        (wants("read_snapshot", nodule=1), "error: ValidationError"),
        (wants("delete_pod"), "error: there is no tool 'delete_pod'; there are read_snapshot"),
        (
            AIMessage(
                "",
                invalid_tool_calls=[
                    {"name": "read_snapshot", "args": "{", "id": "c", "error": "x", "type": "invalid_tool_call"}
                ],
            ),
            "error: the arguments of read_snapshot are no JSON object",
        ),
    ],
)
async def test_what_goes_wrong_in_a_tool_goes_back_to_the_model(call: AIMessage, words: str) -> None:
    _, attempt = await consult(answers(call, '{"a": 1}'))
    assert attempt.answer == '{"a": 1}'
    assert attempt.messages[3]["content"].startswith(words)


async def test_a_model_that_never_stops_looking_must_answer_in_the_end() -> None:
    def reply(_: list[BaseMessage], options: dict[str, Any]) -> AIMessage | str:
        return wants("read_snapshot", node="edge-1") if "tools" in options else '{"a": 1}'

    asked, attempt = await consult(reply)
    assert attempt.answer == '{"a": 1}'
    assert len(calls(asked)) == 5
    assert sum(message["role"] == "tool" for message in attempt.messages) == 4


async def test_a_round_with_too_many_looks_is_cut() -> None:
    many = AIMessage("", tool_calls=[wants("read_snapshot", n, node="edge-1").tool_calls[0] for n in range(50)])
    _, attempt = await consult(answers(many, '{"a": 1}'))
    said = [message["content"] for message in attempt.messages if message["role"] == "tool"]
    assert len(said) == 50, "every call gets a reply, or servers reject the conversation"
    assert sum(text.startswith("error: one round may hold 8 calls") for text in said) == 42


async def test_a_tool_that_says_too_much_is_cut() -> None:
    @tool
    async def flood() -> str:
        """Say a lot."""
        return "x" * 100_000

    _, attempt = await consult(answers(wants("flood"), '{"a": 1}'), [flood])
    assert len(attempt.messages[3]["content"]) < 20_100
    assert attempt.messages[3]["content"].endswith("… (80000 more characters)")


async def test_tokens_of_all_rounds_add_up_and_a_failure_keeps_what_was_said() -> None:
    first = wants("read_snapshot", node="edge-1")
    first.usage_metadata = {"input_tokens": 100, "output_tokens": 9, "total_tokens": 109}
    _, attempt = await consult(in_turn(answers(first), refuses()))
    assert reason(attempt) == Reason.REFUSAL
    assert (attempt.prompt_tokens, attempt.completion_tokens) == (100, 9)
    assert [message["role"] for message in attempt.messages] == ["system", "user", "assistant", "tool"]


async def test_a_tool_that_hangs_costs_no_more_than_the_time_of_the_question() -> None:
    @tool
    async def stare() -> str:
        """Stare."""
        await asyncio.sleep(1e9)
        return ""

    _, attempt = await consult(answers(wants("stare"), '{"a": 1}'), [stare])
    assert reason(attempt) == Reason.TIMEOUT
    assert attempt.seconds == 20.0


async def test_a_repair_is_asked_without_tools() -> None:
    asked = agent(answers('{"a": 1}'))
    asking: Callable[..., Any] = Asking(asked, tools=[read_snapshot], clock=now).for_decision(0)
    _, looked = await consult(answers(wants("read_snapshot", node="edge-1"), '{"a": 2}'))
    said = [*looked.messages, {"role": "assistant", "content": '{"a": 2}'}, {"role": "user", "content": "No."}]
    assert (await asking(said, SCHEMA, 1)).answer == '{"a": 1}'
    sent, options = calls(asked)[0]
    assert "tools" not in options
    assert [message.type for message in sent] == ["system", "human", "ai", "tool", "ai", "human"]


async def test_a_role_that_does_not_exist_is_an_attempt_that_failed() -> None:
    attempt = await Asking(agent(answers("{}")), clock=now).for_decision(0)(
        [{"role": "wizard", "content": "x"}], SCHEMA, 0
    )
    assert reason(attempt) == Reason.INTERNAL
