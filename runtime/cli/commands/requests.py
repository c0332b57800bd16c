"""What run and compare are asked to do: as it was written, as text to go on by, and in the name of the run folder."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from domain.errors import InputError
from policies.families import FAMILIES
from runtime.agents.request import AgentRequest
from runtime.runs.settings import DEFAULT_EPOCHS, Settings
from twin.testbeds import ServingEdit
from twin.workloads import builtin_names as builtin_workloads

MOST_NAMED = 4
"""Families that the name of a run folder spells out."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for, as it was written."""

    testbed: str = "bristol"
    workload: str = "p1"
    load: float = 1.0
    families: Sequence[str] = ()
    """Codes or comma-separated lists of them; none means all."""
    seeds: str = "1"
    epochs: int | None = None
    slots: int | None = None
    latency_weight: float | None = None
    out: Path | None = None
    agents: AgentRequest | None = None
    """None: families of rules in the plain slot loop."""
    serving: ServingEdit = ServingEdit()
    """In place of the testbed's settings."""


def to_resume(request: Request) -> str:
    """Return the text by which a stopped run can be gone on with from any folder; it holds no address of a memory."""
    workload = request.workload if request.workload in builtin_workloads() else _absolute(request.workload)
    testbed = _absolute(request.testbed) if request.testbed.endswith((".yaml", ".yml")) else request.testbed
    request = dataclasses.replace(request, testbed=testbed, workload=workload, out=None)
    if request.agents is not None:
        request = dataclasses.replace(request, agents=_agents_anywhere(request.agents))
    return TypeAdapter(Request).dump_json(request).decode()


def read_request(text: str, run: Path) -> Request:
    """Read what `to_resume` wrote for a run; raises InputError where that is damaged."""
    try:
        return TypeAdapter(Request).validate_json(text)
    except ValidationError:
        raise InputError(
            f"{run}: what the run was asked for is damaged; give the command that began it, with the same options."
        ) from None


def _agents_anywhere(agents: AgentRequest) -> AgentRequest:
    kind, given, file = (agents.llm or "").partition("=")
    memory = agents.memory
    return dataclasses.replace(
        agents,
        llm=f"{kind}={_absolute(file)}" if given and file else agents.llm,
        prices=_path(agents.prices),
        tape=_path(agents.tape),
        replay_tape=_path(agents.replay_tape),
        memory=None if memory is None or "://" in memory else _absolute(memory),  # a URI may hold a password
    )


def _path(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def folder_name(request: Request, settings: Settings) -> str:
    """Return the name of the run folder where nobody gives one: what was asked for, as far as it is not the usual."""
    families, seeds = settings.families, settings.seeds
    agents, usual = request.agents or AgentRequest(), DEFAULT_EPOCHS * settings.epoch_slots
    words = [
        settings.testbed,
        settings.workload,
        f"x{request.load:g}" if request.load != 1.0 else "",
        "-".join(families) if len(families) <= MOST_NAMED and set(families) != set(FAMILIES) else "",
        agents.model or "",
        *_serving(request.serving),
        f"lambda{request.latency_weight:g}" if request.latency_weight is not None else "",
        "" if request.epochs is None or settings.slots == usual else f"{request.epochs}epochs",
        "" if request.slots is None or settings.slots == usual else f"{request.slots}slots",
        f"seed{seeds[0]}" if len(seeds) == 1 else f"{len(seeds)}seeds",
    ]
    return re.sub(r"[^\w.+-]+", "_", "-".join(word for word in words if word))


def _serving(edit: ServingEdit) -> list[str]:
    told = [edit.dispatch or "", "" if edit.news_s is None else f"news{edit.news_s:g}"]
    told.append("" if edit.batching is None else f"batch-{edit.batching}")
    return [*told, "" if edit.copies is None else "copies" if edit.copies else "no-copies"]
