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
from graph.models.budget import FRAME_TOKENS, MESSAGE_TOKENS
from graph.models.failures import BadReplyError, NoAnswerError

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


def most_tokens(messages: Sequence[Message], options: Mapping[str, Any]) -> int:
    """Most tokens that a request can have: one for each byte of it, and what a chat template puts around."""
    said = "".join([text for message in messages for text in message.values()])
    size = len(said.encode("utf-8", "replace")) + len(json.dumps(options, default=str, ensure_ascii=False).encode())
    return size + MESSAGE_TOKENS * len(messages) + FRAME_TOKENS


class Reply(NamedTuple):
    """What a model sent back."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    broken_calls: tuple[ToolCall, ...] = ()
    """Tool calls whose arguments were no JSON object; they have none here."""
    prompt_tokens: int = 0
    """As the server counted; 0 where it does not."""
    completion_tokens: int = 0
    finish: str = ""
    """Why the model stopped, in the server's word."""
    refusal: str = ""
    reasoning: str = ""
    """What the server set apart as the model's reasoning."""

    def checked(self, tools: bool = False) -> Reply:
        """Return itself; raises NoAnswerError where it holds no answer: refused, cut off, or put elsewhere.

        Args:
            tools: whether tools were offered, so that calls of them are in order.
        """
        size = f"{self.completion_tokens} tokens" if self.completion_tokens else f"{len(self.text)} characters"
        if self.refusal:
            raise NoAnswerError(Reason.REFUSAL, f"the model refuses: {self.refusal.strip()}")
        if self.finish == "content_filter":
            raise NoAnswerError(Reason.REFUSAL, f"a content filter withheld the answer after {size}")
        if self.finish == "length":
            raise NoAnswerError(Reason.TRUNCATED, f"the answer was cut off after {size}")
        if not self.text.strip() and not tools:
            self._look_aside()
        return self

    def _look_aside(self) -> None:
        """Name the place of an answer that did not come as the reply's content."""
        if calls := [*self.tool_calls, *self.broken_calls]:
            raise NoAnswerError(
                Reason.MISPLACED,
                f"the answer came as a call of a tool {calls[0]['name']!r}, and no tool was offered: "
                "see how the server makes answers into tool calls",
            )
        if self.reasoning.strip():
            raise NoAnswerError(
                Reason.MISPLACED,
                "the answer came as reasoning_content and the content is empty: see the server's reasoning parser",
            )


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
        finish=str(message.response_metadata.get("finish_reason") or finish or ""),
        refusal=str(message.additional_kwargs.get("refusal") or ""),
        reasoning=str(message.additional_kwargs.get("reasoning_content") or ""),
    )


def read_result(result: ChatResult) -> Reply:
    """Read what a chat model's `_agenerate` returns; raises BadReplyError where it holds nothing."""
    if not result.generations:
        raise BadReplyError("the model's reply is no chat completion, it holds no choices")
    generation = result.generations[0]
    message = generation.message
    if not isinstance(message, AIMessage):
        raise TypeError(f"a chat model answers with an AIMessage, not {type(message).__name__}")
    return read_message(message, (generation.generation_info or {}).get("finish_reason"))
