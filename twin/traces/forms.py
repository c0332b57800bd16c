"""The forms of traces that are known by name: which of their columns says what.

A new one is an entry of `FORMS`, a row of the table in docs/workloads.md and a test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from domain.errors import InputError
from twin.sentences import did_you_mean
from twin.traces.clock import Unit

RequestKind = Literal["azure", "gentd26", "burstgpt", "mooncake", "vllm", "aiperf", "plain"]
Kind = Literal[RequestKind, "servegen"]
Role = Literal["time", "time_s", "node", "lm", "prompts"]
ROLES: tuple[Role, ...] = ("time", "time_s", "node", "lm", "prompts")
"""What a column of a plain trace may say; `time_s` counts from the start of the run, `time` is any clock."""


@dataclass(frozen=True, slots=True)
class Form:
    """Which column of a trace says what; names are those of the file."""

    kind: RequestKind
    time: str
    unit: Unit | None = None
    """Of numbers in `time`; None: seconds, or as their size says."""
    of_run: bool = False
    """True where `time` counts seconds from the start of the run."""
    counts: tuple[str, ...] = ()
    """Columns that must hold whole numbers from 0 up, such as tokens."""
    prompts: str | None = None
    """Prompts of a request; None: one each."""
    names: tuple[str, ...] = ()
    """Columns that must not be empty."""
    node: str | None = None
    lm: str | None = None
    """Name of a model; where the file has the column."""
    outcome: str | None = None
    """What became of a request; counted, and said."""
    answer: str | None = None
    """Tokens of the answer; requests without any are counted, and said."""
    notes: tuple[str, ...] = ()

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that a file of this form must have."""
        own = (self.time, *self.counts, self.prompts, *self.names, self.outcome)
        return tuple(dict.fromkeys(name for name in own if name is not None))


FORMS: dict[RequestKind, Form] = {
    # github.com/Azure/AzurePublicDataset: AzureLLMInferenceDataset2023 and 2024, AzureLMMInferenceDataset2025.
    "azure": Form("azure", "TIMESTAMP", counts=("ContextTokens", "GeneratedTokens")),
    # github.com/alibaba/clusterdata, cluster-trace-v2026-GenAI. A request that arrived is demand whatever became of it.
    "gentd26": Form(
        "gentd26",
        "gmt_create",
        names=("predict_type",),
        outcome="predict_status",
        prompts="num_images_per_prompt",
    ),
    # github.com/HPMLL/BurstGPT: seconds from midnight of the first day; failures have no response tokens.
    "burstgpt": Form(
        "burstgpt",
        "Timestamp",
        "s",
        counts=("Request tokens", "Response tokens"),
        names=("Model",),
        lm="Model",
        answer="Response tokens",
    ),
    # github.com/kvcache-ai/Mooncake, FAST25-release/traces: milliseconds from the start.
    "mooncake": Form("mooncake", "timestamp", "ms", counts=("input_length", "output_length")),
    # vllm bench serve --save-result --save-detailed: seconds of a clock that runs on.
    "vllm": Form("vllm", "start_times", "s", counts=("input_lens", "output_lens"), lm="model_id", answer="output_lens"),
    # github.com/ai-dynamo/aiperf, profile_export.jsonl: nanoseconds of Unix time.
    "aiperf": Form("aiperf", "metadata.request_start_ns", "ns"),
}
KINDS: tuple[Kind, ...] = (*FORMS, "servegen", "plain")
SERVEGEN = ("model", "client", "window_start_s", "rate_per_s", "distribution", "shape")
"""Columns of ServeGen's rates."""
_ALIKE: dict[Role, tuple[str, ...]] = {
    "time": ("timestamp", "time", "ts", "arrival", "arrival_time", "arrived_at", "start_time", "created_at", "date",
             "datetime", "request_time", "arrival_timestamp"),
    "lm": ("lm", "model", "model_name", "model_id", "llm"),
    "node": ("node", "origin", "site", "region", "server", "host"),
    "prompts": ("prompts", "batch", "batch_size", "num_prompts", "num_images", "images"),
}  # fmt: skip
"""How people call the columns of a plain trace; only used to propose."""


def kind_of(path: Path, columns: Sequence[str], renamed: Mapping[Role, str] | None = None) -> Kind:
    """Return the kind of a trace from its columns; raises InputError where it is none that is known.

    Whoever names the columns says that it is a plain one.
    """
    there, small = set(columns), {name.lower() for name in columns}
    if renamed or (not any(set(form.required) <= there for form in FORMS.values()) and small & {"time", "time_s"}):
        return "plain"
    for kind, form in FORMS.items():
        if set(form.required) <= there:
            return kind
    if set(SERVEGEN) <= there:
        return "servegen"
    known = "; ".join(f"{kind}: {', '.join(form.required)}" for kind, form in FORMS.items())
    raise InputError(
        f"{path}:1: its columns ({few(columns)}) are those of no known trace. {_proposal(columns)} "
        f"Known are {known}; servegen: {', '.join(SERVEGEN)}; plain: time or time_s."
    )


def form_of(path: Path, kind: RequestKind, columns: Sequence[str], renamed: Mapping[Role, str] | None = None) -> Form:
    """Return the form of a file; raises InputError where it lacks a column of its kind."""
    if kind == "plain":
        return _plain(path, columns, renamed or {})
    form = FORMS[kind]
    missing = [name for name in form.required if name not in columns]
    if missing:
        raise InputError(
            f"{path}:1: the header must have the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"it has {few(columns)}."
        )
    return form


def column_named(name: str, columns: Sequence[str]) -> str | None:
    """Return the column of this name, or the only one that differs in capitals alone; None where there is none."""
    if name in columns:
        return name
    alike = [column for column in columns if column.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


def _plain(path: Path, columns: Sequence[str], renamed: Mapping[Role, str]) -> Form:
    found: dict[Role, str] = {}
    for role, name in renamed.items():
        column = column_named(name, columns)
        if column is None:
            meant = did_you_mean(name, columns) or "."
            raise InputError(f"{path}:1: there is no column {name!r} for {role}; it has {few(columns)}{meant}")
        found[role] = column
    for role in ROLES:
        column = column_named(role, columns)
        if role not in found and column is not None and column not in found.values():
            found[role] = column
    of_run = "time_s" in found and "time" not in renamed
    time = found.get("time_s" if of_run else "time")
    if time is None:
        raise InputError(f"{path}:1: a plain trace must have the column time or time_s. {_proposal(columns)}")
    missing: tuple[Role, ...] = tuple(role for role in ("node", "lm", "prompts") if role not in found)
    return Form(
        "plain",
        time,
        of_run=of_run,
        prompts=found.get("prompts"),
        names=tuple(found[role] for role in ("node", "lm") if role in found),
        node=found.get("node"),
        lm=found.get("lm"),
        notes=tuple(_missing(role, [name for name in columns if name not in found.values()]) for role in missing),
    )


def _missing(role: Role, columns: Sequence[str]) -> str:
    effect = {
        "node": "origins are drawn",
        "lm": "the workload says which LM gets the requests",
        "prompts": "each request has one prompt",
    }[role]
    close = next((name for name in columns if name.lower() in _ALIKE[role] or did_you_mean(role, [name])), None)
    meant = "" if close is None else f" ({close!r} may be it: columns {role}={close})"
    return f"no column {role}, so {effect}{meant}"


def _proposal(columns: Sequence[str]) -> str:
    """How to name the columns, with those that look like it."""
    found: dict[Role, str] = {}
    for role, names in _ALIKE.items():
        column = next((c for name in names for c in columns if c.lower().split(".")[-1] == name), None)
        if column is not None and column not in found.values():
            found[role] = column
    if "time" not in found:
        found = {"time": "COLUMN", **found}
    flag = ",".join(f"{role}={name}" for role, name in found.items())
    field = ", ".join(f"{role}: {name}" for role, name in found.items())
    return f"Say which is which: --columns '{flag}', or in a workload file columns: {{{field}}}."


def few(columns: Sequence[str]) -> str:
    """Return the first names of columns, for a sentence."""
    return ", ".join(name[:60] for name in columns[:12]) + (", …" if len(columns) > 12 else "")
