"""Copies an SQLite file as it stands, with what is still in its write-ahead log, for readers who must change nothing.

Whoever opens a store writes beside it, and may not be allowed to; and a copy of the file alone lacks what a killed or a
running process has left in the log.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from domain.errors import InputError
from memory.opening import open_memory
from memory.store import Memory


def copy_store(source: Path, target: Path) -> None:
    """Copy a store to `target`, which must not exist yet, for this user alone; nothing is changed beside `source`.

    Raises:
        InputError: it is not there, or no SQLite file.
    """
    log = _log_of(source)
    target.touch(mode=0o600, exist_ok=False)
    try:
        if not log.exists():
            _backup(f"{source.absolute().as_uri()}?mode=ro&immutable=1", target)
            return
        try:
            _backup(f"{source.absolute().as_uri()}?mode=ro", target)
        except sqlite3.OperationalError:  # a folder that cannot be written, where nobody has the store open
            shutil.copyfile(source, target)
            _log_of(target).touch(mode=0o600)
            shutil.copyfile(log, _log_of(target))
            with closing(sqlite3.connect(target)) as copied:
                copied.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        target.unlink()
        raise InputError(f"{source} cannot be read: {error}.") from None


@contextmanager
def openable(store: Path) -> Iterator[Path]:
    """Give a store that can be opened: itself or, where nothing may be written to it or beside it, a copy.

    Raises:
        InputError: it is not there, or no SQLite file.
    """
    if os.access(store, os.W_OK) and os.access(store.parent, os.W_OK):
        yield store
        return
    with TemporaryDirectory() as folder:
        copy_store(store, Path(folder, store.name))
        yield Path(folder, store.name)


@asynccontextmanager
async def open_to_read(target: str | Path) -> AsyncIterator[Memory]:
    """Open a memory as `open_memory` does, or a copy of a file that cannot be written.

    Raises:
        InputError: the target is neither a file nor a URI, or not what it should be.
        MemoryAway: the store is away.
    """
    with nullcontext(target) if "://" in str(target) else openable(Path(target)) as own:
        async with open_memory(own) as memory:
            yield memory


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def _backup(address: str, target: Path) -> None:
    with closing(sqlite3.connect(address, uri=True)) as source, closing(sqlite3.connect(target)) as copied:
        source.backup(copied)
