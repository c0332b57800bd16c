"""Copies an SQLite file as it stands, with what is still in its write-ahead log, for readers who must change nothing.

Whoever opens a store writes beside it, and may not be allowed to; and a copy of the file alone lacks what a killed or a
running process has left in the log.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from domain.errors import InputError


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


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def _backup(address: str, target: Path) -> None:
    with closing(sqlite3.connect(address, uri=True)) as source, closing(sqlite3.connect(target)) as copied:
        source.backup(copied)
