"""What came out of a what-if, as `whatif.json` holds it and as tables and the figure show it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from runtime.results.summary import Telemetry

WHATIF = "whatif.json"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Check(_Model):
    """The run again, as it was decided, in the twin: how far the twin is from where the run took place."""

    how: Literal["decisions", "rules"]
    """Whether the recorded decisions were carried out again, or the recorded rules decided again."""
    exact: bool
    """True where every record is the same, bit by bit."""
    telemetry: list[Telemetry]
    """Seed by seed."""
    figures: dict[str, float | None]
    """Mean over the seeds."""


class Change(_Model):
    """One figure: what it was, what it would have been, and an interval around the difference."""

    figure: str
    base: float | None
    """In the twin under what was decided; as recorded where the twin was not checked."""
    other: float | None
    difference: float | None
    low: float | None
    high: float | None


class Replay(_Model):
    """The requests again under other rules, or on another testbed."""

    family: str
    telemetry: list[Telemetry]
    """Seed by seed."""
    decided_by: dict[str, dict[str, int]]
    """Of the first seed."""
    changes: list[Change]
    notes: list[str] = []
    """Sentences that belong above its numbers."""


class WhatIf(_Model):
    """`whatif.json`."""

    run: str
    """Name of the run folder."""
    testbed: str
    workload: str
    load: float
    slots: int
    seeds: list[int]
    lms: list[str]
    latency_weight: float
    deadline_s: float
    serving: str = ""
    """What was not P1's in how requests were served in the recording, in words."""
    recorded: str
    """Family that was recorded, with which the others are compared."""
    recorded_as: str = ""
    """What it is called: its code, and the share that agents decided where that is small."""
    recorded_figures: dict[str, float | None]
    """Mean over the seeds."""
    requests: int
    """Of all seeds, that are played again."""
    missing: int
    """Of all seeds, that have no record and cannot be played again."""
    edits: list[str]
    """What is changed of the testbed, in words; empty where nothing is."""
    moves: dict[str, list[str]]
    """Node that is gone, to the nodes where its requests come in."""
    notes: list[str]
    """That the recording has about itself."""
    check: Check | None
    unchecked: str | None
    """Why there is no check."""
    replays: list[Replay]
    block_slots: int
    confidence: float

    def to_json(self) -> str:
        """Return the text of `whatif.json`."""
        return self.model_dump_json(indent=1) + "\n"

    @property
    def error(self) -> dict[str, float]:
        """How far the twin is from the recording, by figure; empty where it is exact or was not checked."""
        if self.check is None or self.check.exact:
            return {}
        return {
            name: value - told
            for name, value in self.check.figures.items()
            if value is not None and (told := self.recorded_figures[name]) is not None
        }
