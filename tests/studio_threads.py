"""A thread of Studio without a server: its checkpoints, and a graph that is made anew for each call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from graph.slot.build import SlotGraph, build_graph
from graph.studio import serving as studio
from graph.studio.serving import make_graph


class Thread:
    """A thread as the server keeps it: checkpoints, and a graph that is made anew for each call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.saver, self.runs = InMemorySaver(), 0
        self.at: RunnableConfig = {"configurable": {"thread_id": "t"}}

        async def values(configurable: Any) -> Any:
            found = await self.saver.aget_tuple({"configurable": {"checkpoint_ns": "", **configurable}})
            return found.checkpoint["channel_values"] if found else {}

        monkeypatch.setattr(studio, "_values", values)

    @asynccontextmanager
    async def graph(self, at: RunnableConfig, **context: Any) -> AsyncIterator[SlotGraph]:
        runtime: Any = SimpleNamespace(
            execution_runtime=SimpleNamespace(context=context), access_context="threads.create_run"
        )
        self.runs += 1
        config: RunnableConfig = {"configurable": {**at["configurable"], "run_id": str(self.runs)}}
        async with make_graph(config, runtime) as graph:
            yield graph.copy(update={"checkpointer": self.saver})

    async def run(self, slot: int | None, at: Any = None, **context: Any) -> Any:
        """Run a slot, or go on in the middle of one."""
        given: Any = None if slot is None else {"slot": slot}
        async with self.graph(at or self.at, **context) as graph:
            return await graph.ainvoke(given, at or self.at)

    async def history(self) -> list[Any]:
        """States of the thread, the last first."""
        graph = build_graph(studio._at_rest(studio.NOTHING, planned=False), self.saver)
        return [state async for state in graph.aget_state_history(self.at)]
