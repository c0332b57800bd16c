"""What tests of the journal share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from domain.ledger import Decision
from memory.journal import JournaledEngine
from memory.journal_file import JournalFile
from tests.memory_engines import FickleEngine
from tests.memory_examples import decision as by_agent


def decision(run: str = "r", slot: int = 0) -> Decision:
    """One that is a single document, for it names no instructions."""
    return by_agent(run, slot, attempts=())


def journaled(engine: FickleEngine, path: Path, **changes: float) -> JournaledEngine:
    pauses = {"first_pause_s": 0.01, "longest_pause_s": 0.02, "farewell_s": 1.0, **changes}
    return JournaledEngine(engine, JournalFile(path), **pauses)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


def slots(engine: FickleEngine) -> list[int]:
    return [int(d.values["slot"] or 0) for d in engine.taken]
