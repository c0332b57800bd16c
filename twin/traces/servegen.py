"""ServeGen: how each client of a model in production arrived, in windows of ten minutes, as a fitted renewal process.

Source: github.com/alibaba/ServeGen (Xiang et al., ServeGen, NSDI 2026). A file here is ServeGen's per-client traces in
one table: model, client, window_start_s, rate_per_s, cv, distribution, shape, scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domain.errors import InputError
from twin.traces.cells import NameColumn, Names, numbers
from twin.traces.clock import CLOCK_LIMIT_S
from twin.traces.forms import SERVEGEN
from twin.traces.requests import open_text
from twin.traces.rows import MALFORMED, Books, Report, Rows

WINDOW_S = 600.0
"""Length of ServeGen's windows in seconds."""
LEAST_SHAPE = 1e-3
"""Below this nearly all gaps are zero in double precision; ServeGen's shapes are above 0.006."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Rate windows of clients, column by column, all of length W, in order of (window, model, client)."""

    path: Path
    model: Names
    client: Names
    index: NDArray[np.int64]
    """Window number: it covers [index, index + 1) * WINDOW_S."""
    rate: NDArray[np.float64]
    """Requests per second."""
    weibull: NDArray[np.bool_]
    """True where gaps are Weibull, False where they are Gamma."""
    shape: NDArray[np.float64]
    """Shape of the fitted distribution of gaps; its scale follows from the rate."""
    cv: NDArray[np.float64]
    """Coefficient of variation of the gaps as it was measured, NaN where the file does not say."""
    report: Report

    def __len__(self) -> int:
        return int(self.index.shape[0])


def read_servegen(path: Path, max_malformed: float = MALFORMED) -> Windows:
    """Read rate windows; raises InputError.

    A window with rate 0 is a silent one. The second good row of a model, client and window is malformed.
    """
    file = open_text(path)
    missing = [name for name in SERVEGEN if name not in file.columns]
    if missing:
        raise InputError(
            f"{path}:1: the header must have the columns {', '.join(SERVEGEN)}; {missing[0]} is not there."
        )
    cv = ("cv",) if "cv" in file.columns else ()
    books, names = Books(file), {name: NameColumn() for name in ("model", "client")}
    parts: list[list[NDArray[np.float64]]] = []
    for batch in file.batches((*SERVEGEN, *cv)):
        rows = Rows(batch, file.place)
        parts.append(_judge(rows, names, bool(cv)))
        books.take(rows, batch)
    empty = [np.empty(0) for _ in range(6)]
    line, index, rate, weibull, shape, measured = (np.concatenate(part) for part in zip(empty, *parts, strict=True))
    model, client = (names[name].done() for name in ("model", "client"))
    # Stable, so that of the rows of one window the first of the file is the first here.
    order = np.lexsort((client.ranks(), model.ranks(), index))
    keys = np.stack([index.astype(np.int64), model.codes, client.codes])[:, order]
    twice = (
        np.concatenate([[False], (keys[:, 1:] == keys[:, :-1]).all(axis=0)]) if len(index) else np.empty(0, np.bool_)
    )
    for row in np.sort(order[twice]).tolist():
        which = f"client {client.values[client.codes[row]]} of {model.values[model.codes[row]]}"
        books.reject(int(line[row]), f"a second window at {index[row] * WINDOW_S:g} s for {which}")
    apart = np.gcd.reduce(index.astype(np.int64) - int(index.min(initial=0))) if len(index) else 0
    notes = ["windows are 600,000 s apart or more: is window_start_s in milliseconds?"] if apart >= 1000 else []
    report = books.report(max_malformed, notes=notes)
    keep = order[~twice]
    return Windows(
        path,
        model.take(keep),
        client.take(keep),
        index[keep].astype(np.int64),
        rate[keep],
        weibull[keep] > 0,
        shape[keep],
        measured[keep],
        report,
    )


def _judge(rows: Rows, names: dict[str, NameColumn], with_cv: bool) -> list[NDArray[np.float64]]:
    """Say which rows of a batch are malformed, and return line, window, rate, Weibull, shape and CV of the others."""
    start, rate, shape = (numbers(rows.column(name)) for name in ("window_start_s", "rate_per_s", "shape"))
    for name in ("model", "client"):
        rows.reject_empty(name)
    on_grid = (start >= 0) & (start < CLOCK_LIMIT_S) & (start % WINDOW_S == 0)
    rows.reject_unless(on_grid, "window_start_s", f"a multiple of {WINDOW_S:g} in seconds, not milliseconds")
    rows.reject_unless(rate >= 0, "rate_per_s", "a number of requests per second")
    kind = np.array(rows.column("distribution").to_pylist(), dtype=object)
    rows.reject_unless((kind == "Gamma") | (kind == "Weibull"), "distribution", "Gamma or Weibull")
    rows.reject_unless(shape >= LEAST_SHAPE, "shape", f"a number from {LEAST_SHAPE:g} up")
    good = np.flatnonzero(rows.good)
    for name, column in names.items():
        column.add(rows.column(name).take(good))
    cv = numbers(rows.column("cv")) if with_cv else np.full(len(start), np.nan)
    return [rows.line[good].astype(np.float64), start[good] / WINDOW_S, rate[good], (kind[good] == "Weibull") * 1.0,
            shape[good], cv[good]]  # fmt: skip
