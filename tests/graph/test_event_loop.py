"""What takes long does so beside the event loop: questions, other threads of Studio and leases must not stand still."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domain.decisions import MacroPolicy
from domain.telemetry import Snapshot
from graph.slot.deps import Filling
from policies.families import make
from policies.random import RandomPlanner
from policies.rehearsal.planner import RehearsalPlanner
from runtime.runs.shadow import Shadow
from tests.agents import asker, bristol_run, deps_of
from twin.testbeds import load_builtin

BRISTOL = load_builtin("bristol")
pytestmark = pytest.mark.usefixtures("small_effort")


class Waits(RandomPlanner):
    """A planner that does not return before the event loop has had a turn."""

    def __init__(self, turn: threading.Event) -> None:
        super().__init__(BRISTOL)
        self.turn, self.plans = turn, list[bool]()

    def plan(self, snapshot: Snapshot, history: Any, rng: Any) -> MacroPolicy:
        self.turn.clear()
        self.plans.append(self.turn.wait(10))
        return super().plan(snapshot, history, rng)


@asynccontextmanager
async def turning(turn: threading.Event) -> AsyncIterator[None]:
    """Say again and again that the event loop has had a turn."""

    async def turns() -> None:
        while True:
            turn.set()
            await asyncio.sleep(0)

    task = asyncio.create_task(turns())
    yield
    task.cancel()


@pytest.mark.parametrize("fallback", [False, True])
async def test_the_event_loop_goes_on_while_a_rule_or_a_fallback_plans(fallback: bool, tmp_path: Path) -> None:
    turn = threading.Event()
    planner = Waits(turn)
    async with bristol_run(tmp_path, "RL", 1) as run, turning(turn):
        run.deps.planner = Filling("waits", planner)
        if fallback:
            run.deps.planner = Filling("m", asker=asker(lambda *question: "{}"))
            run.deps.fallbacks = replace(run.deps.fallbacks, planner=planner)
        await run.run()
    assert planner.plans == [True]


@pytest.mark.parametrize("fallback", [False, True])
async def test_the_event_loop_goes_on_while_a_shadow_plans(fallback: bool, tmp_path: Path) -> None:
    turn = threading.Event()
    planner = Waits(turn)
    async with bristol_run(tmp_path, "RL", 1) as run, turning(turn):
        testbed: Any = run.deps.testbed
        deps = deps_of(make("AL", BRISTOL), testbed, run.deps.memory, "shadow")
        deps.planner = Filling("waits", planner)
        if fallback:
            deps.planner = Filling("m", asker=asker(lambda *question: "{}"))
            deps.fallbacks = replace(deps.fallbacks, planner=planner)
        await Shadow(deps).decide(await testbed.observe(), run.deps)
    assert planner.plans == [True]


async def test_the_event_loop_goes_on_while_a_rule_looks_whether_a_new_plan_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, found = threading.Event(), list[bool]()

    def watch(self: RehearsalPlanner, snapshot: Snapshot) -> bool:
        turn.clear()
        found.append(turn.wait(10))
        return False

    monkeypatch.setattr(RehearsalPlanner, "watch", watch)
    async with bristol_run(tmp_path, "RH", 2) as run, turning(turn):
        await run.run()
    assert found == [True, True]
