"""Tools that look: typed arguments, answers in names, mistakes answered in sentences, nothing ever changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from domain.ledger import Case, Outcome, Role
from domain.telemetry import Phase, Snapshot
from graph.models.agent import Agent
from graph.models.asking import Asking
from graph.slot.deps import Filling
from graph.slot.planner_tools import planner_tools
from memory.engine import MemoryAway
from memory.recall import Recalled
from tests.agents import bristol_run, good_plan
from tests.clusters import quiet, tiny
from tests.scripted import ScriptedChatModel, answers, in_turn
from tests.tool_calls import BRISTOL, PLAN, ask, call, named
from tools.looking import read_snapshot, scrape_node
from tools.recalling import recall_cases
from tools.traffic import WatchedTestbed
from twin.testbed import TwinTestbed
from twin.testbeds import generate_testbed
from twin.twin import Twin
from twin.workloads import load_workload


def case(epoch: int, objective: float, policy: dict[str, Any] | None = None) -> Case:
    return Case(
        run="r",
        epoch=epoch,
        testbed="tiny",
        family="RL",
        decided_by="agent:m",
        traffic={"chat": {"north": 3.0, "south": 1.5}},
        macro_policy=policy or {"routing": {"chat": {"north": 1.0}}, "roles": {"north": ["chat"]}},
        success_ratio={"chat": 1.0, "draw": None},
        mean_latency_s={"chat": 12.3456, "draw": None},
        global_mean_latency_s=12.3456,
        fairness=1.0,
        latency_norm=0.0137,
        objective=objective,
        off_role_ratio=0.0,
        ended=90,
    )


# Recall


async def test_recalled_cases_come_with_what_they_teach_and_rounded() -> None:
    asked: list[tuple[int, int, int]] = []

    async def recall(best: int, worst: int, nearest: int) -> Recalled:
        asked.append((best, worst, nearest))
        return Recalled(best=(case(3, 0.01234567),), worst=(case(1, 0.9),))

    told = await ask(recall_cases(recall, lambda: "r"), best=1, nearest=0)
    assert asked == [(1, 1, 0)], "what is not said is as the tool's schema has it"
    assert told["best"][0]["J"] == 0.0123
    assert told["best"][0]["epoch"] == "3 of this run"
    assert (await ask(recall_cases(recall), best=1, nearest=0))["best"][0]["epoch"] == "3 of another run"
    assert told["best"][0]["prompts_per_slot"] == {"chat": 4.5}
    assert told["worst"][0]["macro_policy"]["routing"] == {"chat": {"north": 1.0}}
    assert told["nearest"] == []


async def test_cases_too_long_for_an_answer_are_left_out_and_counted_and_no_sort_is_crowded_out() -> None:
    wide = {"routing": {"chat": {f"node-{n:05}": 1 / 300 for n in range(300)}}, "roles": {}}

    async def recall(best: int, worst: int, nearest: int) -> Recalled:
        of = [case(e, e / 10, wide) for e in range(6)]
        return Recalled(best=tuple(of[:3]), worst=tuple(of[3:5]), nearest=(of[5],))

    text = await call(recall_cases(recall))
    told = json.loads(text)
    assert len(text) < 20_000
    assert {sort: len(told[sort]) for sort in ("best", "worst", "nearest")} == {"best": 1, "worst": 1, "nearest": 0}
    assert told["left_out_for_length"] == 4


async def test_a_memory_that_is_away_is_a_sentence_for_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bristol_run(tmp_path) as run:
        tool = named(run.deps)["recall_cases"]

        async def away(*args: Any, **kwargs: Any) -> Recalled:
            raise MemoryAway("the disk is gone")

        monkeypatch.setattr(run.deps.memory, "recall", away)
        assert await call(tool) == ("error: The memory cannot be read just now, decide without it: the disk is gone")


# Arguments


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("recall_cases", {"best": 9}, "best must be less than or equal to 5, not 9"),
        ("recall_cases", {"worst": "many"}, "worst must be a whole number, not 'many'"),
        ("recall_cases", {"limit": 3}, "limit is no argument of this tool; leave it out"),
        ("read_snapshot", {"node": "VM9"}, "node must be 'VM2', 'VM3', 'VM4', 'VM5', 'VM6' or 'VM7', not 'VM9'"),
        ("scrape_node", {}, "node is missing"),
        ("rehearse", {}, "macro_policy is missing"),
        ("rehearse", {"macro_policy": PLAN, "slots": 0}, "slots must be greater than or equal to 1, not 0"),
        ("rehearse", {"macro_policy": {"routing": [], "roles": {}}}, "macro_policy.routing must be a mapping"),
        ("rehearse", {"macro_policy": {**PLAN, "roles": {"VM9": []}}}, '"VM9" in "roles" is no node'),
        ("rehearse", {"macro_policy": PLAN}, "No slot has passed yet"),
    ],
)
async def test_bad_arguments_are_answered_with_what_would_be_right(
    tool: str, arguments: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    async with bristol_run(tmp_path) as run:
        said = await call(named(run.deps)[tool], **arguments)
    assert said.startswith("error: ")
    assert sentence in said


async def test_a_plan_that_breaks_rules_is_not_rehearsed_but_told_what_it_breaks(tmp_path: Path) -> None:
    lm, row = next(iter(PLAN["routing"].items()))
    halved = {**PLAN, "routing": {**PLAN["routing"], lm: {node: share / 2 for node, share in row.items()}}}
    async with bristol_run(tmp_path, slots=1) as run:
        tools = named(run.deps)
        await run.run()
        said = await call(tools["rehearse"], macro_policy=halved)
    assert said == f"error: The shares of {lm} sum to 0.5; make them sum to 1."


async def test_schemas_name_the_nodes_where_a_prompt_has_room_for_them_and_describe_every_argument(
    tmp_path: Path,
) -> None:
    async with bristol_run(tmp_path) as run:
        tools = planner_tools(run.deps)
    schemas = {t.name: convert_to_openai_tool(t)["function"] for t in tools}
    assert list(schemas) == ["recall_cases", "read_snapshot", "scrape_node", "rehearse"]
    assert schemas["scrape_node"]["parameters"]["properties"]["node"]["enum"] == [n.name for n in BRISTOL.nodes]
    for schema in schemas.values():
        assert len(schema["description"]) > 60
        assert all("description" in field for field in schema["parameters"]["properties"].values())
    many = generate_testbed(100, seed=1)
    testbed = TwinTestbed(Twin(many), load_workload("p1", many, 1))
    tool = scrape_node(testbed)
    assert "enum" not in convert_to_openai_tool(tool)["function"]["parameters"]["properties"]["node"]
    assert "did you mean" in await call(tool, node=many.nodes[0].name + "x")


# Looking


async def test_a_snapshot_says_what_there_is_and_leaves_out_what_there_is_not() -> None:
    cluster = tiny()
    snapshot = quiet(
        cluster,
        slot=7,
        phase=np.array([[int(Phase.READY), 0], [0, int(Phase.PENDING)]]),
        cores=np.array([[4, 0], [0, 0]]),
        vgpus=np.array([[0, 0], [0, 1]]),
        backlog_prompts=np.array([[5, 0], [0, 0]]),
        backlog_requests=np.array([[2, 0], [0, 0]]),
        oldest_wait_s=np.array([[12.5, 0.0], [0.0, 0.0]]),
        age_s=np.array([2.0, np.nan]),
    )

    async def observe() -> Snapshot:
        return snapshot

    told = await ask(read_snapshot(cluster, observe))
    assert told["slot"] == 7
    assert told["lms"]["draw"]["pending_pods"] == 1
    assert told["nodes"]["north"] == {
        "reading_age_s": 2.0,
        "free": {"cores": 8, "ram_gb": 16.0, "vgpus": 0, "vram_gb": 0.0},
        "lms": {
            "chat": {"pod": "READY", "backlog_prompts": 5, "backlog_requests": 2, "oldest_wait_s": 12.5, "cores": 4}
        },
    }
    assert told["nodes"]["south"] == {"reading": "none: the node could not be read, its figures are unknown"}
    assert await ask(read_snapshot(cluster, observe), node="north") == {
        "slot": 7,
        "node": "north",
        **told["nodes"]["north"],
    }


async def test_of_many_nodes_the_busiest_are_shown_and_the_rest_is_counted() -> None:
    cluster = generate_testbed(100, seed=1)
    backlog = np.zeros((cluster.n_nodes, cluster.n_lms), dtype=np.int64)
    backlog[90:] = 3

    async def observe() -> Snapshot:
        return quiet(cluster, backlog_prompts=backlog)

    text = await call(read_snapshot(cluster, observe))
    told = json.loads(text)
    assert len(text) < 20_000
    assert {node.name for node in cluster.nodes[90:]} <= told["nodes"].keys()
    assert told["nodes_left_out"] == 100 - len(told["nodes"])


async def test_scraping_reads_past_the_snapshot_that_the_deciders_share(tmp_path: Path) -> None:
    async with bristol_run(tmp_path, slots=1) as run:
        tools = named(run.deps)
        await run.run()
        before = await ask(tools["read_snapshot"], node="VM3")
        testbed = run.deps.testbed
        assert isinstance(testbed, WatchedTestbed)
        await testbed.inner.advance()  # the world moves on behind the deciders' back
        assert await ask(tools["read_snapshot"], node="VM3") == before
        assert (await ask(tools["scrape_node"], node="VM3"))["slot"] == before["slot"] + 1


# With a model


async def test_a_planner_looks_and_then_plans(tmp_path: Path) -> None:
    def asks(messages: list[BaseMessage], options: dict[str, Any]) -> AIMessage:
        offered = [tool["function"]["name"] for tool in options["tools"]]
        assert offered == ["recall_cases", "read_snapshot", "scrape_node", "rehearse"]
        calls: Sequence[tuple[str, dict[str, Any]]] = (
            ("recall_cases", {}),
            ("read_snapshot", {"node": "VM9"}),
            ("rehearse", {"macro_policy": PLAN}),
        )
        return AIMessage("", tool_calls=[{"name": n, "args": a, "id": str(k)} for k, (n, a) in enumerate(calls)])

    model = ScriptedChatModel(reply=in_turn(asks, answers(good_plan(BRISTOL))))
    async with bristol_run(tmp_path, slots=1) as run:
        agent = Agent(Role.PLANNER, model, "scripted")
        asking = Asking(agent, tools=planner_tools(run.deps))
        run.deps.planner = Filling("scripted", asker=asking.for_decision)
        await run.run()
        (plan,) = await run.deps.memory.decisions("test", role=Role.PLANNER)
    assert plan.outcome == Outcome.ACCEPTED
    said = [m["content"] for m in plan.attempts[0].messages if m["role"] == "tool"]
    assert said[0] == '{"best":[],"worst":[],"nearest":[]}'
    assert said[1].startswith("error: node must be 'VM2'")
    assert said[2].startswith("error: No slot has passed yet")
