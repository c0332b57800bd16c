"""The embedded engine: its file, and what happens when the file is not what it should be."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from domain.errors import InputError
from domain.ledger import Role
from memory import MemoryAway, open_memory
from memory.sqlite import SqliteEngine
from tests.memory_examples import TRAFFIC, case, decision, records


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    async with open_memory(path) as memory:
        await memory.put_decision(decision())
        modes = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir()}
    assert modes == {"memory.db": 0o600, "memory.db-wal": 0o600, "memory.db-shm": 0o600}


async def test_a_closed_memory_is_one_file(tmp_path: Path) -> None:
    async with open_memory(tmp_path / "memory.db", tmp_path / "memory.journal") as memory:
        await memory.put_decision(decision())
    assert [p.name for p in tmp_path.iterdir()] == ["memory.db"]


async def test_any_tool_can_read_the_bodies(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    async with open_memory(path) as memory:
        await memory.put_decision(decision())
        await memory.put_decision(decision(role=Role.PLANNER))
    connection = sqlite3.connect(path)
    sql = "SELECT role, body ->> 'reason' FROM decisions WHERE run = 'r' ORDER BY role"
    assert connection.execute(sql).fetchall() == [("planner", "timeout"), ("scheduler", "timeout")]
    connection.close()


async def test_reads_see_what_was_written_a_moment_ago_and_do_not_hold_up_writes(tmp_path: Path) -> None:
    async with open_memory(tmp_path / "memory.db") as memory:
        for slot in range(20):
            _, found = await asyncio.gather(memory.put_decision(decision(slot=slot)), memory.decisions("r"))
            assert len(found) in (slot, slot + 1)
            assert len(await memory.decisions("r", slot)) == 1


@pytest.mark.parametrize(
    "content",
    [b"this is no database at all, but long enough to be looked at as one", b"SQLite format 3\x00" + b"\xff" * 4080],
)
async def test_a_file_that_is_no_database_is_named_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "memory.db"
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"memory\.db is damaged or no memory of Edgewise .*; restore a copy or choose"
    ):
        async with open_memory(path):
            pass
    assert path.read_bytes() == content


async def test_a_page_that_was_overwritten_is_found_and_named(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    async with open_memory(path) as memory:
        await memory.put_decisions([decision(slot=slot) for slot in range(200)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\xee" * (len(data) // 2)
    path.write_bytes(data)
    with pytest.raises(InputError, match="is damaged"):
        async with open_memory(path) as memory:
            await memory.decisions("r")


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bookmarks.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match="is a database, but no memory of Edgewise"):
        async with open_memory(path):
            pass
    assert path.read_bytes() == before


async def test_a_file_of_a_newer_edgewise_is_named(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    async with open_memory(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(InputError, match="written by a newer Edgewise .layout 9, this one reads up to 2"):
        async with open_memory(path):
            pass


async def test_a_file_of_the_first_layout_is_read_and_goes_on(tmp_path: Path) -> None:
    path, before, after = tmp_path / "memory.db", decision(slot=1), decision(slot=2)
    async with open_memory(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE instructions")
    connection.execute("PRAGMA user_version = 1")
    body = json.dumps(before.to_json())
    connection.execute("INSERT INTO decisions (run, slot, role, body) VALUES ('r', 1, 'scheduler', ?)", (body,))
    connection.commit()
    connection.close()
    async with open_memory(path) as memory:
        await memory.put_decisions([before, after])
        assert await memory.decisions("r") == [before, after]
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()


async def test_instructions_can_be_looked_up_with_any_tool(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    async with open_memory(path) as memory:
        await memory.put_decisions([decision(slot=slot) for slot in range(3)])
    connection = sqlite3.connect(path)
    sql = (
        "SELECT i.body ->> 'text' FROM decisions d JOIN instructions i ON d.run = i.run "
        "AND d.body ->> '$.attempts[0].messages[0].sha256' = i.sha256"
    )
    assert [row[0] for row in connection.execute(sql)] == 3 * [decision().attempts[0].messages[0]["content"]]
    assert connection.execute("SELECT count(*) FROM instructions").fetchone() == (1,)
    connection.close()


async def test_lost_instructions_cost_no_decision(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    async with open_memory(path) as memory:
        await memory.put_decisions([decision(slot=slot) for slot in range(3)])
        connection = sqlite3.connect(path)
        connection.execute("DELETE FROM instructions")
        connection.commit()
        connection.close()
        found = await memory.decisions("r")
    assert [(entry.slot, entry.decision) for entry in found] == [(slot, decision().decision) for slot in range(3)]
    assert all("are missing in the memory" in entry.attempts[0].messages[0]["content"] for entry in found)


@pytest.mark.parametrize("name", ["missing/memory.db", "."])
async def test_a_path_that_can_be_no_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot hold the memory"):
        async with open_memory(tmp_path / name):
            pass


async def test_another_scheme_than_mongodb_is_no_memory() -> None:
    with pytest.raises(InputError, match="a file or a mongodb:// URI, not postgres://"):
        async with open_memory("postgres://ada:s3cret@db/x"):
            pass


async def test_while_another_process_writes_for_long_a_write_is_away_and_not_stuck(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    engine = SqliteEngine(path, busy_s=0.05)
    await engine.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(MemoryAway, match="cannot be used just now: another process is writing to it"):
            await engine.write([])
    finally:
        other.close()
    await engine.write([])
    await engine.close()
    await engine.close()


async def test_a_file_that_is_locked_when_the_memory_is_opened_gets_what_was_put_when_it_is_free(
    tmp_path: Path,
) -> None:
    path = tmp_path / "memory.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    async with open_memory(path, tmp_path / "memory.journal", limit_s=0.05) as memory:
        await memory.put_decision(decision())
        assert memory.status.waiting == 2  # its instructions, and itself
        other.close()
        async with asyncio.timeout(10):
            while memory.status.waiting:
                await asyncio.sleep(0.02)
        assert await memory.decisions("r") == [decision()]


async def test_two_memories_over_one_new_file_get_along(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    async with open_memory(path) as one, open_memory(path) as two:
        await asyncio.gather(*(memory.put_decision(decision(run=run)) for run, memory in (("a", one), ("b", two))))
        assert await one.decisions("b") == [decision(run="b")]
        assert await two.decisions("a") == [decision(run="a")]


async def test_recall_reads_no_bodies_but_those_of_the_chosen(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    async with open_memory(path) as memory:
        await memory.put_case(case())
        await memory.recall("lab", TRAFFIC)
    connection = sqlite3.connect(path)
    sql = """EXPLAIN QUERY PLAN SELECT run, epoch, objective, policy, vector FROM cases
             WHERE testbed = ? AND ended >= ? ORDER BY run, epoch"""
    plan = [row[3] for row in connection.execute(sql, ("lab", 30))]
    connection.close()
    assert plan == ["SEARCH cases USING COVERING INDEX cases_0 (testbed=?)"]


@pytest.mark.parametrize(
    ("wanted", "plan"),
    [
        ("run = 'r' AND slot = 3", "decisions_key (run=? AND slot=?)"),
        ("run = 'r' AND slot = 3 AND role = 'planner'", "decisions_key (run=? AND slot=? AND role=?)"),
        (
            "run = 'r' AND role = 'planner' AND node IS NULL AND slot >= 3",
            "decisions_0 (run=? AND role=? AND node=? AND slot>?)",
        ),
        (
            "run = 'r' AND role = 'deployer' AND node = 'n' AND slot >= 3",
            "decisions_0 (run=? AND role=? AND node=? AND slot>?)",
        ),
    ],
)
async def test_decisions_are_found_by_an_index(tmp_path: Path, wanted: str, plan: str) -> None:
    path = tmp_path / "memory.db"
    async with open_memory(path) as memory:
        await memory.put_decision(decision())
    connection = sqlite3.connect(path)
    found = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN SELECT body FROM decisions WHERE {wanted}")]
    connection.close()
    assert found == [f"SEARCH decisions USING INDEX {plan}"]


CHILD = """
import asyncio, sys
from pathlib import Path
from memory import open_memory
from tests.memory_examples import decision, records

async def main():
    async with open_memory(Path(sys.argv[1])) as memory:
        for slot in range(100_000):
            await memory.put_decision(decision(slot=slot))
            await memory.put_records("r", slot, records(3, seed=slot))
            print(slot, flush=True)

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_that_was_put(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout as said:
        slots = [int(said.readline()) for _ in range(50)]
        child.kill()
        child.wait()
    async with open_memory(path) as memory:
        kept = [d.slot for d in await memory.decisions("r")]
        assert kept == list(range(len(kept)))
        assert set(slots) <= set(kept)
        assert len(await memory.records("r", 0, slots[-1])) == 3 * len(slots)


async def test_records_of_unlike_length_are_refused_as_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    async with open_memory(path) as memory:
        await memory.put_records("r", 0, records(4))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE records SET body = replace(body, '\"requests\":4', '\"requests\":5')")
    connection.commit()
    connection.close()
    async with open_memory(path) as memory:
        with pytest.raises(
            InputError, match="a document of records cannot be read: its 384 bytes are not 12 columns of 5"
        ):
            await memory.records("r")
