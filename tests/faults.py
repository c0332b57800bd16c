"""Stops a process at its n-th step: a node of the graph, a statement of SQLite, a change of a file or folder.

`watching(root)` counts the steps that concern what is below a folder and does something at one of them. Nothing in the
product knows of it: the functions that it wraps are LangGraph's, SQLite's and the operating system's.

A loss of power is a model of a disk: what was synced is there, what was not is gone. Of SQLite it knows what its manual
says of a write-ahead log: with synchronous=FULL a transaction is synced when it is committed, with NORMAL it is not.
"""

from __future__ import annotations

import errno
import functools
import os
import shutil
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import pyarrow.parquet as pq
import pytest
from langgraph.graph import StateGraph

FULL = "FULL"
"""What `PRAGMA synchronous` is set to where each commit is synced; also where nobody sets it."""
CHANGES = ("rename", "replace", "unlink", "rmdir", "mkdir", "write", "pwrite", "ftruncate", "fsync")


class Stop(StrEnum):
    """Ways in which a process stops, or is stopped."""

    KILL = "kill -9"
    TERM = "SIGTERM"
    INT = "SIGINT"
    STORE = "the store fails"
    """Statements of SQLite raise; other steps are passed over."""
    DISK = "the disk is full"
    """Every write raises, from the step on."""
    POWER = "power cut"
    """What was not synced is gone, names included."""
    POWER_NAMES = "power cut, names kept"
    """Names are on the disk, contents that were not synced are not."""


@dataclass
class Disk:
    """What of a folder would outlive a loss of power."""

    root: Path
    contents: dict[int, bytes] = field(default_factory=dict)
    """Inode to what was synced of a file."""
    names: dict[int, dict[str, int]] = field(default_factory=dict)
    """Inode of a folder to the names and inodes that were synced in it."""
    _held: dict[int, int] = field(default_factory=dict)
    """Open files, so that the number of a removed one is not given to another."""

    def __post_init__(self) -> None:
        self.names[self.root.stat().st_ino] = {}

    def sync(self, path: Path) -> None:
        """Take a file or a folder as synced."""
        handle = os.open(path, os.O_RDONLY)
        inode = os.fstat(handle).st_ino
        if path.is_dir():
            self.names[inode] = {entry.name: entry.inode() for entry in os.scandir(path)}
        else:
            self.contents[inode] = path.read_bytes()
        if inode in self._held:
            os.close(handle)
        else:
            self._held[inode] = handle

    def sync_database(self, path: Path) -> None:
        """Take an SQLite file and its log as synced, names included."""
        parent = self.names.setdefault(path.parent.stat().st_ino, {})
        for file in (path, path.with_name(f"{path.name}-wal")):
            if file.exists():
                self.sync(file)
                parent[file.name] = file.stat().st_ino

    def write(self, target: Path, *, names_kept: bool) -> None:
        """Write what is left after a loss of power."""
        self._write(self.root, self.root.stat().st_ino, target, names_kept)

    def _write(self, now: Path | None, inode: int, target: Path, names_kept: bool) -> None:
        target.mkdir()
        names = self.names.get(inode, {})
        if names_kept and now is not None:
            names = {entry.name: entry.inode() for entry in os.scandir(now)}
        for name, own in names.items():
            there = None if now is None else now / name
            same = there is not None and there.exists() and there.stat().st_ino == own
            if own in self.names or (same and there is not None and there.is_dir()):
                self._write(there if same else None, own, target / name, names_kept)
            elif not name.endswith("-shm"):
                (target / name).write_bytes(self.contents.get(own, b""))


@dataclass(frozen=True)
class Step:
    """Something at which a process can stop."""

    name: str
    store: bool
    """True for a statement of SQLite."""
    writes: bool
    """True where a full disk would refuse it."""


@dataclass
class Faults:
    """Counts steps, and acts at one of them."""

    root: Path
    stop: Stop | None = None
    at: int = -1
    aside: Path | None = None
    """Where a loss of power writes what is left."""
    steps: list[Step] = field(default_factory=list)
    """So far."""
    disk: Disk | None = None
    _stuck: bool = False

    def __post_init__(self) -> None:
        self.root = self.root.resolve()
        if self.stop in (Stop.POWER, Stop.POWER_NAMES):
            self.disk = Disk(self.root)

    def concerns(self, path: Path) -> bool:
        """True for what is below the folder."""
        return path == self.root or self.root in path.parents

    def step(self, name: str, *, store: bool = False, writes: bool = False) -> None:
        """Count a step. Raises what the stop raises."""
        self.steps.append(Step(name, store, writes))
        if self._stuck and writes:
            raise _full(store)
        if len(self.steps) - 1 != self.at:
            return
        match self.stop:
            case Stop.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case Stop.TERM:
                os.kill(os.getpid(), signal.SIGTERM)
            case Stop.INT:
                os.kill(os.getpid(), signal.SIGINT)
            case Stop.STORE if store:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error
            case Stop.DISK:
                self._stuck = True
                if writes:
                    raise _full(store)
            case Stop.POWER | Stop.POWER_NAMES:
                assert self.disk is not None
                assert self.aside is not None
                self.disk.write(self.aside, names_kept=self.stop is Stop.POWER_NAMES)
                os.kill(os.getpid(), signal.SIGKILL)

    def synced(self, path: Path) -> None:
        """Something was synced."""
        if self.disk is not None:
            self.disk.sync(path)

    def committed(self, path: Path) -> None:
        """A transaction was committed, and synced."""
        if self.disk is not None:
            self.disk.sync_database(path)


def _full(store: bool) -> Exception:
    if not store:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run")
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@contextmanager
def watching(faults: Faults) -> Iterator[None]:
    """Let every step of this process be counted until the end of the block."""
    with pytest.MonkeyPatch.context() as patched:
        _watch_files(faults, patched)
        _watch_databases(faults, patched)
        _watch_nodes(faults, patched)
        _watch_tables(faults, patched)
        yield


def _watch_files(faults: Faults, patched: pytest.MonkeyPatch) -> None:
    def watched(name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(own)
        def call(target: Any, *args: Any, **kwargs: Any) -> Any:
            path = _path(target, kwargs.get("dir_fd"))
            if not faults.concerns(path):
                return own(target, *args, **kwargs)
            faults.step(f"{name} {path.name}", writes=name not in ("unlink", "rmdir", "ftruncate"))
            if name == "fsync":
                faults.synced(path)
                return None
            return own(target, *args, **kwargs)

        return call

    for name in CHANGES:
        patched.setattr(os, name, watched(name, getattr(os, name)))
    own_text = Path.write_text

    def write_text(path: Path, *args: Any, **kwargs: Any) -> int:
        if faults.concerns(path.absolute()):
            faults.step(f"write {path.name}", writes=True)
        return own_text(path, *args, **kwargs)

    patched.setattr(Path, "write_text", write_text)


def _path(target: Any, folder: int | None) -> Path:
    if isinstance(target, int):
        return Path(os.readlink(f"/proc/self/fd/{target}"))
    place = "." if folder is None else os.readlink(f"/proc/self/fd/{folder}")
    return Path(os.path.abspath(os.path.join(place, os.fspath(target))))


def _watch_databases(faults: Faults, patched: pytest.MonkeyPatch) -> None:
    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = (), /) -> Self:
            return self._step(super().execute, sql, parameters)

        def executemany(self, sql: str, parameters: Any, /) -> Self:
            return self._step(super().executemany, sql, parameters)

        def _step(self, own: Callable[..., Any], sql: str, *args: Any) -> Self:
            connection = self.connection
            assert isinstance(connection, Connection)
            word = sql.split(None, 1)[0].upper()
            if sql.startswith("PRAGMA synchronous"):
                connection.synchronous, sql = sql.rpartition("=")[2].strip(), "PRAGMA synchronous = OFF"
            if word in ("SELECT", "PRAGMA") or not faults.concerns(connection.path):
                own(sql, *args)
                return self
            faults.step(f"before {word} {connection.path.name}", store=True, writes=True)
            own(sql, *args)
            connection.after(word)
            return self

    class Connection(sqlite3.Connection):
        path: Path
        synchronous = FULL
        """As it was set; what is synced is counted here and costs nothing."""

        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(Cursor)

        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            return self.cursor().execute(sql, *args)  # type: ignore[no-any-return]  # the factory's cursor

        def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
            return self.cursor().executemany(sql, *args)  # type: ignore[no-any-return]  # the factory's cursor

        def commit(self) -> None:
            writes = self.in_transaction and faults.concerns(self.path)
            if writes:
                faults.step(f"before commit {self.path.name}", store=True, writes=True)
            super().commit()
            if writes:
                self.after("commit")

        def after(self, what: str) -> None:
            if not self.in_transaction and self.synchronous == FULL:
                faults.committed(self.path)
            faults.step(f"after {what} {self.path.name}", store=True)

        def close(self) -> None:
            super().close()
            if faults.concerns(self.path) and not self.path.with_name(f"{self.path.name}-wal").exists():
                faults.committed(self.path)  # the last one to leave folds the log into the file, and syncs that

    own = sqlite3.connect

    def connect(database: Any, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        made = own(database, *args, factory=Connection, **kwargs)
        assert isinstance(made, Connection)
        made.path = Path(database).resolve()
        return made

    patched.setattr(sqlite3, "connect", connect)


def _watch_nodes(faults: Faults, patched: pytest.MonkeyPatch) -> None:
    own = StateGraph.add_node

    def add_node(graph: Any, name: str, node: Callable[[Any], Awaitable[Any]], **kwargs: Any) -> Any:
        @functools.wraps(node)
        async def stepping(state: Any) -> Any:
            faults.step(f"node {name}")
            done = await node(state)
            faults.step(f"node {name} done")
            return done

        return own(graph, name, stepping, **kwargs)

    patched.setattr(StateGraph, "add_node", add_node)


def _watch_tables(faults: Faults, patched: pytest.MonkeyPatch) -> None:
    for name in ("write_table", "close"):

        def call(writer: Any, *args: Any, _own: Any = getattr(pq.ParquetWriter, name), **kwargs: Any) -> Any:  # noqa: B008 bound now
            faults.step("write a table", writes=True)
            return _own(writer, *args, **kwargs)

        patched.setattr(pq.ParquetWriter, name, call)


def replaced(root: Path, left: Path) -> None:
    """Put what a loss of power has left in the place of a folder."""
    shutil.rmtree(root)
    left.rename(root)
