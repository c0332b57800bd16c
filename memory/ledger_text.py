"""Entries of the ledger as text, made quickly: a slot writes one for each of hundreds of nodes.

Nearly all of such an entry are the instructions of its agent, which are the same in every slot, so their text is kept
and put in its place. What comes out is what `Document.of` makes of the same entry, to the letter; whatever is not plain
goes that way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields

from domain.ledger import Attempt, Decision
from memory.documents import SHAPES, Document, Kind, Value, needs_cleaning

_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_ENTRY = [field.name for field in fields(Decision)]
_ATTEMPT = [field.name for field in fields(Attempt)]
_COLUMNS = tuple(SHAPES[Kind.DECISION].columns)
_HOLE = "\0"
"""Stands where instructions belong."""
_HOLE_TEXT = _encode(_HOLE)
MOST_KEPT = 5_000
"""Instructions whose text is kept; past that many the keeping starts over."""


class LedgerText:
    """Writes entries down and keeps the text of instructions."""

    def __init__(self) -> None:
        """Nothing is kept yet."""
        self._kept: dict[str, str | None] = {}

    def document(self, decision: Decision) -> Document:
        """The entry as a document.

        Raises:
            ValueError: a number in it is NaN or infinite.
            TypeError: it holds something that JSON cannot.
        """
        text = self._text(decision)
        if text is None:
            attempts = [{name: getattr(attempt, name) for name in _ATTEMPT} for attempt in decision.attempts]
            body = {**{name: getattr(decision, name) for name in _ENTRY}, "attempts": attempts}
            return Document.of(Kind.DECISION, body)
        values: dict[str, Value] = {name: getattr(decision, name) for name in _COLUMNS}
        values["role"] = decision.role.value
        return Document(Kind.DECISION, values, text)

    def _text(self, decision: Decision) -> str | None:
        """The body; None where it takes more than writing down what there is."""
        body, instructions, attempts = {name: getattr(decision, name) for name in _ENTRY}, [], []
        for attempt in decision.attempts:
            plain, messages = {name: getattr(attempt, name) for name in _ATTEMPT}, []
            for message in attempt.messages:
                known = self._instructions(message) if message.get("role") == "system" else None
                messages.append(message if known is None else {**message, "content": _HOLE})
                if known is not None:
                    instructions.append(known)
            plain["messages"] = messages
            attempts.append(plain)
        body["attempts"] = attempts
        try:
            text = _encode(body)
        except ValueError:  # a number that is none, which Document.of explains
            return None
        around = text.split(_HOLE_TEXT)
        if len(around) != len(instructions) + 1 or needs_cleaning(text):
            return None
        for place, known in enumerate(instructions, start=1):
            around.insert(2 * place - 1, known)
        return "".join(around)

    def _instructions(self, message: Mapping[str, str]) -> str | None:
        """Text of a message's content; None where it needs cleaning."""
        content = message["content"]
        if content in self._kept:
            return self._kept[content]
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        text = _encode(content)
        self._kept[content] = None if needs_cleaning(text) else text
        return self._kept[content]
