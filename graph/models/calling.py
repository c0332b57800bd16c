"""Calls to a model on behalf of one question: what its server takes, the only retries, the account."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage

from graph.models.agent import Agent, AnswerFormat
from graph.models.budget import Account, Reservation
from graph.models.conversation import Message, Reply, most_tokens
from graph.models.failures import (
    classify,
    cost_nothing,
    is_retryable,
    refused_parameter,
    rejects_request,
    retry_after_s,
    stumbles,
)
from graph.models.line import Line

logger = logging.getLogger(__name__)

TRIES = 4
"""Calls that one question may make until one is answered."""
FIRST_WAIT_S = 0.5
"""At most, before the second of them, where the server asks for no wait; doubled each time."""
STUMBLES = 2
"""Answers in a row for which a server had to be asked in a looser form after it had broken down, until that is learned:
a server may break down once for another reason."""
_FORMS = tuple(AnswerFormat)
_LOOSER = dict(zip(_FORMS, _FORMS[1:], strict=False))
LENGTH, OLD_LENGTH = "max_completion_tokens", "max_tokens"
"""Names of the most tokens of an answer: OpenAI's own, and the one that many servers know."""


@dataclass(slots=True)
class _Way:
    """How a request is put: what is asked for, and what is left out."""

    form: AnswerFormat
    left_out: frozenset[str]
    stumbled: bool = False
    """True where a tighter form was left because the server broke down over it."""
    complaint: str = ""
    """What the server said when a parameter was last left out."""
    complained_of: str = ""
    told: str = ""
    """The complaint without secrets."""
    in_vain: set[str] = field(default_factory=set)
    """Parameters that were left out and put back, for the complaint stayed the same."""


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
    wait_s: float | None = None
    """What the server asked to be left alone for, where that did not fit into the time."""
    _since_s: float | None = None

    @property
    def waited_s(self) -> float:
        """Seconds for which the server owes an answer; 0 while it owes none."""
        return 0.0 if self._since_s is None else self.clock() - self._since_s

    async def answer(self, messages: Sequence[Message], schema: Mapping[str, Any]) -> Reply:
        """Call for an answer in the tightest form that the server can hold it to, with the parameters that it takes.

        A server that complains of a parameter is asked again without it, one that rejects a form or breaks down over it
        with the next looser one. Its endpoint remembers what it was that helped.
        """
        return await self._any_way(messages, lambda form: _options(form, self.agent.role, schema))

    async def look(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Reply:
        """Call with options of one's own and the parameters that the server takes; no form is asked for."""
        return await self._any_way(messages, lambda form: options, loosens=False)

    async def _any_way(
        self,
        messages: Sequence[Message],
        options: Callable[[AnswerFormat], Mapping[str, Any]],
        loosens: bool = True,
    ) -> Reply:
        known = self.agent.abilities
        way = _Way(known.answer_format, known.left_out)
        while True:
            try:
                reply = await self.call(messages, options(way.form), way.left_out)
            except Exception as error:
                if not self._another_way(way, error, loosens):
                    raise
                continue
            self._learn(way, loosens)
            return reply

    async def call(
        self, messages: Sequence[Message], options: Mapping[str, Any], left_out: frozenset[str] = frozenset()
    ) -> Reply:
        """Call the model, again where its server is busy or away, and put what that cost on the account.

        Args:
            messages: role and content of each.
            options: of the call.
            left_out: parameters that are not sent.

        Raises:
            BudgetExhaustedError: where the account cannot pay for it.
            Exception: whatever the model raises.
        """
        given = {**options, "left_out": left_out} if left_out else options
        most = most_tokens(messages, options) if self.account is not None and self.account.counts else 0
        converted, tried = self.line.messages(messages), 1
        self._since_s = self.clock()
        while True:
            try:
                reply = await self._try(converted, given, most)
                self._since_s = None
                return reply
            except Exception as error:
                wait_s = self._wait_s(error, tried)
                if wait_s is None:
                    self._since_s = None
                    raise
            tried += 1
            await asyncio.sleep(wait_s)

    async def _try(self, messages: list[BaseMessage], options: Mapping[str, Any], most: int) -> Reply:
        agent, account = self.agent, self.account
        held = account.reserve(most, agent.max_completion_tokens, agent.price) if account is not None else None
        try:
            reply = await self.line.call(self.slot, messages, options)
        except Exception as error:
            if account is not None and held is not None and cost_nothing(error):
                account.give_back(held)
            raise  # else the model may have worked: what was set aside counts as spent
        self._settle(held, reply)
        return reply

    def _wait_s(self, error: Exception, tried: int) -> float | None:
        """Seconds until the next try; None where there is none."""
        if not is_retryable(error):
            return None
        now, asked = self.clock(), retry_after_s(error)
        if asked is None:
            spread = (zlib.crc32(self.key.encode()) & 0xFFFF) / 0x10000
            turn_s = now + FIRST_WAIT_S * float(2 ** (tried - 1)) * (0.5 + spread / 2)
        else:
            turn_s = now + asked
        if turn_s >= self.ends_s:
            self.wait_s = asked
            return None
        if tried >= TRIES:
            return None
        if asked is None:
            return turn_s - now
        turn = self.agent.endpoint.turns.after(turn_s, self.ends_s)
        return None if turn is None else turn - now

    def _settle(self, held: Reservation | None, reply: Reply) -> None:
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        if self.account is None or held is None:
            return
        said = bool(reply.text or reply.reasoning or reply.tool_calls or reply.broken_calls)
        uncounted = said and not reply.completion_tokens
        self.account.settle(
            held,
            reply.prompt_tokens or held.prompt_tokens,
            held.completion_tokens if uncounted else reply.completion_tokens,
            self.agent.price,
        )

    def _another_way(self, way: _Way, error: Exception, loosens: bool) -> bool:
        """Put the request another way after an error; False where there is none that might help."""
        complaint = str(error)
        if way.complained_of and complaint == way.complaint:
            way.left_out -= {way.complained_of}
            way.in_vain.add(way.complained_of)
        name = refused_parameter(error, [name for name in self._sent(way) if name not in way.in_vain])
        if name is not None:
            way.left_out |= {name}
            way.complaint, way.complained_of = complaint, name
            way.told = classify(error).told(self.agent.secrets)
            return True
        if not loosens or way.form not in _LOOSER or not (rejects_request(error) or stumbles(error)):
            return False
        way.form, way.stumbled = _LOOSER[way.form], way.stumbled or not rejects_request(error)
        return True

    def _sent(self, way: _Way) -> list[str]:
        """Parameters that the request holds and could do without."""
        length = OLD_LENGTH if LENGTH in way.left_out else LENGTH
        return [name for name in (length, *self.agent.parameters) if name not in way.left_out]

    def _learn(self, way: _Way, loosens: bool) -> None:
        """Remember what helped."""
        known, where = self.agent.abilities, f"{self.agent.name} at {self.agent.where}"
        for name in sorted(way.left_out - known.left_out):
            logger.warning("%s takes no %s: %s", where, name, way.told)
        known.left_out |= way.left_out
        if not loosens:
            return
        if way.form is known.answer_format or _FORMS.index(way.form) < _FORMS.index(known.answer_format):
            known.stumbled = 0
            return
        known.stumbled = known.stumbled + 1 if way.stumbled else STUMBLES
        if known.stumbled >= STUMBLES:
            known.answer_format, known.stumbled = way.form, 0
            logger.warning("%s holds answers to %s only", where, way.form)


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
