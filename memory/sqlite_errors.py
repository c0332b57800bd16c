"""SQLite's errors in words: which pass, which are the machine's, and which say that a file is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

PASSING: Final[Mapping[int, str]] = MappingProxyType(
    {
        sqlite3.SQLITE_BUSY: "another process is writing to it",
        sqlite3.SQLITE_LOCKED: "another process is writing to it",
        sqlite3.SQLITE_FULL: "the disk is full",
        sqlite3.SQLITE_IOERR: "reading or writing the disk failed",
        sqlite3.SQLITE_NOMEM: "there is not enough memory",
    }
)
"""The same call may succeed later."""
CLOSED: Final[Mapping[int, str]] = MappingProxyType(
    {
        sqlite3.SQLITE_READONLY: "it cannot be written to",
        sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
        sqlite3.SQLITE_PERM: "access to it is denied",
    }
)
"""Somebody has to change something first."""
DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
"""The file is none of ours, or not any more; the last says that a table or a column is missing."""


def code_of(error: sqlite3.Error) -> int:
    """Return the primary code of an error; 0 where it has none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
