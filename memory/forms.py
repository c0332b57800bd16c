"""What the domain's types look like as documents, and back; every float bit for bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from domain.ledger import Case
from domain.telemetry import EpochTelemetry, Records
from memory.columns import CODEC, pack, unpack
from memory.documents import SHAPES, Document, Kind
from memory.store import EpochEntry

COUNTS = ("arrived", "succeeded")
"""Fields of EpochTelemetry that hold whole numbers."""


def _shallow(instance: Any) -> dict[str, Any]:
    """The fields of a dataclass. Its own to_json copies all that they hold, which is going to be text anyway."""
    return {field.name: getattr(instance, field.name) for field in fields(instance)}


def _versioned(kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "schema_version": SHAPES[kind].version}


def run_document(run: str, settings: Mapping[str, Any]) -> Document:
    """The settings of a run."""
    return Document.of(Kind.RUN, _versioned(Kind.RUN, {"run": run, "settings": dict(settings)}))


def case_document(case: Case) -> Document:
    """A case of P1-11."""
    return Document.of(Kind.CASE, _shallow(case))


def case_of(body: dict[str, Any]) -> Case:
    """Read it back. Raises TypeError where it is none."""
    return Case.from_json(body)


def records_document(run: str, slot: int, records: Records) -> Document:
    """The requests that ended in a slot."""
    body = {"run": run, "slot": slot, "requests": len(records), "codec": CODEC}
    return Document.of(Kind.RECORDS, _versioned(Kind.RECORDS, body), pack(records))


def records_of(body: dict[str, Any], data: bytes | None) -> Records:
    """Read them back. Raises KeyError, TypeError or ValueError where they are none."""
    return unpack(data or b"", body["requests"])


def telemetry_document(run: str, epoch: int, telemetry: EpochTelemetry, extra: Mapping[str, Any]) -> Document:
    """The telemetry of an epoch; NaN becomes None."""
    plain = {}
    for field in fields(EpochTelemetry):
        value = getattr(telemetry, field.name)
        plain[field.name] = [_none(x) for x in value.tolist()] if isinstance(value, np.ndarray) else _none(value)
    body = {"run": run, "epoch": epoch, "telemetry": plain, "extra": dict(extra)}
    return Document.of(Kind.TELEMETRY, _versioned(Kind.TELEMETRY, body))


def telemetry_of(body: dict[str, Any]) -> EpochEntry:
    """Read it back. Raises KeyError, TypeError or ValueError where it is none."""
    values: dict[str, Any] = {}
    for name, value in body["telemetry"].items():
        if isinstance(value, list):
            kind = np.int64 if name in COUNTS else np.float64
            values[name] = np.array([math.nan if x is None else x for x in value], dtype=kind)
        else:
            values[name] = math.nan if value is None else value
    return EpochEntry(body["epoch"], EpochTelemetry(**values), body["extra"])


def _none(value: float) -> float | None:
    return None if math.isnan(value) else value
