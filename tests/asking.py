"""What tests of asking share: a scripted agent, one question, and why an attempt failed."""

import asyncio
from typing import Any

from langchain_core.messages import BaseMessage

from domain.ledger import Attempt, Reason, Role
from graph.models.agent import Agent, Endpoint
from graph.models.asking import Asking
from graph.models.breaker import CircuitBreaker
from tests.scripted import (
    Reply,
    ScriptedChatModel,
)

MESSAGES = [{"role": "system", "content": "Answer in JSON."}, {"role": "user", "content": "What now?"}]
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def now() -> float:
    return asyncio.get_running_loop().time()


def agent(reply: Reply, **changes: Any) -> Agent:
    given = {"role": Role.SCHEDULER, "model": ScriptedChatModel(reply=reply), "name": "scripted", "timeout_s": 20.0}
    endpoint = Endpoint("http://model.test/v1", CircuitBreaker(failures=2, pause_s=60.0, clock=now))
    return Agent(**{"endpoint": endpoint, **given, **changes})


def calls(asked: Agent) -> list[tuple[list[BaseMessage], dict[str, Any]]]:
    assert isinstance(asked.model, ScriptedChatModel)
    return asked.model.calls


async def ask(asked: Agent, slot: int = 0, **parts: Any) -> Attempt:
    return await Asking(asked, clock=now, **parts).for_decision(slot)(MESSAGES, SCHEMA, 0)


def reason(attempt: Attempt) -> Reason:
    assert attempt.answer is None
    assert attempt.error is not None
    return Reason(attempt.error.partition(": ")[0])
