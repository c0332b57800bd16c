"""Which memory a run gets: MongoDB where it is given a URI, an SQLite file where it is given a path."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from domain.errors import InputError
from memory.engine import Engine
from memory.journal import JournaledEngine
from memory.journal_file import JournalFile
from memory.sqlite import SqliteEngine
from memory.store import Memory
from memory.stored import StoredMemory

MONGODB = ("mongodb", "mongodb+srv")
LIMIT_S = 3.0
"""A tenth of P1's slot; connecting to a far server with TLS and a password takes about ten round trips."""


@asynccontextmanager
async def open_memory(
    target: str | Path, journal: Path | None = None, *, limit_s: float = LIMIT_S
) -> AsyncIterator[Memory]:
    """Open a memory, and close it at the end of the block.

    Args:
        target: a MongoDB URI, or the path of an SQLite file, which is created where there is none.
        journal: file where writes wait while the store is away; one process at a time may use it. With a journal a
            store that is away does not fail the opening. None: writes raise MemoryAway then.
        limit_s: seconds that one call may take, connecting included, or wait for another process's write to a file.

    Raises:
        InputError: the target is neither, or not what it should be.
        MemoryAway: the store is away, and there is no journal.
    """
    engine = engine_at(str(target), limit_s)
    try:
        if journal is not None:
            engine = JournaledEngine(engine, JournalFile(journal))
        await engine.open()
        yield StoredMemory(engine)
    finally:
        await engine.close()


def engine_at(target: str, limit_s: float) -> Engine:
    """Make the engine of a MongoDB URI or of a path, not yet open; InputError where the text is neither."""
    scheme, found, _ = target.partition("://")
    if not found:
        return SqliteEngine(Path(target), limit_s)
    if scheme not in MONGODB:
        raise InputError(f"The memory must be a file or a mongodb:// URI, not {scheme}://….")
    from memory.mongo import MongoEngine  # pymongo takes its time to import, and most runs need none of it

    return MongoEngine(target, limit_s)
