"""What a workload file says: its fields, their units and defaults. `docs/workloads.md` explains them with examples."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from twin.files import FileModel
from twin.workloads.schema_parts import (
    AnyOrigins,
    AnyPrompts,
    ColumnPrompts,
    EvenOrigins,
    FixedPrompts,
    GeometricPrompts,
    HashOrigins,
    HotSpotOrigins,
    MovingOrigins,
    NodeOrigins,
    NotNegative,
    Positive,
    Prompts,
    Share,
    UniformPrompts,
    WeightedOrigins,
    WeightedPrompts,
    Weights,
)
from twin.workloads.schema_traces import Playback, ServeGenEntry, TraceEntry

__all__ = [
    "ColumnPrompts",
    "EvenOrigins",
    "FixedPrompts",
    "GeometricPrompts",
    "HashOrigins",
    "HotSpotOrigins",
    "MovingOrigins",
    "NodeOrigins",
    "P1Entry",
    "Playback",
    "PoissonEntry",
    "ServeGenEntry",
    "TraceEntry",
    "UniformPrompts",
    "WeightedOrigins",
    "WeightedPrompts",
    "WorkloadFile",
]


class P1Entry(FileModel):
    """P1 section V-B: in each slot, each node receives at most one request of each LM."""

    kind: Literal["p1"]
    lms: Annotated[list[str], Field(min_length=1)] | None = None
    """LMs that get requests; None: all of the cluster."""
    most_prompts: Prompts = 8
    """K is uniform in 0 … most_prompts; 0 is no request."""
    spread_s: Positive | None = None
    """Requests come uniformly in the first spread_s seconds of a slot; None: in all of it."""


class RatePoint(FileModel):
    """Factor of the rate at a second of the run."""

    at_s: NotNegative
    factor: NotNegative


class LmPoint(FileModel):
    """Weights of LMs at a second of the run."""

    at_s: NotNegative
    lms: Weights


class WaveSpec(FileModel):
    """Day and night: the rate times 1 + amplitude * cos(2 pi (t - peak_s) / period_s)."""

    amplitude: Share = 0.5
    period_s: Positive = 86400.0
    peak_s: NotNegative = 0.0
    """Second of the run at which the rate is highest."""


class BurstSpec(FileModel):
    """Quiet and burst take turns, each for an exponential time; the mean rate stays what it is."""

    quiet_s: Positive
    """Mean seconds of quiet."""
    burst_s: Positive
    """Mean seconds of a burst."""
    ratio: Annotated[float, Field(gt=1, le=1e4)]
    """Rate in a burst over the rate in quiet."""


class PoissonEntry(FileModel):
    """A Poisson process whose rate, LMs and origins may move."""

    kind: Literal["poisson"]
    rate_s: Positive | None = None
    """Requests per second of the whole cluster; give this or rate_per_node_s."""
    rate_per_node_s: Positive | None = None
    """Requests per second for each node of the cluster; where they arrive, `origins` says."""
    lms: Weights | None = None
    """Weights of LMs; None: all alike."""
    lm_points: Annotated[list[LmPoint], Field(min_length=1)] | None = None
    """Weights of LMs that move, instead of lms."""
    prompts: AnyPrompts = UniformPrompts(kind="uniform")
    origins: AnyOrigins = EvenOrigins(kind="even")
    rate_points: Annotated[list[RatePoint], Field(min_length=1)] | None = None
    """Factor of the rate, linear between points."""
    wave: WaveSpec | None = None
    bursts: BurstSpec | None = None

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if (self.rate_s is None) == (self.rate_per_node_s is None):
            raise ValueError("must have rate_s or rate_per_node_s, one of the two")
        if self.lms is not None and self.lm_points is not None:
            raise ValueError("must have lms or lm_points, not both")
        return self


class WorkloadFile(FileModel):
    """A workload: the sum of its streams."""

    description: str = ""
    load: Positive = 1.0
    """Factor of the requests of all streams."""
    slots: Annotated[int, Field(ge=1)] | None = None
    """Slots after which no more requests come; None: when the streams are over."""
    streams: Annotated[
        list[Annotated[P1Entry | PoissonEntry | TraceEntry | ServeGenEntry, Field(discriminator="kind")]],
        Field(min_length=1),
    ]
