"""Where the slot graph keeps its checkpoints, one per slot: a SQLite file, or MongoDB where a URI is given."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiosqlite
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from domain.errors import InputError

DURABILITY: Final = "exit"
"""One checkpoint when a slot has passed. Decisions inside a slot are safe in the ledger, which is written at once."""


def thread_of(run: str) -> str:
    """Return the thread that holds a run's checkpoints: a UUID, for LangGraph's server takes no other names."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"edgewise:{run}"))


@contextlib.asynccontextmanager
async def open_checkpointer(where: Path | str, database: str = "edgewise") -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """Open the checkpointer at a path (SQLite) or a `mongodb://` URI.

    Raises:
        InputError: a MongoDB URI without the `mongodb` extra installed.
    """
    if isinstance(where, str) and where.startswith(("mongodb://", "mongodb+srv://")):
        async with _mongo(where, database) as saver:
            yield saver
        return
    async with aiosqlite.connect(where) as connection:
        await connection.execute("PRAGMA journal_mode=WAL")
        await connection.execute("PRAGMA synchronous=NORMAL")
        saver = AsyncSqliteSaver(connection, serde=JsonPlusSerializer())
        await saver.setup()
        yield saver


@contextlib.asynccontextmanager
async def _mongo(uri: str, database: str) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    try:
        from langgraph.checkpoint.mongodb import MongoDBSaver
    except ImportError as error:
        raise InputError("Checkpoints in MongoDB need the extra: pip install 'edgewise[mongodb]'.") from error
    manager = MongoDBSaver.from_conn_string(uri, database)
    saver = await asyncio.to_thread(manager.__enter__)
    try:
        yield saver
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)
