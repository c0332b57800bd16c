"""Traces of single requests: Azure's LLM inference, Alibaba's image generation (GenTD26), and plain CSV files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from domain.errors import InputError
from twin.traces.table import CLOCK_LIMIT_S, MALFORMED, Report, Rows, header, numbers, read_rows, texts, times, wrong

RequestKind = Literal["azure", "gentd26", "plain"]
MOST_PROMPTS = 1_000_000
"""Prompts in one request; more is a slip in the file."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of time, column by column, all of length R."""

    path: Path
    kind: RequestKind
    time_s: NDArray[np.float64]
    """Seconds from the first request; in a plain file with a column time_s, from the start of the run."""
    prompts: NDArray[np.int64]
    """K of each request; 1 where the trace does not say (Azure)."""
    line: NDArray[np.int64]
    """Line of the file."""
    node: NDArray[np.str_] | None
    """Origin by name, where the trace says."""
    lm: NDArray[np.str_] | None
    """LM by name, where the trace says."""
    table: pa.Table
    """All columns of the file, as text."""
    report: Report

    def __len__(self) -> int:
        return int(self.time_s.shape[0])

    @property
    def span_s(self) -> float:
        """Seconds from the first request to the last."""
        return float(self.time_s[-1] - self.time_s[0])

    def numbers(self, column: str) -> NDArray[np.float64]:
        """[R] a column as numbers, NaN where it is none; raises InputError where there is no such column."""
        return numbers(self._column(column))

    def texts(self, column: str) -> NDArray[np.str_]:
        """[R] a column as text; raises InputError where there is no such column."""
        return texts(self._column(column))

    def _column(self, name: str) -> pa.ChunkedArray:
        if name not in self.table.column_names:
            raise InputError(f"{self.path}: there is no column {name!r}; it has {', '.join(self.table.column_names)}.")
        return self.table[name]


def read_azure(path: Path, max_malformed: float = MALFORMED) -> Trace:
    """Read an Azure LLM inference trace (2023, and later ones with these columns): one prompt per row.

    Source: github.com/Azure/AzurePublicDataset, AzureLLMInferenceDataset2023 (Patel et al., Splitwise, ISCA 2024).
    Columns TIMESTAMP, ContextTokens, GeneratedTokens. Raises InputError.
    """
    rows = read_rows(path, AZURE)
    seconds = _seconds(rows, "TIMESTAMP")
    for column in ("ContextTokens", "GeneratedTokens"):
        values = numbers(rows.table[column])
        rows.reject(~(values >= 0), wrong(rows, column, "a count of tokens"))
    return _trace(rows, "azure", seconds, np.ones(len(seconds)), max_malformed)


def read_gentd26(path: Path, max_malformed: float = MALFORMED) -> Trace:
    """Read an Alibaba GenTD26 trace of image generation: the images of a request are its prompts.

    Source: github.com/alibaba/clusterdata, cluster-trace-v2026-GenAI, lora_request_trace. A request that arrived is
    demand whatever became of it, so rows of every predict_status count; a row without num_images_per_prompt
    has no size and is malformed. Raises InputError.
    """
    rows = read_rows(path, GENTD26)
    seconds = _seconds(rows, "gmt_create")
    images = _prompts(rows, "num_images_per_prompt")
    rows.reject(rows.empty("predict_type"), wrong(rows, "predict_type", "a name"))
    status = Counter(compress(rows.table["predict_status"].to_pylist(), rows.good))
    counts = ", ".join(f"{count:,} {name or 'without'}" for name, count in status.most_common())
    note = f"a request counts whatever became of it: {counts}"
    return _trace(rows, "gentd26", seconds, images, max_malformed, (note,))


def read_plain(path: Path, max_malformed: float = MALFORMED) -> Trace:
    """Read a CSV file with the columns time (or time_s), node, lm, prompts; capitals do not matter.

    `time_s` is in seconds from the start of the run. `time` is any clock, seconds or ISO date and time, counted from
    the first request. Raises InputError.
    """
    own_clock = "time_s" in header(path, lower=True)
    rows = read_rows(path, ("time_s" if own_clock else "time", *PLAIN[1:]), lower=True)
    if own_clock:
        seconds = numbers(rows.table["time_s"])
        inside = (seconds >= 0) & (seconds < CLOCK_LIMIT_S)
        rows.reject(~inside, wrong(rows, "time_s", "a number of seconds from the start of the run"))
    else:
        seconds = _seconds(rows, "time")
    prompts = _prompts(rows, "prompts")
    for column in ("node", "lm"):
        rows.reject(rows.empty(column), wrong(rows, column, "a name"))
    return _trace(rows, "plain", seconds, prompts, max_malformed, from_first=not own_clock)


AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
GENTD26 = ("gmt_create", "predict_type", "predict_status", "num_images_per_prompt")
PLAIN = ("time", "node", "lm", "prompts")


def _trace(
    rows: Rows,
    kind: RequestKind,
    seconds: NDArray[np.float64],
    prompts: NDArray[np.float64],
    max_malformed: float,
    notes: tuple[str, ...] = (),
    from_first: bool = True,
) -> Trace:
    good = np.flatnonzero(rows.good)
    unsorted = int((np.diff(seconds[good]) < 0).sum())
    report = rows.report(max_malformed, unsorted, notes)
    order = good[np.argsort(seconds[good], kind="stable")]
    table = rows.table.take(pa.array(order)) if len(order) < len(rows.line) or unsorted else rows.table
    time_s = seconds[order] - (seconds[order[0]] if from_first else 0.0)
    node, lm = (texts(table[c]) if kind == "plain" else None for c in ("node", "lm"))
    return Trace(rows.path, kind, time_s, prompts[order].astype(np.int64), rows.line[order], node, lm, table, report)


def _seconds(rows: Rows, column: str) -> NDArray[np.float64]:
    seconds, valid = times(rows.table[column])
    rows.reject(~valid, wrong(rows, column, "a time (seconds, or a date and time like most rows')"))
    return seconds


def _prompts(rows: Rows, column: str) -> NDArray[np.float64]:
    values = numbers(rows.table[column])
    whole = (values >= 1) & (values <= MOST_PROMPTS) & (values == np.floor(values))
    rows.reject(~whole, wrong(rows, column, "a whole number from 1 up"))
    return values
