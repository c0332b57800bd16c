"""A tape keeps every question to a model and what came back, so that a run can be played again without any model.

A tape is a file of JSON lines, one per attempt, failures included. Each line carries a key: the SHA-256 of role, node,
slot, number of the attempt, model, parameters, messages and schema. A run from its tape calls nothing, takes seconds
and tokens from the tape as well, and is bit-identical to the run that was recorded. A question that is not on the
tape is an error there, never a call.

What a planner was told of past epochs comes out of a memory that other runs share and that grows. So that stands on the
tape too, a line for each slot in which something was recalled.

Lines are written whole or not at all: what a full disk has torn is taken back. Of a run that was killed only the last
line can be torn, and it is left out.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from domain.errors import InputError, refusal
from domain.ledger import Attempt, Role

VERSION = 2
"""Of the form of a line."""


class TapeError(InputError):
    """The tape lacks an answer, cannot be read, or cannot be written."""


@dataclass(frozen=True)
class Question:
    """What keys an entry: everything that an answer depends on, and where in the run it belongs."""

    role: Role
    node: str | None
    slot: int
    attempt: int
    model: str
    parameters: Mapping[str, Any]
    messages: Sequence[Mapping[str, str]]
    schema: Mapping[str, Any]

    @property
    def place(self) -> tuple[int, str, str | None, int]:
        """Where in the run it belongs."""
        return self.slot, self.role, self.node, self.attempt

    def __str__(self) -> str:
        """Name the place in words."""
        node = f" of {self.node}" if self.node else ""
        return f"the {self.role}{node} in slot {self.slot}, attempt {self.attempt + 1}"

    @cached_property
    def key(self) -> str:
        """SHA-256 over all of it, in hexadecimal."""
        whole = [
            VERSION,
            *self.place,
            self.model,
            dict(self.parameters),
            list(self.messages),
            self.schema,
        ]
        return hashlib.sha256(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Tape:
    """Attempts of one run, in a file. Open one with `record` or `replay`; a context manager closes it."""

    def __init__(self, path: Path, file: int, *, recording: bool) -> None:
        self.path = path
        self._file, self._recording, self._end = file, recording, 0
        self._spans: dict[str, tuple[int, int]] = {}
        self._recalled: dict[int, tuple[int, int]] = {}
        self._models: dict[tuple[int, str, str | None, int], str] = {}

    @classmethod
    def record(cls, path: Path, *, resume: bool = False) -> Self:
        """Open a tape to write on.

        Args:
            path: of the file.
            resume: go on with the tape of a run that stopped. Answers that are on it are not asked for again,
                failures are.

        Raises:
            TapeError: where the file exists and nothing is to be resumed, or is no tape.
            InputError: where it cannot be written.
        """
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | (0 if resume else os.O_EXCL)
            tape = cls(path, os.open(path, flags, 0o600), recording=True)
        except FileExistsError:
            raise TapeError(f"{path} exists: choose another name for the tape, or play it with replay") from None
        except OSError as error:
            raise refusal(f"{path}: the tape cannot be written", error) from None
        tape._read_index()
        os.ftruncate(tape._file, tape._end)
        _sync_folder(path.absolute().parent)
        return tape

    @classmethod
    def replay(cls, path: Path) -> Self:
        """Open a tape to play; nothing is written, nobody is called.

        Raises:
            TapeError: where the file is no tape.
            InputError: where it cannot be read.
        """
        try:
            tape = cls(path, os.open(path, os.O_RDONLY), recording=False)
        except OSError as error:
            raise refusal(f"{path}: the tape cannot be read", error) from None
        tape._read_index()
        return tape

    def find(self, question: Question) -> Attempt | None:
        """What the tape holds for a question. While recording: None where it must be asked.

        Raises:
            TapeError: while playing, where the tape does not hold it.
        """
        key = question.key if self._spans else ""
        span = self._spans.get(key)
        if span is None:
            if self._recording:
                return None
            raise TapeError(f"{self.path}: {self._why_missing(question)}")
        attempt = Attempt.from_json(json.loads(os.pread(self._file, span[1], span[0]))["attempt"])
        return None if self._recording and attempt.answer is None else attempt

    def add(self, question: Question, attempt: Attempt) -> None:
        """Write down an attempt. It is on the disk when this returns: a run that is stopped keeps it.

        Raises:
            InputError: where it cannot be written; a tape with holes would be worthless.
        """
        self._write(_line(question, attempt))

    def recalled(self, slot: int) -> Any:
        """What was recalled for the planner of a slot, as it was kept. While recording: None where nothing was yet.

        Raises:
            TapeError: while playing, where the tape does not hold it.
        """
        span = self._recalled.get(slot)
        if span is not None:
            return json.loads(os.pread(self._file, span[1], span[0]))["recalled"]
        if self._recording:
            return None
        raise TapeError(f"{self.path}: the tape does not hold what the planner was told of past epochs in slot {slot}")

    def keep_recalled(self, slot: int, cases: Any) -> None:
        """Write down what was recalled for the planner of a slot: plain data.

        Raises:
            TapeError: as `add`.
        """
        line = json.dumps({"tape": VERSION, "slot": slot, "recalled": cases}, separators=(",", ":")).encode() + b"\n"
        self._write(line)
        self._recalled[slot] = self._end - len(line), len(line)

    def _write(self, line: bytes) -> None:
        """Write a line whole, on the disk, or leave the file as it was."""
        left = memoryview(line)
        try:
            while left:
                written = os.write(self._file, left)
                if not written:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                left = left[written:]
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise refusal(f"{self.path}: the tape cannot be written", error) from None
        self._end += len(line)

    def close(self) -> None:
        """Close the file; closing twice is no harm."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_index(self) -> None:
        """Learn where each entry lies, and where the last whole line ends."""
        with open(self._file, "rb", closefd=False) as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                try:
                    self._index(json.loads(line), (self._end, len(line)))
                except (KeyError, TypeError, ValueError, RecursionError):
                    raise TapeError(f"{self.path}, line {number}: no entry of a tape of version {VERSION}") from None
                self._end += len(line)

    def _index(self, entry: Any, span: tuple[int, int]) -> None:
        if entry["tape"] != VERSION:
            raise ValueError
        if "recalled" in entry:
            self._recalled[entry["slot"]] = span
        elif "answer" in entry["attempt"]:
            self._spans[entry["key"]], self._models[_place(entry)] = span, entry["model"]
        else:
            raise ValueError

    def _why_missing(self, question: Question) -> str:
        model = self._models.get(question.place)
        if model is None:
            return f"the tape holds nothing for {question}; it belongs to another run, or that run stopped earlier"
        if model != question.model:
            return f"the tape holds the answer of {model} for {question}, not of {question.model}"
        return (
            f"the tape holds an answer for {question}, but to a different question: "
            "the prompt, the schema or a parameter of the model has changed since"
        )


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _place(entry: Mapping[str, Any]) -> tuple[int, str, str | None, int]:
    return entry["slot"], entry["role"], entry["node"], entry["number"]


def _line(question: Question, attempt: Attempt) -> bytes:
    entry = {
        "tape": VERSION,
        "key": question.key,
        "slot": question.slot,
        "role": question.role,
        "node": question.node,
        "number": question.attempt,
        "model": question.model,
        "parameters": dict(question.parameters),
        "attempt": {field.name: getattr(attempt, field.name) for field in fields(attempt)},
    }
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"
