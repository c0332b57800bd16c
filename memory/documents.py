"""The documents of the memory: which kinds there are, by what they are found, and how they are written as text.

A document is written whole and carries the version of its form; a reader that meets a version it does not know says so
instead of guessing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from domain.errors import InputError
from domain.ledger import SCHEMA_VERSION
from memory.recall import policy_hash, traffic_vector
from memory.redaction import redact

ColumnType = type[str] | type[int] | type[float] | type[bytes]
Value = str | int | float | bytes | None


class Kind(StrEnum):
    """Kinds of documents; also the names of tables and collections."""

    RUN = "runs"
    DECISION = "decisions"
    INSTRUCTIONS = "instructions"
    CASE = "cases"
    TELEMETRY = "telemetry"
    RECORDS = "records"


def _nothing(_: dict[str, Any]) -> dict[str, Value]:
    return {}


def _of_case(body: dict[str, Any]) -> dict[str, Value]:
    return {"policy": policy_hash(body["macro_policy"]), "vector": traffic_vector(body["traffic"])}


@dataclass(frozen=True, slots=True)
class Shape:
    """What an engine has to know of a kind."""

    columns: Mapping[str, ColumnType]
    """What documents can be found by: fields of the body, and what `derived` makes of it."""
    key: tuple[str, ...]
    once: bool
    """True: the first document of a key stays. False: the last one replaces it."""
    indexes: tuple[tuple[str, ...], ...] = ()
    """Besides the key's own."""
    derived: Callable[[dict[str, Any]], dict[str, Value]] = field(default=_nothing)
    version: int = SCHEMA_VERSION
    """Version of the body's form that is written, and the newest that can be read."""
    derived_names: tuple[str, ...] = ()
    """Columns that `derived` makes; no fields of the body."""


SHAPES: Mapping[Kind, Shape] = MappingProxyType(
    {
        Kind.RUN: Shape({"run": str}, key=("run",), once=False),
        Kind.DECISION: Shape(
            {"run": str, "slot": int, "role": str, "node": str},
            key=("run", "slot", "role", "node"),
            once=True,
            indexes=(("run", "role", "node", "slot"),),
            version=2,
        ),
        Kind.INSTRUCTIONS: Shape({"run": str, "sha256": str}, key=("run", "sha256"), once=True),
        Kind.CASE: Shape(
            {
                "run": str, "epoch": int, "testbed": str, "family": str, "ended": int, "objective": float,
                "policy": int, "vector": bytes,
            },
            key=("run", "epoch"),
            once=True,
            # Everything that recall looks at, so that it never touches the bodies of cases it does not choose.
            indexes=(("testbed", "run", "epoch", "family", "ended", "objective", "policy", "vector"),),
            derived=_of_case,
            derived_names=("policy", "vector"),
        ),
        Kind.TELEMETRY: Shape({"run": str, "epoch": int}, key=("run", "epoch"), once=False),
        Kind.RECORDS: Shape({"run": str, "slot": int}, key=("run", "slot"), once=False),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Document:
    """One document, ready to be stored."""

    kind: Kind
    values: Mapping[str, Value]
    """Of the columns of its shape."""
    text: str
    """The body as JSON in ASCII, without line breaks."""
    data: bytes | None = None
    """What is no text."""

    @property
    def key(self) -> tuple[Value, ...]:
        """Values of the key columns."""
        return tuple(self.values[name] for name in SHAPES[self.kind].key)

    @property
    def body(self) -> dict[str, Any]:
        """The body as plain data."""
        body: dict[str, Any] = json.loads(self.text)
        return body

    @classmethod
    def of(cls, kind: Kind, body: dict[str, Any], data: bytes | None = None) -> Document:
        """Write a body down; secrets in URIs are cut out, and characters that are none are spelt out.

        Raises:
            ValueError: a number in it is NaN or infinite.
            TypeError: it holds something that JSON cannot.
            KeyError: a column of the kind is missing.
        """
        text = _dump(kind, body)
        if needs_cleaning(text):
            body = _clean(json.loads(text))
            text = _dump(kind, body)
        shape = SHAPES[kind]
        found = {**body, **shape.derived(body)}
        values = {name: None if found[name] is None else make(found[name]) for name, make in shape.columns.items()}
        return cls(kind, values, text, data)


def needs_cleaning(text: str) -> bool:
    """True for a text of JSON that holds a URI, in which may be a secret, or a character that may be none."""
    return "://" in text or "\\ud" in text


def _dump(kind: Kind, body: dict[str, Any]) -> str:
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise ValueError(f"A document of {kind} must hold finite numbers, None where there is none: {error}") from None


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value.encode("utf-8", "backslashreplace").decode())  # half of a surrogate pair is no character
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def check_version(kind: Kind, body: dict[str, Any], store: str) -> None:
    """Make sure that a document can be read.

    Raises:
        InputError: a newer Edgewise wrote it, or none did.
    """
    version, known = body.get("schema_version"), SHAPES[kind].version
    if not isinstance(version, int) or version < 1:
        raise InputError(f"{store}: a document of {kind} says no schema_version; Edgewise did not write it.")
    if version > known:
        raise InputError(
            f"{store}: a document of {kind} has schema_version {version}, this Edgewise reads up to {known}; "
            "use the Edgewise that wrote it, or another memory."
        )
