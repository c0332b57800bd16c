"""Studio's server on loopback: what it tells of the graph, threads slot by slot, restarts, recorded runs, agents."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from typer.testing import CliRunner

from graph.studio.serving import CHECKPOINTS
from runtime.cli.program import app
from runtime.replay.import_thread import import_thread, read_source, show_thread
from runtime.replay.recorded import Slots
from tests.agent_server import decides, serving, sound_answers
from tests.agents import bristol_run, uneven_agents
from twin.testbeds import generate, load_builtin, write_testbed

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

HOUSE = Path(__file__).parents[2]
LANGGRAPH = Path(sys.executable).with_name("langgraph")
START_S = 180.0
"""Most seconds that a server may take to start: on a busy machine it may have to compile the twin."""
BRISTOL = load_builtin("bristol")
SLOT_OF_RULES = ["observe", "scheduler", "check_routing", "dispatch", *["deployer"] * BRISTOL.n_nodes, "act"]


@contextlib.contextmanager
def studio(folder: Path, config: str = "langgraph.json", **environ: str) -> Iterator[str]:
    """Serve as `make studio` does, from a folder of its own, on a free port; yields the address."""
    if not LANGGRAPH.exists():
        pytest.skip("langgraph-cli is not installed: pip install 'edgewise[studio]'")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-browser", "--no-reload"]
    log = folder / "server.log"
    with log.open("ab") as out:
        server = subprocess.Popen(
            [str(LANGGRAPH), "dev", "--config", str(HOUSE / config), *options],
            cwd=folder,
            env={**os.environ, "LANGSMITH_TRACING": "false", **environ},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(server, url, log)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(30)
    assert "BlockingError" not in log.read_text(errors="replace")


def wait_for(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/ok", timeout=5):
            return
        time.sleep(0.2)
    pytest.fail(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with studio(tmp_path_factory.mktemp("studio")) as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=url, api_key=None) as found:
        yield found


async def run(
    client: LangGraphClient, thread: str, slot: int | None, context: Mapping[str, Any] | None = None, **options: Any
) -> Any:
    """Run one slot and return the thread's state, or `__error__`."""
    given = None if slot is None else {"slot": slot}
    return await client.runs.wait(
        thread, "slot", input=given, context=dict(context or {}), raise_error=False, **options
    )


async def new_thread(client: LangGraphClient) -> str:
    return str((await client.threads.create())["thread_id"])


def path(history: list[Any], slot: int) -> list[str]:
    """Nodes of a slot in the order in which they ran."""
    states = [state for state in reversed(history) if state["values"].get("slot") == slot]
    return [task["name"] for state in states for task in state["tasks"] if task["name"] != "__start__"]


async def test_the_server_tells_the_forms_and_the_shape_of_the_graph(client: LangGraphClient) -> None:
    (assistant,) = await client.assistants.search()
    schemas = await client.assistants.get_schemas(assistant["assistant_id"])
    assert schemas["input_schema"] is not None
    assert schemas["context_schema"] is not None
    assert schemas["input_schema"]["properties"]["slot"]["type"] == "integer"
    assert "rules fill the roles" in schemas["context_schema"]["properties"]["family"]["description"]
    drawn = await client.assistants.get_graph(assistant["assistant_id"])
    nodes = {node["id"] for node in drawn["nodes"]}
    assert {"observe", "planner", "repair_plan", "scheduler", "dispatch", "deployer", "remember"} <= nodes
    assert ("dispatch", "deployer") in {(edge["source"], edge["target"]) for edge in drawn["edges"]}


async def test_a_thread_goes_from_slot_to_slot_with_no_key_and_keeps_what_each_node_did(
    client: LangGraphClient, tmp_path: Path
) -> None:
    thread = await new_thread(client)
    context = {"family": "AL", "seed": 3}
    states = [await run(client, thread, slot, context) for slot in range(2)]
    async with bristol_run(tmp_path, "AL", slots=2) as whole:
        await whole.run()
        ledger = await whole.deps.memory.decisions("test", 1)
        records = await whole.deps.memory.records("test", 1, 1)
    assert {(d["role"], d["node"]): d["decision"] for d in states[1]["decisions"]} == {
        (str(d.role), d.node): d.decision for d in ledger
    }
    assert states[1]["outcome"]["ended"] == len(records) > 0
    history: Any = await client.threads.get_history(thread, limit=100)
    assert path(history, 0) == path(history, 1) == SLOT_OF_RULES
    wrong = await run(client, thread, 7, context)
    assert wrong["__error__"]["message"] == 'This thread has come to slot 2; run it with {"slot": 2}.'
    lost = await run(client, thread, 2, {"family": "AL"})
    assert "This thread lives in testbed bristol, workload p1, seed 3" in lost["__error__"]["message"]
    assert (await run(client, thread, 2, context))["completed"] == 2


async def test_a_person_can_edit_a_decision_and_branch_off(client: LangGraphClient) -> None:
    thread, context = await new_thread(client), {"family": "RF"}
    first = [await run(client, thread, slot, context) for slot in range(3)]
    history: Any = await client.threads.get_history(thread, limit=100)
    before = next(s for s in history if s["next"] == ["scheduler"] and s["values"]["slot"] == 1)
    routing = {node.name: {lm.name: "VM7" for lm in BRISTOL.lms} for node in BRISTOL.nodes}
    await client.threads.update_state(thread, {"routing": routing}, as_node="dispatch", checkpoint=before["checkpoint"])
    state = await client.threads.get_state(thread)
    assert state["next"] == ["deployer"] * BRISTOL.n_nodes
    branch = await run(client, thread, None, context)
    assert (branch["completed"], branch["routing"]) == (1, routing)
    after = await run(client, thread, 2, context)
    assert after["snapshot"]["slot"] == 2
    waiting = {name: sum(node["backlog_prompts"].values()) for name, node in after["snapshot"]["nodes"].items()}
    assert waiting["VM7"] > sum(first[2]["snapshot"]["nodes"]["VM7"]["backlog_prompts"].values())


async def test_what_a_person_edits_passes_the_gate_or_is_refused_in_a_sentence(client: LangGraphClient) -> None:
    thread, context = await new_thread(client), {"family": "RF"}
    await run(client, thread, 0, context)
    off: dict[str, Any] = {lm.name: "off" for lm in BRISTOL.lms}
    lm = next(lm.name for lm in BRISTOL.lms if lm.gpu_only)
    n, name = next((n, node.name) for n, node in enumerate(BRISTOL.nodes) if node.vgpus)
    cpu = next(node.name for node in BRISTOL.nodes if not node.vgpus)
    await run(client, thread, 1, context, interrupt_after=["dispatch"])
    everywhere = {node.name: {lm.name: cpu for lm in BRISTOL.lms} for node in BRISTOL.nodes}
    stopped: Any = await client.threads.get_state(thread)
    await client.threads.update_state(thread, {"routing": everywhere}, as_node="dispatch")
    refused = await run(client, thread, None, context)
    assert f"{lm} runs on vGPUs only and {cpu} has none" in refused["__error__"]["message"]
    await client.threads.update_state(
        thread, {"routing": stopped["values"]["routing"], "deployments": None}, as_node="dispatch"
    )
    await run(client, thread, None, context, interrupt_after=["deployer"])
    for vgpus, by in ((500, None), (1, "person")):
        mine = [{"node": n, "allocations": off | {lm: {"vgpus": vgpus}}}]
        await client.threads.update_state(thread, {"deployments": mine}, as_node="deployer")
        state = await run(client, thread, None, context)
        if by is None:
            assert (
                f"{name} has {BRISTOL.nodes[n].vgpus} vGPUs, the active LMs ask for 500"
                in state["__error__"]["message"]
            )
            assert (await client.threads.get_state(thread))["next"] == ["act"]
    lines = {(line["role"], line["node"]): line["decided_by"] for line in state["decisions"]}
    assert (lines["deployer", name], lines["scheduler", None], state["completed"]) == ("person", "rule:random", 1)
    after = await run(client, thread, 2, context)
    pods = after["snapshot"]["nodes"][name]["pods"]
    assert {own for own, pod in pods.items() if pod["phase"] not in ("OFF", "TERMINATING")} == {lm}


async def test_a_run_on_a_large_cluster_can_be_imported_and_gone_on_from(
    client: LangGraphClient, url: str, tmp_path: Path
) -> None:
    testbed, folder = tmp_path / "large.yaml", tmp_path / "run"
    write_testbed(testbed, generate(36, 1).model_copy(update={"epoch_slots": 3}))
    command = ["run", "-f", "AL", "--via-graph", "--slots", "6", "-s", "3", "-o", str(folder), "-t", str(testbed)]
    done = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert done.exit_code == 0, done.output
    recording = await read_source(str(folder), None, Slots(2, 4), "bristol")
    thread = await import_thread(recording, url)
    onward = await run(client, thread, 5, recording.context)
    whole = await read_source(str(folder), None, Slots(5), "bristol")
    assert onward["outcome"] == whole.slots[0].after["outcome"]


async def test_a_thread_outlives_its_server(tmp_path: Path) -> None:
    with studio(tmp_path) as address:
        async with get_client(url=address, api_key=None) as client:
            other, thread = await new_thread(client), await new_thread(client)
            await run(client, thread, 0)
            expected = [await run(client, other, slot) for slot in range(2)]
    with studio(tmp_path) as address:
        async with get_client(url=address, api_key=None) as client:
            state = await run(client, thread, 1)
    assert state["outcome"] == expected[1]["outcome"]
    assert state["routing"] == expected[1]["routing"]


async def test_a_recorded_run_is_a_thread_that_can_be_looked_at_and_gone_on_from(
    client: LangGraphClient, url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    command = ["run", "-f", "AL", "--via-graph", "--slots", "6", "-s", "3", "-o", str(folder)]
    done = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert done.exit_code == 0, done.output
    recording = await read_source(str(folder), None, Slots(2, 4), "bristol")
    thread = await import_thread(recording, url)
    history: Any = await client.threads.get_history(thread, limit=100)
    assert [path(history, slot) for slot in (2, 3, 4)] == [SLOT_OF_RULES] * 3
    whole = await read_source(str(folder), None, Slots(), "bristol")
    ends = {state["values"]["slot"]: state for state in history if not state["next"]}
    assert {slot: ends[slot]["values"]["outcome"] for slot in (2, 3, 4)} == {
        slot.slot: slot.after["outcome"] for slot in recording.slots
    }
    onward = await run(client, thread, 5, recording.context)
    assert onward["outcome"] == whole.slots[5].after["outcome"]  # as it went on when it was recorded
    branch = await run(client, thread, 4, {**recording.context, "family": "LL"}, checkpoint=ends[3]["checkpoint"])
    assert branch["routing"] != whole.slots[4].routing
    assert branch["snapshot"] == whole.slots[4].before["snapshot"]


async def test_a_recorded_run_of_agents_shows_prompts_answers_violations_and_the_way_to_the_fallback(
    client: LangGraphClient, url: str, tmp_path: Path
) -> None:
    async with bristol_run(tmp_path, slots=2, **uneven_agents()) as recorded:
        await recorded.run()
    for source in ("checkpoints.sqlite", "memory.sqlite"):
        thread = await import_thread(await read_source(str(tmp_path / source), "test", Slots(), "bristol"), url)
        history: Any = await client.threads.get_history(thread, limit=100)
        assert path(history, 0)[1:13] == [
            *("planner", "check_plan", "repair_plan", "check_plan", "adopt_plan"),
            *("scheduler", "check_routing", "repair_routing", "check_routing", "fallback_routing", "dispatch"),
            "deployer",
        ]
        decisions = next(s for s in history if not s["next"] and s["values"]["slot"] == 0)["values"]["decisions"]
        plan = next(line for line in decisions if line["role"] == "planner")
        assert (plan["outcome"], len(plan["attempts"])) == ("repaired", 2)
        assert plan["attempts"][0]["messages"]
        assert plan["attempts"][0]["violations"]


async def test_a_server_that_shares_the_checkpoints_of_runs_shows_them_without_a_copy(tmp_path: Path) -> None:
    async with bristol_run(tmp_path, slots=3) as recorded:
        await recorded.run()
    where = str(tmp_path / "checkpoints.sqlite")
    with studio(tmp_path, "langgraph.shared.json", **{CHECKPOINTS: where}) as address:
        thread = await show_thread("test", address)
        async with get_client(url=address, api_key=None) as client:
            history: Any = await client.threads.get_history(thread, limit=10)
    assert [state["values"]["completed"] for state in history] == [2, 1, 0, -1]  # and the state before slot 0
    assert len(history[0]["values"]["decisions"]) == 1 + BRISTOL.n_nodes


async def test_agents_answer_over_http_inside_the_server(tmp_path: Path) -> None:
    with (
        serving(decides(sound_answers(BRISTOL))) as model,
        studio(tmp_path, OPENAI_BASE_URL=model.base_url) as address,
    ):
        context = {"planner": "agent", "scheduler": "agent", "deployer": "agent", "model": "small"}
        async with get_client(url=address, api_key=None) as client:
            state = await run(client, await new_thread(client), 0, {**context, "rehearse": False})
            rehearsed = await run(client, await new_thread(client), 0, context)
    assert {line["decided_by"] for line in state["decisions"]} == {"agent:gpt-5", "agent:small"}
    assert {line["outcome"] for line in state["decisions"]} == {"accepted"}
    for line in rehearsed["decisions"]:
        assert line["outcome"] == ("overruled" if line["decided_by"].startswith("rehearsal:") else "accepted")
