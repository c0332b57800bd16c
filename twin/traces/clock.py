"""The times of a trace as people write them: seconds, milliseconds and finer since some moment, or dates."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.errors import InputError
from twin.traces.cells import NUMBER, bools, cast, matches, numbers

Unit = Literal["s", "ms", "us", "ns"]
PER_S: dict[Unit, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""Each unit of time and how many there are in a second."""
_WORDS: dict[Unit, str] = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
CLOCK_LIMIT_S = 1e11
"""Seconds, the year 5138 of Unix time. A larger number counts milliseconds or finer, and so on up by thousands."""
SAMPLE = 1000
"""Rows that say in what form the times of a file are."""

_DATE = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?)?"
_NAIVE, _ZONED = _DATE + "$", _DATE + r"(Z|[+-]\d\d(:?\d\d)?)$"
_FORMS: list[tuple[str, pa.DataType]] = [
    (_NAIVE, pa.timestamp("ns")),
    (_ZONED, pa.timestamp("ns", "UTC")),
    (NUMBER, pa.float64()),
]


class Clock:
    """Reads a column of times, batch by batch, in the form that most of the first rows have.

    The forms are a number, an ISO date and time, and one with its offset from UTC. A date and time without an offset is
    taken as UTC, so that no hour is there twice. Where nobody says the unit of numbers, their size does.
    """

    def __init__(self, column: str, unit: Unit | None = None, of_run: bool = False) -> None:
        """Take the name of the column, for sentences, and the unit of its numbers; None: as their size says.

        With `of_run` they are seconds from the start of the run, and nothing else.
        """
        self._column, self._of_run = column, of_run
        self._unit: Unit | None = "s" if of_run else unit
        self._asked = self._unit
        self._form: tuple[str, pa.DataType] | None = _FORMS[-1] if of_run else None
        self.note: str | None = None
        """A sentence on the unit, where the size of the numbers gave it."""

    def read(self, text: pa.Array) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return (stamps, whether the text is a time); stamps are nanoseconds as int64 for dates, else float64."""
        if self._form is None:
            self._decide(text.slice(0, SAMPLE))
        if self._form is None:
            return np.zeros(len(text)), np.zeros(len(text), dtype=np.bool_)
        pattern, kind = self._form
        if pattern != NUMBER:
            stamps = cast(text, pattern, kind)
            return pc.fill_null(stamps.cast(pa.int64()), 0).to_numpy(), bools(pc.is_valid(stamps))
        values = numbers(text)
        size = np.abs(values) / PER_S[self._unit or "s"]
        valid = size < CLOCK_LIMIT_S
        if self._of_run:
            valid &= values >= 0
        if self._asked is None and self._unit != "s":
            valid &= size >= CLOCK_LIMIT_S / 1e3  # what is smaller is in a larger unit, and not of this clock
        return np.where(valid, values, 0.0), valid

    def seconds(self, stamps: NDArray[Any]) -> NDArray[np.float64]:
        """Return stamps [R] as seconds from the earliest, or from the start of the run."""
        if not len(stamps):
            return np.empty(0)
        if stamps.dtype == np.int64:
            first, last = int(stamps.min()), int(stamps.max())
            if last - first < 2**63:
                return np.asarray((stamps - np.int64(first)) / 1e9, dtype=np.float64)
            whole, part = np.divmod(stamps, np.int64(10**9))  # centuries apart, more than 64 bits of nanoseconds
            return np.asarray(whole - first // 10**9 + (part - first % 10**9) / 1e9, dtype=np.float64)
        values = stamps.astype(np.float64)
        return (values - (0.0 if self._of_run else values.min())) / PER_S[self._unit or "s"]

    def expected(self) -> str:
        """What a time should be, as it goes on from "is not"."""
        if self._of_run:
            return "a number of seconds from the start of the run"
        if self._form is not None and self._form[0] == NUMBER and self._unit is not None and self._unit != "s":
            return f"a time ({_WORDS[self._unit]} like most rows')"
        return "a time (seconds, or a date and time like most rows')"

    def _decide(self, sample: pa.Array) -> None:
        fitting = [int(matches(sample, pattern).sum()) for pattern, _ in _FORMS]
        if not any(fitting):
            return
        self._form = _FORMS[fitting.index(max(fitting))]
        if self._form[0] != NUMBER:
            if self._asked is not None:
                raise InputError(f"time_unit must be left out, since the column {self._column} holds dates.")
            return
        sizes = np.abs(numbers(sample))
        if self._asked is None and np.isfinite(sizes).any():
            middle = float(np.nanmedian(sizes))
            for unit in PER_S:
                if middle < CLOCK_LIMIT_S * PER_S[unit]:
                    self._unit = unit
                    break
            if self._unit != "s" and self._unit is not None:
                self.note = f"{self._column} is read as {_WORDS[self._unit]}, by the size of its numbers"
