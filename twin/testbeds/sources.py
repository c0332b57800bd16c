"""Where the numbers of a testbed come from, as a table that can be printed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twin.testbeds.loader import read_testbed
from twin.testbeds.schema import FieldSteps, Quantity, TestbedFile, quantities

UNITS = {"gbit_per_s": "Gbit/s", "fixed_s": "s/prompt", "compute_s": "s/prompt", "latency_weight": ""}
"""Units of fields whose name does not end in their unit."""


@dataclass(frozen=True, slots=True)
class SourcedNumber:
    """A number of a testbed file, and how far it can be trusted."""

    field: str
    """Such as LM1.cpu_profiles[AMD EPYC 7453][4]."""
    value: float
    unit: str
    kind: str
    """measured, published or estimated; stated where the file just gives the number."""
    source: str
    """A sentence; empty where neither the number nor its entry has one."""


def sources(path_or_name: Path | str) -> list[SourcedNumber]:
    """Return every number that the file gives and that may carry a source; raises InputError as the loader does."""
    testbed = read_testbed(path_or_name)
    return [_sourced(testbed, field, quantity) for field, quantity in quantities(testbed)]


def _sourced(testbed: TestbedFile, field: FieldSteps, quantity: Quantity) -> SourcedNumber:
    source = quantity.source
    owner, last = str(field[0]), str(field[-1])
    if owner == "serving":
        owner = f"serving.{last}"
    elif len(field) > 1:
        name, index = field[0], int(field[1])
        if name == "links":
            link = testbed.links[index]
            between = " -> " if link.one_way else " - "
            owner = between.join(link.sites or link.nodes or ())
            owner += f".{last}"
        else:
            entry = testbed.nodes[index] if name == "nodes" else testbed.lms[index]
            source = source or entry.source
            owner = ".".join([entry.name, str(field[2])]) + "".join(f"[{step}]" for step in field[3:])
    source = source or testbed.source or ""
    return SourcedNumber(
        owner, quantity.value, _unit(field), quantity.kind or "stated", testbed.sources.get(source, source)
    )


def _unit(field: FieldSteps) -> str:
    name = str(field[-1])
    if "batch" in field or "cpu_batch" in field:
        return "times one prompt"
    if name in UNITS:
        return UNITS[name]
    if name.isdigit():
        return "s/prompt"
    ending = name.rpartition("_")[2]
    return {"gb": "GB"}.get(ending, ending)
