"""Traces of single requests, of every form that is known: read in one pass, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from domain.errors import InputError
from twin.traces.cells import Column, NameColumn, Names, NumberColumn, numbers, whole
from twin.traces.clock import Clock, Unit
from twin.traces.csv_text import CsvFile
from twin.traces.forms import Form, RequestKind, Role, column_named, few, form_of, kind_of
from twin.traces.json_text import is_json, json_file
from twin.traces.rows import MALFORMED, Books, Report, Rows, TextFile

MOST_PROMPTS = 1_000_000
"""Prompts in one request; more is a slip in the file."""
MOST_COUNT = 1e15
"""Tokens in one request; every whole number up to it is exact."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of time, column by column, all of length R."""

    path: Path
    form: Form
    columns: tuple[str, ...]
    """All that the file has."""
    time_s: NDArray[np.float64]
    """Seconds from the first request; in a plain file with a column time_s, from the start of the run."""
    prompts: NDArray[np.int64]
    """K of each request; 1 where the trace does not say."""
    line: NDArray[np.int64]
    """Line of the file, or number of the entry."""
    place: str
    """What `line` is the number of: line or entry."""
    node: Names | None
    """Origin by name, where the trace says."""
    lm: Names | None
    """LM or model by name, where the trace says."""
    report: Report
    _numbers: dict[str, NDArray[np.float64]]
    _names: dict[str, Names]

    def __len__(self) -> int:
        return int(self.time_s.shape[0])

    @property
    def kind(self) -> RequestKind:
        """The form by name."""
        return self.form.kind

    @property
    def span_s(self) -> float:
        """Seconds from the first request to the last."""
        return float(self.time_s[-1] - self.time_s[0])

    def numbers(self, column: str) -> NDArray[np.float64]:
        """[R] a column that was asked for as numbers, NaN where it is none."""
        return self._numbers[column_named(column, self.columns) or column]

    def names(self, column: str) -> Names:
        """[R] a column that was asked for as text."""
        return self._names[column_named(column, self.columns) or column]


def open_text(path: Path) -> TextFile:
    """Open a file of rows, CSV or JSON by what is in it; raises InputError where it has no columns."""
    return json_file(path) if is_json(path) else CsvFile.of(path)


def read_trace(
    source: Path | TextFile,
    kind: RequestKind | None = None,
    max_malformed: float = MALFORMED,
    *,
    columns: Mapping[Role, str] | None = None,
    unit: Unit | None = None,
    as_numbers: Iterable[str] = (),
    as_names: Iterable[str] = (),
) -> Trace:
    """Read a trace of single requests.

    Args:
        source: CSV or JSON, packed or not; or one that has been opened.
        kind: its form; None: as its columns say.
        max_malformed: share of malformed rows up to which it is taken.
        columns: which column of a plain trace says what, where the names are others.
        unit: of numbers that are times, where neither the form nor their size says.
        as_numbers: further columns to keep as numbers.
        as_names: further columns to keep as text.

    Raises:
        InputError: it is missing or broken, of no known form, empty, or has too many malformed rows.
    """
    file = open_text(source) if isinstance(source, Path) else source
    path = file.path
    chosen = kind or kind_of(path, file.columns, columns)
    if chosen == "servegen":
        raise InputError(
            f"{path}: this is a ServeGen file of rates, not a trace of requests; use it in a stream of kind servegen."
        )
    if columns and chosen != "plain":
        raise InputError(f"{path}: columns are named for a plain trace; leave the format {chosen} out, or the columns.")
    form = form_of(path, chosen, file.columns, columns)
    if unit is not None and form.of_run:
        raise InputError(f"{path}: {form.time} is in seconds; leave time_unit out, or call the column time.")
    return _Reading(file, form, unit, _known(file, as_numbers), _known(file, as_names)).trace(max_malformed)


def _known(file: TextFile, names: Iterable[str]) -> list[str]:
    found = []
    for name in names:
        column = column_named(name, file.columns)
        if column is None:
            raise InputError(f"{file.path}: there is no column {name!r}; it has {few(file.columns)}.")
        found.append(column)
    return found


class _Reading:
    """One pass over a file."""

    def __init__(
        self, file: TextFile, form: Form, unit: Unit | None, as_numbers: list[str], as_names: list[str]
    ) -> None:
        self._file, self._form, self._books = file, form, Books(file)
        self._clock = Clock(form.time, unit or form.unit, form.of_run)
        named = [name for name in (form.node, form.lm, form.outcome) if name in file.columns]
        self._names = {str(name): NameColumn() for name in (*named, *as_names)}
        self._numbers = {name: NumberColumn() for name in as_numbers}
        self._stamps: list[NDArray[Any]] = []
        self._prompts, self._lines = list[NDArray[np.int64]](), list[NDArray[np.int64]]()
        self._unanswered = 0

    def trace(self, max_malformed: float) -> Trace:
        """Read it all."""
        form = self._form
        wanted = dict.fromkeys((*form.required, *self._names, *self._numbers))
        for batch in self._file.batches(list(wanted)):
            rows = Rows(batch, self._file.place)
            self._judge(rows)
            self._books.take(rows, batch)
        stamps = np.concatenate(self._stamps) if self._stamps else np.empty(0)
        unsorted = int((stamps[1:] < stamps[:-1]).sum())
        report = self._books.report(max_malformed, unsorted, self._notes())
        order = np.argsort(stamps, kind="stable") if unsorted else np.arange(len(stamps))
        names = {name: column.done().take(order) for name, column in self._names.items()}
        return Trace(
            self._file.path,
            form,
            self._file.columns,
            self._clock.seconds(stamps)[order],
            np.concatenate(self._prompts)[order],
            np.concatenate(self._lines)[order],
            self._file.place,
            names.get(form.node or ""),
            names.get(form.lm or ""),
            report,
            {name: column.done()[order] for name, column in self._numbers.items()},
            names,
        )

    def _judge(self, rows: Rows) -> None:
        """Say which rows of a batch are malformed, and keep the others."""
        form = self._form
        if not len(rows.line):
            return
        stamps, valid = self._clock.read(rows.column(form.time))
        rows.reject_unless(valid, form.time, self._clock.expected())
        for name in form.counts:
            rows.reject_unless(whole(numbers(rows.column(name)), 0, MOST_COUNT), name, "a whole number of tokens")
        prompts = np.ones(len(rows.line))
        if form.prompts is not None:
            prompts = numbers(rows.column(form.prompts))
            rows.reject_unless(whole(prompts, 1, MOST_PROMPTS), form.prompts, "a whole number from 1 up")
        for name in form.names:
            rows.reject_empty(name)
        good = np.flatnonzero(rows.good)
        if good.size:  # the stamps of a batch without a time are of no kind
            self._stamps.append(stamps[good])
        self._prompts.append(prompts[good].astype(np.int64))
        self._lines.append(rows.line[good])
        chosen = pa.array(good)
        if form.answer is not None:
            self._unanswered += int((numbers(rows.column(form.answer).take(chosen)) == 0).sum())
        columns: list[tuple[str, Column]] = [*self._names.items(), *self._numbers.items()]
        for name, column in columns:
            try:
                column.add(rows.column(name).take(chosen))
            except OverflowError as error:
                raise InputError(f"{self._file.path}: the column {name} holds {error}; choose another one.") from None

    def _notes(self) -> list[str]:
        notes = [*self._form.notes]
        if self._clock.note is not None:
            notes.append(self._clock.note)
        if self._form.outcome is not None:
            counts = self._names[self._form.outcome].done().counts()
            words = ", ".join(f"{count:,} {name or 'without'}" for name, count in list(counts.items())[:8])
            notes.append(f"a request counts whatever became of it: {words}")
        if self._unanswered:
            notes.append(
                f"a request counts whatever became of it: {self._unanswered:,} without answer ({self._form.answer} 0)"
            )
        return notes
