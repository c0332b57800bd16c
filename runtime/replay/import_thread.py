"""A recorded run as a thread of a running LangGraph server, so that Studio can show each slot of it, and branch off.

    python -m runtime.import_thread runs/bristol-p1-RH-seed1 --slots 310-315

The source is a run folder, the checkpoints of a run, or a memory: an SQLite file or a mongodb:// URI. A run folder
gives most: all that the graph's state held, and, where the run can be played again exactly, worlds to go on in.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from langgraph_sdk import get_client
from pydantic import BaseModel, ConfigDict

from domain.cluster import Cluster
from domain.errors import InputError, MachineError
from domain.ledger import Case, Role
from graph.slot.checkpoints import thread_of
from graph.studio.world import Made
from memory import MemoryAway
from memory.copying import open_to_read, openable
from memory.redaction import redact
from policies.families import FAMILIES
from runtime.replay.recorded import (
    Slots,
    decided_in,
    decided_of,
    filled,
    from_checkpoints,
    from_memory,
    with_worlds,
)
from runtime.replay.supersteps import RecordedSlot, supersteps
from twin.files import load_yaml
from twin.testbeds import builtin_names, read_testbed, to_yaml
from twin.testbeds.build import to_cluster
from twin.workloads import load_workload

URL = "http://127.0.0.1:2024"
"""Where `make studio` listens."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A run, ready to be told."""

    run: str
    cluster: Cluster
    slots: Sequence[RecordedSlot]
    context: dict[str, Any] = field(default_factory=dict)
    """Settings of Studio's context under which the run could go on."""


class RunSettings(BaseModel):
    """What is needed of `settings.yaml`."""

    model_config = ConfigDict(extra="ignore")

    testbed: str
    workload: str
    workload_files: dict[str, str]
    load: float
    families: list[str]
    seeds: list[int]
    slots: int
    latency_weight: float


async def import_thread(recording: Recording, url: str = URL) -> str:
    """Create a thread from a recording; return its id.

    Raises:
        InputError: there is no server, or it refuses.
    """
    steps = [step for slot in recording.slots for step in supersteps(slot, recording.cluster)]
    planned = any(
        slot.before.get("macro_policy") or any(line["role"] == Role.PLANNER for line in slot.decisions)
        for slot in recording.slots
    )
    metadata = {"run": recording.run, "context": recording.context, "planned": planned}
    return await _create(url, supersteps=steps, metadata=metadata)


async def show_thread(run: str, url: str = URL) -> str:
    """Make the thread of a run known to a server that shares the run's checkpoints; return its id.

    Raises:
        InputError: there is no server, it refuses, or it does not share them.
    """
    thread = await _create(url, thread_id=thread_of(run), if_exists="do_nothing", metadata={"run": run})
    async with get_client(url=url, api_key=None) as client:
        state = await client.threads.get_state(thread)
    if not state["values"]:
        raise InputError(
            f"The server at {url} has no checkpoints of {run}: EDGEWISE_CHECKPOINTS names others, or none."
        )
    return thread


async def _create(url: str, **options: Any) -> str:
    try:
        async with httpx.AsyncClient(trust_env=False) as http:  # the client below tries for seconds where nobody is
            await http.get(f"{url}/ok")
        async with get_client(url=url, api_key=None) as client:
            thread = await client.threads.create(graph_id="slot", **options)
    except httpx.HTTPStatusError as error:
        raise InputError(f"The server at {url} refuses the thread: {error}.") from None
    except httpx.HTTPError as error:
        raise InputError(f"There is no LangGraph server at {url}; start one with make studio ({error}).") from None
    return str(thread["thread_id"])


async def read_source(source: str, run: str | None, slots: Slots, testbed: str) -> Recording:
    """Read a recording.

    Args:
        source: run folder, checkpoints, or memory.
        run: its name; None where the source leaves no choice.
        slots: that are wanted.
        testbed: name or file, for sources that do not say.

    Raises:
        InputError: the source is none, or holds no such run.
        MemoryAway: the memory cannot be reached.
    """
    path = Path(source)
    if "://" not in source and path.is_dir():
        return await _from_folder(path, run, slots)
    cluster = to_cluster(read_testbed(testbed))
    if "://" not in source and _is_checkpoints(path):
        if run is None:
            raise InputError(f"{source} does not tell the names of its runs; give --run, such as RH-seed1.")
        return Recording(run, cluster, [s for s in await from_checkpoints(path, run) if s.slot in slots])
    async with open_to_read(source) as memory:
        name = _the_one(run, await memory.runs(), source)
        return Recording(name, cluster, await from_memory(memory, name, cluster, slots))


async def _from_folder(folder: Path, run: str | None, slots: Slots) -> Recording:
    settings, token = load_yaml(folder / "settings.yaml", RunSettings), folder / "run-id"
    names = {f"{family}-seed{seed}": (family, seed) for family in settings.families for seed in settings.seeds}
    if not (folder / "checkpoints.sqlite").exists():
        raise InputError(f"{folder} has no checkpoints: the run did not go through the slot graph (--via-graph).")
    chosen = _the_one(run, list(names), str(folder))
    if chosen not in names:
        raise InputError(f"{folder} has no run {chosen!r}; it has {', '.join(names)}.")
    shared = token.exists()  # a memory that several runs share has unique names in it
    name = f"{settings.testbed}-{chosen}-{token.read_text('utf-8')}" if shared else chosen
    cluster = to_cluster(read_testbed(folder / "testbed.yaml"))
    everything: Sequence[RecordedSlot] = await from_checkpoints(folder / "checkpoints.sqlite", name)
    recorded = [slot for slot in everything if slot.slot in slots]
    family, seed = names[chosen]
    made, again = Made(_testbed(folder, settings.testbed), settings.workload, seed, settings.load), None
    if not settings.workload_files and settings.latency_weight == cluster.latency_weight:
        again = load_workload(made.workload, cluster, seed, settings.load).arrivals
    context = {} if again is None else made.told() | ({"family": family} if family in FAMILIES else {})
    async with AsyncExitStack() as stack:
        decisions, cases = decided_of(everything), list[Case]()
        if (folder / "memory.sqlite").exists():
            memory = await stack.enter_async_context(open_to_read(folder / "memory.sqlite"))
            recorded = [await filled(slot, memory, name, cluster) for slot in recorded]
            cases = await memory.cases(cluster.setting, run=name)
            decisions = decided_in(memory, name, everything[-1].slot + 1, cluster)
        if again is not None:
            recorded = await with_worlds(recorded, cluster, made, again, settings.slots, decisions, cases)
    return Recording(name, cluster, recorded, context)


def _testbed(folder: Path, name: str) -> str:
    """Name the testbed so that Studio finds the same: built in, or the folder's own file."""
    own = folder / "testbed.yaml"
    if name in builtin_names() and to_yaml(read_testbed(name)) == own.read_text("utf-8"):
        return name
    return str(own.resolve())


def _the_one(run: str | None, known: list[str], source: str) -> str:
    if run is None and len(known) != 1:
        raise InputError(f"{redact(source)} holds the runs {', '.join(known) or '(none)'}; choose one with --run.")
    return known[0] if run is None else run


def _is_checkpoints(path: Path) -> bool:
    if not path.is_file():
        raise InputError(f"{path}: there is no such run folder or file.")
    try:
        with openable(path) as own, closing(sqlite3.connect(own)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path} is no SQLite file: {error}.") from None
    return "checkpoints" in tables


def parse_slots(text: str) -> Slots:
    """Read '312' or '310-315'; raises InputError for anything else."""
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
        raise InputError(f"--slots must be a slot such as 312 or slots such as 310-315, not {text!r}.")
    return Slots(int(first), int(last if dash else first))


def command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Run folder, checkpoints, or memory (file or URI).")],
    run: Annotated[str | None, typer.Option("--run", metavar="NAME", help="Run, such as RH-seed1.")] = None,
    slots: Annotated[
        str | None, typer.Option("--slots", metavar="A[-B]", help="Slots to import.", show_default="all")
    ] = None,
    url: Annotated[str, typer.Option("--url", help="Of the LangGraph server.")] = URL,
    testbed: Annotated[
        str, typer.Option("--testbed", "-t", metavar="NAME|FILE", help="Where the source does not say.")
    ] = "bristol",
    shared: Annotated[
        bool, typer.Option("--shared", help="The server shares the run's checkpoints: copy nothing, name the thread.")
    ] = False,
) -> None:
    """Show a recorded run in LangGraph Studio: create a thread from it in a running server."""
    try:
        wanted = Slots() if slots is None else parse_slots(slots)
        if shared and slots is not None:
            raise InputError("--shared shows the run whole; leave --slots out.")
        recording = asyncio.run(read_source(source, run, wanted, testbed))
        if not recording.slots:
            raise InputError(
                f"{redact(source)} holds no slot of {recording.run} in --slots {slots}. A run keeps the checkpoints of "
                "its last slots (--checkpoints); its memory has the decisions of all, and can be imported instead."
            )
        tell = show_thread(recording.run, url) if shared else import_thread(recording, url)
        thread = asyncio.run(tell)
    except (InputError, MemoryAway) as error:
        typer.echo(f"import_thread: {error}", err=True)
        raise typer.Exit(error.status if isinstance(error, InputError) else MachineError.status) from None
    first, last = recording.slots[0], recording.slots[-1]
    typer.echo(f"Thread {thread}: slots {first.slot} to {last.slot} of {recording.run}.")
    alive = [slot.slot for slot in recording.slots if "world" in slot.after]
    if alive and not shared:
        chosen = ", ".join(f"{name} {value}" for name, value in recording.context.items())
        typer.echo(f"It can go on from slots {alive[0]} to {alive[-1]}, with the context {chosen}.")
    typer.echo(f"Look at it: https://smith.langchain.com/studio/?baseUrl={url}")
