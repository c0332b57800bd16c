"""Calls to a model on behalf of one question: the tightest form of answer, the only retries, the account."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from domain.ledger import Reason
from graph.models.agent import Agent, AnswerFormat
from graph.models.budget import CHARACTERS_PER_TOKEN, Account, Reservation
from graph.models.conversation import Message, Reply, characters
from graph.models.failures import classify, is_retryable, rejects_request, retry_after_s, tokens_of
from graph.models.line import Line

logger = logging.getLogger(__name__)

TRIES = 4
"""Calls that one question may make until one is answered."""
FIRST_WAIT_S = 0.5
"""At most, before the second of them, where the server asks for no wait; doubled each time."""
_FORMS = tuple(AnswerFormat)
_LOOSER = dict(zip(_FORMS, _FORMS[1:], strict=False))
FREE = (Reason.CONNECTION, Reason.RATE_LIMIT, Reason.REJECTED_BY_SERVER)
"""Failures before the model worked, which cost nothing."""


@dataclass(slots=True)
class Caller:
    """Makes the calls of one question, all inside its time and on its account."""

    agent: Agent
    line: Line
    slot: int
    account: Account | None
    clock: Callable[[], float]
    ends_s: float
    """On the clock: when the time of the question is over."""
    key: str
    """Moves the waits of agents that are asked side by side apart."""
    prompt_tokens: int = 0
    """As the server counted, over all calls."""
    completion_tokens: int = 0

    async def answer(self, messages: Sequence[Message], schema: Mapping[str, Any]) -> Reply:
        """Call for an answer in the tightest form that the server can hold it to.

        A server that rejects a form is asked again with the next looser one, and its endpoint remembers that.
        """
        endpoint = self.agent.endpoint
        form = tightest = endpoint.answer_format
        while True:
            try:
                reply = await self.call(messages, _options(form, self.agent.role, schema))
            except Exception as error:
                if form not in _LOOSER or not rejects_request(error):
                    raise
                form = _LOOSER[form]
                continue
            if form is not tightest and _FORMS.index(form) > _FORMS.index(endpoint.answer_format):
                endpoint.answer_format = form
                logger.warning("%s holds answers to %s only", endpoint.address or self.agent.name, form)
            return reply

    async def call(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Reply:
        """Call the model, again where its server is busy or away, and put what that cost on the account.

        Raises:
            BudgetExhaustedError: where the account cannot pay for it.
            Exception: whatever the model raises.
        """
        agent, size = self.agent, characters(messages)
        held = self.account.reserve(size, agent.max_completion_tokens, agent.price) if self.account else None
        converted = self.line.messages(messages)
        try:
            try:
                reply = await self.line.call(self.slot, converted, options)
            except Exception as error:
                if not is_retryable(error):
                    raise
                reply = await self._retried(error, converted, options)
        except Exception as error:
            self._settle_failure(held, error)
            raise
        self._settle(held, reply, size)
        return reply

    async def _retried(self, error: Exception, messages: list[BaseMessage], options: Mapping[str, Any]) -> Reply:
        """Try again after an error, for as long as it makes sense. Raises the last error."""
        known = [error]

        async def again() -> Reply:
            if known:
                raise known.pop()
            return await self.line.call(self.slot, messages, options)

        retrying = AsyncRetrying(
            retry=retry_if_exception(is_retryable),
            wait=self._wait_s,
            stop=self._must_stop,
            sleep=asyncio.sleep,
            reraise=True,
        )
        return await retrying(again)

    def _wait_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = None if error is None else retry_after_s(error)
        if asked is not None:
            return asked
        spread = (zlib.crc32(self.key.encode()) & 0xFFFF) / 0x10000
        return float(FIRST_WAIT_S * 2 ** (state.attempt_number - 1) * (0.5 + spread / 2))

    def _must_stop(self, state: RetryCallState) -> bool:
        return state.attempt_number >= TRIES or self.clock() + state.upcoming_sleep >= self.ends_s

    def _settle(self, held: Reservation | None, reply: Reply, size: int) -> None:
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        if self.account is None or held is None:
            return
        if reply.measured:
            used = reply.prompt_tokens, reply.completion_tokens
        else:
            used = -(-size // CHARACTERS_PER_TOKEN), -(-len(reply.text) // CHARACTERS_PER_TOKEN)
        self.account.settle(held, *used, self.agent.price)

    def _settle_failure(self, held: Reservation | None, error: Exception) -> None:
        used = tokens_of(error)
        if used:
            self.prompt_tokens += used[0]
            self.completion_tokens += used[1]
        if self.account is None or held is None:
            return
        if used:
            self.account.settle(held, *used, self.agent.price)
        elif classify(error).reason in FREE:
            self.account.give_back(held)
        # Else the model may have worked: what was set aside counts as spent.


def _options(form: AnswerFormat, name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same keywords that `model.bind(response_format=…)` would pass."""
    match form:
        case AnswerFormat.JSON_SCHEMA:
            held = {"name": name, "strict": True, "schema": schema}
            return {"response_format": {"type": "json_schema", "json_schema": held}}
        case AnswerFormat.JSON_OBJECT:
            return {"response_format": {"type": "json_object"}}
        case AnswerFormat.TEXT:
            return {}
