"""What the streams of a workload file have in common: prompts of a request, and where requests come from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from twin.files import FileModel

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
