"""What a question costs beside the model: a slot asks hundreds of agents side by side, and none of that may show."""

import asyncio
import time
from typing import Any

import pytest

from domain.ledger import Role
from graph.models.agent import Agent
from graph.models.asking import Asking
from graph.models.budget import Budget, Limits
from tests.scripted import ScriptedChatModel, answers

pytestmark = pytest.mark.bench

NODES = 600
MOST_MS = 100.0
"""Of processor time, for a slot of 600 nodes; about 55 on a cloud server's core, and about 180 for `ainvoke` alone."""
MESSAGES = [{"role": "system", "content": "x" * 500}, {"role": "user", "content": "y" * 2000}]
SCHEMA: dict[str, Any] = {"type": "object", "properties": {f"LM{i}": {"type": "integer"} for i in range(8)}}


def milliseconds(since: float) -> float:
    return 1e3 * (time.process_time() - since)


async def test_a_slot_of_600_deployers_is_asked_in_under_100_ms() -> None:
    model = ScriptedChatModel(reply=answers("{}"))
    asking = Asking(Agent(Role.DEPLOYER, model, "scripted"), budget=Budget(Limits(tokens=10**9)))
    whole, alone, invoked = [], [], []
    for slot in range(10):
        started = time.process_time()
        askers = [asking.for_decision(slot, f"edge-{n}") for n in range(NODES)]
        attempts = await asyncio.gather(*(asker(MESSAGES, SCHEMA, 0) for asker in askers))
        whole.append(milliseconds(started))
        assert {attempt.error for attempt in attempts} == {None}
        sent, options = model.calls[0]
        started = time.process_time()
        await asyncio.gather(*(model._agenerate(sent, **options) for _ in range(NODES)))
        alone.append(milliseconds(started))
        started = time.process_time()
        await asyncio.gather(*(model.ainvoke(sent, **options) for _ in range(NODES)))
        invoked.append(milliseconds(started))
        model.calls.clear()
    print(
        f"\n{NODES} questions take {min(whole):.0f} ms, the model's own {min(alone):.0f} ms among them; "
        f"{NODES} bare calls of ainvoke take {min(invoked):.0f} ms"
    )
    assert min(whole) < MOST_MS
