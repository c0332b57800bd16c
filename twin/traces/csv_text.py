"""A CSV file as batches of text columns. Commas, semicolons, tabs or bars separate its fields: the header tells."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from domain.errors import InputError
from twin.traces.rows import NAMED, Batch
from twin.traces.source import Block, blocks

SEPARATORS = ",;\t|"
MOST_COLUMNS = 10_000
"""Columns of a file that is read."""


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV file whose header has been read."""

    path: Path
    columns: tuple[str, ...]
    separator: str
    place: str = "line"

    @classmethod
    def of(cls, path: Path) -> CsvFile:
        """Read the header; raises InputError where it names no columns, or one twice."""
        first = next(blocks(path), None)
        text = "" if first is None else first.data[: first.data.index(b"\n")].decode()
        if first is not None and 1 in first.wrong:
            raise InputError(f"{path}:1: {first.wrong[1]}; the first line must name the columns.")
        fields = max((_fields(path, text, separator) for separator in SEPARATORS), key=lambda pair: len(pair[0]))
        names = [name.strip() for name in fields[0]]
        if not any(names):
            raise InputError(f"{path} is empty or begins with a blank line; its first line must name the columns.")
        if len(names) > MOST_COLUMNS:
            raise InputError(f"{path}:1: the header must name at most {MOST_COLUMNS:,} columns, not {len(names):,}.")
        names = [name or f"column {k + 1}" for k, name in enumerate(names)]
        double = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if double:
            raise InputError(f"{path}:1: the header must name each column once; {double[0]!r} is there twice.")
        return cls(path, tuple(names), fields[1])

    def batches(self, wanted: Sequence[str]) -> Iterator[Batch]:
        """Yield the rows below the header; raises InputError where the file cannot be read."""
        for block in blocks(self.path):
            below = _without_header(block) if block.first == 1 else block
            if below.data:
                yield self._batch(below, list(dict.fromkeys(wanted)))

    def _batch(self, block: Block, wanted: list[str]) -> Batch:
        broken, why = list[int](), list[tuple[int, str]]()

        def skip(row: arrow_csv.InvalidRow) -> str:
            line = block.first + row.number - 1
            broken.append(line)
            if len(why) < NAMED and line not in block.wrong:
                why.append((line, f"{row.actual_columns} fields where the header has {row.expected_columns}"))
            return "skip"

        try:
            table = arrow_csv.read_csv(
                pa.BufferReader(block.data),
                # One thread and one block: with more, the reader cannot tell the line of a broken row.
                read_options=arrow_csv.ReadOptions(
                    use_threads=False, column_names=self.columns, block_size=len(block.data) + 1
                ),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self.separator, invalid_row_handler=skip, ignore_empty_lines=False
                ),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(wanted, pa.string()), include_columns=wanted, strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid as error:
            raise self._torn(block, str(error).splitlines()[0].rstrip(".")) from None
        lines = np.arange(block.first, block.first + block.data.count(b"\n"), dtype=np.int64)
        if table.num_rows + len(broken) != len(lines):
            raise self._torn(block, "its lines are not its rows")
        blank = _blank(block.data)
        keep = np.ones(len(lines), dtype=np.bool_)
        keep[np.array(broken, dtype=np.int64) - block.first] = False
        wrong = np.array(sorted(block.wrong), dtype=np.int64)
        fine = ~np.isin(lines[keep], wrong)
        table = pa.table({name: _trimmed(table[name], fine) for name in wanted})
        named = sorted([*why, *sorted(block.wrong.items())[:NAMED]])[:NAMED]
        return Batch(table, lines[keep][fine], blank[keep][fine], np.union1d(lines[~keep], wrong), tuple(named))

    def _torn(self, block: Block, otherwise: str) -> InputError:
        """What is wrong with a block whose lines are not its rows: the first quote that opens and does not close."""
        for k, line in enumerate(block.data.decode().split("\n")[:-1]):
            try:
                list(csv.reader([line], delimiter=self.separator, strict=True))
            except csv.Error as error:
                if "end of data" in str(error):
                    where = f"{self.path}:{block.first + k}"
                    return InputError(f"{where}: a quote opens on this line and does not close on it.")
        return InputError(f"{self.path} cannot be read as CSV: {otherwise}.")


def _fields(path: Path, line: str, separator: str) -> tuple[list[str], str]:
    try:
        return next(csv.reader([line], delimiter=separator), []), separator
    except csv.Error as error:
        raise InputError(f"{path}:1: the header cannot be read: {error}.") from None


def _without_header(block: Block) -> Block:
    end = block.data.index(b"\n") + 1
    return Block(2, block.data[end:], block.wrong)


def _blank(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """[R] True for lines of nothing but separators, quotes and white space."""
    left = data.translate(None, b' \t\r,;|"')
    ends = np.flatnonzero(np.frombuffer(left, dtype=np.uint8) == ord("\n"))
    blank: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.diff(ends, prepend=-1) == 1
    return blank


def _trimmed(column: pa.ChunkedArray, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pa.Array:
    text = pc.utf8_trim_whitespace(column.combine_chunks())
    text = text if isinstance(text, pa.Array) else text.combine_chunks()
    return text if rows.all() else text.filter(pa.array(rows))
