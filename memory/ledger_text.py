"""Entries of the ledger as text, made quickly: a slot writes one for each of hundreds of nodes.

Nearly all of such an entry are the instructions of its agent, which are the same in every slot, so their text is kept.
What comes out holds what `Document.of` makes of the same entry, attempts and messages last; whatever is not plain goes
that way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from domain.ledger import Attempt, Decision
from memory.documents import SHAPES, Document, Kind, Value, needs_cleaning

_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_ENTRY = [field.name for field in fields(Decision) if field.name != "attempts"]
_ATTEMPT = [field.name for field in fields(Attempt) if field.name != "messages"]
_COLUMNS = tuple(SHAPES[Kind.DECISION].columns)
_ALONE = {"role", "content"}
MOST_KEPT = 5_000
"""Instructions whose text is kept; past that many the keeping starts over."""


class _NotPlain(Exception):
    """A text takes more than writing it down."""


class LedgerText:
    """Writes entries down and keeps the text of instructions."""

    def __init__(self) -> None:
        """Nothing is kept yet."""
        self._kept: dict[str, str] = {}

    def document(self, decision: Decision) -> Document:
        """The entry as a document.

        Raises:
            ValueError: a number in it is NaN or infinite.
            TypeError: it holds something that JSON cannot.
        """
        try:
            pieces = [_plain({name: getattr(decision, name) for name in _ENTRY})[:-1], ',"attempts":[']
            for attempt in decision.attempts:
                pieces += self._attempt(attempt)
        except (_NotPlain, ValueError):
            body = {**_shallow(decision), "attempts": [_shallow(attempt) for attempt in decision.attempts]}
            return Document.of(Kind.DECISION, body)
        if decision.attempts:
            pieces.pop()  # a comma
        pieces.append("]}")
        values: dict[str, Value] = {name: getattr(decision, name) for name in _COLUMNS}
        values["role"] = decision.role.value
        return Document(Kind.DECISION, values, "".join(pieces))

    def _attempt(self, attempt: Attempt) -> list[str]:
        """Pieces of an attempt's text and a comma; put together once, for they are long."""
        pieces = [_plain({name: getattr(attempt, name) for name in _ATTEMPT})[:-1], ',"messages":[']
        for message in attempt.messages:
            pieces += [self._message(message), ","]
        if attempt.messages:
            pieces.pop()
        return [*pieces, "]}", ","]

    def _message(self, message: Mapping[str, str]) -> str:
        if message.keys() != _ALONE:
            return _plain(message)
        role, content = message["role"], message["content"]
        if role != "system":
            return f'{{"role":{_plain(role)},"content":{_plain(content)}}}'
        known = self._kept.get(content)
        if known is None:
            known = _plain(message)
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[content] = known
        return known


def _plain(value: Mapping[str, Any] | str) -> str:
    text = _encode(value)
    if needs_cleaning(text):
        raise _NotPlain
    return text


def _shallow(instance: Any) -> dict[str, Any]:
    """The fields of a dataclass. Its own to_json copies all that they hold, which is going to be text anyway."""
    return {field.name: getattr(instance, field.name) for field in fields(instance)}
