"""Messages as plain data and as LangChain's own, and what a model's reply holds.

Plain data is {"role": …, "content": …}, texts only, so that any store can hold it. A model's wish to call tools adds
"tool_calls" (JSON), a tool's reply adds "tool_call_id" and "name".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatResult

from domain.ledger import Reason
from graph.models.failures import NoAnswerError

Message = dict[str, str]


def to_langchain(message: Message) -> BaseMessage:
    """Turn plain data into LangChain's message. Raises ValueError for a role that does not exist."""
    content = message["content"]
    match message["role"]:
        case "system":
            return SystemMessage(content)
        case "user":
            return HumanMessage(content)
        case "assistant":
            calls: list[ToolCall] = json.loads(message.get("tool_calls", "[]"))
            return AIMessage(content, tool_calls=calls)
        case "tool":
            return ToolMessage(content, tool_call_id=message["tool_call_id"], name=message["name"])
        case role:
            raise ValueError(f"a message's role is system, user, assistant or tool, not {role!r}")


def characters(messages: Sequence[Message]) -> int:
    """Length of all contents together."""
    return sum([len(message["content"]) for message in messages])


class Reply(NamedTuple):
    """What a model sent back."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    broken_calls: tuple[ToolCall, ...] = ()
    """Tool calls whose arguments were no JSON object; they have none here."""
    prompt_tokens: int = 0
    """As the server counted; 0 where it does not."""
    completion_tokens: int = 0
    measured: bool = False
    """True where the server counted."""
    finish: str = ""
    """Why the model stopped, in the server's word."""
    refusal: str = ""

    def checked(self) -> Reply:
        """Return itself; raises NoAnswerError where the model refused or was cut off."""
        if self.refusal or self.finish == "content_filter":
            raise NoAnswerError(Reason.REFUSAL, f"the model refuses: {self.refusal.strip() or self.finish}")
        if self.finish == "length":
            raise NoAnswerError(Reason.TRUNCATED, f"the answer was cut off after {len(self.text)} characters")
        return self


def read_message(message: AIMessage, finish: str | None = None) -> Reply:
    """Read a message; `finish` is used where its metadata does not say why the model stopped."""
    usage: Mapping[str, Any] = message.usage_metadata or {}  # a cache puts other things in it
    content, broken = message.content, message.invalid_tool_calls
    return Reply(
        text=content if isinstance(content, str) else str(message.text),
        tool_calls=tuple(message.tool_calls),
        broken_calls=tuple([ToolCall(name=call["name"] or "", args={}, id=call["id"]) for call in broken]),
        prompt_tokens=int(usage.get("input_tokens", 0)),
        completion_tokens=int(usage.get("output_tokens", 0)),
        measured="input_tokens" in usage,
        finish=str(message.response_metadata.get("finish_reason") or finish or ""),
        refusal=str(message.additional_kwargs.get("refusal") or ""),
    )


def read_result(result: ChatResult) -> Reply:
    """Read what a chat model's `_agenerate` returns."""
    generation = result.generations[0]
    message = generation.message
    if not isinstance(message, AIMessage):
        raise TypeError(f"a chat model answers with an AIMessage, not {type(message).__name__}")
    return read_message(message, (generation.generation_info or {}).get("finish_reason"))
