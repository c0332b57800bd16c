"""ServeGen: how each client of a model in production arrived, in windows of ten minutes, as a fitted renewal process.

Source: github.com/alibaba/ServeGen (Xiang et al., ServeGen, NSDI 2026). A file here is ServeGen's per-client traces in
one table: model, client, window_start_s, rate_per_s, cv, distribution, shape, scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twin.traces.table import MALFORMED, Report, numbers, read_rows, texts, wrong

WINDOW_S = 600.0
"""Length of ServeGen's windows in seconds."""
SERVEGEN = ("model", "client", "window_start_s", "rate_per_s", "distribution", "shape")
LEAST_SHAPE = 1e-3
"""Below this nearly all gaps are zero in double precision; ServeGen's shapes are above 0.006."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Rate windows of clients, column by column, all of length W, in order of (window, model, client)."""

    path: Path
    model: NDArray[np.str_]
    client: NDArray[np.str_]
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
    """Read rate windows (.csv or .csv.gz); raises InputError.

    A window with rate 0 is a silent one. The second row of a model, client and window is malformed.
    """
    rows = read_rows(path, SERVEGEN)
    start, rate, shape = (numbers(rows.table[c]) for c in ("window_start_s", "rate_per_s", "shape"))
    model, client, kind = (texts(rows.table[c]) for c in ("model", "client", "distribution"))
    for column in ("model", "client"):
        rows.reject(rows.empty(column), wrong(rows, column, "a name"))
    on_grid = (start >= 0) & (start % WINDOW_S == 0)
    rows.reject(~on_grid, wrong(rows, "window_start_s", f"a multiple of {WINDOW_S:g} seconds"))
    rows.reject(~(rate >= 0), wrong(rows, "rate_per_s", "a number of requests per second"))
    rows.reject((kind != "Gamma") & (kind != "Weibull"), wrong(rows, "distribution", "Gamma or Weibull"))
    rows.reject(~(shape >= LEAST_SHAPE), wrong(rows, "shape", f"a number from {LEAST_SHAPE:g} up"))
    index = np.where(on_grid, start / WINDOW_S, 0).astype(np.int64)
    _, client_no = np.unique(client, return_inverse=True)
    order = np.lexsort((client_no, model, index))
    same = (index[order][1:] == index[order][:-1]) & (model[order][1:] == model[order][:-1])
    twice = np.zeros(len(index), dtype=np.bool_)
    twice[order[1:]] = same & (client_no[order][1:] == client_no[order][:-1])
    rows.reject(twice, lambda row: f"a second window at {start[row]:g} s for client {client[row]} of {model[row]}")
    report = rows.report(max_malformed)
    keep = order[rows.good[order]]
    cv = numbers(rows.table["cv"]) if "cv" in rows.table.column_names else np.full(len(index), np.nan)
    return Windows(
        rows.path,
        model[keep],
        client[keep],
        index[keep],
        rate[keep],
        kind[keep] == "Weibull",
        shape[keep],
        cv[keep],
        report,
    )
