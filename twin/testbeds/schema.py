"""What a testbed file may hold: the fields, their ranges, and where each number comes from.

A number is written plain (`24`) or with its source (`{value: 3.9, kind: measured, source: zen4}`), so that a reader
of the file, and of a result that rests on it, can tell a measurement from a guess.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_serializer, model_validator

from domain.large_model import Modality
from domain.serving import Batching, Dispatch
from twin.files import FileModel, WholeKey

Kind = Literal["measured", "published", "estimated"]
FieldSteps = tuple[str | int, ...]
Problem = tuple[FieldSteps, str]
"""Field path, and what would be right there as it goes on from the field's name."""
MOST_NODES = 5000
"""Workers in one testbed; the network is kept as two dense N x N tables."""
MOST_CONTROL_NODES = 100
MOST_LMS = 64


class Quantity(FileModel):
    """A number and where it comes from; a plain number in the file has neither kind nor source."""

    value: float
    kind: Kind | None = None
    source: str | None = None
    """A sentence, or the name of an entry of the testbed's `sources`."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, content: Any) -> Any:
        return content if isinstance(content, dict) else {"value": content}

    @model_serializer
    def _short(self) -> int | float | dict[str, Any]:
        number = int(self.value) if self.value.is_integer() and abs(self.value) < 1e15 else self.value
        return number if self.kind is None else {"value": number, "kind": self.kind, "source": self.source}

    @model_validator(mode="after")
    def _whole(self) -> Quantity:
        if (self.kind is None) != (self.source is None):
            raise ValueError("must have both 'kind' and 'source', or neither")
        return self


def _number(wanted: str, is_right: Callable[[float], bool]) -> AfterValidator:
    def check(quantity: Quantity) -> Quantity:
        if not is_right(quantity.value):
            raise ValueError(f"must be {wanted}, not {quantity.value:g}")
        return quantity

    return AfterValidator(check)


def _text(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError(f"must be one line of text, not {text!r}")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[^\W_][\w. -]{0,62}", text):
        raise ValueError(
            f"must be 1 to 63 letters, digits, '.', '_', '-' or spaces, the first a letter or digit, not {text!r}"
        )
    return text


Text = Annotated[str, AfterValidator(_text)]
Name = Annotated[str, AfterValidator(_name)]
# Upper bounds far beyond any hardware keep quotients and sums of these finite.
Positive = Annotated[Quantity, _number("more than 0 and at most 1e12", lambda v: 0 < v <= 1e12)]
NotNegative = Annotated[Quantity, _number("from 0 to 1e12", lambda v: 0 <= v <= 1e12)]
SlotLength = Annotated[Quantity, _number("from 0.001 to 1e12", lambda v: 1e-3 <= v <= 1e12)]
Weight = Annotated[Quantity, _number("from 0 to 1", lambda v: 0 <= v <= 1)]
Bandwidth = Annotated[Quantity, _number("from 1e-6 to 1e6", lambda v: 1e-6 <= v <= 1e6)]
Points = dict[Annotated[WholeKey, Field(ge=1, le=1024)], Positive]
"""Seconds by cores."""
Curve = dict[Annotated[WholeKey, Field(ge=1, le=1024)], Positive]
"""What a batch takes by its prompts, in units of what one prompt takes."""


def _cores(content: Any) -> Any:
    """Read cores as Kubernetes writes them: 4, 3.92, the same between quotes, or 3920m, which are thousandths."""
    if not isinstance(content, str):
        return content
    number = re.fullmatch(r"(\d{1,9})m|(\d{1,4}(?:\.\d{1,3})?)", content)
    if number is None:
        raise ValueError(f"must be a number of cores, such as 4, 3.92 or 3920m, not {content!r}")
    return int(number[1]) / 1000 if number[1] else float(number[2])


def _allocatable(cores: float) -> float:
    if not 0.001 <= cores <= 1024:
        raise ValueError(f"must be from 0.001 to 1024, not {cores:g}")
    if abs(cores * 1000 - round(cores * 1000)) > 1e-6:
        raise ValueError(f"must be whole thousandths of a core, as Kubernetes has them, not {cores:g}")
    return round(cores, 3)


def _plain(number: float) -> int | float:
    return int(number) if number.is_integer() else number


Cores = Annotated[float, BeforeValidator(_cores), AfterValidator(_allocatable), PlainSerializer(_plain)]
"""Allocatable cores of a node."""


def _several(content: Any) -> Any:
    return (content,) if isinstance(content, str) else tuple(content) if isinstance(content, list) else content


def _once(modalities: tuple[Modality, ...]) -> tuple[Modality, ...]:
    if len(set(modalities)) < len(modalities):
        raise ValueError("must name each modality once")
    return modalities


def _one_or_list(modalities: tuple[Modality, ...]) -> str | list[str]:
    return modalities[0] if len(modalities) == 1 else list(modalities)


Modalities = Annotated[
    tuple[Modality, ...],
    Field(min_length=1),
    BeforeValidator(_several),
    AfterValidator(_once),
    PlainSerializer(_one_or_list),
]
"""One modality, or a list of several."""


class GpuSpeed(FileModel):
    """Seconds per prompt on one GPU model: fixed_s on the host, compute_s with kernels on the GPU."""

    fixed_s: NotNegative
    compute_s: Positive
    batch: Curve = {}
    """Empty: one prompt at a time."""


class ServingEntry(FileModel):
    """How requests are served: the fields of `domain.serving.Serving`, P1's where they are left out."""

    dispatch: Dispatch = Dispatch.FIXED
    news_s: NotNegative = Quantity(value=0.0)
    batching: Batching = Batching.NONE
    copies: bool = False


class NodeEntry(FileModel):
    """One node. Nodes with role `control` run the control plane and serve no prompts."""

    name: Name
    role: Literal["worker", "control"] = "worker"
    site: Name
    cpu_model: Text
    cpu_cores: Cores
    """Allocatable; the whole ones are given to LMs."""
    ram_gb: Positive
    gpu_model: Text | None = None
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    vgpus_per_gpu: Annotated[int, Field(ge=1, le=64)] = 1
    vram_gb: NotNegative | None = None
    """All GPUs of the node together, each with the same part."""
    unified_memory: bool = False
    """True where CPU and GPUs use one memory, `ram_gb`."""
    mig: bool = False
    """True where the GPUs are MIG slices: a pod has one of them at most."""
    source: Text | None = None
    """Where the plain numbers of this entry come from."""

    @property
    def whole_cores(self) -> int:
        """Cores that can be given to LMs."""
        return math.floor(self.cpu_cores)


class LmEntry(FileModel):
    """One LM."""

    name: Name
    model: Text
    modality_in: Modalities
    modality_out: Modality
    ram_gb: Positive
    vram_gb: NotNegative | None = None
    """With gpu_profiles, it and start_gpu_s must be given."""
    unified_gb: Positive | None = None
    """What a pod on vGPUs holds where CPU and GPUs use one memory; None where that is ram_gb and vram_gb in sum."""
    gpu_only: bool = False
    host_cores: Annotated[int, Field(ge=0, le=1024)] = 1
    image_gb: NotNegative
    uplink_bytes: NotNegative
    downlink_bytes: NotNegative
    start_cpu_s: NotNegative | None = None
    """Must be given where the LM can run on a CPU."""
    start_gpu_s: NotNegative | None = None
    stop_s: NotNegative
    cpu_profiles: dict[Text, Points] = {}
    """CPU model to {cores: seconds per prompt}; an empty table says that the LM does not run there."""
    cpu_batch: dict[Text, Curve] = {}
    """CPU model to what a batch takes, on any number of cores."""
    gpu_profiles: dict[Text, GpuSpeed] = {}
    source: Text | None = None


class LinkEntry(FileModel):
    """What lies between two sites (the same one twice: within it) or, stronger, between two nodes."""

    sites: tuple[str, str] | None = None
    nodes: tuple[str, str] | None = None
    one_way: bool = False
    """True where it holds only from the first to the second."""
    latency_s: NotNegative
    """One way."""
    gbit_per_s: Bandwidth
    """What one transfer gets, 1e9 bits a second."""

    @model_validator(mode="after")
    def _ends(self) -> LinkEntry:
        if (self.sites is None) == (self.nodes is None):
            raise ValueError("must have either 'sites' or 'nodes', two names each")
        return self


class TestbedFile(FileModel):
    """A whole testbed file."""

    name: Name
    source: Text | None = None
    sources: dict[Name, Text] = {}
    """Sources that several numbers share, by a short name."""
    slot_s: SlotLength = Quantity(value=30.0)
    epoch_slots: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    deadline_s: Positive = Quantity(value=900.0)
    latency_weight: Weight = Quantity(value=0.5)
    pending_timeout_s: Positive = Quantity(value=300.0)
    serving: ServingEntry = ServingEntry()
    sites: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MOST_NODES)]
    links: tuple[LinkEntry, ...] = ()
    nodes: Annotated[tuple[NodeEntry, ...], Field(min_length=1)]
    lms: Annotated[tuple[LmEntry, ...], Field(min_length=1, max_length=MOST_LMS)]

    __test__ = False  # pytest: no test class, whatever its name

    @property
    def workers(self) -> tuple[NodeEntry, ...]:
        """The nodes that serve prompts, in the order of the file: index n of the cluster."""
        return tuple(node for node in self.nodes if node.role == "worker")


def quantities(testbed: TestbedFile) -> Iterator[tuple[FieldSteps, Quantity]]:
    """Yield every number of the file that may carry a source, with the way to its field."""
    for name in ("slot_s", "deadline_s", "latency_weight", "pending_timeout_s"):
        if name in testbed.model_fields_set:
            yield (name,), getattr(testbed, name)
    for field, quantity in _of_entry(testbed.serving):
        yield ("serving", *field), quantity
    for name in ("links", "nodes", "lms"):
        for index, entry in enumerate(getattr(testbed, name)):
            for field, quantity in _of_entry(entry):
                yield (name, index, *field), quantity


def _of_entry(entry: FileModel) -> Iterator[tuple[FieldSteps, Quantity]]:
    for name in type(entry).model_fields:
        value = getattr(entry, name)
        if isinstance(value, Quantity) and name in entry.model_fields_set:
            yield (name,), value
    if isinstance(entry, GpuSpeed):
        yield from _of_curve(("batch",), entry.batch)
    if isinstance(entry, LmEntry):
        for model, points in entry.cpu_profiles.items():
            for cores, seconds in points.items():
                yield ("cpu_profiles", model, str(cores)), seconds
        for model, curve in entry.cpu_batch.items():
            yield from _of_curve(("cpu_batch", model), curve)
        for model, speed in entry.gpu_profiles.items():
            for field, quantity in _of_entry(speed):
                yield ("gpu_profiles", model, *field), quantity


def _of_curve(where: FieldSteps, curve: Curve) -> Iterator[tuple[FieldSteps, Quantity]]:
    """All points but that of one prompt, which is 1 by definition."""
    for size, units in curve.items():
        if size > 1:
            yield (*where, str(size)), units
