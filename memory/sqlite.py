"""The embedded engine: one SQLite file, no server, nothing to install.

Two connections, each in a thread of its own: one writes, one reads, so that no long read ever holds up a slot. With a
write-ahead log and synchronous=FULL nothing that came back is lost, neither with the process nor with the machine's
power: a run goes on from its checkpoint by what the ledger says, so the ledger must not be the shorter of the two.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from domain.errors import InputError, MachineError, refusal
from memory.documents import Document, Kind
from memory.engine import DocumentRefused, Found, MemoryAway, MemoryStatus, Query, Row
from memory.sql import create, insert, select
from memory.sqlite_errors import CLOSED, DAMAGED, PASSING, code_of
from memory.tables import hold_to_tables
from memory.worker import Worker

T = TypeVar("T")
APPLICATION_ID = 0x45444745
"""'EDGE' in the header of the file: tells an Edgewise memory from other people's databases."""
LAYOUT = 2
"""Version of tables and indices, in the header as user_version; 1 had no instructions."""
PAGE_BYTES = 8192
"""Of the file; a case of P1's testbed takes 2.5 kB, and only one of them would fit on SQLite's usual page of 4096."""
CHUNK_ROWS = 5_000
"""Rows that a scan holds at once."""
SYNCHRONOUS = "FULL"
"""A write has come back when it is on the disk."""


class SqliteEngine:
    """Documents in the tables of one file, which is created for its owner alone (mode 0600)."""

    def __init__(self, path: Path, busy_s: float) -> None:
        """Nothing is opened yet; `busy_s` is how long a write waits for another process's."""
        self._path, self._busy_s = path, busy_s
        self._writer = _Thread("memory-writer")
        self._reader = _Thread("memory-reader")
        self._ready = False

    @property
    def status(self) -> MemoryStatus:
        """The path."""
        return MemoryStatus(str(self._path))

    async def open(self) -> None:
        """Create the file if need be, and connect twice.

        Raises:
            InputError: the file cannot be one, or is none of Edgewise's.
            MemoryAway: another process has locked it.
        """
        if not self._ready:
            await self._writer.run(self._guarded(lambda: self._writer.connect(self._connect_to_write)))
            await self._reader.run(self._guarded(lambda: self._reader.connect(self._connect_to_read)))
            self._ready = True

    async def write(self, documents: Sequence[Document]) -> None:
        """Store all of the documents or none."""
        await self.open()
        await self._writer.run(self._guarded(lambda: self._store(self._writer.connection, documents)))

    async def find(self, query: Query) -> list[Found]:
        """Return documents."""
        await self.open()
        sql, values = select(query, ("body", "data"))
        rows = await self._reader.run(self._guarded(lambda: self._reader.connection.execute(sql, values).fetchall()))
        try:
            found = [(json.loads(body), data) for body, data in rows]
        except (ValueError, TypeError, RecursionError):
            raise InputError(self._damaged("a body is no JSON")) from None
        if not all(isinstance(body, dict) for body, _ in found):
            raise InputError(self._damaged("a body is no JSON object"))
        return found

    async def scan(self, query: Query, columns: tuple[str, ...]) -> AsyncGenerator[list[Row]]:
        """Yield values of columns, CHUNK_ROWS documents at a time."""
        await self.open()
        sql, values = select(query, columns)
        cursor = await self._reader.run(self._guarded(lambda: self._reader.connection.execute(sql, values)))
        try:
            while rows := await self._reader.run(self._guarded(lambda: cursor.fetchmany(CHUNK_ROWS))):
                yield rows
        finally:
            await self._reader.run(cursor.close)

    async def close(self) -> None:
        """Close both connections; the last one to leave folds the write-ahead log into the file."""
        await self._reader.close()
        await self._writer.close()

    def _store(self, connection: sqlite3.Connection, documents: Sequence[Document]) -> None:
        if len(documents) == 1:  # a statement is all or nothing by itself
            (document,) = documents
            connection.execute(insert(document.kind), (*document.values.values(), document.text, document.data))
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            for kind, group in groupby(documents, key=lambda document: document.kind):
                rows = [(*document.values.values(), document.text, document.data) for document in group]
                connection.executemany(insert(kind), rows)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _connect_to_write(self) -> sqlite3.Connection:
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self._path, timeout=self._busy_s, isolation_level=None)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        hold_to_tables(connection, str(self._path))
        found = self._layout(connection)
        if found == 0:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
        if found < LAYOUT:
            connection.execute("BEGIN IMMEDIATE")
            if self._layout(connection) < LAYOUT:  # another process may have been quicker
                for kind in Kind:
                    for statement in create(kind):
                        connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {LAYOUT}")
            connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")

    def _layout(self, connection: sqlite3.Connection) -> int:
        """Version of the layout; 0 for an empty file."""
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        layout: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if tables == 0 and application == 0:
            return 0
        if application != APPLICATION_ID:
            raise InputError(f"{self._path} is a database, but no memory of Edgewise; choose another file.")
        if layout > LAYOUT:
            raise InputError(
                f"{self._path} was written by a newer Edgewise (layout {layout}, this one reads up to {LAYOUT}); "
                "use that one, or another file."
            )
        return layout

    def _connect_to_read(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=self._busy_s, isolation_level=None)
        try:
            hold_to_tables(connection, str(self._path))
            connection.execute("PRAGMA query_only = 1")
        except BaseException:
            connection.close()
            raise
        return connection

    def _guarded(self, work: Callable[[], T]) -> Callable[[], T]:
        """The same work, with SQLite's errors told apart."""

        def call() -> T:
            try:
                return work()
            except sqlite3.DataError as error:
                raise DocumentRefused(f"{self._path} does not take a document: {error}.") from None
            except sqlite3.DatabaseError as error:
                raise self._explained(error) from None
            except OSError as error:
                raise refusal(f"{self._path} cannot hold the memory", error) from None

        return call

    def _explained(self, error: sqlite3.DatabaseError) -> Exception:
        code = code_of(error)
        if code in DAMAGED:
            return InputError(self._damaged(str(error)))
        if code == sqlite3.SQLITE_TOOBIG:
            return DocumentRefused(f"{self._path} does not take a document: it is too big.")
        if code in CLOSED:
            return MachineError(f"{self._path} cannot hold the memory: {CLOSED[code]}.")
        if code in PASSING:
            return MemoryAway(f"{self._path} cannot be used just now: {PASSING[code]}.")
        return error

    def _damaged(self, why: str) -> str:
        return f"{self._path} is damaged or no memory of Edgewise ({why}); restore a copy or choose another file."


class _Thread:
    """One thread with one connection, which never leaves it."""

    def __init__(self, name: str) -> None:
        self._worker = Worker(name)
        self._connection: sqlite3.Connection | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection; RuntimeError before `connect`."""
        if self._connection is None:
            raise RuntimeError("the memory is not open")
        return self._connection

    def connect(self, make: Callable[[], sqlite3.Connection]) -> None:
        """Make the connection where there is none; to be called in the thread."""
        if self._connection is None:
            self._connection = make()

    async def run(self, work: Callable[[], T]) -> T:
        """Do the work in the thread."""
        return await self._worker.run(work)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def close(self) -> None:
        """Close the connection and end the thread."""
        await self._worker.close(self._disconnect)
