"""One question to a model, from the time limit to the tape: whatever goes wrong becomes an attempt, not an exception.

    asker = Asking(agent, tape=tape, budget=budget).for_decision(slot, node)
    attempt = await asker(messages, schema, 0)

The order of things: an answer that is on the tape is taken from there and nothing else happens. Otherwise the budget
of the slot and the circuit breaker of the endpoint are asked for leave, the model is called inside the time limit
(with retries for rate limits and lost connections, and with tools where the agent has any), and the attempt,
failed or not, goes onto the tape.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from langchain_core.tools import BaseTool

from domain.errors import InputError
from domain.ledger import Attempt, Reason
from graph.models.agent import Agent
from graph.models.breaker import Leave
from graph.models.budget import Account, Budget
from graph.models.calling import Caller
from graph.models.conversation import Message
from graph.models.failures import Failure, classify
from graph.models.line import Line
from graph.models.tape import Question, Tape
from graph.models.time_limits import TimeLimits
from graph.models.tool_rounds import consult

MOST_KEPT = 300_000
"""Characters of an answer that are kept, on a tape too: more than anybody reads of one."""
OURS = (Reason.BUDGET, Reason.TIMEOUT)
"""Reasons that say nothing about the server where they are not its fault."""
MOST_OF_IT = 0.5
"""Share of the time of a question for which the server must owe an answer, to be at fault when the time is over."""
LONGEST_HOLD_S = 600.0
"""Seconds for which a server is left alone at most because it has asked for that."""

Asker = Callable[[Sequence[Message], Mapping[str, Any], int], Awaitable[Attempt]]
"""Messages, JSON schema and the number of the attempt (0, 1) to what came back."""


class Asking:
    """Everything that the questions of one agent share."""

    def __init__(
        self,
        agent: Agent,
        *,
        tape: Tape | None = None,
        budget: Budget | None = None,
        tools: Sequence[BaseTool] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put an agent together with what its questions need.

        Args:
            agent: who is asked.
            tape: where attempts are kept, or taken from.
            budget: of every slot, shared by all agents; None sets no limit.
            tools: read-only ones that the model may call before its first answer. Tools that write are never offered.
            clock: monotonic seconds, the clock of the running event loop.

        Raises:
            InputError: where the budget limits money and the price of the model is not known.
        """
        if budget is not None and budget.limits.cost_usd is not None and agent.price is None:
            raise InputError(f"a budget in USD needs the price of {agent.name}; add it to the price table")
        self.agent, self._line = agent, Line(agent.model)
        self._tape, self._budget, self._tools, self._clock = tape, budget, tuple(tools), clock
        self._limits = TimeLimits()
        self._parameters = {
            **agent.parameters,
            "max_completion_tokens": agent.max_completion_tokens,
            "tools": [tool.name for tool in self._tools],
        }

    def for_decision(self, slot: int, node: str | None = None) -> Asker:
        """Ask about one decision: the slot, and the node where there is one, key the budget and the tape.

        The asker raises TapeError where the tape lacks the answer, InputError where it cannot be written; no more.
        """
        agent, account = self.agent, self._budget.account(slot) if self._budget else None

        async def asker(messages: Sequence[Message], schema: Mapping[str, Any], attempt: int) -> Attempt:
            question = None
            if self._tape is not None:
                question = Question(agent.role, node, slot, attempt, agent.name, self._parameters, messages, schema)
                if (kept := self._tape.find(question)) is not None:
                    return kept
            result = await ask(
                agent,
                messages,
                schema,
                line=self._line,
                limits=self._limits,
                slot=slot,
                account=account,
                tools=self._tools if attempt == 0 else (),
                clock=self._clock,
                key=f"{agent.role}/{node}/{slot}",
            )
            if self._tape is not None and question is not None:
                self._tape.add(question, result)
            return result

        return asker


async def ask(
    agent: Agent,
    messages: Sequence[Message],
    schema: Mapping[str, Any],
    *,
    line: Line,
    limits: TimeLimits,
    slot: int,
    account: Account | None = None,
    tools: Sequence[BaseTool] = (),
    clock: Callable[[], float] = time.monotonic,
    key: str = "",
) -> Attempt:
    """Ask a model once. It never raises for trouble with the model: the attempt then holds the reason.

    Args:
        agent: who is asked.
        messages: role and content of each.
        schema: JSON schema of the answer.
        line: to the agent's model.
        limits: that questions asked side by side share.
        slot: in which it is asked.
        account: of the slot; None sets no limit.
        tools: that the model may call first.
        clock: monotonic seconds, the clock of the running event loop.
        key: different for agents that are asked side by side: it moves their retries apart.

    Returns:
        The answer with `error` None, or no answer and `error` as "REASON: detail", REASON a value of `Reason`.
    """
    said, started = list(messages), clock()
    left_s = agent.timeout_s if account is None else min(agent.timeout_s, account.seconds_left)
    if left_s <= 0:
        spent = Failure(Reason.BUDGET, "the seconds of the slot are spent", servers_fault=False)
        return Attempt(tuple(said), None, error=spent.told(agent.secrets))
    agent.endpoint.presence.asked += 1
    leave = agent.endpoint.breaker.admit()
    if leave is None:
        return Attempt(tuple(said), None, error=_left_alone(agent).told(agent.secrets))
    caller = Caller(agent, line, slot, account, clock, started + left_s, key)
    answer: str | None = None
    failure: Failure | None = None
    known = False
    try:
        with nullcontext() if account is None else account.asking():
            async with limits.within(left_s) as limit:
                if tools:
                    answer = await consult(caller, said, schema, tools)
                else:
                    answer = (await caller.answer(said, schema)).checked().text
        known = True
    except Exception as error:
        known = True
        failure = _overdue(caller, left_s) if limit.expired() else classify(error)
    finally:
        _tell(caller, leave, known, failure)
    return Attempt(
        messages=(*messages, *[_struck(message, agent) for message in said[len(messages) :]]),
        answer=None if answer is None else agent.secrets.strike(answer)[:MOST_KEPT],
        error=None if failure is None else failure.told(agent.secrets),
        prompt_tokens=caller.prompt_tokens,
        completion_tokens=caller.completion_tokens,
        seconds=clock() - started,
    )


def _left_alone(agent: Agent) -> Failure:
    seconds = agent.endpoint.breaker.seconds_left
    return Failure(
        Reason.BREAKER_OPEN,
        f"{agent.where} kept failing and is left alone for {seconds:.3g} s more",
        servers_fault=False,
    )


def _overdue(caller: Caller, left_s: float) -> Failure:
    """The time was over. It is the server's fault where that had most of the time to itself, and not for our limits."""
    agent = caller.agent
    words = f"no answer from {agent.name} in the {left_s:.3g} s that it had"
    if left_s < agent.timeout_s:
        return Failure(Reason.BUDGET, words, servers_fault=False)
    if caller.waited_s < MOST_OF_IT * left_s:
        looked_s = left_s - caller.waited_s
        words = f"the {left_s:.3g} s of the question were over; tools and earlier answers took {looked_s:.3g} s of them"
        return Failure(Reason.TIMEOUT, words, servers_fault=False)
    return Failure(Reason.TIMEOUT, words, servers_fault=True, passes=True)


def _tell(caller: Caller, leave: Leave, known: bool, failure: Failure | None) -> None:
    """Tell those who watch over the server how it fared."""
    presence = caller.agent.endpoint.presence
    if not known or (failure is not None and failure.reason in OURS and not failure.servers_fault):
        leave.withdraw()
    elif failure is None or not failure.servers_fault:
        leave.succeed()
        presence.answered, presence.passes = presence.answered + 1, False
        caller.agent.abilities.given_up = False
    else:
        if caller.wait_s is None:
            leave.fail()
        else:
            leave.hold(min(caller.wait_s, LONGEST_HOLD_S))
        presence.passes, presence.loading = failure.passes, failure.loading
        presence.said = failure.told(caller.agent.secrets)


def _struck(message: Message, agent: Agent) -> Message:
    return {key: agent.secrets.strike(text) for key, text in message.items()}
