"""A CSV file as columns of text, and the bookkeeping of its malformed rows.

Real traces have broken rows. A reader decides row by row what is malformed, says why, and never drops one in
silence: each is counted, the first few are named by line, and a file with more than the stated share is refused.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from domain.errors import InputError

NAMED = 3
"""Malformed rows that a report names, by line and reason."""
MALFORMED = 0.01
"""Share of malformed rows up to which a trace is taken, unless the user says otherwise."""
CLOCK_LIMIT_S = 1e11
"""Seconds, the year 5138 of Unix time: a larger number counts milliseconds or finer, and is no time in seconds."""

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_DATE = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?)?"
_NAIVE, _ZONED = _DATE + "$", _DATE + r"(Z|[+-]\d\d(:?\d\d)?)$"


@dataclass(frozen=True, slots=True)
class Report:
    """What a reader found in a file."""

    rows: int
    """Rows below the header, malformed ones included, blank lines at the end not."""
    malformed: int
    named: tuple[str, ...] = ()
    """The first few malformed rows, such as "line 17: TIMESTAMP 'soon' is not a time"."""
    unsorted: int = 0
    """Rows that were earlier than the row above them; the reader has sorted them."""
    notes: tuple[str, ...] = ()
    """What else a user of the file should know, one sentence each."""

    def lines(self) -> list[str]:
        """The report in words."""
        lines = [f"{self.rows:,} rows"]
        if self.malformed:
            lines.append(
                f"{self.malformed:,} malformed and left out: "
                + "; ".join(self.named)
                + ("; …" if self.malformed > len(self.named) else "")
            )
        if self.unsorted:
            lines.append(f"rows out of order, now sorted by time: {self.unsorted:,}")
        return [*lines, *self.notes]


@dataclass(slots=True)
class Rows:
    """The rows of a file that have as many fields as its header, and the verdict on each of them."""

    path: Path
    table: pa.Table
    """Text columns, white space trimmed."""
    line: NDArray[np.int64]
    """[R] line of the file, counted from 1."""
    good: NDArray[np.bool_]
    """[R] False where a reader has found the row malformed."""
    broken: int
    """Rows beside these that have too few or too many fields."""
    reasons: list[tuple[int, str]]
    """(line, why) of malformed rows; of each kind of mistake the first few."""

    def reject(self, bad: NDArray[np.bool_], why: Callable[[int], str]) -> None:
        """Mark rows as malformed; `why(row)` gives the reason, for those that were good until now."""
        new = np.flatnonzero(bad & self.good)
        self.good[new] = False
        self.reasons += [(int(self.line[row]), why(int(row))) for row in new[:NAMED]]

    def text(self, column: str, row: int) -> str:
        """One field."""
        return str(self.table[column][row].as_py())

    def empty(self, column: str) -> NDArray[np.bool_]:
        """[R] True where a field is empty."""
        return _bools(pc.equal(self.table[column], ""))

    def report(self, max_malformed: float, unsorted: int = 0, notes: Sequence[str] = ()) -> Report:
        """Return the report; raises InputError where nothing is left or more than the share is malformed."""
        rows = len(self.line) + self.broken
        malformed = rows - int(self.good.sum())
        named = tuple(f"line {line}: {why}" for line, why in sorted(self.reasons)[:NAMED])
        if rows == 0:
            raise InputError(f"{self.path}: the trace is empty; below its header it must have a row per request.")
        if malformed > max_malformed * rows:
            raise InputError(
                f"{self.path}: {malformed:,} of {rows:,} rows ({malformed / rows:.1%}) are malformed, more than "
                f"max_malformed ({max_malformed:.1%}) allows; {'; '.join(named)}."
            )
        if malformed == rows:
            raise InputError(f"{self.path}: all of its {rows:,} rows are malformed; {'; '.join(named)}.")
        return Report(rows, malformed, named, unsorted, tuple(notes))


def header(path: Path, lower: bool = False) -> list[str]:
    """Return the column names of a CSV file (.csv or .csv.gz); raises InputError where there are none."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            first = file.readline(1 << 16).decode("utf-8-sig")
        names = [name.strip() for name in next(csv.reader([first]), [])]
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; give the path of a CSV file.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give the path of a CSV file in it.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}:1: the header must be UTF-8 text.") from None
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}.") from None
    if lower:
        names = [name.lower() for name in names]
    if not any(names):
        raise InputError(f"{path} is empty or begins with a blank line; its first line must name the columns.")
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise InputError(f"{path}:1: the header must name each column once; {double[0]!r} is there twice.")
    return names


def read_rows(path: Path, required: Sequence[str], lower: bool = False) -> Rows:
    """Read a CSV file (.csv or .csv.gz) as text columns; raises InputError where a required column is missing.

    With `lower`, capitals in the names of columns do not matter.
    """
    names = header(path, lower)
    missing = [name for name in required if name not in names]
    if missing:
        raise InputError(
            f"{path}:1: the header must have the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"it has {', '.join(names)}."
        )
    broken: list[tuple[int, str]] = []
    torn: list[int] = []

    def skip(row: arrow_csv.InvalidRow) -> str:
        broken.append((row.number, f"{row.actual_columns} fields where the header has {row.expected_columns}"))
        if "\n" in row.text:
            torn.append(row.number)
        return "skip"

    try:
        with pa.input_stream(str(path), compression="gzip" if path.suffix == ".gz" else None) as stream:
            table = arrow_csv.read_csv(
                stream,
                # One thread: with more, the reader cannot tell the line of a broken row.
                read_options=arrow_csv.ReadOptions(use_threads=False, skip_rows=1, column_names=names),
                parse_options=arrow_csv.ParseOptions(invalid_row_handler=skip, ignore_empty_lines=False),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            )
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} cannot be read as CSV: {str(error).splitlines()[0].rstrip('.')}.") from None
    except (OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from None
    table = pa.table({name: pc.utf8_trim_whitespace(table[name]).combine_chunks() for name in names})
    lines = np.arange(2, table.num_rows + len(broken) + 2, dtype=np.int64)
    line = np.delete(lines, np.array([number - 2 for number, _ in broken], dtype=np.int64))
    blank = np.logical_and.reduce([_bools(pc.equal(table[name], "")) for name in names])
    kept = int(np.flatnonzero(~blank)[-1]) + 1 if not blank.all() else 0
    rows = Rows(path, table.slice(0, kept), line[:kept], np.ones(kept, dtype=np.bool_), len(broken), broken[:NAMED])
    for name in names:
        torn += rows.line[_bools(pc.match_substring(rows.table[name], "\n"))].tolist()
    if torn:
        raise InputError(f"{path}:{min(torn)}: a quote opens on this line and does not close on it.")
    rows.reject(blank[:kept], lambda row: "the line is blank")
    return rows


def numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return text as numbers, NaN where it is none (or says NaN, or is not finite)."""
    values: NDArray[np.float64] = _cast(column, _NUMBER, pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)


def times(column: pa.ChunkedArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return (seconds from the earliest, whether the text is a time) of a column of one format.

    The format is the one that most of the first thousand rows have: seconds as a number, an ISO date and time, or
    one with its offset from UTC. A date and time without an offset is taken as UTC, so that no hour is there twice.
    """
    formats: list[tuple[str, pa.DataType]] = [
        (_NAIVE, pa.timestamp("ns")),
        (_ZONED, pa.timestamp("ns", "UTC")),
        (_NUMBER, pa.float64()),
    ]
    sample = column.slice(0, 1000)
    pattern, kind = max(formats, key=lambda f: int(_bools(pc.match_substring_regex(sample, f[0])).sum()))
    if pattern == _NUMBER:
        seconds = numbers(column)
        valid = np.abs(seconds) < CLOCK_LIMIT_S
        start = seconds[valid].min() if valid.any() else 0.0
        return np.where(valid, seconds - start, 0.0), valid
    stamps = _cast(column, pattern, kind)
    valid = _bools(pc.is_valid(stamps))
    ticks = pc.fill_null(stamps.cast(pa.int64()), 0).to_numpy()
    first = ticks[valid].min() if valid.any() else 0
    return np.where(valid, (ticks - first) / 1e9, 0.0), valid


def texts(column: pa.ChunkedArray) -> NDArray[np.str_]:
    """Return text as NumPy text."""
    return np.array(column.to_pylist(), dtype=np.str_)


def wrong(rows: Rows, column: str, right: str) -> Callable[[int], str]:
    """Return the reason for rejecting a row: what stands in a column instead of what would be right."""

    def why(row: int) -> str:
        text = rows.text(column, row)
        return f"{column} {text[:40]!r} is not {right}" if text else f"{column} is empty"

    return why


def _cast(column: pa.ChunkedArray, pattern: str, kind: pa.DataType) -> pa.Array:
    """Text as `kind`, null where it does not match the pattern or is impossible (30 February)."""
    flat = _flat(column)
    try:
        return pc.cast(flat, kind)
    except pa.ArrowInvalid:
        matches = pc.match_substring_regex(flat, pattern)
        return _halved(pc.if_else(matches, flat, pa.scalar(None, pa.string())), kind)


def _halved(text: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cast what can be cast, null for the rest; a few bad rows among many cost a few casts of half the rest."""
    try:
        return pc.cast(text, kind)
    except pa.ArrowInvalid:
        if len(text) == 1:
            return pa.nulls(1, kind)
        half = len(text) // 2
        return pa.concat_arrays([_halved(text.slice(0, half), kind), _halved(text.slice(half), kind)])


def _flat(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _bools(array: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(_flat(array).to_numpy(zero_copy_only=False), dtype=np.bool_)
