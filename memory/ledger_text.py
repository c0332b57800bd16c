"""Entries of the ledger as documents, made quickly: a slot writes one for each of hundreds of nodes.

Most of an agent's prompt are its instructions, which are the same in every slot. So they are kept once for each run, by
the SHA-256 of their text, and the messages of an entry name them instead of holding them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import orjson

from domain.ledger import SCHEMA_VERSION, Attempt, Decision, Role
from memory.documents import SHAPES, Document, Kind, Value, needs_cleaning

_strictly = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_ENTRY = [field.name for field in fields(Decision)]
_ATTEMPT = [field.name for field in fields(Attempt)]
_COLUMNS = tuple(SHAPES[Kind.DECISION].columns)
_VERSION = SHAPES[Kind.DECISION].version
MOST_KEPT = 5_000
"""Instructions that are known; past that many the knowing starts over."""


class LedgerText:
    """Writes entries down and knows which instructions are stored."""

    def __init__(self) -> None:
        """Nothing is stored yet."""
        self._hashes: dict[str, str | None] = {}
        self._stored: set[tuple[Value, ...]] = set()

    def documents(self, decisions: Iterable[Decision]) -> list[Document]:
        """The entries as documents, and before them those of instructions that are not known to be stored.

        Raises:
            ValueError: a number in an entry is NaN or infinite.
            TypeError: it holds something that JSON cannot.
        """
        instructions: dict[tuple[Value, ...], Document] = {}
        entries = [self._entry(decision, instructions) for decision in decisions]
        return [*instructions.values(), *entries]

    def stored(self, documents: Iterable[Document]) -> None:
        """Take note that documents are stored."""
        if len(self._stored) >= MOST_KEPT:
            self._stored.clear()
        self._stored.update(document.key for document in documents if document.kind is Kind.INSTRUCTIONS)

    def _entry(self, decision: Decision, instructions: dict[tuple[Value, ...], Document]) -> Document:
        attempts = []
        for attempt in decision.attempts:
            plain = {name: getattr(attempt, name) for name in _ATTEMPT}
            plain["messages"] = [self._message(decision.run, message, instructions) for message in attempt.messages]
            attempts.append(plain)
        body = {name: getattr(decision, name) for name in _ENTRY}
        body["attempts"], body["schema_version"] = attempts, _VERSION
        text = _quickly(decision, body)
        if text is None:
            try:
                text = _strictly(body)
            except ValueError:  # a number that is none, which Document.of explains
                return Document.of(Kind.DECISION, body)
        if needs_cleaning(text):
            return Document.of(Kind.DECISION, body)
        values: dict[str, Value] = {name: body[name] for name in _COLUMNS}
        values["role"] = decision.role.value
        return Document(Kind.DECISION, values, text)

    def _message(
        self, run: str, message: Mapping[str, str], instructions: dict[tuple[Value, ...], Document]
    ) -> Mapping[str, str]:
        """The message as it is kept: by the hash of its content where that is instructions."""
        if message.get("role") != "system":
            return message
        content = message["content"]
        sha256 = self._hashes[content] if content in self._hashes else self._hash(content)
        if sha256 is None:
            return message
        if (run, sha256) not in self._stored and (run, sha256) not in instructions:
            instructions[run, sha256] = _instructions(run, sha256, content)
        return {**{key: text for key, text in message.items() if key != "content"}, "sha256": sha256}

    def _hash(self, content: str) -> str | None:
        """Return the SHA-256 of instructions; None where they cannot be kept as they are, for they need cleaning."""
        if len(self._hashes) >= MOST_KEPT:
            self._hashes.clear()
        clean = _instructions("", "", content).body["text"] == content
        self._hashes[content] = hashlib.sha256(content.encode()).hexdigest() if clean else None
        return self._hashes[content]


def _quickly(decision: Decision, body: dict[str, Any]) -> str | None:
    """The text of an entry by a faster encoder; None where that one would not do.

    It writes null for a number that is none, without a word. A deployer decides whole numbers, a scheduler names and
    weights that the rules hold to be finite, so only the seconds of their attempts need a look. And it leaves letters
    beyond ASCII as they are.
    """
    if decision.role is Role.PLANNER or decision.rehearsal is not None:
        return None
    if not all(math.isfinite(attempt.seconds) for attempt in decision.attempts):
        return None
    try:
        text = orjson.dumps(body).decode()
    except TypeError:  # half a surrogate pair, a number beyond 64 bits
        return None
    return text if text.isascii() else None


def _instructions(run: str, sha256: str, text: str) -> Document:
    version = SHAPES[Kind.INSTRUCTIONS].version
    return Document.of(Kind.INSTRUCTIONS, {"run": run, "sha256": sha256, "text": text, "schema_version": version})


def instructions_of(body: Mapping[str, Any]) -> set[str]:
    """Hashes of the instructions that an entry names. Raises KeyError or TypeError where it is none."""
    messages = [message for attempt in body["attempts"] for message in attempt["messages"]]
    return {message["sha256"] for message in messages if "sha256" in message}


def decision_of(body: Mapping[str, Any], instructions: Mapping[str, str]) -> Decision:
    """Read an entry back; instructions by their hash. Raises KeyError, TypeError or ValueError where it is none."""
    if type(body["slot"]) is not int or not isinstance(body["decision"], dict):
        raise TypeError("its slot is no whole number, or its decision no object")
    if not isinstance(body["node"], str | None):
        raise TypeError("its node is no name")
    attempts = [
        {**attempt, "messages": [_whole(message, instructions) for message in attempt["messages"]]}
        for attempt in body["attempts"]
    ]
    return Decision.from_json({**body, "attempts": attempts, "schema_version": SCHEMA_VERSION})


def _whole(message: dict[str, str], instructions: Mapping[str, str]) -> dict[str, str]:
    """A message with its content; the order of its keys is that of any message.

    Nothing that a run does rests on instructions of the past, so that a text which was lost costs no decision.
    """
    if "sha256" not in message:
        return message
    lost = f"(The instructions with the SHA-256 {message['sha256']} are missing in the memory.)"
    return {
        "content" if key == "sha256" else key: instructions.get(text, lost) if key == "sha256" else text
        for key, text in message.items()
    }
