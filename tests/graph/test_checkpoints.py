"""The checkpoints' file holds what LangGraph's own saver would write and read, in fewer steps."""

from __future__ import annotations

import gc
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

from domain.errors import InputError
from graph.slot import checkpoints
from graph.slot.checkpoints import DURABILITY, open_checkpointer
from graph.slot.state import SlotInput, SlotState

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}


async def passes(saver: BaseCheckpointSaver[Any], slots: range, thread: RunnableConfig = THREAD) -> None:
    async def pass_slot(state: SlotState) -> dict[str, Any]:
        return {"completed": state["slot"]}

    builder = StateGraph(SlotState, input_schema=SlotInput)
    builder.add_node("advance", pass_slot)
    builder.add_edge(START, "advance")
    builder.add_edge("advance", END)
    graph = builder.compile(checkpointer=saver)
    for slot in slots:
        await graph.ainvoke({"slot": slot}, thread, durability=DURABILITY)


async def listed(saver: BaseCheckpointSaver[Any], limit: int | None = None) -> list[CheckpointTuple]:
    return [found async for found in saver.alist(THREAD, limit=limit)]


async def test_it_reads_and_goes_on_with_what_langgraphs_own_saver_wrote_and_the_other_way_round(
    tmp_path: Path,
) -> None:
    path = tmp_path / "checkpoints.sqlite"
    async with AsyncSqliteSaver.from_conn_string(str(path)) as theirs:
        await passes(theirs, range(2))
    async with open_checkpointer(path) as ours:
        await passes(ours, range(2, 4))
        found, last = await listed(ours), await ours.aget_tuple(THREAD)
    async with AsyncSqliteSaver.from_conn_string(str(path)) as theirs:
        assert await listed(theirs) == found
        assert await theirs.aget_tuple(THREAD) == last
    assert [entry.checkpoint["channel_values"]["completed"] for entry in found] == [3, 2, 1, 0]


@pytest.mark.parametrize(("limit", "slots"), [(None, 5), (0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (9, 5)])
async def test_a_listing_goes_through_a_long_thread_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None, slots: int
) -> None:
    monkeypatch.setattr(checkpoints, "CHUNK", 2)
    async with open_checkpointer(tmp_path / "checkpoints.sqlite") as saver:
        await passes(saver, range(5))
        found = [entry.checkpoint["channel_values"]["completed"] for entry in await listed(saver, limit)]
        assert found == [4, 3, 2, 1, 0][:slots]


async def test_a_file_that_keeps_the_last_checkpoints_does_not_grow_with_the_run(tmp_path: Path) -> None:
    path, every, pages = tmp_path / "checkpoints.sqlite", checkpoints.PRUNED_EVERY, list[int]()
    for first in range(0, 6 * every, every):
        async with open_checkpointer(path, keep=3) as saver:
            await passes(saver, range(first, first + every))
            kept = [entry.checkpoint["channel_values"]["completed"] for entry in await listed(saver)]
            assert kept == list(reversed(range(max(0, first - 2), first + every)))
        with closing(sqlite3.connect(path)) as connection:
            pages += connection.execute("PRAGMA page_count").fetchone()
    assert max(pages) <= 1.2 * pages[0]


async def test_a_file_with_too_many_checkpoints_loses_the_oldest_with_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    async with open_checkpointer(path) as saver:
        await passes(saver, range(20))
    async with open_checkpointer(path, keep=2) as saver:
        await passes(saver, range(20, 21))
        assert [entry.checkpoint["channel_values"]["completed"] for entry in await listed(saver)] == [20, 19]
        last = await saver.aget_tuple(THREAD)
        assert last is not None
        assert last.checkpoint["channel_values"]["completed"] == 20
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT count(*) FROM writes w LEFT JOIN checkpoints c USING (checkpoint_id) WHERE c.checkpoint_id IS NULL"
        ).fetchone()
    assert rows == (0,)


async def test_other_threads_of_the_file_keep_theirs(tmp_path: Path) -> None:
    other: RunnableConfig = {"configurable": {"thread_id": "other"}}
    async with open_checkpointer(tmp_path / "checkpoints.sqlite") as saver:
        await passes(saver, range(5), other)
    async with open_checkpointer(tmp_path / "checkpoints.sqlite", keep=1) as saver:
        await passes(saver, range(5))
        assert len([found async for found in saver.alist(other)]) == 5


async def test_a_prune_that_breaks_off_leaves_what_the_next_one_drops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "PRUNED_EVERY", 1)
    path = tmp_path / "checkpoints.sqlite"
    async with open_checkpointer(path) as saver:
        await passes(saver, range(5))
    async with open_checkpointer(path, keep=1) as saver:
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TRIGGER full BEFORE DELETE ON checkpoints BEGIN SELECT RAISE(ABORT, 'full'); END")
        with pytest.raises(InputError, match="full"):
            await passes(saver, range(5, 6))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER full")
    async with open_checkpointer(path, keep=1) as saver:
        assert [entry.checkpoint["channel_values"]["completed"] for entry in await listed(saver)] == [5, 4, 3, 2, 1, 0]
        await passes(saver, range(6, 7))
        assert [entry.checkpoint["channel_values"]["completed"] for entry in await listed(saver)] == [6]


async def test_the_file_and_its_log_are_their_owners_alone(tmp_path: Path) -> None:
    async with open_checkpointer(tmp_path / "checkpoints.sqlite") as saver:
        await passes(saver, range(1))
        modes = {path.name.rpartition(".")[2]: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"sqlite": 0o600, "sqlite-wal": 0o600, "sqlite-shm": 0o600}


async def test_a_deleted_thread_is_gone(tmp_path: Path) -> None:
    async with open_checkpointer(tmp_path / "checkpoints.sqlite") as saver:
        await passes(saver, range(1))
        await saver.adelete_thread("t")
        assert await saver.aget_tuple(THREAD) is None


async def test_a_file_that_is_none_of_ours_leaves_no_thread_and_no_connection_behind(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    path.write_text("not a database, but long enough to be looked at as one" * 20)
    before = {thread.ident for thread in threading.enumerate()}
    with pytest.raises(InputError, match="cannot hold the checkpoints: it is damaged, or no database"):
        async with open_checkpointer(path):
            pass
    left = [thread for thread in threading.enumerate() if thread.ident not in before]
    for thread in left:
        thread.join(5.0)
    assert not any(thread.is_alive() for thread in left)
    gc.collect()  # an unclosed connection would warn
