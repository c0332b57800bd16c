"""Storing what a run has left in its journal because its store was away to the end."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from domain.errors import refusal
from memory.journal import JournaledEngine
from memory.journal_file import JournalFile
from memory.opening import LIMIT_S, engine_at


@dataclass(frozen=True, slots=True)
class Drained:
    """What came of draining a journal."""

    stored: int
    """Documents that the memory took, those that it had already among them."""
    refused: int
    """Lines that it will never take; they are in the file `….refused` next to the journal."""
    torn: int
    """Unfinished lines that a killed process had left at the end; dropped."""


def waiting_in(journal: Path) -> int:
    """Return how many documents a journal holds that its memory does not have yet; 0 where there is no such file.

    The file is only read, so that a run which uses it goes on; what its process drains meanwhile may be counted.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with journal.open("rb") as file:
            return sum(line.endswith(b"\n") for line in file)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise refusal(f"{journal} cannot be read", error) from None


async def drain_journal(journal: Path, target: str | Path, *, limit_s: float = LIMIT_S) -> Drained:
    """Store what waits in a journal, in order, and remove the file.

    It may be called again and again, also after it failed or was killed half-way: documents are stored by their key,
    and a journal that is gone has nothing left to store.

    Args:
        journal: file that a run has left, `memory.journal` in its folder; a published one or one that was killed.
        target: the memory, as `open_memory` takes it.
        limit_s: seconds that one call to the memory may take.

    Raises:
        MemoryAway: the store is away, or goes away; what it did not take is still in the journal.
        InputError: the journal cannot be used or a run uses it just now, or the memory is not what it should be.
    """
    if not journal.exists():
        return Drained(0, 0, 0)
    engine = engine_at(str(target), limit_s)
    try:
        await engine.open()
        with closing(JournalFile(journal)) as file:
            waiting, front = file.waiting, JournaledEngine(engine, file)
            await front.drain()
            return Drained(waiting - front.status.refused, front.status.refused, file.torn)
    finally:
        await engine.close()
