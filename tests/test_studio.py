"""Studio without a server: contexts, worlds that threads carry, runs opened anew for each slot, recorded runs told."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import StateUpdate
from typer.testing import CliRunner

from domain.errors import InputError
from domain.ledger import Outcome, Role
from graph import studio
from graph.checkpoints import thread_of
from graph.deps import Filling
from graph.gate import Draft, can_repair
from graph.slot import SlotGraph, build_graph
from graph.studio import CHECKPOINTS, StudioError, make_graph, shared_checkpoints
from graph.studio_context import Context, read_context
from graph.studio_run import open_run
from graph.world import Made, World
from memory import open_memory
from runtime.graph_run import GraphRun
from runtime.import_thread import command, parse_slots, read_source
from runtime.recorded import Slots, from_checkpoints, from_memory, with_worlds
from runtime.supersteps import RecordedSlot, staged, supersteps
from tests.agent_server import decides, serving, sound_answers
from tests.agents import asker, bristol_run, good_deployment, good_plan, good_routing
from twin.testbeds import load_builtin, read_testbed, to_yaml, write_testbed
from twin.workloads import load_workload

BRISTOL = load_builtin("bristol")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studio keeps its memory below the folder that it was started in."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def short_epochs(tmp_path: Path) -> str:
    """Bristol with epochs of three slots, as a file."""
    path = tmp_path / "short.yaml"
    write_testbed(path, read_testbed("bristol").model_copy(update={"epoch_slots": 3}))
    return str(path)


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


@pytest.fixture
def thread(monkeypatch: pytest.MonkeyPatch) -> Thread:
    return Thread(monkeypatch)


# Contexts


def test_studio_can_draw_a_form_that_says_what_each_field_means() -> None:
    schema = build_graph(studio._at_rest(studio.NOTHING, False), context=Context).get_context_jsonschema()
    assert schema is not None
    fields = schema["properties"]
    assert all(field["description"] for field in fields.values())
    assert {"RR", "RL"} <= set(fields["family"]["enum"])
    assert {"family", "agent", "none", "random"} <= set(fields["planner"]["enum"])
    assert fields["testbed"]["default"] == "bristol"


def test_without_a_context_rules_decide_on_bristol() -> None:
    assert read_context(None) == read_context({}) == Context()
    assert Context().recipe.scheduler == "random"
    assert read_context({"scheduler": "local"}).recipe.scheduler == "local"
    assert read_context({"planner": "agent", "deployer": "full"}).recipe.deployer == "full"


@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        ({"family": "XX"}, "The context's family must be 'RR', "),
        ({"planner": "lyapunov"}, "The context's planner must be 'family' or 'agent' or 'none'"),
        ({"scheduler": "agnet"}, "not 'agnet'; did you mean 'agent'?"),
        ({"seed": -1}, "The context's seed must be greater than or equal to 0, not -1."),
        ({"seed": "one"}, "The context's seed must be a whole number, not 'one'."),
        ({"load": 0}, "The context's load must be greater than 0, not 0."),
    ],
)
def test_a_wrong_context_says_what_would_be_right(context: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        read_context(context)
    assert sentence.replace("' or '", "', '") in str(caught.value).replace("' or '", "', '")


# Drawing


@pytest.mark.parametrize("access", ["assistants.read", "threads.read"])
async def test_drawing_and_reading_open_nothing(access: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("drawing has opened something")

    for name in ("open_run", "read_cluster", "get_client"):
        monkeypatch.setattr(studio, name, refuse)
    runtime: Any = SimpleNamespace(execution_runtime=None, access_context=access)
    async with make_graph({"configurable": {}}, runtime) as graph:
        drawn = graph.get_graph()
    assert {"observe", "planner", "scheduler", "deployer", "advance", "remember"} <= drawn.nodes.keys()
    assert ("dispatch", "deployer") in {(edge.source, edge.target) for edge in drawn.edges}


async def test_an_edited_thread_follows_the_edges_of_its_own_testbed(
    short_epochs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def edited(configurable: Any) -> tuple[Context, bool]:
        return Context(testbed=short_epochs), True

    monkeypatch.setattr(studio, "_edited", edited)
    runtime: Any = SimpleNamespace(execution_runtime=None, access_context="threads.update")
    at: RunnableConfig = {"configurable": {"thread_id": "t"}}
    async with make_graph(at, runtime) as graph:
        graph = graph.copy(update={"checkpointer": InMemorySaver()})
        routing = {node.name: {lm.name: "VM3" for lm in BRISTOL.lms} for node in BRISTOL.nodes}
        await graph.aupdate_state(at, {"slot": 0}, as_node="__start__")
        await graph.aupdate_state(at, {"decisions": None}, as_node="observe")
        assert (await graph.aget_state(at)).next == ("planner",)
        await graph.aupdate_state(at, {"routing": routing}, as_node="dispatch")
        assert (await graph.aget_state(at)).next == ("deployer",) * BRISTOL.n_nodes


# Worlds


async def in_one_go(slots: int, **context: Any) -> list[Any]:
    """States of a run in one process, as the runtime drives it."""
    states: list[Any] = []

    async def keep(state: Any) -> None:
        states.append(state)

    async with open_run(read_context(context), {}, "whole") as run:
        await GraphRun(run.deps, InMemorySaver(), slots, replays=True, on_slot=keep).run()
    return states


@pytest.mark.parametrize(
    "rules", [{"family": "RR"}, {"family": "AL", "planner": "random"}, {"scheduler": "backlog", "deployer": "steady"}]
)
async def test_a_thread_that_is_opened_anew_for_each_slot_comes_to_what_a_run_in_one_go_comes_to(
    rules: dict[str, Any], short_epochs: str, thread: Thread
) -> None:
    expected = await in_one_go(7, testbed=short_epochs, **rules)
    for slot in range(7):
        state = await thread.run(slot, testbed=short_epochs, **rules)
        for key in ("snapshot", "routing", "deployments", "outcome", "traffic"):
            assert state[key] == expected[slot][key], (slot, key)
    assert len(state["world"]) < 8000
    json.dumps(state)


async def test_an_epoch_is_remembered_whole_though_no_process_saw_all_of_it(short_epochs: str, thread: Thread) -> None:
    for slot in range(7):
        await thread.run(slot, testbed=short_epochs)
    async with open_memory(Path(".langgraph_api/memory.sqlite")) as memory:
        cases = await memory.cases("bristol")
    ended = [state.values["outcome"]["ended"] for state in reversed(await thread.history()) if not state.next]
    assert [(case.epoch, case.ended) for case in sorted(cases, key=lambda case: case.epoch)] == [
        (0, sum(ended[:3])),
        (1, sum(ended[3:6])),
    ]


async def test_a_branch_goes_on_in_the_world_of_its_checkpoint(thread: Thread) -> None:
    first = [await thread.run(slot) for slot in range(4)]
    after_1 = next(state.config for state in await thread.history() if not state.next and state.values["slot"] == 1)
    other = await thread.run(2, at=after_1, family="LL")
    assert other["snapshot"] == first[2]["snapshot"]
    assert other["routing"] != first[2]["routing"]
    again = await thread.run(2, at=after_1)
    assert (again["routing"], again["outcome"]) == (first[2]["routing"], first[2]["outcome"])


@pytest.mark.parametrize("stop", ["observe", "scheduler", "dispatch", "deployer", "act", "advance"])
async def test_a_slot_that_is_interrupted_goes_on_where_it_stopped(
    stop: str, short_epochs: str, thread: Thread
) -> None:
    expected = None
    for slot in range(3):
        expected = await thread.run(slot, testbed=short_epochs)
    after_1 = next(state.config for state in await thread.history() if not state.next and state.values["slot"] == 1)
    async with thread.graph(after_1, testbed=short_epochs) as graph:
        stopped = await graph.ainvoke({"slot": 2}, after_1, interrupt_after=[stop])
    assert stopped["slot"] == 2
    state = await thread.run(None, testbed=short_epochs)
    assert expected is not None
    assert state["outcome"] == expected["outcome"]
    async with open_memory(Path(".langgraph_api/memory.sqlite")) as memory:
        cases = await memory.cases("bristol")
    assert len(cases) == 2
    assert cases[0].ended == cases[1].ended  # also where the epoch's last slot was run by another process


async def test_a_decision_that_a_person_edits_is_the_one_that_counts(thread: Thread) -> None:
    await thread.run(0, family="RF")
    async with thread.graph(thread.at, family="RF") as graph:
        await graph.ainvoke({"slot": 1}, thread.at, interrupt_after=["dispatch"])
        home = {node.name: {lm.name: "VM7" for lm in BRISTOL.lms} for node in BRISTOL.nodes}
        await graph.aupdate_state(thread.at, {"routing": home}, as_node="dispatch")
    await thread.run(None, family="RF")
    state = await thread.run(2, family="RF")
    sent = {name: node["backlog_prompts"] for name, node in state["snapshot"]["nodes"].items()}
    before = (await thread.run(3, family="RF"))["world"]
    assert sum(sent["VM7"].values()) > 40
    assert (World.unpack(before).targets[1] == BRISTOL.node_index["VM7"]).all()


async def test_slots_out_of_order_and_other_worlds_are_refused_in_a_sentence_that_the_server_shows(
    thread: Thread,
) -> None:
    with pytest.raises(StudioError, match="there is no such workload"):
        await thread.run(0, workload="p2")
    with pytest.raises(StudioError, match=r'This thread has come to slot 0; run it with \{"slot": 0\}'):
        await thread.run(5)
    await thread.run(0)
    with pytest.raises(ValueError, match="This thread lives in testbed bristol, workload p1, seed 1, load 1"):
        await thread.run(1, seed=2)
    assert (await thread.run(1))["completed"] == 1


async def test_a_recorded_thread_without_a_world_cannot_go_on(monkeypatch: pytest.MonkeyPatch, thread: Thread) -> None:
    async def values(configurable: Any) -> Any:
        return {"slot": 3, "completed": 3, "world": ""}

    monkeypatch.setattr(studio, "_values", values)
    with pytest.raises(StudioError, match="carries no world to go on in"):
        await thread.run(4)


@pytest.mark.parametrize("damage", ["", "AAAA", "not base64!", "UEsDBBQAAAAIAA=="])
def test_a_damaged_world_is_named(damage: str) -> None:
    text = World.new(Made("bristol", "p1", 1), BRISTOL).pack()
    assert World.unpack(text).slots == 0
    for bad in (damage, text[: len(text) // 2]):
        with pytest.raises(InputError, match="a world that cannot be read"):
            World.unpack(bad)


async def test_a_testbed_that_has_changed_since_is_named(short_epochs: str, thread: Thread) -> None:
    await thread.run(0, testbed=short_epochs)
    smaller = read_testbed("bristol")
    smaller = smaller.model_copy(update={"nodes": tuple(n for n in smaller.nodes if n.name != "VM7")})
    write_testbed(Path(short_epochs), smaller)
    with pytest.raises(StudioError, match="has changed since this thread began"):
        await thread.run(1, testbed=short_epochs)


# Agents


async def test_an_agent_without_a_key_or_a_server_is_refused_with_what_to_set(thread: Thread) -> None:
    with pytest.raises(StudioError, match="An agent as scheduler needs OPENAI_API_KEY or OPENAI_BASE_URL in .env"):
        await thread.run(0, scheduler="agent")


async def test_agents_fill_the_roles_that_they_are_chosen_for(thread: Thread, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(decides(sound_answers(BRISTOL))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        roles = {"planner": "agent", "scheduler": "agent", "planner_model": "mine", "family": "RF"}
        state = await thread.run(0, **roles, rehearse=False)
    by_role = {line["role"]: line["decided_by"] for line in state["decisions"]}
    assert by_role == {"planner": "agent:mine", "scheduler": "agent:gpt-4o", "deployer": "rule:full"}
    assert all(line["outcome"] in ("accepted", "rule") for line in state["decisions"])


async def test_rehearsals_and_predictions_are_in_the_state_and_go_on_from_slot_to_slot(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(decides(sound_answers(BRISTOL))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        first = await thread.run(0, planner="agent", family="RH")
        second = await thread.run(1, planner="agent", family="RH")
    told = first["plan_draft"]["rehearsal"]
    assert (told["verdict"], told["incumbent"]["name"]) == ("overruled", "candidate 1")
    assert first["macro_by"] == second["macro_by"] == "rehearsal:candidate 1"
    before, after = (state["foresight"]["open"][0] for state in (first, second))
    assert (before["slot"], after["slot"]) == (0, 0)
    assert after["arrived"] > before["arrived"] > 0


# Shared checkpoints


async def test_shared_checkpoints_are_those_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StudioError, match=f"{CHECKPOINTS} must name the checkpoints"):
        async with shared_checkpoints():
            pass
    async with bristol_run(tmp_path, slots=2) as run:
        await run.run()
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path / "checkpoints.sqlite"))
    async with shared_checkpoints() as saver:
        at: RunnableConfig = {"configurable": {"thread_id": thread_of("test"), "checkpoint_ns": ""}}
        found = await saver.aget_tuple(at)
    assert found is not None
    assert found.checkpoint["channel_values"]["completed"] == 1


# Recorded runs


def agents() -> dict[str, Any]:
    """A planner who needs a repair, a scheduler who never answers well, deployers of whom one is away."""
    plan = good_plan(BRISTOL)
    replies = {
        "planner": lambda slot, node, messages, attempt: plan if attempt else plan.replace('"VM2"', '"VM9"'),
        "scheduler": lambda slot, node, messages, attempt: good_routing(BRISTOL, plan) if slot else "{}",
        "deployer": lambda slot, node, messages, attempt: (
            None if node == "VM4" else good_deployment(BRISTOL, plan, node or "")
        ),
    }
    return {role: Filling("model", asker=asker(reply)) for role, reply in replies.items()}


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

    async with bristol_run(tmp_path, slots=3, **agents()) as run:
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
    async with bristol_run(tmp_path, slots=3, **agents()) as run:
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
    worlds = with_worlds(recorded, BRISTOL, made, workload.arrivals, covered=3)
    assert [World.unpack(s.after["world"]).slots if "world" in s.after else None for s in worlds] == [1, 2, 3, None]
    other = with_worlds(recorded, BRISTOL, made, load_workload("p1", BRISTOL, 4).arrivals, covered=4)
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
