"""What a workload file says of a stream that is played from a file of real traffic."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from twin.files import FileModel
from twin.traces import MALFORMED, RequestKind, Role, Unit
from twin.workloads.schema_parts import (
    AnyPrompts,
    FixedPrompts,
    HashOrigins,
    NotNegative,
    Share,
    TraceOrigins,
    TracePrompts,
)


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
    """The requests of a trace: one of the public ones that are known by name, or a plain table."""

    kind: Literal["trace"]
    format: RequestKind | None = None
    """None: as the columns say."""
    columns: Annotated[dict[Role, str], Field(min_length=1)] | None = None
    """Which column of a plain table says what, where their names are others."""
    time_unit: Unit | None = None
    """Of times that are numbers; None: seconds, or as their size says."""
    lm: str | None = None
    """LM that gets the requests; None: as the trace says."""
    lms: Annotated[dict[str, str], Field(min_length=1)] | None = None
    """What the trace says to LM, where the names are others."""
    nodes: Annotated[dict[str, str], Field(min_length=1)] | None = None
    """What the trace says to node, where the names are others."""
    where: list[Where] = []
    """Which rows count; None given: all."""
    prompts: TracePrompts | None = None
    """None: as the trace says, else 1."""
    origins: TraceOrigins | None = None
    """None: as the trace says, else even."""

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if self.lm is not None and self.lms is not None:
            raise ValueError("must have lm or lms, not both")
        if self.origins is not None and self.nodes is not None:
            raise ValueError("must have origins or nodes, not both")
        return self


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
