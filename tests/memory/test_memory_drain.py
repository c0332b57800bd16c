"""What a run has left in its journal is stored later, by whoever asks for it and as often as he asks."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest

from domain.errors import InputError
from memory import Drained, MemoryAway, drain_journal, open_memory, waiting_in
from memory.documents import Document
from memory.engine import DocumentRefused
from memory.journal import JournaledEngine
from memory.journal_file import JournalFile
from memory.sqlite import SqliteEngine
from memory.stored import StoredMemory
from tests.memory_engines import FickleEngine
from tests.memory_examples import case, decision, records


@pytest.fixture
async def journal(tmp_path: Path) -> Path:
    """What a run of three slots leaves whose store never came: 8 lines."""
    path, engine = tmp_path / "run" / "memory.journal", FickleEngine()
    path.parent.mkdir()
    engine.away = True
    front = JournaledEngine(engine, JournalFile(path), farewell_s=0.0)
    await front.open()
    memory = StoredMemory(front)
    for slot in range(3):
        await memory.put_decision(decision(slot=slot))
        await memory.put_records("r", slot, records(4, seed=slot))
    await memory.put_case(case())
    await front.close()
    return path


async def test_what_waits_is_stored_and_the_journal_goes(journal: Path, tmp_path: Path) -> None:
    assert waiting_in(journal) == 8
    assert await drain_journal(journal, tmp_path / "m.sqlite") == Drained(stored=8, refused=0, torn=0)
    assert not journal.exists()
    assert waiting_in(journal) == 0
    async with open_memory(tmp_path / "m.sqlite") as memory:
        assert await memory.decisions("r") == [decision(slot=slot) for slot in range(3)]
        assert len(await memory.records("r")) == 12
        assert await memory.cases("lab") == [case()]


async def test_a_journal_can_be_drained_again_and_again(journal: Path, tmp_path: Path) -> None:
    lines = journal.read_bytes()
    await drain_journal(journal, tmp_path / "m.sqlite")
    assert await drain_journal(journal, tmp_path / "m.sqlite") == Drained(0, 0, 0)
    journal.write_bytes(lines)
    await drain_journal(journal, tmp_path / "m.sqlite")
    async with open_memory(tmp_path / "m.sqlite") as memory:
        assert await memory.decisions("r") == [decision(slot=slot) for slot in range(3)]


async def test_a_memory_that_is_away_leaves_the_journal_as_it_is(journal: Path, tmp_path: Path) -> None:
    lines, other = journal.read_bytes(), sqlite3.connect(tmp_path / "m.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(MemoryAway, match="another process is writing to it"):
        await drain_journal(journal, tmp_path / "m.sqlite", limit_s=0.05)
    other.close()
    assert journal.read_bytes() == lines


async def test_a_memory_that_goes_away_half_way_gets_the_rest_the_next_time(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines, kept = journal.read_bytes(), list[Document]()

    async def few(engine: SqliteEngine, documents: list[Document]) -> None:
        if len(documents) > 1:
            raise DocumentRefused("not together.")
        if len(kept) == 5:
            raise MemoryAway("it went away.")
        kept.extend(documents)

    monkeypatch.setattr(SqliteEngine, "write", few)
    with caplog.at_level(logging.WARNING), pytest.raises(MemoryAway, match="it went away"):
        await drain_journal(journal, tmp_path / "m.sqlite")
    assert (len(kept), journal.read_bytes(), caplog.text) == (5, lines, "")
    monkeypatch.undo()
    assert (await drain_journal(journal, tmp_path / "m.sqlite")).stored == 8


async def test_a_torn_end_and_lines_that_are_no_documents_are_told(journal: Path, tmp_path: Path) -> None:
    journal.write_bytes(b"{}\n" + journal.read_bytes() + b'{"kind": "run')
    assert await drain_journal(journal, tmp_path / "m.sqlite") == Drained(stored=8, refused=1, torn=1)
    assert journal.with_name("memory.journal.refused").read_bytes() == b"{}\n"


async def test_a_journal_that_a_run_uses_just_now_is_left_alone(journal: Path, tmp_path: Path) -> None:
    run = JournalFile(journal)
    with pytest.raises(InputError, match="is another process's journal just now"):
        await drain_journal(journal, tmp_path / "m.sqlite")
    assert (run.waiting, waiting_in(journal)) == (8, 8)
    run.close()


def test_a_journal_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read: Is a directory\."):
        waiting_in(tmp_path)
