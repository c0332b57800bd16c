"""The journal's file: what other processes left, torn lines, full disks, kills."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from domain.errors import InputError
from memory import Memory, MemoryAway
from memory.journal_file import JournalFile
from memory.stored import StoredMemory
from tests.journals import decision, journaled, slots, until
from tests.memory_engines import FickleEngine


async def test_lines_that_are_no_documents_are_set_aside(engine: FickleEngine, path: Path) -> None:
    front = journaled(engine, path)
    engine.away = True
    await front.open()
    await StoredMemory(front).put_decision(decision())
    await front.close()
    good = path.read_bytes()
    newer = b'{"kind": "dreams", "body": {}}'
    path.write_bytes(
        100_000 * b"[" + b"\n\x00\xff not json\n" + good + newer + b"\n[]\n" + good.replace(b'"slot":0', b'"pit":0')
    )
    engine.away = False
    front = journaled(engine, path)
    await front.open()
    assert (slots(engine), front.status.refused, front.status.waiting) == ([0], 5, 0)
    assert len(path.with_name("memory.journal.refused").read_bytes().splitlines()) == 5
    await front.close()


async def test_what_a_former_process_left_is_stored_when_the_memory_is_opened(
    engine: FickleEngine, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine.away = True
    front = journaled(engine, path)
    await front.open()
    await StoredMemory(front).put_decision(decision(slot=5))
    await front.close()
    assert f"1 documents stay in the journal {path.name} and" in caplog.text
    assert str(path) not in caplog.text, "a run's folder is renamed when the run is published"
    assert path.stat().st_mode & 0o777 == 0o600
    engine.away = False
    front = journaled(engine, path)
    await front.open()
    assert slots(engine) == [5]
    await front.close()
    assert not path.exists()


async def test_a_journal_is_for_one_process_at_a_time(engine: FickleEngine, path: Path) -> None:
    front = journaled(engine, path)
    with pytest.raises(InputError, match="is another process's journal just now; give this one a journal of its own"):
        JournalFile(path)
    await front.close()
    await front.close()
    JournalFile(path).close()


def test_a_journal_where_none_can_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing/journal cannot hold the memory's journal: No such file or directory"):
        JournalFile(tmp_path / "missing" / "journal")


def test_a_torn_last_line_is_dropped_and_counted_wherever_it_was_torn(path: Path) -> None:
    lines = [b'{"a": 1}', b'{"bb": 22}', b'{"ccc": 333}']
    whole = b"".join(line + b"\n" for line in lines)
    ends = [len(b"".join(line + b"\n" for line in lines[:n])) for n in range(4)]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        journal = JournalFile(path)
        kept = sum(end <= length for end in ends[1:])
        assert journal.read(10) == lines[:kept]
        assert (journal.waiting, journal.torn) == (kept, int(length not in ends))
        journal.append([b"next"])
        assert journal.read(10) == [*lines[:kept], b"next"]
        journal.close()
        assert path.read_bytes() == whole[: ends[kept]] + b"next\n"


async def test_the_count_of_torn_lines_is_reported(
    engine: FickleEngine, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(b'{"kind": "decisions", "bo')
    front = journaled(engine, path)
    await front.open()
    assert front.status.torn == 1
    assert "ended in an unfinished line, which was dropped" in caplog.text
    await front.close()


async def test_a_full_disk_leaves_the_journal_as_it_was_and_says_so(
    memory: Memory, engine: FickleEngine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.away = True
    await memory.put_decision(decision(slot=0))
    before, write = path.read_bytes(), os.pwrite

    def full(handle: int, data: bytes, offset: int) -> int:
        if offset == len(before):
            return write(handle, data[:20], offset)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(
        MemoryAway, match=r"^fickle is away. .*memory.journal cannot be used: No space left on device.$"
    ):
        await memory.put_decision(decision(slot=1))
    assert path.read_bytes() == before
    monkeypatch.undo()
    await memory.put_decision(decision(slot=2))
    engine.away = False
    await until(lambda: memory.status.waiting == 0)
    assert slots(engine) == [0, 2]


async def test_going_and_coming_back_is_logged_once_each(
    memory: Memory, engine: FickleEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    engine.away = True
    for slot in range(5):
        await memory.put_decision(decision(slot=slot))
        await asyncio.sleep(0.015)
    engine.away = False
    await until(lambda: memory.status.waiting == 0)
    said = [record.message.split(" From")[0] for record in caplog.records]
    assert said == ["fickle is away.", "fickle is back."]


CHILD = """
import asyncio, sys
from pathlib import Path
from memory.journal import JournaledEngine
from memory.journal_file import JournalFile
from memory.stored import StoredMemory
from tests.memory_engines import FickleEngine
from tests.journals import decision

async def main():
    engine = FickleEngine()
    engine.away = True
    front = JournaledEngine(engine, JournalFile(Path(sys.argv[1])))
    await front.open()
    for slot in range(100_000):
        await StoredMemory(front).put_decision(decision(slot=slot))
        print(slot, flush=True)

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_that_it_had_put(engine: FickleEngine, path: Path) -> None:
    for round_ in range(2):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        with child.stdout as said:
            put = [int(said.readline()) for _ in range(20 + round_)]
            time.sleep(0.001 * round_)
            child.kill()
            child.wait()
        front = journaled(engine, path)
        await front.open()
        assert front.status.waiting == 0
        await front.close()
        engine.away = False
        stored = slots(engine)
        assert stored == list(range(len(stored)))
        assert set(put) <= set(stored)
        engine.taken.clear()
