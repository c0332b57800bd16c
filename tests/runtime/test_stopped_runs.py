"""A run that was stopped goes on as the run that it would have been, or says in one sentence why it cannot."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domain.errors import InputError
from domain.ledger import Outcome
from graph.rehearsal.plans import RehearsalSettings
from graph.slot.checkpoints import open_checkpointer
from graph.slot.deps import Deps, Fallbacks, Filling
from graph.slot.rehearsing import rehearse
from memory import MemoryAway, open_memory
from policies.families import make
from policies.rehearsal.planner import RehearsalPlanner
from runtime.runs.graph_run import GraphRun
from runtime.runs.shadow import Shadow
from runtime.runs.shadowed import Shadowed
from tests.agents import asker, deps_of
from tests.clusters import planner_answer, scheduler_answer
from tests.stopping import CLUSTER, DEPLOYED, PLAN, ROUTES, SLOTS, STOP, Run, Stopped, lose, stopping
from twin.testbed import TwinTestbed
from twin.twin import Twin
from twin.workloads import load_workload

pytestmark = pytest.mark.usefixtures("small_effort", "eager")


@pytest.fixture(scope="module")
def eager() -> Any:
    """Rules of rehearsal that ask for a new plan as soon as their patience ends, two slots after the last one."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("policies.rehearsal.planner.PATIENCE_SLOTS", 2)
        patched.setattr(RehearsalPlanner, "_worth_it", lambda self, snapshot: True)
        patched.setattr("policies.rehearsal.planner.Planned.outdated", lambda self, snapshot, traffic: True)
        yield


@pytest.fixture(scope="module")
def whole(small_effort: None, eager: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nobody stopped."""
    run = Run(tmp_path_factory.mktemp("whole"))
    assert asyncio.run(run.go()) == 0
    return run


@pytest.mark.parametrize("node", ["planner", "scheduler", "deployer"])
@pytest.mark.parametrize("slot", [0, 4, 6])
async def test_a_run_that_stops_in_the_middle_of_a_slot_is_the_same_run_when_it_goes_on(
    node: str, slot: int, whole: Run, tmp_path: Path
) -> None:
    cut = Run(tmp_path / "cut")
    plans = [entry["slot"] for entry in (await whole.kept())[0] if entry["role"] == "planner"]
    assert plans == [0, 2, 4, 6, 8]
    cut.prepare = lambda deps: stopping(deps, node, slot, Stopped)
    with pytest.raises(Stopped):
        await cut.go()
    cut.told.clear()
    cut.prepare = lambda deps: None
    assert await cut.go() == slot
    assert await cut.kept() == await whole.kept()
    assert cut.told == [entry for entry in whole.told if entry[0] >= slot], "told of every decision of its slots once"


async def test_a_case_is_not_lost_where_remembering_fails_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = Run(tmp_path / "whole", "RL"), Run(tmp_path / "cut", "RL")
    await whole.go()

    def forgets(deps: Deps) -> None:
        async def away(*_: Any) -> None:
            raise MemoryAway("The disk is full.")

        monkeypatch.setattr(deps.memory, "put_case", away)

    cut.prepare = forgets
    with pytest.raises(MemoryAway):
        await cut.go()
    cut.prepare = lambda deps: None
    assert await cut.go() == 3
    assert await cut.kept() == await whole.kept()


async def test_a_run_that_stops_while_a_person_is_asked_asks_again_and_knows_when_it_planned(tmp_path: Path) -> None:
    asked = list[int]()

    async def says(question: dict[str, Any]) -> bool:
        slot = int(re.findall(r"slot (\d+)", question["question"])[0])
        asked.append(slot)
        if slot == stops_at and asked.count(slot) == 1:
            raise Stopped
        return slot != 4

    calls: list[Any] = []
    planner = Filling[Any]("model", asker=asker(lambda *_: json.dumps(planner_answer(CLUSTER, PLAN)), calls))

    def rehearsed(deps: Deps) -> None:
        deps.planner, deps.fallbacks = planner, Fallbacks.rehearsed(deps.testbed)
        rehearse(deps, RehearsalSettings())

    whole, cut = Run(tmp_path / "whole", approver=says), Run(tmp_path / "cut", approver=says)
    whole.prepare = cut.prepare = rehearsed
    stops_at = -1
    await whole.go()
    assert asked == [0, 2, 4, 6, 8]
    questions = len(calls)
    for stops_at in (0, 4, 6):
        asked.clear()
        cut = Run(tmp_path / f"cut{stops_at}", approver=says)
        cut.prepare = rehearsed
        with pytest.raises(Stopped):
            await cut.go()
        assert await cut.go() == stops_at
        assert await cut.kept() == await whole.kept()
        assert asked == sorted([0, 2, 4, 6, 8, stops_at])
    assert len(calls) == 4 * questions, "the model's answer was kept while the person was asked"


async def test_a_person_who_has_answered_is_not_asked_again(tmp_path: Path) -> None:
    asked = list[str]()

    async def yes(question: dict[str, Any]) -> bool:
        asked.append(question["question"])
        return True

    run = Run(tmp_path / "run", approver=yes)
    run.prepare = lambda deps: stopping(deps, "scheduler", 4, Stopped)
    with pytest.raises(Stopped):
        await run.go()
    run.prepare = lambda deps: None
    assert await run.go() == 4
    assert len(asked) == len(set(asked)) == 5


# Whose plan it was


def mixed(planner: str, rehearsed: bool) -> Deps:
    """Deps of a run without a memory, agents in the roles of which no rule is named."""
    testbed = TwinTestbed(Twin(CLUSTER), load_workload("p1", CLUSTER, 3))
    deps = deps_of(make("RH", CLUSTER), testbed, None, "test")  # type: ignore[arg-type]  # no memory is read
    agent = Filling[Any]("model", asker=asker(lambda *_: None))
    deps.scheduler = agent
    deps.fallbacks = Fallbacks.rehearsed(testbed)
    if planner == "agent":
        deps.planner = agent
    if rehearsed:
        rehearse(deps, RehearsalSettings())
    return deps


@pytest.mark.parametrize(
    ("planner", "rehearsed", "outcome", "by", "marked"),
    [
        ("rule", True, Outcome.RULE, "rule:rehearsal", {"planner"}),
        ("rule", False, Outcome.RULE, "rule:rehearsal", {"planner"}),
        ("rule", True, Outcome.FALLBACK, "fallback:rehearsal", {"planner", "rehearsal"}),
        ("rule", True, Outcome.FALLBACK, "fallback:previous", {"planner"}),
        ("agent", True, Outcome.ACCEPTED, "agent:model", {"rehearsal"}),
        ("agent", True, Outcome.OVERRULED, "rehearsal:candidate 1", {"rehearsal"}),
        ("agent", True, Outcome.FALLBACK, "fallback:previous", {"rehearsal"}),
        ("agent", True, Outcome.REUSED, "reused", set()),
        ("agent", True, None, "", {"rehearsal"}),
        ("agent", False, Outcome.ACCEPTED, "agent:model", set()),
        ("agent", False, Outcome.FALLBACK, "fallback:rehearsal", {"fallback"}),
    ],
)
def test_the_rules_that_worked_on_a_plan_know_of_it_when_a_run_goes_on(
    planner: str, rehearsed: bool, outcome: Outcome | None, by: str, marked: set[str]
) -> None:
    deps = mixed(planner, rehearsed)
    rules = {
        "planner": deps.planner and deps.planner.rule,
        "rehearsal": deps.rehearsal and deps.rehearsal.rule,
        "fallback": None if rehearsed else deps.fallbacks.planner,
    }
    deps.planned(Twin(CLUSTER).observe(), outcome, by)
    planned = {name: getattr(rule, "_planned", None) for name, rule in rules.items()}
    assert {name for name, plan in planned.items() if plan is not None} == marked


# Beside shadows


class Beside(Run):
    """A run beside which shadows decide: of rehearsal, and of an agent that is rehearsed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "RL")
        self.lines: list[Any] = []
        self.calls: list[Any] = []

    async def go(self, slots: int = SLOTS, memory: str = "m.sqlite", run: str = "test") -> int:
        self.lines.clear()
        async with open_memory(self.folder / memory) as store, open_checkpointer(self.folder / "c.sqlite") as saver:
            inner = TwinTestbed(Twin(CLUSTER), load_workload("p1", CLUSTER, 3))
            rule = deps_of(make("RH", CLUSTER), inner, store, "test.shadow-RH")
            agents = replace(rule, run="test.shadow-MA", fallbacks=Fallbacks.rehearsed(inner), family="MA")
            agents.history, agents.decided = [], {}
            agents.planner = Filling("m", asker=asker(lambda *_: json.dumps(planner_answer(CLUSTER, PLAN)), self.calls))
            rehearse(agents, RehearsalSettings())
            testbed = Shadowed(inner, [Shadow(rule), Shadow(agents)], self.lines.append)
            deps = self.deps = deps_of(make("RL", CLUSTER), testbed, store, run)  # type: ignore[arg-type]  # a double
            testbed.acting = deps
            self.prepare(deps)
            return await GraphRun(deps, saver, slots, replays=True).run()


async def test_shadows_go_on_as_they_would_have(tmp_path: Path) -> None:
    whole, cut = Beside(tmp_path / "whole"), Beside(tmp_path / "cut")
    await whole.go()
    cut.prepare = lambda deps: stopping(deps, "deployer", STOP, Stopped)
    with pytest.raises(Stopped):
        await cut.go()
    cut.prepare = lambda deps: None
    assert await cut.go() == STOP
    assert await cut.kept() == await whole.kept()
    assert cut.lines == whole.lines
    assert len(cut.calls) == len(whole.calls)
    for name in ("test.shadow-RH", "test.shadow-MA"):
        found = []
        for run in (whole, cut):
            async with open_memory(run.folder / "m.sqlite") as memory:
                found.append([decision.to_json() for decision in await memory.decisions(name)])
        assert found[0] == found[1]
        assert [entry["slot"] for entry in found[0] if entry["role"] == "planner"] == [0, 2, 4, 6, 8]


async def test_a_shadow_whose_ledger_has_a_hole_is_one_sentence(tmp_path: Path) -> None:
    cut = Beside(tmp_path / "cut")
    cut.prepare = lambda deps: stopping(deps, "deployer", STOP, Stopped)
    with pytest.raises(Stopped):
        await cut.go()
    cut.prepare = lambda deps: None
    lose(tmp_path / "cut", "slot = 1 AND run = 'test.shadow-RH' AND node = 'north'")
    with pytest.raises(InputError, match="slot 1 has no deployment of north"):
        await cut.go()


@pytest.mark.parametrize("role", ["planner", "scheduler", "deployer"])
async def test_a_run_that_is_cancelled_is_the_same_run_when_it_goes_on(role: str, tmp_path: Path) -> None:
    """What Ctrl-C does inside: the task that runs the slots is cancelled."""
    answers: dict[str, Any] = {
        "planner": lambda *_: json.dumps(planner_answer(CLUSTER, PLAN)),
        "scheduler": lambda *_: json.dumps(scheduler_answer(CLUSTER, ROUTES)),
        "deployer": lambda slot, node, *_: DEPLOYED[node],
    }

    def agents(deps: Deps) -> None:
        for name, answer in answers.items():
            setattr(deps, name, Filling("model", asker=asker(answer)))

    def hangs(deps: Deps) -> None:
        agents(deps)
        own = getattr(deps, role).asker

        def asking(slot: int, node: str | None) -> Any:
            async def ask(*rest: Any) -> Any:
                if slot == 4:
                    reached.set()
                    await asyncio.Event().wait()
                return await own(slot, node)(*rest)

            return ask

        setattr(deps, role, Filling("model", asker=asking))

    whole, cut, reached = Run(tmp_path / "whole"), Run(tmp_path / "cut"), asyncio.Event()
    whole.prepare, cut.prepare = agents, hangs
    await whole.go()
    task = asyncio.create_task(cut.go())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    cut.prepare = agents
    assert await cut.go() == 4
    assert await cut.kept() == await whole.kept()
