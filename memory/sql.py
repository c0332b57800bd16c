"""The SQL of the embedded engine, made from the shapes of the documents; values are always parameters."""

from __future__ import annotations

from memory.documents import SHAPES, Kind
from memory.engine import Query

_TYPES = {str: "TEXT", int: "INTEGER", float: "REAL", bytes: "BLOB"}


def create(kind: Kind) -> list[str]:
    """Statements that create the table of a kind and its indices where they are missing."""
    shape = SHAPES[kind]
    columns = [f"{name} {_TYPES[type_]}" for name, type_ in shape.columns.items()]
    # Nulls are never equal to each other, and a planner's decision has no node.
    key = ", ".join(f"ifnull({name}, '')" if _nullable(name) else name for name in shape.key)
    return [
        f"CREATE TABLE IF NOT EXISTS {kind} ({', '.join(columns)}, body TEXT NOT NULL, data BLOB)",
        f"CREATE UNIQUE INDEX IF NOT EXISTS {kind}_key ON {kind} ({key})",
        *(
            f"CREATE INDEX IF NOT EXISTS {kind}_{n} ON {kind} ({', '.join(index)})"
            for n, index in enumerate(shape.indexes)
        ),
    ]


def insert(kind: Kind) -> str:
    """Statement that stores a document; parameters: its columns in order, body, data."""
    shape = SHAPES[kind]
    names = [*shape.columns, "body", "data"]
    conflict = "ON CONFLICT DO NOTHING"
    if not shape.once:
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in shape.key)
        conflict = f"ON CONFLICT ({', '.join(shape.key)}) DO UPDATE SET {changes}"
    return f"INSERT INTO {kind} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) {conflict}"


def select(query: Query, columns: tuple[str, ...]) -> tuple[str, list[str | int]]:
    """Statement that answers a query, and its parameters."""
    terms = [f"{name} IS NULL" if value is None else f"{name} = ?" for name, value in query.equals.items()]
    terms += [f"{name} IN ({', '.join('?' * len(values))})" for name, values in query.among.items()]
    terms += [f"{name} >= ?" for name in query.at_least] + [f"{name} <= ?" for name in query.at_most]
    values = [value for value in query.equals.values() if value is not None]
    values += [value for among in query.among.values() for value in among]
    values += [*query.at_least.values(), *query.at_most.values()]
    sql = f"SELECT {', '.join(columns)} FROM {query.kind}"
    if terms:
        sql += f" WHERE {' AND '.join(terms)}"
    if query.order:
        sql += " ORDER BY " + ", ".join(f"{name} DESC" if query.descending else name for name in query.order)
    if query.limit is not None:
        sql += " LIMIT ?"
        values.append(query.limit)
    return sql, values


def _nullable(name: str) -> bool:
    return name == "node"
