"""A chat model that does what a test tells it to, and remembers what it was asked.

    ScriptedChatModel(reply=answers('{"a": 1}'))            the same answer every time
    ScriptedChatModel(reply=answers("one", "two"))          one after the other, then "two" for good
    ScriptedChatModel(reply=lambda messages, options: …)    any function of what it is sent
    ScriptedChatModel(reply=in_turn(rate_limits(2.0), answers("late")))

A reply is an AIMessage, a text, an exception to raise, or an awaitable of one of them.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.exceptions import ModelConnectionError, ModelRateLimitError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

Answer = AIMessage | str | Exception
Reply = Callable[[list[BaseMessage], dict[str, Any]], Answer | Awaitable[Answer]]


class ScriptedChatModel(BaseChatModel):
    """Calls `reply` with the messages and the options of each call, and keeps both in `calls`."""

    reply: Reply
    calls: list[tuple[list[BaseMessage], dict[str, Any]]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        raise AssertionError("A scripted model is called asynchronously only")

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        self.calls.append((messages, options))
        answer = self.reply(messages, options)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        message = answer if isinstance(answer, AIMessage) else AIMessage(answer)
        return ChatResult(generations=[ChatGeneration(message=message)])


class RateLimited(ModelRateLimitError):
    """HTTP 429, as a client of a model server raises it."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__("Error code: 429 - slow down")
        self.status_code = 429
        self.response = httpx.Response(429, headers=headers)


def answers(*texts: str | AIMessage) -> Reply:
    """One text after the other, then the last for good."""
    left = list(texts)
    return lambda messages, options: left.pop(0) if len(left) > 1 else left[0]


def counted(text: str, prompt_tokens: int, completion_tokens: int) -> AIMessage:
    """An answer whose tokens the server counted."""
    usage = UsageMetadata(
        input_tokens=prompt_tokens, output_tokens=completion_tokens, total_tokens=prompt_tokens + completion_tokens
    )
    return AIMessage(text, usage_metadata=usage)


def takes(seconds: float, text: str) -> Reply:
    """The text, after so many seconds of the event loop's clock."""

    async def slow() -> str:
        await asyncio.sleep(seconds)
        return text

    return lambda messages, options: slow()


def hangs() -> Reply:
    """Never answer."""
    return takes(1e9, "too late")


def refuses(words: str = "I cannot help with that.") -> Reply:
    """Refuse, as OpenAI's structured outputs do."""
    return lambda messages, options: AIMessage("", additional_kwargs={"refusal": words})


def truncates(text: str) -> Reply:
    """Stop in the middle of an answer, for its length."""
    return lambda messages, options: AIMessage(text, response_metadata={"finish_reason": "length"})


def rate_limits(retry_after_s: float | None = None) -> Reply:
    """Answer 429, with or without a Retry-After header."""
    headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
    return lambda messages, options: RateLimited(headers)


def is_dead() -> Reply:
    """Refuse the connection."""
    return lambda messages, options: ModelConnectionError("Connection error.")


def in_turn(*replies: Reply) -> Reply:
    """Each reply once, then the last for good: `in_turn(answers("a"), is_dead())` dies after one answer."""
    left = list(replies)
    return lambda messages, options: (left.pop(0) if len(left) > 1 else left[0])(messages, options)
