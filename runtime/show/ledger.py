"""The decisions of one slot from the ledger of a run folder; plain rules leave none."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from domain.ledger import Decision, Role
from runtime.results.recording import Recording

MEMORY = "memory.sqlite"


def decisions_of(recording: Recording, family: str, seed: int, slot: int) -> list[Decision] | None:
    """What the ledger in a run folder holds of a slot, with the macro-policy in force; None where there is no ledger.

    Raises:
        InputError: the ledger cannot be read.
    """
    file = recording.folder / MEMORY
    if not file.is_file():
        return None
    return asyncio.run(_read(file, recording.name_in_memory(family, seed), slot)) or None


async def _read(file: Path, run: str, slot: int) -> list[Decision]:
    from memory.copying import copy_store  # the memory takes its time to import, and most runs have none
    from memory.opening import open_memory

    with tempfile.TemporaryDirectory() as place:  # opening a memory writes beside it; a run folder stays as it is
        copy = Path(place) / MEMORY
        copy_store(file, copy)
        async with open_memory(copy) as memory:
            plans = await memory.decisions(run, role=Role.PLANNER, last=slot)
            return [*plans[-1:], *(d for d in await memory.decisions(run, slot) if d.role is not Role.PLANNER)]
