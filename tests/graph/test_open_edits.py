"""A person's edits of open routing plans in Studio: theirs, and held to the rules, whoever scheduled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from domain.ledger import Decision, Role
from domain.serving import Dispatch
from graph.studio.serving import StudioError
from graph.studio.world import World
from memory import open_memory
from tests.agent_server import decides, serving, sound_answers
from tests.clusters import opened
from tests.studio_threads import Thread
from twin.testbeds import load_builtin

BRISTOL = opened(load_builtin("bristol"), Dispatch.SPLIT)
CONTEXT = {"family": "RF", "dispatch": "split", "rehearse": False}
GPU_NODES = [node.name for node in BRISTOL.nodes if node.vgpus]
ALIKE = {"*": {lm.name: dict.fromkeys(GPU_NODES, 1.0) for lm in BRISTOL.lms}}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studio keeps its memory below the folder that it was started in."""
    monkeypatch.chdir(tmp_path)


async def scheduled(thread: Thread) -> Decision:
    """The routes of the thread's last run that hold."""
    async with open_memory(Path(".langgraph_api/memory.sqlite")) as memory:
        return [d for d in await memory.decisions(f"studio/t/{thread.runs}") if d.role is Role.SCHEDULER][-1]


async def edited(thread: Thread, slot: int, routing: dict[str, Any], **context: Any) -> None:
    """Run a slot up to its dispatch, and change the routes."""
    async with thread.graph(thread.at, **context) as graph:
        await graph.ainvoke({"slot": slot}, thread.at, interrupt_after=["dispatch"])
        await graph.aupdate_state(thread.at, {"routing": routing}, as_node="dispatch")


async def test_an_open_plan_that_a_person_writes_takes_the_place_of_a_rules_or_an_agents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = Thread(monkeypatch)
    await edited(thread, 0, ALIKE, **CONTEXT)
    state = await thread.run(None, **CONTEXT)
    assert (state["routing"], (await scheduled(thread)).decided_by) == (ALIKE, "person")
    with serving(decides(sound_answers(BRISTOL))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        asked = {**CONTEXT, "scheduler": "agent"}
        state = await thread.run(1, **asked)
        assert list(state["routing"]) == ["*"]
        assert (await scheduled(thread)).decided_by == "agent:gpt-4o"
        await edited(thread, 2, ALIKE, **asked)
        state = await thread.run(None, **asked)
    plan = World.unpack(state["world"]).plan(2)
    assert plan.to_json(BRISTOL) == ALIKE
    assert (await scheduled(thread)).decided_by == "person"


@pytest.mark.parametrize(
    ("nodes", "sentence"),
    [
        ({"VM7": float("nan")}, "The weight of VM7 for LM4 is nan; use a number from 0"),
        ({"VM2": 1.0}, "LM4 runs on vGPUs only and VM2 has none"),
        ({}, "LM4 may go nowhere though some node can serve LM4"),
        ({"VM7": "much"}, "The routing plan is not in the form of a decision"),
    ],
)
async def test_an_open_plan_of_a_person_that_breaks_a_rule_is_refused(
    nodes: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = Thread(monkeypatch)
    await edited(thread, 0, {"*": {**ALIKE["*"], "LM4": nodes}}, **CONTEXT)
    with pytest.raises(StudioError, match=sentence):
        await thread.run(None, **CONTEXT)
