"""Rows of a file, batch by batch, and the books on which of them are malformed.

Real traces have broken rows. A reader decides row by row what is malformed, says why, and never drops one in
silence: each is counted, the first few are named by line, and a file with more than the stated share is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.errors import InputError
from twin.traces.cells import MOST_CELL, bools

NAMED = 3
"""Malformed rows that a report names, by line and reason."""
MALFORMED = 0.01
"""Share of malformed rows up to which a trace is taken, unless the user says otherwise."""
MOST_ROWS = 30_000_000
"""Rows of a file that is read."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a reader found in a file."""

    rows: int
    """Rows, malformed ones included, blank lines at the end not."""
    malformed: int
    named: tuple[str, ...] = ()
    """The first few malformed rows, such as "line 17: TIMESTAMP 'soon' is not a time"."""
    unsorted: int = 0
    """Rows that were earlier than the row above them; the reader has sorted them."""
    notes: tuple[str, ...] = ()
    """What else a user of the file should know, one sentence each."""

    def malformed_words(self) -> str | None:
        """Say how many rows were left out as malformed, and name some; None where all are good."""
        if not self.malformed:
            return None
        more = "; …" if self.malformed > len(self.named) else ""
        return f"{self.malformed:,} of {self.rows:,} rows are malformed and left out: {'; '.join(self.named)}{more}"

    def lines(self) -> list[str]:
        """The report in words."""
        lines = [self.malformed_words() or f"{self.rows:,} rows"]
        if self.unsorted:
            lines.append(f"rows out of order, now sorted by time: {self.unsorted:,}")
        return [*lines, *self.notes]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file, in order."""

    table: pa.Table
    """[R] the columns that were asked for, as text with white space trimmed, each in one chunk."""
    line: NDArray[np.int64]
    """[R] line of the file, counted from 1."""
    blank: NDArray[np.bool_]
    """[R] True where nothing is in the row at all."""
    broken: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Lines, in order, that are no rows: too long, no text, too few fields."""
    why: tuple[tuple[int, str], ...] = ()
    """(line, why) of the first few of them."""


class TextFile(Protocol):
    """A file of rows, whatever its form."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns."""
        ...

    @property
    def place(self) -> str:
        """What the number of a row counts: line or entry."""
        ...

    def batches(self, wanted: Sequence[str]) -> Iterator[Batch]:
        """Yield its rows with the columns wanted, in order; raises InputError where it cannot be read."""
        ...


class Rows:
    """A batch of rows, and the verdict on each of them."""

    def __init__(self, batch: Batch, place: str) -> None:
        self.line, self._place = batch.line, place
        self.good: NDArray[np.bool_] = ~batch.blank
        """[R] False where a reader has found the row malformed."""
        self.reasons = list(batch.why)
        """(line, why) of malformed rows; of each kind of mistake the first few."""
        self._table = batch.table
        for name in self._table.column_names:
            long = pc.binary_length(self._table[name].chunk(0)).to_numpy(zero_copy_only=False) > MOST_CELL
            self.reject(long, partial(_long, name))

    def column(self, name: str) -> pa.Array:
        """[R] a column as text."""
        return self._table[name].chunk(0)

    def reject(self, bad: NDArray[np.bool_], why: Callable[[int], str]) -> None:
        """Mark rows as malformed; `why(row)` gives the reason, for those that were good until now."""
        new = np.flatnonzero(bad & self.good)
        self.good[new] = False
        self.reasons += [(int(self.line[row]), why(int(row))) for row in new[:NAMED]]

    def reject_empty(self, name: str) -> None:
        """Mark rows as malformed where a column is empty."""
        self.reject(bools(pc.equal(self.column(name), "")), lambda row: f"{name} is empty")

    def reject_unless(self, right: NDArray[np.bool_], name: str, what: str) -> None:
        """Mark rows as malformed where a column is not right; `what` would be."""
        column = self.column(name)

        def why(row: int) -> str:
            text = str(column[row].as_py())
            return f"{name} {text[:40]!r} is not {what}" if text else f"{name} is empty"

        self.reject(~right, why)


def _long(name: str, row: int) -> str:
    return f"{name} is longer than {MOST_CELL:,} bytes"


class Books:
    """How many rows a file has, and which are malformed; blank rows at its end are none."""

    def __init__(self, file: TextFile) -> None:
        self._path, self._place = file.path, file.place
        self._rows = self._malformed = self._waiting = 0
        self._reasons: list[tuple[int, str]] = []
        self._blank: list[tuple[int, str]] = []

    def take(self, rows: Rows, batch: Batch) -> None:
        """Count a batch that was read; raises InputError where the file has more rows than are read."""
        full = np.append(batch.line[~batch.blank], batch.broken)
        last = int(np.searchsorted(batch.line, full.max(), side="right")) if full.size else 0
        ended, blank = batch.line[:last], batch.line[batch.blank]
        if full.size:
            self._malformed += self._waiting + len(ended) - int(rows.good.sum()) + len(batch.broken)
            self._rows += self._waiting + len(ended) + len(batch.broken)
            self._name([*rows.reasons, *self._blank, *self._blanks(blank[blank < full.max()])])
            self._waiting, self._blank = 0, []
        self._waiting += len(batch.line) - len(ended)
        self._blank = [*self._blank, *self._blanks(batch.line[last:])][:NAMED]
        if self._rows + self._waiting > MOST_ROWS:
            raise InputError(f"{self._path}: the trace has more than {MOST_ROWS:,} rows; split it into files.")

    def reject(self, line: int, why: str) -> None:
        """Count a row that was taken for good as malformed after all."""
        self._malformed += 1
        self._name([(line, why)])

    def _blanks(self, lines: NDArray[np.int64]) -> list[tuple[int, str]]:
        return [(line, f"the {self._place} is blank") for line in lines[:NAMED].tolist()]

    def _name(self, reasons: list[tuple[int, str]]) -> None:
        self._reasons = sorted([*self._reasons, *reasons])[:NAMED]

    def report(self, max_malformed: float, unsorted: int = 0, notes: Sequence[str] = ()) -> Report:
        """Return the report; raises InputError where nothing is left or more than the share is malformed."""
        rows, malformed = self._rows, self._malformed
        named = tuple(f"{self._place} {line}: {why}" for line, why in self._reasons)
        if rows == 0:
            raise InputError(f"{self._path}: the trace is empty; it must have a row per request.")
        if malformed > max_malformed * rows:
            raise InputError(
                f"{self._path}: {malformed:,} of {rows:,} rows ({malformed / rows:.1%}) are malformed, more than "
                f"max_malformed ({max_malformed:.1%}) allows; {'; '.join(named)}."
            )
        if malformed == rows:
            raise InputError(f"{self._path}: all of its {rows:,} rows are malformed; {'; '.join(named)}.")
        return Report(rows, malformed, named, unsorted, tuple(notes))
