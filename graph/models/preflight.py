"""Before the first slot: one question to each model, to say what its server can do, or that it is not there.

The question is held to a small schema, as the decisions will be, so that what a server does not take is learned before
it costs a slot. A server that loads its model is waited for.
"""

from __future__ import annotations

import asyncio
import json
import sys
import textwrap
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from domain.ledger import Attempt, Role
from graph.models.agent import Agent, AnswerFormat
from graph.models.asking import Asking
from graph.models.breaker import CircuitBreaker
from graph.models.wrapping import bare_object

QUESTION = [
    {"role": "system", "content": "You test a connection. Answer with one JSON object and nothing else."},
    {"role": "user", "content": 'Answer with {"ready": true}'},
]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"ready": {"type": "boolean"}},
    "required": ["ready"],
    "additionalProperties": False,
}
AGAIN_S = 2.0
"""Seconds between questions to a server that is away."""
STARTING_S = 15.0
"""Seconds for which a server is waited for that does not say that it loads: most often its address is wrong."""
_HELD = {
    AnswerFormat.JSON_SCHEMA: "holds answers to a JSON schema",
    AnswerFormat.JSON_OBJECT: "holds answers to JSON, not to a schema",
    AnswerFormat.TEXT: "holds answers to no form",
}

Say = Callable[[str], None]
"""Takes a sentence for the user."""


async def preflight(
    agents: Mapping[Role, Agent], patience_s: float, say: Say, clock: Callable[[], float] = time.monotonic
) -> None:
    """Ask each model once, side by side, and say what came of it.

    Args:
        agents: by role; those that ask the same model on the same server are asked for once.
        patience_s: most seconds to wait for a server that is there and whose model is not yet.
        say: takes a sentence for each model, and one more where it is waited for.
        clock: monotonic seconds, the clock of the event loop.
    """
    by_model: dict[int, list[Agent]] = {}
    for agent in agents.values():
        by_model.setdefault(id(agent.abilities), []).append(agent)
    await asyncio.gather(*(_try(alike, patience_s, say, clock) for alike in by_model.values()))


async def _try(alike: Collection[Agent], patience_s: float, say: Say, clock: Callable[[], float]) -> None:
    agent = _patient(next(iter(alike)))
    who = f"{agent.name} at {agent.where} ({', '.join(one.role for one in alike)})"
    presence, began, waits = agent.endpoint.presence, clock(), False
    while True:
        presence.begin()
        attempt = await Asking(agent, clock=clock).for_decision(0)(QUESTION, SCHEMA, 0)
        if not presence.missed:
            break
        most_s = patience_s if presence.loading else min(patience_s, STARTING_S)
        left_s = most_s - (clock() - began)
        if left_s <= 0:
            break
        if not waits:
            say(f"{who} does not answer yet ({attempt.error}); waiting for it, {most_s:g} s at most")
        waits = True
        await asyncio.sleep(min(AGAIN_S, left_s))
    agent.abilities.given_up = presence.missed
    say(f"{who} {_in_words(agent, attempt)}")


def _patient(agent: Agent) -> Agent:
    """The same agent, whose server may fail as often as it likes."""
    return replace(agent, endpoint=replace(agent.endpoint, breaker=CircuitBreaker(failures=sys.maxsize)))


def _in_words(agent: Agent, attempt: Attempt) -> str:
    if attempt.answer is None:
        return f"does not answer: {attempt.error}"
    (body, unwrapped), known = bare_object(attempt.answer), agent.abilities
    held = _HELD[known.answer_format]
    if not _is_ready(body):
        said = textwrap.shorten(attempt.answer, 80, placeholder="…")
        held = f"did not keep to the form that it was given, with {json.dumps(said, ensure_ascii=False)}"
    parts = [held, *(f"takes no {name}" for name in sorted(known.left_out))]
    parts += ["counts no tokens"] if not attempt.prompt_tokens else []
    parts += ["puts something around its answers"] if unwrapped else []
    return f"answers in {attempt.seconds:.1f} s: {', '.join(parts)}"


def _is_ready(body: str) -> bool:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and isinstance(value.get("ready"), bool)
