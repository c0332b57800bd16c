"""A person's edits of a thread: they count as the person's, keep to every rule, and nothing else overrides them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig

from domain.decisions import MacroPolicy
from domain.ledger import Decision, Role
from domain.telemetry import Phase
from graph.slot.build import build_graph
from graph.slot.checkpoints import thread_of
from graph.slot.deps import Filling
from graph.studio.serving import StudioError
from graph.studio.world import World
from memory import open_memory
from policies.random import RandomPlanner
from tests.agent_server import decides, serving, sound_answers
from tests.agents import bristol_run
from tests.studio_threads import Thread
from twin.testbeds import load_builtin

BRISTOL = load_builtin("bristol")
CPU_NODE = next(node.name for node in BRISTOL.nodes if not node.vgpus)
GPU_NODE = next(n for n, node in enumerate(BRISTOL.nodes) if node.vgpus)
GPU_ONLY = next(lm.name for lm in BRISTOL.lms if lm.gpu_only)
OFF = {lm.name: "off" for lm in BRISTOL.lms}
pytestmark = pytest.mark.usefixtures("small_effort")
AGENTS = {"planner": "agent", "scheduler": "agent", "deployer": "agent", "family": "RH"}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studio keeps its memory below the folder that it was started in."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def thread(monkeypatch: pytest.MonkeyPatch) -> Thread:
    return Thread(monkeypatch)


async def edited(thread: Thread, slot: int, after: str, values: dict[str, Any], **context: Any) -> None:
    """Run a slot up to a node, and change what it left."""
    async with thread.graph(thread.at, **context) as graph:
        await graph.ainvoke({"slot": slot}, thread.at, interrupt_after=[after])
        await graph.aupdate_state(thread.at, values, as_node=after)


async def ledger(thread: Thread) -> list[Decision]:
    """What the last run of the thread decided."""
    async with open_memory(Path(".langgraph_api/memory.sqlite")) as memory:
        return await memory.decisions(f"studio/t/{thread.runs}")


def everywhere(node: str) -> dict[str, dict[str, str]]:
    return {origin.name: {lm.name: node for lm in BRISTOL.lms} for origin in BRISTOL.nodes}


async def test_routes_that_a_person_changes_are_the_persons_in_state_and_ledger(thread: Thread) -> None:
    await thread.run(0, family="RF")
    await edited(thread, 1, "dispatch", {"routing": everywhere("VM7")}, family="RF")
    state = await thread.run(None, family="RF")
    by = [line["decided_by"] for line in state["decisions"] if line["role"] == "scheduler"]
    assert by == ["rule:random", "person"]
    (entry,) = [d for d in await ledger(thread) if d.role is Role.SCHEDULER]
    assert (entry.decided_by, str(entry.outcome), entry.decision) == ("person", "person", everywhere("VM7"))
    assert {d.role for d in await ledger(thread)} == {Role.SCHEDULER, Role.DEPLOYER}
    assert all(d.decided_by == "rule:full" for d in await ledger(thread) if d.role is Role.DEPLOYER)


@pytest.mark.parametrize(
    ("after", "values", "sentence"),
    [
        ("dispatch", {"routing": everywhere(CPU_NODE)}, f"{GPU_ONLY} runs on vGPUs only and {CPU_NODE} has none"),
        ("dispatch", {"routing": {}}, "The routing plan is not in the form of a decision"),
        ("dispatch", {"routing": {"VM1": {"LM1": "VM99"}}}, "not in the form of a decision"),
        (
            "deployer",
            {"deployments": [{"node": GPU_NODE, "allocations": OFF | {GPU_ONLY: {"vgpus": 500}}}]},
            "ask for 500",
        ),
        (
            "deployer",
            {"deployments": [{"node": GPU_NODE, "allocations": OFF | {GPU_ONLY: {"vgpus": 1.5}}}]},
            "is no allocation",
        ),
        ("deployer", {"deployments": [{"node": GPU_NODE, "allocations": {GPU_ONLY: {"vgpus": 1}}}]}, "not in the form"),
        ("deployer", {"deployments": [{"node": 77, "allocations": OFF}]}, "needs a node from 0 to 5, not 77"),
        ("deployer", {"deployments": ["VM2"]}, "needs a node from 0 to 5, not None"),
    ],
)
async def test_an_edit_that_breaks_a_rule_is_refused_and_nothing_of_it_reaches_the_world(
    after: str, values: dict[str, Any], sentence: str, thread: Thread
) -> None:
    expected = [await thread.run(slot, family="RF") for slot in range(3)]
    before = next(s.config for s in await thread.history() if not s.next and s.values["slot"] == 0)
    async with thread.graph(before, family="RF") as graph:
        await graph.ainvoke({"slot": 1}, before, interrupt_after=[after])
        await graph.aupdate_state(thread.at, values, as_node=after)
    for _ in range(2):  # as often as one tries
        with pytest.raises(StudioError, match=sentence.replace("(", r"\(")):
            await thread.run(None, family="RF")
    assert [d for d in await ledger(thread) if d.decided_by == "person"] == []
    last = next(s for s in await thread.history())
    assert last.next
    mended = {
        "routing": expected[1]["routing"],
        "deployments": None,
    }
    async with thread.graph(thread.at, family="RF") as graph:
        await graph.aupdate_state(thread.at, mended, as_node=after)
        if after == "deployer":
            await graph.aupdate_state(thread.at, {"deployments": expected[1]["deployments"]}, as_node=after)
    again = await thread.run(None, family="RF")
    assert again["outcome"] == expected[1]["outcome"]
    assert "person" not in {line["decided_by"] for line in again["decisions"]}


async def test_deployments_that_a_person_changes_or_takes_away_are_what_the_nodes_get(thread: Thread) -> None:
    await thread.run(0, family="RF")
    mine = OFF | {GPU_ONLY: {"vgpus": 1}}
    await edited(thread, 1, "deployer", {"deployments": [{"node": GPU_NODE, "allocations": mine}]}, family="RF")
    state = await thread.run(None, family="RF")
    world = World.unpack(state["world"])
    i = BRISTOL.lm_index[GPU_ONLY]
    assert (world.vgpus[1, GPU_NODE].sum(), world.vgpus[1, GPU_NODE, i]) == (1, 1)
    by = {d.node: d.decided_by for d in await ledger(thread)}
    assert by == {BRISTOL.nodes[GPU_NODE].name: "person"}
    await edited(thread, 2, "deployer", {"deployments": None}, family="RF")
    state = await thread.run(None, family="RF")
    assert not World.unpack(state["world"]).decided[2].any()
    assert {(d.decided_by, str(d.decision)) for d in await ledger(thread)} == {("person", "{}")}


async def test_a_persons_deployment_is_not_overridden_by_what_agents_had_rehearsed(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = {name: by for name, by in AGENTS.items() if name != "planner"}
    with serving(decides(sound_answers(BRISTOL))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        await thread.run(0, **plan)
        state: Any = (await thread.history())[0].values
        roles = state["macro_policy"]["roles"]
        name = next(name for name, lms in roles.items() if lms and BRISTOL.nodes[BRISTOL.node_index[name]].vgpus)
        n, lm = BRISTOL.node_index[name], roles[name][0]
        mine = OFF | {lm: {"vgpus": 1}}
        pending = state["snapshot"]["nodes"][name]["pods"]
        assert not [pod for pod in pending.values() if pod["phase"] == Phase.PENDING.name]
        await edited(thread, 1, "deployer", {"deployments": [{"node": n, "allocations": mine}]}, **plan)
        state = await thread.run(None, **plan)
    world = World.unpack(state["world"])
    assert world.vgpus[1, n].tolist() == [1 if own.name == lm else 0 for own in BRISTOL.lms]
    lines = [line for line in state["decisions"] if line["node"] == name]
    assert [line["decided_by"] for line in lines] == ["person"]
    others = {line["decided_by"].partition(":")[0] for line in state["decisions"] if line["node"] not in (None, name)}
    assert others <= {"agent", "rehearsal"}


async def test_a_persons_deployment_keeps_to_the_roles_as_an_agents_must(thread: Thread) -> None:
    await thread.run(0, family="RF", planner="random")
    roles = (await thread.history())[0].values["macro_policy"]["roles"]
    node, lm = next(
        (n, lm.name)
        for n, node in enumerate(BRISTOL.nodes)
        for i, lm in enumerate(BRISTOL.lms)
        if BRISTOL.runs_on_gpu(n, i) and lm.name not in roles[node.name]
    )
    mine = OFF | {lm: {"vgpus": 1}}
    await edited(
        thread, 1, "deployer", {"deployments": [{"node": node, "allocations": mine}]}, family="RF", planner="random"
    )
    with pytest.raises(StudioError, match=f"{lm} is not among the roles of"):
        await thread.run(None, family="RF", planner="random")


async def test_drafts_that_a_person_changes_are_the_persons_and_pass_the_gate(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    await thread.run(0, family="RF")
    async with thread.graph(thread.at, family="RF") as graph:
        state = await graph.ainvoke({"slot": 1}, thread.at, interrupt_after=["scheduler"])
        draft = {**state["routing_draft"], "decision": everywhere("VM7")}
        await graph.aupdate_state(thread.at, {"routing_draft": draft}, as_node="scheduler")
    state = await thread.run(None, family="RF")
    assert state["routing"] == everywhere("VM7")
    assert [d.decided_by for d in await ledger(thread) if d.role is Role.SCHEDULER] == ["person"]
    async with thread.graph(thread.at, family="RF") as graph:
        state = await graph.ainvoke({"slot": 2}, thread.at, interrupt_after=["check_routing"])
        draft = {**state["routing_draft"], "decision": everywhere(CPU_NODE)}
        await graph.aupdate_state(thread.at, {"routing_draft": draft}, as_node="check_routing")
    with pytest.raises(StudioError, match=f"{CPU_NODE} has none"):
        await thread.run(None, family="RF")


async def test_an_answer_that_a_person_changes_is_not_the_models(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(decides(sound_answers(BRISTOL))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        async with thread.graph(thread.at, family="RF", scheduler="agent", rehearse=False) as graph:
            state = await graph.ainvoke({"slot": 0}, thread.at, interrupt_after=["scheduler"])
            draft = json.loads(json.dumps(state["routing_draft"]))
            draft["attempts"][0]["answer"] = json.dumps({"reasoning": "mine", "routes": everywhere("VM7")})
            await graph.aupdate_state(thread.at, {"routing_draft": draft}, as_node="scheduler")
        state = await thread.run(None, family="RF", scheduler="agent", rehearse=False)
    (entry,) = [d for d in await ledger(thread) if d.role is Role.SCHEDULER]
    assert (entry.decided_by, entry.decision) == ("person", everywhere("VM7"))
    assert entry.attempts[0].prompt_tokens > 0  # the question was put all the same


async def test_a_macro_policy_that_a_person_changes_is_the_persons_from_then_on(thread: Thread) -> None:
    state = await thread.run(0, family="RH")
    assert state["macro_by"] == "rule:rehearsal"
    lm = GPU_ONLY
    hosts = [name for name, lms in state["macro_policy"]["roles"].items() if lm in lms]
    mine = json.loads(json.dumps(state["macro_policy"]))
    mine["routing"][lm] = {hosts[-1]: 1.0}
    if mine == state["macro_policy"]:
        mine["routing"][lm] = {hosts[0]: 1.0}
    async with thread.graph(thread.at, family="RH") as graph:
        await graph.aupdate_state(thread.at, {"macro_policy": mine}, as_node="act")
    state = await thread.run(1, family="RH")
    assert (state["macro_policy"], state["macro_by"]) == (mine, "person")
    (entry,) = [d for d in await ledger(thread) if d.role is Role.PLANNER]
    assert (entry.decided_by, entry.decision) == ("person", mine)
    state = await thread.run(2, family="RH")
    assert state["macro_by"] == "person"
    assert [d for d in await ledger(thread) if d.role is Role.PLANNER] == []  # said once
    bad = {**mine, "routing": {**mine["routing"], lm: {CPU_NODE: 1.0}}}
    async with thread.graph(thread.at, family="RH") as graph:
        await graph.aupdate_state(thread.at, {"macro_policy": bad}, as_node="act")
    with pytest.raises(StudioError, match=f"The macro-policy breaks rules: {CPU_NODE} cannot run {lm}"):
        await thread.run(3, family="RH")


async def test_where_nobody_plans_any_more_the_old_macro_policy_rules_no_longer(thread: Thread) -> None:
    planned = await thread.run(0, family="RH")
    assert planned["macro_policy"]
    state = await thread.run(1, family="RH", planner="none")
    assert (state["macro_policy"], state["macro_by"]) == (None, "")
    again = await thread.run(2, family="RH")
    assert again["macro_by"] == "rule:rehearsal"


async def test_a_world_that_somebody_changed_is_not_played(thread: Thread) -> None:
    state = await thread.run(0, family="RF")
    world = World.unpack(state["world"])
    world.vgpus[0, GPU_NODE, BRISTOL.lm_index[GPU_ONLY]] = 500
    world.decided[0, GPU_NODE] = 1
    async with thread.graph(thread.at, family="RF") as graph:
        await graph.aupdate_state(thread.at, {"world": world.pack()}, as_node="act")
    with pytest.raises(StudioError, match="What this thread records of slot 0 breaks rules: .* vGPUs"):
        await thread.run(1, family="RF")


async def test_a_macro_policy_that_was_changed_in_the_checkpoints_of_a_run_is_a_persons_when_the_run_goes_on(
    tmp_path: Path,
) -> None:
    async with bristol_run(tmp_path, "AL", 2, planner=Filling("random", RandomPlanner(BRISTOL))) as run:
        await run.run()
        at: RunnableConfig = {"configurable": {"thread_id": thread_of("test")}}
        graph = build_graph(run.deps, run.checkpointer)
        mine = json.loads(json.dumps((await graph.aget_state(at)).values["macro_policy"]))
        mine["routing"][GPU_ONLY] = dict.fromkeys(list(mine["routing"][GPU_ONLY])[:1], 1.0)
        mine["roles"] = MacroPolicy.unrestricted(BRISTOL).to_json(BRISTOL)["roles"]
        await graph.aupdate_state(at, {"macro_policy": mine}, as_node="act")
    async with bristol_run(tmp_path, "AL", 4, planner=Filling("random", RandomPlanner(BRISTOL))) as run:
        await run.run()
        plans = await run.deps.memory.decisions("test", role=Role.PLANNER)
    assert [(plan.slot, plan.decided_by) for plan in plans] == [(0, "rule:random"), (2, "person")]
    assert plans[1].decision == mine


async def test_a_draft_that_is_none_any_more_is_named(thread: Thread) -> None:
    await thread.run(0, family="RF")
    async with thread.graph(thread.at, family="RF") as graph:
        await graph.ainvoke({"slot": 1}, thread.at, interrupt_after=["check_routing"])
        draft = (await graph.aget_state(thread.at)).values["routing_draft"]
        await graph.aupdate_state(thread.at, {"routing_draft": {**draft, "reason": "mood"}}, as_node="fallback_routing")
    with pytest.raises(StudioError, match="A draft in the state is not as a node writes it .*mood"):
        await thread.run(None, family="RF")
