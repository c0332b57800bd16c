"""What a workload file says: its fields, their units and defaults. `docs/workloads.md` explains them with examples."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from twin.files import FileModel
from twin.traces import MALFORMED

Positive = Annotated[float, Field(gt=0, le=1e9)]
NotNegative = Annotated[float, Field(ge=0, le=1e12)]
Share = Annotated[float, Field(ge=0, le=1)]
Prompts = Annotated[int, Field(ge=1, le=1000)]
Weights = Annotated[dict[str, NotNegative], Field(min_length=1)]
"""Weight by name; a name that is not there has weight 0."""


class FixedPrompts(FileModel):
    """Each request has the same number of prompts."""

    kind: Literal["fixed"]
    prompts: Prompts


class UniformPrompts(FileModel):
    """low … high prompts, each as likely."""

    kind: Literal["uniform"]
    low: Prompts = 1
    high: Prompts = 8

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"must have low up to high, not low {self.low} above high {self.high}")
        return self


class GeometricPrompts(FileModel):
    """Geometric from 1 up, cut off above `most`."""

    kind: Literal["geometric"]
    mean: Annotated[float, Field(gt=1, le=1000)]
    """Mean before the cut."""
    most: Prompts = 8


class WeightedPrompts(FileModel):
    """The weight of 1 prompt, of 2, and so on."""

    kind: Literal["weights"]
    weights: Annotated[list[NotNegative], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if not sum(self.weights):
            raise ValueError("must have a weight above 0")
        return self


class ColumnPrompts(FileModel):
    """A column of the trace says how many."""

    kind: Literal["column"]
    column: str


AnyPrompts = Annotated[FixedPrompts | UniformPrompts | GeometricPrompts | WeightedPrompts, Field(discriminator="kind")]
TracePrompts = Annotated[
    FixedPrompts | UniformPrompts | GeometricPrompts | WeightedPrompts | ColumnPrompts, Field(discriminator="kind")
]


class EvenOrigins(FileModel):
    """Every node as likely."""

    kind: Literal["even"]


class NodeOrigins(FileModel):
    """One node gets all."""

    kind: Literal["node"]
    node: str


class WeightedOrigins(FileModel):
    """Nodes by weight."""

    kind: Literal["weights"]
    nodes: Weights


class NodePoint(FileModel):
    """Weights of nodes at a second of the run."""

    at_s: NotNegative
    nodes: Weights


class MovingOrigins(FileModel):
    """Weights of nodes that move: linear between points, constant before the first and after the last."""

    kind: Literal["moving"]
    points: Annotated[list[NodePoint], Field(min_length=1)]


class HotSpotOrigins(FileModel):
    """A share of all requests falls on a few neighbouring nodes; the spot walks around all nodes in their order."""

    kind: Literal["hot_spot"]
    share: Share = 0.5
    """Share of the requests that the spot gets; the rest is even over all nodes."""
    nodes: Annotated[int, Field(ge=1)] = 1
    """Nodes that the spot covers at a time."""
    stay_s: Positive = 7200.0
    """Seconds from one place to the next; the share fades over linearly."""


class HashOrigins(FileModel):
    """Each value of a column, such as a user, has its own node, by a hash of the value and the seed."""

    kind: Literal["hash"]
    column: str
    nodes: Weights | None = None
    """How likely each node is to be chosen; None: all alike."""


AnyOrigins = Annotated[
    EvenOrigins | NodeOrigins | WeightedOrigins | MovingOrigins | HotSpotOrigins, Field(discriminator="kind")
]
TraceOrigins = Annotated[
    EvenOrigins | NodeOrigins | WeightedOrigins | MovingOrigins | HotSpotOrigins | HashOrigins,
    Field(discriminator="kind"),
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


class Where(FileModel):
    """A condition on a column; a row counts where all that is given holds."""

    column: str
    min: float | None = None
    """At least this number."""
    below: float | None = None
    """Less than this number."""
    one_of: Annotated[list[str], Field(min_length=1)] | None = None
    """Exactly one of these texts."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.min is None and self.below is None and self.one_of is None:
            raise ValueError("must have min, below or one_of")
        return self


class Playback(FileModel):
    """How the time of a file maps to the time of the run."""

    path: str
    """The file, relative to the folder of the workload file."""
    start_s: NotNegative = 0.0
    """Second of the file at which the run begins."""
    time_scale: Annotated[float, Field(ge=1e-6, le=1e4)] = 1.0
    """Seconds of the file that pass in one second of the run: 10 is ten times as fast, 0.1 ten times as slow."""
    rate_scale: Annotated[float, Field(gt=0, le=1e4)] = 1.0
    """How many times the requests."""
    repeat: bool = False
    """Begin again at start_s when the file is over."""
    max_malformed: Share = MALFORMED
    """Share of malformed rows up to which the file is taken."""


class TraceEntry(Playback):
    """The requests of a trace: Azure, GenTD26 or plain CSV."""

    kind: Literal["trace"]
    format: Literal["azure", "gentd26", "plain"] | None = None
    """None: as the header says."""
    lm: str | None = None
    """LM that gets the requests; a plain CSV has a column for it."""
    where: list[Where] = []
    """Which rows count; None given: all."""
    prompts: TracePrompts | None = None
    """None: as the trace says (Azure: 1)."""
    origins: TraceOrigins | None = None
    """None: as the trace says, else even."""


class ServeGenEntry(Playback):
    """Renewal processes at the rates of ServeGen's clients."""

    kind: Literal["servegen"]
    model: str
    """Model of the file whose clients count."""
    clients: Annotated[list[str], Field(min_length=1)] | None = None
    """Clients that count; None: all of the model."""
    lm: str
    prompts: AnyPrompts = FixedPrompts(kind="fixed", prompts=1)
    origins: TraceOrigins = HashOrigins(kind="hash", column="client")


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
