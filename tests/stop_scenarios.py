"""Small runs, from what the command line asks for to a published folder, each in a process that can be stopped."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import runtime.cli.commands.agent_runs
import runtime.cli.commands.experiments
import runtime.runs.experiment
import runtime.runs.graph_families
from domain.errors import InputError
from domain.ledger import Role
from graph.models.agent import Agent
from memory import open_memory
from runtime.agents.filling import Models
from runtime.agents.request import AgentRequest
from runtime.agents.settings import AgentSettings
from runtime.cli.commands.experiments import execute
from runtime.cli.commands.requests import Request
from runtime.results.summary import BoundFigures
from tests.agent_server import sound_answers
from tests.effort import little_effort
from tests.faults import Faults, watching
from tests.scripted import ScriptedChatModel, counted
from tests.testbed_files import SMALL
from twin.testbeds import read_testbed
from twin.testbeds.build import to_cluster

LONGEST_S = 60
"""After which a process is taken to hang, and killed."""
SHORT = "slot_s: 30\nepoch_slots: 2\ndeadline_s: 30\n"


@dataclass(frozen=True)
class Scenario:
    """A run to stop."""

    name: str
    family: str
    agents: AgentRequest = AgentRequest(via_graph=True)
    slots: int = 2
    files: Sequence[str] = ()
    """Of the run folder, besides those of every run."""


MODEL = AgentRequest(base_url="http://127.0.0.1:9/v1", model="m", prices=Path("prices.yaml"))
SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("rules", "RL"),
        Scenario("agents", "MA", replace(MODEL, rehearse="off", tape=Path("disk/run.tape"))),
        Scenario("rehearsal", "MA", replace(MODEL, rehearse="all")),
        Scenario("rule of rehearsal", "RH"),
        Scenario("shadow", "RL", AgentRequest(shadow=("RH", "RR")), files=("shadow.jsonl",)),
        Scenario("shadow of agents", "RL", replace(MODEL, shadow=("MA",)), files=("shadow.jsonl",)),
        Scenario("approve", "MA", replace(MODEL, approve=True, rehearse="plans")),
        Scenario("shared memory", "MA", replace(MODEL, memory="disk/shared.sqlite")),
        Scenario("budget", "MA", replace(MODEL, slot_tokens=14_000)),
        Scenario("dry run", "RL", AgentRequest(dry_run=True), files=("dry-run.jsonl",)),
        Scenario("plain", "RR"),
    )
}


@dataclass
class Ended:
    """How a process ended."""

    status: int
    """Exit status; negative for a signal."""
    said: str
    steps: list[Any] = field(default_factory=list)


@contextmanager
def prepared(home: Path) -> Iterator[None]:
    """Make a folder and this process ready for runs that cost little and ask nobody."""
    home.mkdir()
    (home / "disk").mkdir()
    (home / "small.yaml").write_text(SMALL + SHORT)
    (home / "prices.yaml").write_text("m: {prompt_usd: 1.0, completion_usd: 10}\n")
    with pytest.MonkeyPatch.context() as patched, little_effort():
        patched.chdir(home)
        patched.setattr(runtime.runs.experiment, "draw", _draw)
        patched.setattr(runtime.runs.experiment, "bounding", _bounding)
        patched.setattr(runtime.cli.commands.experiments, "versions", lambda: '{"edgewise": "1"}\n')
        patched.setattr(runtime.runs.graph_families, "open_models", _scripted)
        patched.setattr(runtime.runs.graph_families.GraphFamilies, "preflight", lambda *_: None)
        patched.setattr(runtime.cli.commands.agent_runs, "ask_on_terminal", _asked)
        patched.setattr("policies.rehearsal.planner.PATIENCE_SLOTS", 1)
        patched.setattr("policies.rehearsal.planner.RehearsalPlanner._worth_it", lambda self, snapshot: True)
        patched.setattr("policies.rehearsal.planner.Planned.outdated", lambda self, snapshot, traffic: True)
        yield


def _draw(summary: Any, folder: Path) -> None:
    (folder / "figure.svg").write_text("<svg/>")


@contextmanager
def _bounding(*_: Any) -> Iterator[Callable[[], list[BoundFigures]]]:
    """What no run can beat takes as long as the run, and is the same for all."""
    yield lambda: [BoundFigures(
        seed=1, full_service=True, max_success={"chat": 1}, solo_mean_s=1.0, mean_latency_s=1.0, objective=0.1,
        objective_any=0.1,
    )]  # fmt: skip


async def _asked(question: dict[str, Any]) -> bool:
    return "slot 1 " not in question["question"]


@asynccontextmanager
async def _scripted(settings: AgentSettings, *_: Any) -> AsyncIterator[Models]:
    """Models that answer soundly, but for a scheduler who breaks a rule at first and a deployer who always does."""
    cluster = to_cluster(read_testbed(Path("small.yaml")))
    sound = sound_answers(cluster, seed=0)

    def replies(role: Role) -> Callable[[Any, Any], Any]:
        def reply(messages: Any, options: Any) -> Any:
            texts = [str(message.content) for message in messages]
            with Path("asked").open("a") as file:
                file.write(f"{role}\n")
            answer = sound(str(role), texts)
            if role is Role.SCHEDULER and len(texts) == 2:
                answer = answer.replace('"a"', '"nowhere"')
            if role is Role.DEPLOYER and re.search(r'# The node\s+"c"', texts[-1]):
                answer = "{}"
            return counted(answer, len("".join(texts)), len(answer))

        return reply

    agents = {}
    for role, own in (settings.models or {}).items():
        model = ScriptedChatModel(reply=replies(role))
        agents[role] = Agent(role, model, own.model, price=settings.prices.get(own.model), max_completion_tokens=500)
    yield Models(settings, agents, clock=lambda: 0.0)


def request_of(scenario: Scenario) -> Request:
    agents = None if scenario.name == "plain" else scenario.agents
    families = ["RR,LL"] if scenario.name == "plain" else [scenario.family]
    return Request("small.yaml", "p1", 2.0, families, "1", None, scenario.slots, None, Path("disk/run"), agents)


def in_a_process(work: Callable[[], None], log: Path) -> Ended:
    """Do something in a process of its own; how it ended, and what it said."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            for number, handler in ((signal.SIGALRM, signal.SIG_DFL), (signal.SIGTERM, signal.SIG_DFL)):
                signal.signal(number, handler)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.alarm(LONGEST_S)
            with log.open("w") as file:
                sys.stdout = sys.stderr = file
                status = _status(work)
        finally:
            os._exit(status)
    _, how = os.waitpid(child, 0)
    return Ended(os.waitstatus_to_exitcode(how), log.read_text())


def _status(work: Callable[[], None]) -> int:
    """The exit status that the command line would end with; 99 where it would print a traceback."""
    try:
        work()
    except InputError as error:
        print(f"edgewise: {error}")
        return error.status
    except KeyboardInterrupt as error:
        print(f"edgewise: interrupted; {error}")
        return getattr(error, "status", 130)
    except OSError as error:
        print(f"edgewise: {error}")
        return 1
    except BaseException:
        traceback.print_exc()
        return 99
    return 0


def run(scenario: Scenario, faults: Faults | None = None) -> None:
    """What the command does, watched where there are faults."""
    console = Console(file=sys.stderr, width=200)
    with watching(faults or Faults(Path("disk"))):
        execute(request_of(scenario), console)


def answers_kept(scenario: Scenario, home: Path) -> int:
    """How many answers of models the ledger holds; it is read in a copy, and stays as a stopped process left it."""
    shared, own = home / "disk" / "shared.sqlite", home / "disk" / ".run.partial" / "memory.sqlite"
    found = next((path for path in (shared, own, home / "disk" / "run" / "memory.sqlite") if path.exists()), None)
    if found is None or not found.stat().st_size:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for path in (found, found.with_name(f"{found.name}-wal")):
            if path.exists():
                shutil.copy(path, folder)
        with closing(sqlite3.connect(Path(folder, found.name))) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'decisions'").fetchone()[0]:
                return 0
            bodies = [json.loads(body) for (body,) in connection.execute("SELECT body FROM decisions")]
    return sum(attempt["answer"] is not None for body in bodies for attempt in body["attempts"])


def came_out(scenario: Scenario, home: Path) -> dict[str, Any]:
    """All that a finished run leaves, in a form that can be compared."""
    folder = home / "disk" / "run"
    known = {"settings.yaml", "testbed.yaml", "versions.json", "summary.json", "records.parquet", "slots.parquet"}
    left: dict[str, Any] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in known}
    left |= {name: (folder / name).read_text() for name in (*scenario.files, "summary.json", "figures/figure.svg")}
    others = {path.name for path in folder.iterdir()} - known - set(scenario.files)
    left["files"] = sorted(name for name in others - {"run-id"} if not name.endswith(("-wal", "-shm")))
    if scenario.name != "plain":
        memory = home / (scenario.agents.memory or "disk/run/memory.sqlite")
        token = (folder / "run-id").read_text() if (folder / "run-id").exists() else "no run-id"
        left["memory"] = asyncio.run(_remembered(memory, token))
    left["beside"] = sorted(path.name for path in folder.parent.iterdir())
    return left


async def _remembered(path: Path, token: str) -> list[Any]:
    async with open_memory(path) as memory:
        found: list[Any] = []
        for run in await memory.runs():
            for name in (run, *(f"{run}.shadow-{code}" for code in ("RH", "RR", "MA"))):
                decisions = [{**decision.to_json(), "run": ""} for decision in await memory.decisions(name)]
                keys = [(line["slot"], line["role"], line["node"]) for line in decisions]
                assert len(set(keys)) == len(keys)
                found.append((name.replace(token, "ID"), decisions))
            records = await memory.records(run)
            found.append([column.tolist() for column in (records.request, records.outcome, records.queue_s)])
            found.append([(entry.epoch, str(entry.telemetry), entry.extra) for entry in await memory.telemetry(run)])
            found.append(str(await memory.run(run)))
        cases = [{**case.to_json(), "run": ""} for case in await memory.cases("small")]
        return [*found, cases]
