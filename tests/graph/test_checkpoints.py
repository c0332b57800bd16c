"""The checkpoints' file holds what LangGraph's own saver would write and read, in fewer steps."""

from __future__ import annotations

import gc
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

from graph.slot import checkpoints
from graph.slot.checkpoints import DURABILITY, open_checkpointer
from graph.slot.state import SlotInput, SlotState

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}


async def passes(saver: BaseCheckpointSaver[Any], slots: range) -> None:
    async def pass_slot(state: SlotState) -> dict[str, Any]:
        return {"completed": state["slot"]}

    builder = StateGraph(SlotState, input_schema=SlotInput)
    builder.add_node("advance", pass_slot)
    builder.add_edge(START, "advance")
    builder.add_edge("advance", END)
    graph = builder.compile(checkpointer=saver)
    for slot in slots:
        await graph.ainvoke({"slot": slot}, THREAD, durability=DURABILITY)


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


async def test_a_deleted_thread_is_gone(tmp_path: Path) -> None:
    async with open_checkpointer(tmp_path / "checkpoints.sqlite") as saver:
        await passes(saver, range(1))
        await saver.adelete_thread("t")
        assert await saver.aget_tuple(THREAD) is None


async def test_a_file_that_is_none_of_ours_leaves_no_thread_and_no_connection_behind(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    path.write_text("not a database, but long enough to be looked at as one" * 20)
    before = {thread.ident for thread in threading.enumerate()}
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        async with open_checkpointer(path):
            pass
    left = [thread for thread in threading.enumerate() if thread.ident not in before]
    for thread in left:
        thread.join(5.0)
    assert not any(thread.is_alive() for thread in left)
    gc.collect()  # an unclosed connection would warn
