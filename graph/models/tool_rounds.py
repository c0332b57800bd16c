"""A model that may look before it answers: rounds of read-only tools, and then an answer in the usual form.

Tools and a schema are never sent together: several servers refuse that, and a model that is held to the schema of an
answer could not call a tool.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import ToolCall
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from graph.models.calling import Caller
from graph.models.conversation import Message
from graph.models.failures import refused_parameter
from graph.models.wrapping import bare_object

logger = logging.getLogger(__name__)

TOOLS = "tools"
"""Name of the parameter, where a server complains of it."""
ROUNDS = 4
"""Rounds of tool calls before the model must answer."""
CALLS = 8
"""Tool calls that one round may hold."""
LONGEST = 20_000
"""Characters of a tool's reply that the model gets to see, and of what it says or gives to a tool itself."""
NOW_ANSWER = "There are no more tools. Answer now, with the JSON object alone."


async def consult(
    caller: Caller, said: list[Message], schema: Mapping[str, Any], tools: Sequence[BaseTool], rounds: int = ROUNDS
) -> str:
    """Let the model call tools until it answers, or for so many rounds; then hold it to the schema.

    Args:
        caller: makes the calls.
        said: the prompt; everything that is said after it is added to it, also where this raises.
        schema: of the answer.
        tools: by which the model may look.
        rounds: of tool calls.

    Returns:
        The answer.

    Raises:
        Exception: whatever the model raises, or NoAnswerError. What a tool raises goes back to the model. A server that
            complains of the tools themselves is asked without any.
    """
    known = caller.agent.abilities
    if TOOLS in known.left_out:
        return (await caller.answer(said, schema)).checked().text
    named, strike = {tool.name: tool for tool in tools}, caller.agent.secrets.strike
    options = {"tools": [convert_to_openai_tool(tool) for tool in tools]}
    for number in range(rounds):
        try:
            reply = (await caller.look(said, options)).checked(tools=True)
        except Exception as error:
            if number or refused_parameter(error, (TOOLS,)) is None:
                raise
            known.left_out |= {TOOLS}
            logger.warning("%s at %s takes no tools", caller.agent.name, caller.agent.where)
            return (await caller.answer(said, schema)).checked().text
        whole = [call for call in reply.tool_calls if len(json.dumps(call)) <= LONGEST]
        cut = [ToolCall(name=call["name"], args={}, id=call["id"]) for call in reply.tool_calls if call not in whole]
        calls = [*whole, *reply.broken_calls, *cut]
        if not calls:
            if _has_the_form(reply.text, schema):
                return reply.text
            if reply.text.strip():
                said.append({"role": "assistant", "content": _cut(strike(reply.text))})
            break
        said.append({"role": "assistant", "content": _cut(strike(reply.text)), "tool_calls": json.dumps(calls)})
        for place, call in enumerate(calls):
            if place >= CALLS:
                content = f"error: one round may hold {CALLS} calls, not more"
            elif place >= len(whole) + len(reply.broken_calls):
                content = f"error: the arguments of {call['name']} are longer than {LONGEST} characters"
            elif place >= len(whole):
                content = f"error: the arguments of {call['name']} are no JSON object"
            else:
                content = _cut(strike(await _run(named, call)))
            said.append({"role": "tool", "content": content, "tool_call_id": call["id"] or "", "name": call["name"]})
    said.append({"role": "user", "content": NOW_ANSWER})
    return (await caller.answer(said, schema)).checked().text


async def _run(named: Mapping[str, BaseTool], call: ToolCall) -> str:
    """What a tool says, or what went wrong, in words for the model."""
    tool = named.get(call["name"])
    if tool is None:
        return f"error: there is no tool {call['name']!r}; there are {', '.join(sorted(named))}"
    try:
        said = (await tool.ainvoke({**call, "type": "tool_call"})).content
    except Exception as error:
        said = f"error: {type(error).__name__}: {error}"
    return said if isinstance(said, str) else json.dumps(said)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + f"… ({len(text) - LONGEST} more characters)"


def _has_the_form(text: str, schema: Mapping[str, Any]) -> bool:
    try:
        value = json.loads(bare_object(text)[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and set(schema.get("required", ())) <= value.keys()
