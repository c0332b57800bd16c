"""What the graph did, node by node, written down while it does it: a file of JSON lines, and OpenTelemetry spans.

Each line of the file is one part of LangGraph's stream of a slot: a node that starts, a node that ends with what it
returned or with its error, or what a node had to say meanwhile. A node's input is the graph's state, which is what the
results before it add up to, so it is left out; the tasks of the deployers, which get inputs of their own, keep them.

    {"trace": 1, "run": "r", "slot": 7, "at": 1763762000.1, "type": "tasks", "ns": [], "data": {"name": "observe", …}}

Lines are written whole and at once; of a run that was killed only the last one can be torn, and readers leave it out.
Secrets of the environment are struck out, as are passwords in addresses.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from domain.errors import InputError, refusal
from graph.slot.build import SlotGraph
from graph.slot.checkpoints import DURABILITY
from graph.slot.state import SlotInput
from memory.redaction import redact
from memory.secrets import Secrets

_log = logging.getLogger(__name__)

VERSION = 1
"""Of the form of a line."""
NO_SECRETS = Secrets()


@dataclass(frozen=True, slots=True)
class TracePart:
    """One line of a trace."""

    run: str
    slot: int
    at: float
    """Seconds since 1970, by the clock of the run's machine."""
    type: str
    """'tasks' or 'custom'."""
    ns: tuple[str, ...]
    """Empty in the slot graph, which has no subgraphs."""
    data: Any
    """A start has id, name and triggers; an end has id, name, result, error and interrupts."""


class Sink(Protocol):
    """Where a slot's parts go."""

    @property
    def callbacks(self) -> list[BaseCallbackHandler]:
        """What wants to hear of calls to models."""
        ...

    def begin(self, slot: int) -> None:
        """A slot begins, or goes on after a person was asked."""
        ...

    def part(self, slot: int, part: Mapping[str, Any]) -> None:
        """Take a part of the slot."""
        ...

    def end(self, state: Mapping[str, Any] | None, error: BaseException | None) -> None:
        """The slot has passed, waits for a person, or broke off."""
        ...


@dataclass(frozen=True)
class Trace:
    """Runs slots as `ainvoke` does and tells the sinks how they go."""

    sinks: tuple[Sink, ...]

    async def run_slot(
        self, graph: SlotGraph, given: SlotInput | Command[Any], config: RunnableConfig, slot: int
    ) -> dict[str, Any]:
        """Run one slot, or go on with it; return the state, with `__interrupt__` where a person is asked."""
        state: dict[str, Any] = {}
        interrupts: list[Any] = []
        error: BaseException | None = None
        callbacks = [callback for sink in self.sinks for callback in sink.callbacks]
        for sink in self.sinks:
            sink.begin(slot)
        try:
            async for part in graph.astream(
                given,
                {**config, "callbacks": callbacks} if callbacks else config,
                durability=DURABILITY,
                stream_mode=["tasks", "custom", "values"],
                version="v2",
            ):
                if part["type"] == "values":
                    state = dict(part["data"])
                    interrupts += part["interrupts"]
                    continue
                for sink in self.sinks:
                    sink.part(slot, part)
        except BaseException as raised:
            error = raised
            raise
        finally:
            for sink in self.sinks:
                sink.end(state, error)
        return {**state, "__interrupt__": interrupts} if interrupts else state


class TraceFile:
    """A trace on disk. A run that goes on after a kill goes on in the same file."""

    def __init__(
        self, path: Path, run: str, *, secrets: Secrets = NO_SECRETS, clock: Callable[[], float] = time.time
    ) -> None:
        """Open the file, or create it; a torn last line goes.

        Args:
            path: of the file.
            run: named in each line.
            secrets: that must not get into the file.
            clock: seconds since 1970.

        Raises:
            InputError: the file cannot be written.
        """
        self.path, self._run, self._clock, self._secrets = path, run, clock, secrets
        self.callbacks: list[BaseCallbackHandler] = []
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            os.ftruncate(self._file, _whole(self._file))
        except OSError as error:
            raise refusal(f"{path}: the trace cannot be written", error) from None

    def begin(self, slot: int) -> None:
        """Nothing to write."""

    def part(self, slot: int, part: Mapping[str, Any]) -> None:
        """Write one line; after a failure to write, which is logged, no more: a run does not stop for its trace."""
        if self._file < 0:
            return
        line = {
            "trace": VERSION,
            "run": self._run,
            "slot": slot,
            "at": round(self._clock(), 3),
            "type": part["type"],
            "ns": part["ns"],
            "data": _without_state(part["data"]),
        }
        text = redact(self._secrets.strike(json.dumps(line, separators=(",", ":"), default=str)))
        data = text.encode() + b"\n"
        try:
            if os.write(self._file, data) == len(data):
                return
            why = "the disk is full"
        except OSError as error:
            why = error.strerror or str(error)
        _log.warning("%s: the trace breaks off in slot %d: %s", self.path, slot, why)
        self.close()

    def end(self, state: Mapping[str, Any] | None, error: BaseException | None) -> None:
        """Nothing to write: the parts have said it."""

    def close(self) -> None:
        """Close the file; closing twice is no harm."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_trace(path: Path) -> Iterator[TracePart]:
    """Yield the lines of a trace in order, without a torn last one.

    A slot that was begun again after a kill appears again, from its first node on.

    Raises:
        InputError: the file cannot be read, or a line is no part of a trace.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    entry = json.loads(line)
                    if entry["trace"] != VERSION:
                        raise ValueError
                    yield TracePart(
                        run=entry["run"],
                        slot=entry["slot"],
                        at=entry["at"],
                        type=entry["type"],
                        ns=tuple(entry["ns"]),
                        data=entry["data"],
                    )
                except (KeyError, TypeError, ValueError, RecursionError):
                    raise InputError(f"{path}, line {number}: no line of a trace of version {VERSION}.") from None
    except OSError as error:
        raise refusal(f"{path}: the trace cannot be read", error) from None


@asynccontextmanager
async def open_trace(
    path: Path | None, run: str, environ: Mapping[str, str], clock: Callable[[], float] = time.time
) -> AsyncIterator[Trace | None]:
    """Open what is asked for: a file where there is a path, spans where the environment names a collector.

    Yields None where neither is.

    Args:
        path: of the file, or None.
        run: name of the run.
        environ: usually `os.environ`; its secrets are kept out of the file.
        clock: seconds since 1970.

    Raises:
        InputError: the file cannot be written.
    """
    sinks: list[Sink] = []
    file = TraceFile(path, run, secrets=Secrets.of(environ), clock=clock) if path is not None else None
    if file is not None:
        sinks.append(file)
    spans = None
    if environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        from graph.trace.spans import open_spans  # only here, so that other runs import nothing of OpenTelemetry

        spans = open_spans(run)
        if spans is not None:
            sinks.append(spans)
    try:
        yield Trace(tuple(sinks)) if sinks else None
    finally:
        if file is not None:
            file.close()
        if spans is not None:
            await asyncio.to_thread(spans.close)


def _without_state(data: Any) -> Any:
    if isinstance(data, Mapping) and isinstance(given := data.get("input"), Mapping) and "decisions" in given:
        return {key: value for key, value in data.items() if key != "input"}
    return data


def _whole(file: int) -> int:
    """Return where the last whole line ends."""
    end = os.fstat(file).st_size
    while end:
        start = max(0, end - 65536)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
