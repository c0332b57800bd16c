"""Checkpoints in a server that speaks MongoDB: kept through its crash, read as data, and given up in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde import jsonplus
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from pymongo import MongoClient

from domain.errors import InputError
from graph.slot import checkpoints
from graph.slot.checkpoints import DURABILITY, open_checkpointer
from graph.slot.state import DeployerTask, SlotInput, SlotState
from memory import MemoryAway
from tests.mongo_server import MongoServer, free_port, new_database

pytestmark = pytest.mark.live
THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}


@pytest.fixture
def database(mongodb: str) -> Iterator[tuple[str, str]]:
    """A server and a database of one's own on it."""
    with new_database(mongodb) as uri:
        yield mongodb, uri.partition("?")[0].rpartition("/")[2]


def slot_graph(saver: BaseCheckpointSaver[Any], asks: bool = False) -> Any:
    """Fans out, and may ask a person, as the slot graph does."""

    async def observe(state: SlotState) -> Command[Any]:
        return Command(
            update={"decisions": None},
            goto=[Send("deployer", {"slot": state["slot"], "nodes": [n], "macro_policy": None}) for n in (0, 1)],
        )

    async def deployer(state: DeployerTask) -> dict[str, Any]:
        return {"decisions": [{"slot": state["slot"], "node": state["nodes"][0], "text": "größer \N{ROBOT FACE}"}]}

    async def act(state: SlotState) -> dict[str, Any]:
        if asks and not interrupt({"question": "Adopt it?", "macro_policy": {"a": 1.5}}):
            return {"completed": -1}
        return {"completed": state["slot"]}

    builder = StateGraph(SlotState, input_schema=SlotInput)
    builder.add_node("observe", observe, destinations=("deployer",))
    builder.add_node("deployer", deployer, input_schema=DeployerTask)
    builder.add_node("act", act)
    builder.add_edge(START, "observe")
    builder.add_edge("deployer", "act")
    builder.add_edge("act", END)
    return builder.compile(checkpointer=saver)


async def passes(saver: BaseCheckpointSaver[Any], slots: range) -> None:
    for slot in slots:
        await slot_graph(saver).ainvoke({"slot": slot}, THREAD, durability=DURABILITY)


async def completed(saver: BaseCheckpointSaver[Any], limit: int | None = None) -> list[int]:
    found = [entry.checkpoint["channel_values"] async for entry in saver.alist(THREAD, limit=limit)]
    return [state["completed"] for state in found if "completed" in state]


async def test_checkpoints_of_slots_are_there_when_they_are_opened_again(database: tuple[str, str]) -> None:
    async with open_checkpointer(*database) as saver:
        await passes(saver, range(4))
    async with open_checkpointer(*database) as saver:
        assert await completed(saver) == [3, 2, 1, 0]
        assert await completed(saver, 2) == [3, 2]
        last = await saver.aget_tuple(THREAD)
        assert last is not None
        assert sorted(last.checkpoint["channel_values"]["decisions"], key=lambda line: line["node"]) == [
            {"slot": 3, "node": node, "text": "größer \N{ROBOT FACE}"} for node in (0, 1)
        ]
        await saver.adelete_thread("t")
        assert await completed(saver) == []


async def test_a_question_to_a_person_waits_in_the_server_and_is_answered_by_another_process(
    database: tuple[str, str],
) -> None:
    async with open_checkpointer(*database) as saver:
        asked = await slot_graph(saver, asks=True).ainvoke({"slot": 0}, THREAD, durability=DURABILITY)
        assert asked["__interrupt__"][0].value["question"] == "Adopt it?"
    async with open_checkpointer(*database) as saver:
        graph = slot_graph(saver, asks=True)
        (question,) = (await graph.aget_state(THREAD)).interrupts
        assert question.value == {"question": "Adopt it?", "macro_policy": {"a": 1.5}}
        state = await graph.ainvoke(Command(resume=True), THREAD, durability=DURABILITY)
        assert (state["completed"], len(state["decisions"])) == (0, 2)


async def test_a_server_that_is_killed_loses_no_checkpoint(tmp_path: Path) -> None:
    server = MongoServer(tmp_path / "server").start()
    try:
        async with open_checkpointer(server.uri) as saver:
            for first in (0, 3, 6):
                await passes(saver, range(first, first + 3))
                server.kill()
                server.start()
                assert await completed(saver) == list(reversed(range(first + 3)))
    finally:
        server.kill()


async def test_what_somebody_else_wrote_into_the_database_runs_nothing(
    database: tuple[str, str], tmp_path: Path
) -> None:
    trace, (uri, name) = tmp_path / "called", database
    async with open_checkpointer(uri, name) as saver:
        await passes(saver, range(1))
        words = ormsgpack.packb(["os", "system", f"touch {trace}"])
        evil = ormsgpack.packb({"a": ormsgpack.Ext(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, words)})
        with MongoClient[dict[str, Any]](uri) as client:
            client[name]["checkpoints"].update_many({}, {"$set": {"checkpoint": evil}})
        with pytest.raises(InputError, match=r"A checkpoint holds a os\.system, which none of Edgewise's does"):
            await saver.aget_tuple(THREAD)
    assert not trace.exists()


async def test_a_server_that_is_away_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MONGO_LIMIT_S", 0.5)
    started = time.monotonic()
    with pytest.raises(MemoryAway, match=r"^mongodb://127\.0\.0\.1:\d+ cannot be reached: "):
        async with open_checkpointer(f"mongodb://ada:s3cret@127.0.0.1:{free_port()}"):
            pass
    assert time.monotonic() - started < 5
