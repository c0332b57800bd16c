"""What an SQLite file may hold, whoever made it: tables with data, and nothing that computes.

A view, a trigger or a computed column is a program that runs when a table is read or written; of a few bytes it makes
gigabytes. A file of Edgewise's has none.
"""

from __future__ import annotations

import sqlite3

from domain.errors import InputError

MOST_BYTES = 256 << 20
"""Of one text or blob. The largest that Edgewise writes, a slot's state on thousands of nodes, takes some megabytes."""


def hold_to_tables(connection: sqlite3.Connection, name: str) -> None:
    """Let a connection do nothing but read and write the tables of its file.

    Args:
        connection: just made.
        name: of the file, for the sentence.

    Raises:
        InputError: the file holds a view, a trigger, or a table that is computed.
        sqlite3.DatabaseError: it is no SQLite file, or damaged.
    """
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
    entries = connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
    for kind, entry, sql in entries:
        computed = kind == "table" and (
            str(sql).upper().startswith("CREATE VIRTUAL")
            # The seventh value is 2 or 3 for a column that is computed.
            or any(column[6] for column in connection.execute("SELECT * FROM pragma_table_xinfo(?)", (entry,)))
        )
        if computed or kind not in ("table", "index"):
            raise InputError(
                f"{name} holds {'a computed table' if computed else f'a {kind}'}, {entry!r}, which no file of "
                "Edgewise does; it is not opened."
            )
