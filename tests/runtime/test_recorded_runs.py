"""Recorded runs told to Studio step by step, from checkpoints, from a ledger, with worlds or without."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import StateUpdate
from typer.testing import CliRunner

from domain.cluster import Cluster
from domain.errors import InputError
from domain.ledger import Outcome, Role
from graph.gate.passage import Draft, can_repair
from graph.slot.build import SlotGraph, build_graph
from graph.slot.checkpoints import open_checkpointer
from graph.slot.deps import Filling
from graph.studio import serving as studio
from graph.studio.world import Made, World
from memory import open_memory
from policies.families import make
from policies.random import RandomPlanner
from runtime.replay.import_thread import command, parse_slots, read_source
from runtime.replay.recorded import Slots, decided_of, from_checkpoints, from_memory, with_worlds
from runtime.replay.supersteps import RecordedSlot, staged, supersteps
from runtime.runs.graph_run import GraphRun
from tests.agents import asker, bristol_run, deps_of, uneven_agents
from tests.studio_threads import Thread
from twin.testbed import TwinTestbed
from twin.testbeds import generate, load_builtin, read_testbed, to_yaml, write_testbed
from twin.testbeds.build import to_cluster
from twin.twin import Twin
from twin.workloads import load_workload

BRISTOL = load_builtin("bristol")


async def told(steps: Sequence[dict[str, Any]]) -> tuple[list[Any], SlotGraph, RunnableConfig]:
    """History of a thread that is made of supersteps, oldest first, as the server makes one."""
    graph = build_graph(studio._at_rest(BRISTOL, planned=True), InMemorySaver())
    at: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    updates = [[StateUpdate(u["values"], u["as_node"]) for u in step["updates"]] for step in steps]
    await graph.abulk_update_state(at, updates)
    return [state async for state in graph.aget_state_history(at)][::-1], graph, at


async def test_a_recorded_run_is_told_step_by_step_and_ends_in_the_states_that_it_had(tmp_path: Path) -> None:
    states: list[Any] = []

    async def keep(state: Any) -> None:
        states.append(state)

    async with bristol_run(tmp_path, slots=3, **uneven_agents()) as run:
        await dataclasses.replace(run, on_slot=keep).run()
    recorded = await from_checkpoints(tmp_path / "checkpoints.sqlite", "test")
    assert [slot.slot for slot in recorded] == [0, 1, 2]
    history, _, _ = await told([step for slot in recorded for step in supersteps(slot, BRISTOL)])
    ends = [state.values for state in history if not state.next and "completed" in state.values]
    for end, state in zip(ends, states, strict=True):
        assert {key: end[key] for key in state} == state
    path = [task.name for state in history for task in state.tasks]
    assert path[:14] == [
        *("__start__", "observe", "planner", "check_plan", "repair_plan", "check_plan", "adopt_plan"),
        *("scheduler", "check_routing", "repair_routing", "check_routing", "fallback_routing", "dispatch", "deployer"),
    ]


async def test_a_ledger_alone_tells_the_decisions_and_what_came_of_them(tmp_path: Path) -> None:
    async with bristol_run(tmp_path, slots=3, **uneven_agents()) as run:
        await run.run()
        recorded = await from_memory(run.deps.memory, "test", BRISTOL, Slots(1, 2))
        ledger = await run.deps.memory.decisions("test", 1)
        with pytest.raises(InputError, match="no decision of a run 'other' in these slots; it knows the runs"):
            await from_memory(run.deps.memory, "other", BRISTOL, Slots())
        with pytest.raises(InputError, match="a node or LM 'VM2' that testbed short has not"):
            await from_memory(run.deps.memory, "test", dataclasses.replace(BRISTOL, name="short", nodes=()), Slots())
    assert [slot.slot for slot in recorded] == [1, 2]
    history, _, _ = await told([step for slot in recorded for step in supersteps(slot, BRISTOL)])
    end = next(state.values for state in history if not state.next and state.values.get("completed") == 1)
    assert end["macro_policy"]["roles"].keys() == BRISTOL.node_index.keys()  # in force since slot 0
    assert end["decisions"] == [decision.to_json() for decision in ledger]
    assert end["outcome"].keys() == {"ended", "succeeded", "mean_latency_s", "fallbacks"}


def attempt(answer: str | None = "{}", violations: Sequence[str] = (), messages: Sequence[Any] = ({},)) -> Any:
    return {
        **{"messages": list(messages), "answer": answer, "violations": list(violations), "error": None},
        **{"prompt_tokens": 1, "completion_tokens": 1, "seconds": 0.1},
    }


@pytest.mark.parametrize(
    ("outcome", "attempts", "path"),
    [
        ("accepted", [attempt()], "propose check"),
        ("repaired", [attempt(violations=["no"]), attempt()], "propose check repair check"),
        ("fallback", [attempt(None)], "propose check fallback"),
        ("fallback", [attempt(violations=["no"]), attempt(violations=["no"])], "propose check repair check fallback"),
        ("fallback", [attempt(None, ["no"], messages=[])], "propose check"),  # a rule that broke a rule
        ("rule", [], "propose check"),
        ("reused", [], "propose check"),
    ],
)
def test_a_decision_is_told_by_the_way_it_took_through_the_gate(outcome: str, attempts: list[Any], path: str) -> None:
    line = {
        **{"role": "planner", "outcome": outcome, "attempts": attempts, "decision": {"a": 1}, "decided_by": "x"},
        **{"reason": None, "normalised": False},
    }
    stages = staged(line)
    assert " ".join(stage for stage, _ in stages) == path
    drafts = [Draft.from_json(draft) for _, draft in stages if draft is not None]
    assert [draft.settled for draft in drafts] == [False] * (len(drafts) - 1) + [True]
    assert drafts[-1].outcome == Outcome(outcome)
    if "repair" in path:
        assert can_repair(drafts[1])  # so that the graph's own edges lead the same way


def test_a_line_that_only_counts_its_attempts_is_told_by_the_last_draft() -> None:
    last = {"attempts": [], "decision": {"a": 1}}
    assert staged({"attempts": 2, "outcome": "repaired"}, last) == [("propose", last), ("check", None)]


async def test_a_run_that_can_be_played_again_gets_worlds_and_one_that_cannot_gets_none(tmp_path: Path) -> None:
    async with bristol_run(tmp_path, "AL", slots=4) as run:
        await run.run()
    recorded = await from_checkpoints(tmp_path / "checkpoints.sqlite", "test")
    made, workload = Made("bristol", "p1", 3), load_workload("p1", BRISTOL, 3)
    worlds = await with_worlds(recorded, BRISTOL, made, workload.arrivals, 3, decided_of(recorded))
    assert [World.unpack(s.after["world"]).slots if "world" in s.after else None for s in worlds] == [1, 2, 3, None]
    arrivals = load_workload("p1", BRISTOL, 4).arrivals
    other = await with_worlds(recorded, BRISTOL, made, arrivals, 4, decided_of(recorded))
    assert ["world" in slot.after for slot in other] == [True, False, False, False]  # slot 1 saw other arrivals
    assert other[1:] == recorded[1:]


async def run_folder(folder: Path, slots: int = 3) -> Path:
    """What `edgewise run --via-graph` leaves behind, as far as an import reads it."""
    async with bristol_run(folder, "AL", slots=slots, run="AL-seed3") as run:
        await run.run()
    (folder / "testbed.yaml").write_text(to_yaml(read_testbed("bristol")))
    (folder / "settings.yaml").write_text(
        "testbed: bristol\nworkload: p1\nworkload_files: {}\nload: 1.0\nfamilies: [AL]\nseeds: [3]\nslots: 3\n"
        "latency_weight: 0.5\nepoch_slots: 50\n"
    )
    return folder


async def test_every_source_of_a_run_can_be_read(tmp_path: Path) -> None:
    folder = await run_folder(tmp_path)
    whole = await read_source(str(folder), None, Slots(1, 2), "bristol")
    assert (whole.run, [slot.slot for slot in whole.slots]) == ("AL-seed3", [1, 2])
    assert whole.context == {"testbed": "bristol", "workload": "p1", "seed": 3, "load": 1.0, "family": "AL"}
    assert all("world" in slot.after for slot in whole.slots)
    states = await read_source(str(folder / "checkpoints.sqlite"), "AL-seed3", Slots(), "bristol")
    ledger = await read_source(str(folder / "memory.sqlite"), "AL-seed3", Slots(), "bristol")
    assert [slot.routing for slot in states.slots] == [slot.routing for slot in ledger.slots]
    assert [slot.deployments for slot in states.slots] == [slot.deployments for slot in ledger.slots]


async def large_folder(folder: Path, slots: int, agents: bool = False) -> Cluster:
    """The folder of a run on a cluster of which the graph's state holds no more than sums."""
    testbed = generate(36, 1).model_copy(update={"epoch_slots": 3})
    write_testbed(folder / "testbed.yaml", testbed)
    cluster = to_cluster(testbed)
    world = TwinTestbed(Twin(cluster), load_workload("p1", cluster, 3))
    async with (
        open_memory(folder / "memory.sqlite") as memory,
        open_checkpointer(folder / "checkpoints.sqlite") as saver,
    ):
        deps = deps_of(make("AL", cluster), world, memory, "AL-seed3")
        deps.planner = Filling("random", RandomPlanner(cluster))
        if agents:
            deps.scheduler = Filling("model", asker=asker(lambda *question: "{}"))
        await GraphRun(deps, saver, slots, replays=True).run()
    (folder / "settings.yaml").write_text(
        f"testbed: {cluster.name}\nworkload: p1\nworkload_files: {{}}\nload: 1.0\nfamilies: [AL]\nseeds: [3]\n"
        "slots: 9\nlatency_weight: 0.5\nepoch_slots: 3\n"
    )
    return cluster


async def test_a_run_on_a_large_cluster_is_told_from_its_ledger_and_can_be_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = await large_folder(tmp_path, 5)
    monkeypatch.chdir(tmp_path)
    thread = Thread(monkeypatch)
    recording = await read_source(str(tmp_path), None, Slots(2, 3), "bristol")
    graph = build_graph(studio._at_rest(cluster, planned=True), thread.saver)
    steps = [step for slot in recording.slots for step in supersteps(slot, cluster)]
    await graph.abulk_update_state(
        thread.at, [[StateUpdate(u["values"], u["as_node"]) for u in step["updates"]] for step in steps]
    )
    end = (await thread.history())[0].values
    assert len(end["decisions"]) == 2 + cluster.n_nodes  # slot 3 begins an epoch
    assert len(end["deployments"]) == cluster.n_nodes
    assert end["routing"].keys() == cluster.node_index.keys()
    assert World.unpack(end["world"]).slots == 4
    whole = await read_source(str(tmp_path), None, Slots(4), "bristol")
    onward = await thread.run(4, **recording.context | {"planner": "random"})
    assert onward["outcome"] == whole.slots[0].after["outcome"]
    assert onward["macro_by"] == "rule:random"
    assert "person" not in {line["decided_by"] for line in onward["decisions"]}


@pytest.mark.parametrize("agents", [False, True])
async def test_checkpoints_of_a_large_cluster_alone_tell_what_they_have(agents: bool, tmp_path: Path) -> None:
    cluster = await large_folder(tmp_path, 3, agents)
    source = str(tmp_path / "checkpoints.sqlite")
    recording = await read_source(source, "AL-seed3", Slots(), str(tmp_path / "testbed.yaml"))
    graph = build_graph(studio._at_rest(cluster, planned=True), InMemorySaver())
    at: RunnableConfig = {"configurable": {"thread_id": "t"}}
    steps = [step for slot in recording.slots for step in supersteps(slot, cluster)]
    await graph.abulk_update_state(
        at, [[StateUpdate(u["values"], u["as_node"]) for u in step["updates"]] for step in steps]
    )
    end = (await graph.aget_state(at)).values
    assert end["outcome"] == recording.slots[-1].after["outcome"]
    assert [line["outcome"] for line in end["decisions"]] == (["fallback"] if agents else ["rule"])


async def test_what_cannot_be_imported_says_why(tmp_path: Path) -> None:
    folder = await run_folder(tmp_path)
    (folder / "text.txt").write_text("no database " * 100)
    (folder / "plain").mkdir()
    (folder / "plain" / "settings.yaml").write_text((folder / "settings.yaml").read_text())
    cases = {
        (str(folder), "--run", "XX"): "has no run 'XX'; it has AL-seed3",
        (str(folder), "--slots", "70-80"): "holds no slot of AL-seed3 in --slots 70-80",
        (str(folder), "--slots", "9-3"): "--slots must be a slot such as 312",
        (str(folder), "--shared", "--slots", "1"): "leave --slots out",
        (str(folder / "checkpoints.sqlite"),): "give --run, such as RH-seed1",
        (str(folder / "checkpoints.sqlite"), "--run", "XX"): "holds no slot of a run 'XX'",
        (str(folder / "memory.sqlite"),): "holds the runs (none); choose one with --run",
        (str(folder / "none"),): "there is no such run folder or file",
        (str(folder / "text.txt"),): "is no SQLite file",
        (str(folder / "plain"),): "did not go through the slot graph (--via-graph)",
        (str(folder), "--url", "http://127.0.0.1:9"): "There is no LangGraph server at http://127.0.0.1:9",
    }
    app = typer.Typer()
    app.command()(command)
    for arguments, sentence in cases.items():
        result = await asyncio.to_thread(CliRunner().invoke, app, list(arguments))
        assert result.exit_code == 2, arguments
        assert sentence in result.stderr, result.stderr


def test_slots_are_read_as_they_are_written() -> None:
    assert parse_slots("312") == Slots(312, 312)
    assert 310 in parse_slots("310-315")
    assert 316 not in parse_slots("310-315")
    for text in ("", "-3", "3-", "a", "5-4"):
        with pytest.raises(InputError):
            parse_slots(text)


async def test_steps_of_a_planner_who_reuses_keep_the_epoch_that_the_plan_was_made_in() -> None:
    line = {"role": str(Role.PLANNER), "outcome": "reused", "attempts": [], "decision": {"x": 1}, "decided_by": "r"}
    recorded = RecordedSlot(100, [line], [], {}, before={"macro_policy": {"x": 1}})
    adopted = next(s["updates"][0] for s in supersteps(recorded, BRISTOL) if s["updates"][0]["as_node"] == "adopt_plan")
    assert adopted["values"]["macro_epoch"] == 2
    assert "macro_made" not in adopted["values"]
