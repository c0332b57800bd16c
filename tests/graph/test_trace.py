"""Traces: one line a part, whole or not there, without secrets; spans where a collector is configured, else nothing."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from domain.errors import InputError
from domain.ledger import Role
from graph.models.agent import Agent
from graph.models.asking import Asking
from graph.slot.deps import Filling
from graph.trace.lines import Trace, TraceFile, TracePart, open_trace, read_trace
from graph.trace.spans import Spans
from memory.secrets import Secrets
from tests.agents import asker, bristol_run, good_plan
from tests.scripted import ScriptedChatModel, answers, counted, hangs, in_turn, is_dead
from twin.testbeds import load_builtin

BRISTOL = load_builtin("bristol")
DEPLOYERS = BRISTOL.n_nodes


def names(parts: list[TracePart], slot: int) -> list[str]:
    """Nodes of a slot in the order in which they ended."""
    return [p.data["name"] for p in parts if p.slot == slot and "result" in p.data]


# The file


async def test_a_traced_run_writes_every_node_and_comes_to_the_same(tmp_path: Path) -> None:
    states = []

    async def keep(state: Any) -> None:
        states.append(state)

    for name, traced in (("plain", False), ("traced", True)):
        (tmp_path / name).mkdir()
        path = tmp_path / "trace.jsonl" if traced else None
        async with bristol_run(tmp_path / name, slots=2) as run, open_trace(path, "test", {}) as trace:
            await dataclasses.replace(run, on_slot=keep, trace=trace).run()
    assert states[:2] == states[2:]
    parts = list(read_trace(tmp_path / "trace.jsonl"))
    path_of_rules = ["observe", "scheduler", "check_routing", "dispatch", *["deployer"] * DEPLOYERS, "act"]
    assert names(parts, 0) == names(parts, 1) == path_of_rules
    starts = [p for p in parts if "triggers" in p.data]
    assert len(starts) == len(parts) / 2 == 2 * len(path_of_rules)
    assert {p.data["name"] for p in starts if "input" in p.data} == {"deployer"}  # the others start from the state
    decided = [line for p in parts if p.slot == 1 for line in (p.data.get("result") or {}).get("decisions", None) or ()]
    assert decided == states[1]["decisions"]


async def test_what_is_traced_is_on_disk_while_the_run_goes_on(tmp_path: Path) -> None:
    path, seen = tmp_path / "trace.jsonl", list[int]()

    async def look(state: Any) -> None:
        seen.append(len(list(read_trace(path))))

    async with bristol_run(tmp_path, slots=3) as run, open_trace(path, "test", {}) as trace:
        await dataclasses.replace(run, on_slot=look, trace=trace).run()
    assert seen == [seen[0], 2 * seen[0], 3 * seen[0]]


async def test_a_person_can_be_asked_in_a_traced_run(tmp_path: Path) -> None:
    asked = []

    async def yes(question: dict[str, Any]) -> bool:
        asked.append(question["decided_by"])
        return True

    plan = good_plan(BRISTOL)
    planner = Filling[Any]("model", asker=asker(lambda slot, node, messages, attempt: plan))
    async with (
        bristol_run(tmp_path, slots=1, planner=planner) as run,
        open_trace(tmp_path / "trace.jsonl", "test", {}) as trace,
    ):
        await dataclasses.replace(run, approver=yes, trace=trace).run()
        (kept,) = await run.deps.memory.decisions("test", role=Role.PLANNER)
    parts = list(read_trace(tmp_path / "trace.jsonl"))
    assert asked == [kept.decided_by] == ["agent:model"]
    assert names(parts, 0)[:5] == ["observe", "planner", "check_plan", "approve_plan", "approve_plan"]
    assert any(p.data.get("interrupts") for p in parts if p.data["name"] == "approve_plan")


def part(**data: Any) -> dict[str, Any]:
    return {"type": "tasks", "ns": (), "data": {"id": "1", "name": "observe", **data}}


def test_a_torn_last_line_is_left_out_and_cut_off_when_the_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with TraceFile(path, "r", clock=lambda: 5.0) as file:
        file.part(0, part(result={"a": 1}))
        file.part(1, part(result={"text": "x" * 200_000}))
    whole = path.read_bytes()
    for torn in (whole + b'{"trace":1,"run":"r', whole + b"y" * 100_000):
        path.write_bytes(torn)
        assert [p.slot for p in read_trace(path)] == [0, 1]
        with TraceFile(path, "r") as file:
            file.part(2, part(result={}))
        assert [p.slot for p in read_trace(path)] == [0, 1, 2]
    path.write_bytes(b"torn from the first line on")
    assert list(read_trace(path)) == []
    TraceFile(path, "r").close()
    assert path.read_bytes() == b""


def test_a_line_keeps_what_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with TraceFile(path, "r", clock=lambda: 1763762000.12345) as file:
        file.part(7, {"type": "custom", "ns": (), "data": {"said": "größer", "path": Path("x")}})
    assert list(read_trace(path)) == [TracePart("r", 7, 1763762000.123, "custom", (), {"said": "größer", "path": "x"})]


def test_no_secret_of_the_environment_gets_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    secret, odd, amp = "sk-0123456789", 'quo"te\\and\nline', "amper&sand-and-more"
    with TraceFile(path, "r", secrets=Secrets([secret, odd, amp])) as file:
        file.part(0, part(error=f"no such key {secret}", result={"a": [odd, {secret: odd}]}))
        file.part(0, part(error="mongodb://me:pa55word@host/ is away", result=None))
        file.part(0, part(error=f"no such key at http://host/?api_key={amp}", result=None))
    text = path.read_text()
    for hidden in (secret, json.dumps(odd)[1:-1], "pa55word"):
        assert hidden not in text
    assert path.stat().st_mode & 0o777 == 0o600
    first, second, third = read_trace(path)
    assert first.data["result"] == {"a": ["***", {"***": "***"}]}
    assert third.data["error"] == "no such key at http://host/?api_key=***"
    assert second.data["error"] == "mongodb://***@host/ is away"


async def test_secrets_are_found_by_the_names_of_their_variables(tmp_path: Path) -> None:
    environ = {"OPENAI_API_KEY": "sk-abcdefgh", "MY_TOKEN": "tok-12345678", "HOME": "/home/me", "OTHER_KEY": "short"}
    async with open_trace(tmp_path / "t.jsonl", "r", environ) as trace:
        assert trace is not None
        trace.sinks[0].part(0, part(result=["sk-abcdefgh", "tok-12345678", "/home/me", "short"]))
    (line,) = read_trace(tmp_path / "t.jsonl")
    assert line.data["result"] == ["***", "***", "/home/me", "short"]


@pytest.mark.parametrize(
    "line", ["[]", '{"trace": 99}', "not json", '{"trace": 1, "run": "r"}', "[" * 99_999], ids=range(5)
)
def test_a_line_that_is_no_line_of_a_trace_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match=r"trace.jsonl, line 1: no line of a trace of version 1"):
        list(read_trace(path))


def test_a_trace_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written: Is a directory"):
        TraceFile(tmp_path, "r")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        list(read_trace(tmp_path / "none.jsonl"))


async def test_a_full_disk_ends_the_trace_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "trace.jsonl"
    async with bristol_run(tmp_path, slots=2) as run, open_trace(path, "test", {}) as trace:
        write = os.write

        def full(file: int, data: bytes) -> int:
            if data.startswith(b'{"trace":') and path.stat().st_size > 3000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, data)

        monkeypatch.setattr(os, "write", full)
        await dataclasses.replace(run, trace=trace).run()
        assert len(await run.deps.memory.decisions("test")) == 2 * (1 + DEPLOYERS)
    assert caplog.messages == [f"{path}: the trace breaks off in slot 0: No space left on device"]
    assert 0 < len(list(read_trace(path))) < 20


# Spans


def collected() -> tuple[Spans, InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Spans("test", provider), exporter


def parent_of(span: ReadableSpan, spans: list[ReadableSpan]) -> str | None:
    return next((s.name for s in spans if span.parent and s.context and s.context.span_id == span.parent.span_id), None)


async def test_spans_of_slots_nodes_and_models_lie_in_each_other(tmp_path: Path) -> None:
    plan = good_plan(BRISTOL)
    model = ScriptedChatModel(reply=in_turn(is_dead(), answers(counted(plan, 900, 70))))
    spans, exporter = collected()
    async with bristol_run(tmp_path, slots=2) as run:
        asking = Asking(Agent(Role.PLANNER, model, "scripted"))
        run.deps.planner = Filling("scripted", asker=asking.for_decision)
        await dataclasses.replace(run, trace=Trace((spans,))).run()
    found = list(exporter.get_finished_spans())
    slots = [s for s in found if s.name == "slot"]
    assert [s.attributes and s.attributes["edgewise.slot"] for s in slots] == [0, 1]
    assert all(parent_of(s, found) is None for s in slots)
    assert slots[1].attributes
    assert slots[1].attributes["edgewise.fallbacks"] == 0
    nodes = [s for s in found if s.attributes and "langgraph.node" in s.attributes]
    assert {parent_of(s, found) for s in nodes} == {"slot"}
    assert [s.name for s in nodes].count("deployer") == 2 * DEPLOYERS
    (adopted,) = [s for s in nodes if s.name == "adopt_plan"]
    assert dict(adopted.events[0].attributes or {}) == {
        "edgewise.role": "planner",
        "edgewise.decided_by": "agent:scripted",
        "edgewise.outcome": "accepted",
    }
    dead, answered = [s for s in found if s.name.startswith("chat ")]
    assert parent_of(dead, found) == parent_of(answered, found) == "planner"
    assert (dead.status.status_code, dead.status.description) == (StatusCode.ERROR, "ModelConnectionError")
    assert answered.attributes
    assert answered.attributes["gen_ai.usage.input_tokens"] == 900
    assert answered.attributes["gen_ai.usage.output_tokens"] == 70
    assert plan not in "".join(s.to_json() for s in found)


async def test_the_spans_of_calls_whose_time_is_over_end_with_their_node(tmp_path: Path) -> None:
    model, (spans, exporter) = ScriptedChatModel(reply=hangs()), collected()
    asking = Asking(Agent(Role.SCHEDULER, model, "scripted", timeout_s=0.1))
    async with bristol_run(tmp_path, slots=2, scheduler=Filling[Any]("m", asker=asking.for_decision)) as run:
        await dataclasses.replace(run, trace=Trace((spans,))).run()
    found = list(exporter.get_finished_spans())
    calls = [s for s in found if s.name.startswith("chat ")]
    assert len(calls) == len(model.calls) > 0
    assert {s.status.description for s in calls} == {"cut off"}
    assert {parent_of(s, found) for s in calls} == {"scheduler"}


async def test_a_slot_that_breaks_off_ends_its_spans_as_failed(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def dies(slot: int, node: str | None, messages: Any, attempt: int) -> str:
        raise Killed("with a secret in it")

    spans, exporter = collected()
    async with bristol_run(tmp_path, slots=1, scheduler=Filling[Any]("m", asker=asker(dies))) as run:
        with pytest.raises(Killed):
            await dataclasses.replace(run, trace=Trace((spans,))).run()
    failed = {s.name: s.status.description for s in exporter.get_finished_spans() if not s.status.is_ok}
    assert failed == {"slot": "Killed", "scheduler": "failed"}  # the text of the error stays out


@asynccontextmanager
async def collector(received: list[ExportTraceServiceRequest]) -> AsyncIterator[str]:
    """A collector that takes spans over HTTP."""

    async def take(request: web.Request) -> web.Response:
        received.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_spans_reach_the_collector_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[ExportTraceServiceRequest] = []
    async with collector(received) as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        async with bristol_run(tmp_path, slots=1) as run, open_trace(None, "test", os.environ) as trace:
            await dataclasses.replace(run, trace=trace).run()
    spans = [s for r in received for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]
    service = {a.key: a.value.string_value for a in received[0].resource_spans[0].resource.attributes}
    assert service["service.name"] == "edgewise"
    assert sum(s.name == "slot" for s in spans) == 1
    assert sum(s.name == "deployer" for s in spans) == DEPLOYERS


async def test_a_collector_that_is_away_costs_the_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    async with bristol_run(tmp_path, slots=1) as run, open_trace(None, "test", os.environ) as trace:
        await dataclasses.replace(run, trace=trace).run()
        assert len(await run.deps.memory.decisions("test")) == 1 + DEPLOYERS


def test_without_a_collector_nothing_that_sends_spans_is_imported() -> None:
    code = (
        "import asyncio, sys\n"
        "from graph.trace.lines import open_trace\n"
        "async def main():\n"
        "    async with open_trace(None, 'r', {}) as trace: assert trace is None\n"
        "asyncio.run(main())\n"
        "sys.exit(any(name.startswith(('opentelemetry.exporter', 'graph.trace.spans')) for name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], timeout=60, check=False)
    assert done.returncode == 0


async def test_a_collector_without_the_extra_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    async with open_trace(None, "r", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}) as trace:
        assert trace is None
    assert caplog.messages == ["a collector is configured but spans need the extra: pip install 'edgewise[otel]'"]
