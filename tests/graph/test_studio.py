"""Studio without a server: contexts, worlds that threads carry, runs opened anew for each slot."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from domain.errors import InputError
from graph.slot.build import build_graph
from graph.slot.checkpoints import thread_of
from graph.studio import serving as studio
from graph.studio.context import Context, read_context
from graph.studio.run import _servers, open_run
from graph.studio.serving import CHECKPOINTS, StudioError, make_graph, shared_checkpoints
from graph.studio.world import Made, World
from memory import open_memory
from policies.rehearsal.planner import RehearsalPlanner
from runtime.runs.graph_run import GraphRun
from tests.agent_server import decides, serving, sound_answers
from tests.agents import bristol_run
from tests.effort import little_effort
from tests.fake_openai import fails, hangs
from tests.studio_threads import Thread
from twin.testbeds import load_builtin, read_testbed, write_testbed

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
    assert {"observe", "planner", "scheduler", "deployer", "act", "remember"} <= drawn.nodes.keys()
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


async def test_a_thread_plans_again_within_an_epoch_where_a_run_in_one_go_does(
    thread: Thread, monkeypatch: pytest.MonkeyPatch, small_effort: None
) -> None:
    monkeypatch.setattr("policies.rehearsal.planner.PATIENCE_SLOTS", 2)
    monkeypatch.setattr("policies.rehearsal.planner.Planned.outdated", lambda self, snapshot, traffic: True)
    monkeypatch.setattr(RehearsalPlanner, "_worth_it", lambda self, snapshot: True)
    expected = await in_one_go(6, family="RH")
    for slot in range(6):
        state = await thread.run(slot, family="RH")
        assert [line["role"] for line in state["decisions"]] == [line["role"] for line in expected[slot]["decisions"]]
        assert state["outcome"] == expected[slot]["outcome"]
    assert [plan.slot for plan in World.unpack(state["world"]).plans] == [0, 2, 4]


async def test_a_thread_plans_anew_within_an_epoch_where_a_run_in_one_go_does(thread: Thread) -> None:
    def planned(states: list[Any]) -> list[int]:
        return [line["slot"] for state in states for line in state["decisions"] if line["role"] == "planner"]

    rules = {"family": "RH", "workload": "drift"}
    with little_effort():
        expected = await in_one_go(9, **rules)
        states = [await thread.run(slot, **rules) for slot in range(8)]
        async with thread.graph(thread.at, **rules) as graph:  # also where a slot is left when its plan is adopted
            await graph.ainvoke({"slot": 8}, thread.at, interrupt_after=["dispatch"])
        states.append(await thread.run(None, **rules))
    assert len(planned(expected)) > 1
    assert planned(states) == planned(expected)
    assert [state["outcome"] for state in states] == [state["outcome"] for state in expected]


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


@pytest.mark.parametrize("stop", ["observe", "scheduler", "dispatch", "deployer", "act"])
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


async def test_a_server_that_keeps_failing_is_left_alone_from_slot_to_slot(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    _servers.cache_clear()
    with serving(fails(401, "no such key")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        reasons = []
        for slot in range(7):
            state = await thread.run(slot, scheduler="agent", family="RF", rehearse=False)
            reasons += [line["reason"] for line in state["decisions"] if line["role"] == "scheduler"]
    assert reasons == ["rejected_by_server"] * 5 + ["breaker_open"] * 2
    assert len(server.requests) == 5


async def test_agents_have_the_seconds_of_a_slot(
    tmp_path: Path, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    bristol = read_testbed("bristol")
    half = bristol.slot_s.model_copy(update={"value": 0.5})
    write_testbed(tmp_path / "quick.yaml", bristol.model_copy(update={"slot_s": half}))
    _servers.cache_clear()
    with serving(hangs()) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        state = await thread.run(
            0, scheduler="agent", family="RF", rehearse=False, testbed=str(tmp_path / "quick.yaml")
        )
    (line,) = [line for line in state["decisions"] if line["role"] == "scheduler"]
    assert line["reason"] == "budget"
    assert "in the 0.5 s that it had" in line["attempts"][0]["error"]


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


async def test_the_questions_of_a_run_share_a_budget(thread: Thread, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(decides(sound_answers(BRISTOL))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        state = await thread.run(0, family="RF", deployer="agent", rehearse=False, slot_tokens=6000)
        again = await thread.run(1, family="RF", deployer="agent", rehearse=False, slot_tokens=6000)
    for run in (state, again):
        told = [(line["outcome"], line["reason"]) for line in run["decisions"] if line["role"] == "deployer"]
        assert 0 < told.count(("fallback", "budget")) < len(told)
        assert ("accepted", None) in told


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
