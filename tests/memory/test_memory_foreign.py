"""A memory of somebody else's is data: whatever it holds, nothing runs, nothing swells, and one sentence says it."""

from __future__ import annotations

import json
import re
import sqlite3
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from domain.errors import InputError
from graph.slot.checkpoints import open_checkpointer
from memory import Memory, open_memory
from memory.columns import MOST_REQUESTS, pack, unpack
from memory.documents import SHAPES, Kind
from tests.memory_examples import TRAFFIC, case, decision, records, telemetry

ODD: list[Any] = [None, "text", b"\xff\xfe", -1, 2**62, 1e300, "[]", "{}", "null", "[" * 100_000, '{"a":' * 50_000]
"""Values that stand where others should."""


async def read_all(memory: Memory) -> list[str]:
    """Read everything in every way; return the sentences with which that was refused."""
    reads: list[Callable[[], Awaitable[object]]] = [
        memory.runs,
        lambda: memory.run("r"),
        lambda: memory.decisions("r"),
        lambda: memory.cases("lab"),
        lambda: memory.recall("lab", TRAFFIC, min_ended=0),
        lambda: memory.records("r"),
        lambda: memory.telemetry("r"),
    ]
    refused = []
    for read in reads:
        try:
            await read()
        except InputError as error:
            refused.append(str(error))
    return refused


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A memory with one document of each kind."""
    path = tmp_path / "memory.sqlite"
    async with open_memory(path) as memory:
        await memory.put_run("r", {"seed": 1})
        await memory.put_decision(decision())
        await memory.put_case(case())
        await memory.put_records("r", 0, records(3))
        await memory.put_telemetry("r", 0, telemetry())
        assert await read_all(memory) == []
    return path


CELLS = [(kind, column) for kind, shape in SHAPES.items() for column in (*shape.columns, "body", "data")]


async def sentences_with(path: Path, kind: Kind, column: str, values: list[Any]) -> list[str]:
    """What is said about a memory in which one value stands in place of another."""
    said = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for value in values:
            try:
                connection.execute(f"UPDATE {kind} SET {column} = ?", (value,))
            except sqlite3.IntegrityError:
                continue
            async with open_memory(path) as memory:
                said += await read_all(memory)
    return said


@pytest.mark.parametrize(("kind", "column"), CELLS)
async def test_whatever_stands_in_a_cell_is_read_or_is_one_sentence(kind: Kind, column: str, path: Path) -> None:
    said = await sentences_with(path, kind, column, ODD)
    assert all(re.fullmatch(r"[^\n]*\.", sentence) for sentence in said)
    assert said or column != "body"


@pytest.mark.parametrize("kind", list(Kind))
async def test_whatever_stands_in_a_field_of_a_body_is_read_or_is_one_sentence(kind: Kind, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        body = json.loads(connection.execute(f"SELECT body FROM {kind}").fetchone()[0])
    odd = [None, "text", 2**70, [[1]], {"a": {"b": 1}}]
    bodies = [json.dumps({**body, field: value}) for field in [*body, "unknown"] for value in odd]
    said = await sentences_with(path, kind, "body", bodies)
    assert said
    assert all(re.fullmatch(r"[^\n]*\.", sentence) for sentence in said)


@pytest.mark.parametrize("size", [1 << 28, 288])
def test_columns_that_unpack_to_much_more_than_they_say_are_not_unpacked(size: int) -> None:
    bomb = zlib.compress(bytes(size + 1), 9)
    tracemalloc.start()
    with pytest.raises(ValueError, match="its more than 288 bytes are not 12 columns of 3 requests"):
        unpack(bomb, 3)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("requests", [MOST_REQUESTS + 1, 10**18, -1])
def test_columns_that_say_too_much_are_not_unpacked(requests: int) -> None:
    with pytest.raises(ValueError, match="it says that .* requests ended, and at most 1,000,000 can be read"):
        unpack(pack(records(3)), requests)


def test_columns_that_break_off_are_found() -> None:
    with pytest.raises(ValueError, match="columns"):
        unpack(pack(records(3))[:-8], 3)


PROGRAMS = [
    ("a view", "DROP TABLE {table}; CREATE VIEW {table} AS SELECT zeroblob(1000000000) AS body"),
    ("a trigger", "CREATE TRIGGER t AFTER INSERT ON {table} BEGIN SELECT zeroblob(1000000000); END"),
    ("a computed table", "ALTER TABLE {table} ADD COLUMN large AS (hex(zeroblob(500000000)))"),
    ("a computed table", "CREATE VIRTUAL TABLE v USING fts5(a)"),
]


@pytest.mark.parametrize(("what", "sql"), PROGRAMS)
async def test_a_memory_that_computes_is_not_opened(what: str, sql: str, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql.format(table="decisions"))
    before = path.read_bytes()
    with pytest.raises(InputError, match=rf"memory\.sqlite holds {what}, '\w+', which no file of Edgewise does"):
        async with open_memory(path):
            pass
    assert path.read_bytes() == before


@pytest.mark.parametrize(("what", "sql"), PROGRAMS)
async def test_checkpoints_that_compute_are_not_opened(what: str, sql: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    async with open_checkpointer(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql.format(table="checkpoints"))
    with pytest.raises(InputError, match=rf"checkpoints\.sqlite holds {what}, '\w+', which no file of Edgewise does"):
        async with open_checkpointer(path):
            pass


async def test_a_table_that_lacks_a_column_is_one_sentence(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE decisions RENAME COLUMN body TO corpse")
    async with open_memory(path) as memory:
        with pytest.raises(InputError, match=r"is damaged or no memory of Edgewise \(no such column: body\)"):
            await memory.decisions("r")
