"""JSON as batches of text columns: an object a line, an array of objects, or one object that holds columns.

A field of an inner object is the column `outer.inner`. Lists are no columns, except where one object holds them side
by side, as the result of a benchmark does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from domain.errors import InputError
from twin.traces.cells import MOST_CELL
from twin.traces.csv_text import MOST_COLUMNS
from twin.traces.rows import NAMED, Batch
from twin.traces.source import Block, blocks, opened, read

MOST_BYTES = 1 << 27
"""Bytes of a JSON document that is not a line an object; all of it has to be in memory."""
FIRST_ROWS = 100
"""Objects whose fields are the columns of a file."""
BATCH = 20_000
"""Entries of a document that make a batch."""
ROWS_LIST = "start_times"
"""The list that is a row per request in the result of vLLM's benchmark; the other lists stand beside it."""

BENCHMARK = "request_throughput"
"""A field by which such a result is known, whatever else was written."""


def is_json(path: Path) -> bool:
    """True where a file begins like JSON."""
    with opened(path) as file:
        return read(path, file, 4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


@dataclass(frozen=True, slots=True)
class JsonLines:
    """A file with a JSON object on each line."""

    path: Path
    columns: tuple[str, ...]
    place: str = "line"

    def batches(self, wanted: Sequence[str]) -> Iterator[Batch]:
        """Yield its rows."""
        for block in blocks(self.path):
            yield _batch(_lines(block), wanted, block.wrong)


@dataclass(frozen=True, slots=True)
class JsonEntries:
    """A JSON document in memory, as a list of objects or as lists side by side."""

    path: Path
    columns: tuple[str, ...]
    entries: Sequence[Any] | None
    """The objects; None where there are lists."""
    lists: Mapping[str, Any]
    """Column to its list, or to the value of all rows."""
    rows: int
    place: str = "entry"

    def batches(self, wanted: Sequence[str]) -> Iterator[Batch]:
        """Yield its rows."""
        for start in range(0, self.rows, BATCH):
            numbers = range(start, min(start + BATCH, self.rows))
            if self.entries is not None:
                yield _batch(((k + 1, self.entries[k]) for k in numbers), wanted, {})
                continue
            line = np.array(numbers) + 1
            columns = {name: self._part(self.lists.get(name), numbers) for name in wanted}
            yield Batch(_table(columns), line, np.zeros(len(line), dtype=np.bool_))

    @staticmethod
    def _part(values: Any, numbers: range) -> list[str]:
        if isinstance(values, list):
            return [_text(values[k]) for k in numbers]
        return [_text(values)] * len(numbers)


def json_file(path: Path) -> JsonLines | JsonEntries:
    """Find out what a JSON file is; raises InputError where it holds no rows."""
    first, found = next(blocks(path), None), list[Any]()
    if first is not None:
        lines = (line for line in first.data.split(b"\n") if line.strip())
        found = [_parsed(line) for line in islice(lines, FIRST_ROWS)]
    objects = [value for value in found if isinstance(value, dict)]
    if objects and isinstance(found[0], dict) and (len(found) > 1 or not _holds_rows(found[0])):
        return JsonLines(path, _columns(path, objects))
    return _document(path)


def _holds_rows(value: dict[str, Any]) -> bool:
    return (
        ROWS_LIST in value
        or BENCHMARK in value
        or any(isinstance(v, list) and v and isinstance(v[0], dict) for v in value.values())
    )


def _document(path: Path) -> JsonEntries:
    with opened(path) as file:
        data = read(path, file, MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise InputError(
            f"{path}: a JSON document must have at most {MOST_BYTES:,} bytes; write an object a line (jq -c '.[]'), or "
            f"the lists that matter alone (jq '{{model_id, start_times, input_lens, output_lens}}')."
        )
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        place = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error).splitlines()[0]
        what = "this is neither a JSON object a line nor a JSON document"
        raise InputError(f"{path}{place}: {what}: {reason}.") from None
    if isinstance(value, dict):
        if isinstance(value.get(ROWS_LIST), list):
            return _side_by_side(path, value)
        inner = [v for v in value.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        if BENCHMARK in value:
            raise InputError(
                f"{path}: this result of a benchmark does not say when its requests began; write it by 'vllm bench "
                f"serve --save-result --save-detailed', in a version whose result has {ROWS_LIST}."
            )
        value = inner[0] if len(inner) == 1 else None
    if not isinstance(value, list) or not any(isinstance(entry, dict) for entry in value[:FIRST_ROWS]):
        raise InputError(f"{path}: the JSON must be an object a line, or a list of objects, one for each request.")
    objects = [entry for entry in value[:FIRST_ROWS] if isinstance(entry, dict)]
    return JsonEntries(path, _columns(path, objects), value, {}, len(value))


def _side_by_side(path: Path, value: dict[str, Any]) -> JsonEntries:
    rows = len(value[ROWS_LIST])
    lists = {
        name: column
        for name, column in value.items()
        if not isinstance(column, dict) and (not isinstance(column, list) or len(column) == rows)
    }
    return JsonEntries(path, tuple(lists), None, lists, rows)


def _columns(path: Path, objects: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    waiting = [("", value) for value in reversed(objects)]
    while waiting and len(found) <= MOST_COLUMNS:
        prefix, value = waiting.pop()
        for name, inner in value.items():
            if isinstance(inner, dict):
                waiting.append((f"{prefix}{name}.", inner))
            elif not isinstance(inner, list):
                found[f"{prefix}{name}"] = None
    if len(found) > MOST_COLUMNS:
        raise InputError(f"{path}: its objects must have at most {MOST_COLUMNS:,} fields.")
    return tuple(found)


def _lines(block: Block) -> Iterator[tuple[int, Any]]:
    """The lines of a block with what is on them."""
    for k, text in enumerate(block.data.split(b"\n")[:-1]):
        yield block.first + k, _parsed(text) if text.strip() else Other.BLANK


def _batch(values: Iterable[tuple[int, Any]], wanted: Sequence[str], wrong: Mapping[int, str]) -> Batch:
    """The values that are objects as rows, and everything else, but for blanks, as broken."""
    columns: dict[str, list[str]] = {name: [] for name in wanted}
    paths = [(name, name.split(".")) for name in wanted]
    line, blank, broken, why = list[int](), list[bool](), list[int](), list[tuple[int, str]]()
    for number, value in values:
        if number in wrong or not (isinstance(value, dict) or value is Other.BLANK):
            broken.append(number)
            if len(why) < NAMED:
                why.append((number, wrong.get(number, "it is no JSON object")))
            continue
        line.append(number)
        blank.append(value is Other.BLANK)
        for name, path in paths:
            columns[name].append("" if value is Other.BLANK else _text(_inner(value, name, path)))
    ints = (np.array(numbers, dtype=np.int64) for numbers in (line, broken))
    return Batch(_table(columns), next(ints), np.array(blank, dtype=np.bool_), next(ints), tuple(why))


def _table(columns: Mapping[str, list[str]]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


class Other(Enum):
    """What stands where no JSON value is."""

    BLANK = "nothing"
    NO_JSON = "text that is no JSON"


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return Other.NO_JSON


def _inner(row: dict[str, Any], name: str, path: list[str]) -> Any:
    if name in row:
        return row[name]
    value: Any = row
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    """A value as the text that a CSV file would have; no longer than it takes to see that it is too long."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()[: MOST_CELL + 1].strip()
    if value is None:
        return ""
    if isinstance(value, int | float):
        return str(value).lower()
    return json.dumps(value)[: MOST_CELL + 1]
