"""Where the slot graph keeps its checkpoints, one per slot: a SQLite file, or MongoDB where a URI is given.

A run goes on from its last checkpoint. Those before it are for who looks back, so a file keeps the last ones only, if
it is told to, and does not grow with the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.sqlite import SqliteSaver

from domain.errors import InputError, MachineError, refusal
from graph.slot.serializer import PlainSerializer
from graph.slot.state import has_passed
from memory.sqlite_errors import CLOSED, PASSING, code_of
from memory.tables import hold_to_tables
from memory.worker import Worker

T = TypeVar("T")

CHUNK = 100
"""Checkpoints that a listing holds at once."""
PRUNED_EVERY = 50
"""Checkpoints that are written between two looks at what can go."""
BUSY_S = 5.0
"""Seconds that a write waits for another process's."""
MONGO_LIMIT_S = 10.0
"""Seconds in which a MongoDB must be found."""
DURABILITY: Final = "exit"
"""One checkpoint when a slot has passed. Decisions inside a slot are safe in the ledger, which is written at once."""


def thread_of(run: str) -> str:
    """Return the thread that holds a run's checkpoints: a UUID, for LangGraph's server takes no other names."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"edgewise:{run}"))


@contextlib.asynccontextmanager
async def open_checkpointer(
    where: Path | str, database: str = "edgewise", keep: int | None = None
) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """Open the checkpointer at a path (SQLite) or a `mongodb://` URI.

    Args:
        where: path or URI.
        database: of a URI.
        keep: checkpoints of a thread that a file keeps, the last ones, and up to PRUNED_EVERY more; None keeps all.

    Raises:
        InputError: a MongoDB URI without the `mongodb` extra installed or with too weak a promise, or a file that is
            damaged, none of ours or holds more than tables; so does whatever reads or writes it, and MachineError where
            it cannot be used.
        MemoryAway: the MongoDB cannot be found.
    """
    if isinstance(where, str) and where.startswith(("mongodb://", "mongodb+srv://")):
        async with _mongo(where, database) as saver:
            yield saver
        return
    worker, opened = Worker("checkpoints"), contextlib.ExitStack()
    try:
        with _told(where):
            saver = _ThreadedSaver(await worker.run(lambda: _connect(where, opened)), worker, keep, where)
            await worker.run(saver.setup)
        yield saver
    finally:
        await worker.close(opened.close)


def _connect(path: Path | str, opened: contextlib.ExitStack) -> sqlite3.Connection:
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))  # prompts and answers: its owner's alone
    connection = opened.enter_context(contextlib.closing(sqlite3.connect(path, timeout=BUSY_S)))
    hold_to_tables(connection, str(path))
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


@contextlib.contextmanager
def _told(where: Path | str, reads: bool = False) -> Iterator[None]:
    """Raise SQLite's errors and, where it `reads`, those of bytes that are no checkpoint, as one sentence."""
    try:
        yield
    except sqlite3.Error as error:
        code = code_of(error)
        if code in CLOSED or code in PASSING:
            why = CLOSED.get(code) or PASSING[code]
            raise MachineError(f"{where} cannot hold the checkpoints: {why}.") from None
        told = f"it is damaged, or no database of theirs ({error})"
        raise InputError(f"{where} cannot hold the checkpoints: {told}.") from None
    except OSError as error:
        raise refusal(f"{where} cannot hold the checkpoints", error) from None
    except (InputError, ValueError) as error:
        if not reads:
            raise
        raise InputError(f"{where} is damaged or not Edgewise's: {str(error).rstrip('.')}.") from None


class _ThreadedSaver(SqliteSaver):
    """LangGraph's saver in a thread of its own.

    LangGraph's asynchronous one goes to its thread and back for every statement, nine times a slot instead of twice.
    """

    def __init__(self, connection: sqlite3.Connection, worker: Worker, keep: int | None, where: Path | str) -> None:
        super().__init__(connection, serde=PlainSerializer())
        self._worker, self._keep, self._where, self._written = worker, keep, where, 0

    async def _run(self, work: Callable[[], T], reads: bool = False) -> T:
        with _told(self._where, reads):
            return await self._worker.run(work)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._run(lambda: self.get_tuple(config), reads=True)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        left = limit
        while left is None or left > 0:
            size = CHUNK if left is None else min(left, CHUNK)
            found = await self._run(partial(self._some, config, filter, before, size), reads=True)
            for checkpoint in found:
                yield checkpoint
            if len(found) < size:
                return
            before, left = found[-1].config, None if left is None else left - size

    def _some(
        self, config: RunnableConfig | None, which: dict[str, Any] | None, before: RunnableConfig | None, most: int
    ) -> Sequence[CheckpointTuple]:
        return tuple(self.list(config, filter=which, before=before, limit=most))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await self._run(lambda: self._put(config, checkpoint, metadata, new_versions))

    def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        placed = self.put(config, checkpoint, metadata, new_versions)
        if self._keep is None or not has_passed(checkpoint["channel_values"]):
            return placed  # what a stopped slot leaves is nothing to go on from: all before it must stay
        if self._written % PRUNED_EVERY == 0:
            self._prune(placed["configurable"]["thread_id"], placed["configurable"]["checkpoint_ns"], self._keep)
        self._written += 1
        return placed

    def _prune(self, thread: str, namespace: str, keep: int) -> None:
        """Drop all but the last checkpoints, once the newest is in the file: a kill leaves too many, never too few."""
        own = "thread_id = ? AND checkpoint_ns = ?"
        with self.cursor() as cursor:
            oldest = cursor.execute(
                f"SELECT checkpoint_id FROM checkpoints WHERE {own} ORDER BY checkpoint_id DESC LIMIT 1 OFFSET ?",
                (thread, namespace, keep - 1),
            ).fetchone()
            if oldest is not None:
                for table in ("writes", "checkpoints"):
                    cursor.execute(
                        f"DELETE FROM {table} WHERE {own} AND checkpoint_id < ?", (thread, namespace, oldest[0])
                    )

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._run(lambda: self.put_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        await self._run(lambda: self.delete_thread(thread_id))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await self._run(lambda: self.get_delta_channel_history(config=config, channels=channels))


@contextlib.asynccontextmanager
async def _mongo(uri: str, database: str) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    try:
        from langgraph.checkpoint.mongodb import MongoDBSaver

        from memory.mongo import open_client
    except ImportError as error:
        raise InputError("Checkpoints in MongoDB need the extra: pip install 'edgewise[mongodb]'.") from error
    client = await asyncio.to_thread(open_client, uri, MONGO_LIMIT_S)
    try:
        yield await asyncio.to_thread(partial(MongoDBSaver, client, database, serde=PlainSerializer()))
    finally:
        await asyncio.to_thread(client.close)
