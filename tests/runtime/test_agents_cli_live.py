"""`edgewise run --family ma` from end to end: its memory in a server that speaks MongoDB, its planner with tools."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

import runtime.runs.experiment
from domain.ledger import Case, Decision, Outcome, Role
from memory import open_memory
from runtime.cli.program import app
from runtime.results.summary import load_summary
from tests.agent_server import contents, decides, role_of, serving, sound_answers
from tests.fake_openai import completion
from tests.mongo_server import new_database
from twin.testbeds import read_testbed, to_yaml
from twin.testbeds.build import to_cluster

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
EPOCHS, SLOTS = 3, 6
"""With requests; one more slot until the last deadline."""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime.runs.experiment, "draw", lambda summary, folder: [])
    text = re.sub(r"(?m)^(deadline_s|epoch_slots): .*\n", "", to_yaml(read_testbed("bristol")))
    Path("small.yaml").write_text(f"{text}deadline_s: 30\nepoch_slots: 2\n")


@pytest.fixture
def database(mongodb: str) -> Iterator[str]:
    with new_database(mongodb) as uri:
        yield uri


def edgewise(*arguments: str, **environ: str) -> Result:
    done = CliRunner().invoke(app, arguments, prog_name="edgewise", env={"COLUMNS": "80", **environ})
    assert done.exit_code == 0, done.output
    return done


def run(url: str, out: str, *more: str, **environ: str) -> None:
    model = ("--base-url", url, "--model", "m", "--timeout", "60", "--slot-seconds", "100")
    asked = ("--testbed", "small.yaml", "--slots", str(SLOTS))
    edgewise("run", "--family", "ma", *asked, *model, "--out", out, *more, **environ)


async def remembered(uri: str | Path) -> tuple[dict[str, list[Decision]], list[Case]]:
    async with open_memory(uri) as memory:
        runs = await memory.runs()
        return {name: await memory.decisions(name) for name in runs}, await memory.cases("bristol")


def test_the_memory_of_runs_of_agents_is_in_mongodb_where_the_environment_says_so(database: str) -> None:
    cluster, uri = to_cluster(read_testbed(Path("small.yaml"))), database
    with serving(decides(sound_answers(cluster))) as server:
        for out in ("one", "two"):
            run(server.base_url, out, "--rehearse", "off", MONGODB_URI=uri)
    runs, cases = asyncio.run(remembered(uri))
    assert not list(Path("one").glob("memory*"))
    assert len(runs) == 2
    for name, decisions in runs.items():
        assert name.startswith("bristol-MA-seed1-")
        assert {d.outcome for d in decisions} == {Outcome.ACCEPTED}
        assert sum(d.role is Role.SCHEDULER for d in decisions) == SLOTS + 1
        assert sum(d.role is Role.DEPLOYER for d in decisions) == (SLOTS + 1) * cluster.n_nodes
    assert [case.epoch for case in cases] == 2 * list(range(EPOCHS))
    again = edgewise("whatif", "two", "--family", "RL", MONGODB_URI=uri)
    assert "Checked: under the recorded decisions the twin gives every" in again.stdout


def test_a_planner_with_tools_looks_over_http_before_it_plans() -> None:
    cluster = to_cluster(read_testbed(Path("small.yaml")))
    answer = sound_answers(cluster)
    plan = {key: value for key, value in json.loads(answer("planner", [])).items() if key != "reasoning"}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("recall_cases", {}),
        ("read_snapshot", {}),
        ("scrape_node", {"node": "VM4"}),
    ]
    calls.append(("rehearse", {"macro_policy": plan}))

    async def behave(_: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if "tools" in body and body["messages"][-1]["role"] != "tool":
            offered = [tool["function"]["name"] for tool in body["tools"]]
            assert offered == [name for name, _ in calls]
            wanted = [
                {"id": f"call_{k}", "type": "function", "function": {"name": name, "arguments": json.dumps(told)}}
                for k, (name, told) in enumerate(calls)
            ]
            return web.json_response(completion(body, {"tool_calls": wanted}, "tool_calls"))
        role = role_of(body) if "response_format" in body else "planner"
        return web.json_response(completion(body, {"content": answer(role, contents(body))}))

    with serving(behave) as server:
        run(server.base_url, "run", "--rehearse", "off", "--planner-tools")
    (decisions,) = asyncio.run(remembered(Path("run/memory.sqlite")))[0].values()
    plans = [decision for decision in decisions if decision.role is Role.PLANNER]
    assert {plan.outcome for plan in plans} == {Outcome.ACCEPTED}
    assert len(plans) == EPOCHS + 1
    said = [[m["content"] for m in plan.attempts[0].messages if m["role"] == "tool"] for plan in plans]
    assert [len(told) for told in said] == [len(calls)] * len(plans)
    assert said[0][-1].startswith("error: No slot has passed yet")
    assert all(0.0 <= json.loads(told[-1])["predicted"]["J"] <= 1.0 for told in said[1:])
    assert all('"VM4"' in told[2] for told in said)
    figures = load_summary(Path("run")).results[0].agents["planner"]
    assert figures.outcomes == {"accepted": len(plans)}
