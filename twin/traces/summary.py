"""What a trace is like, for the eye: how much, how bursty, how large, before it is fed to a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from domain.errors import InputError
from twin.traces.requests import AZURE, GENTD26, PLAIN, RequestKind, Trace, read_azure, read_gentd26, read_plain
from twin.traces.servegen import SERVEGEN, WINDOW_S, Windows, read_servegen
from twin.traces.table import MALFORMED, Report, header

Kind = Literal["azure", "gentd26", "servegen", "plain"]
KINDS: dict[Kind, tuple[str, ...]] = {"azure": AZURE, "gentd26": GENTD26, "servegen": SERVEGEN, "plain": PLAIN}
"""Each kind of trace and the columns that its header must have."""
COUNT_S = 30.0
"""Seconds over which requests are counted for the burstiness."""
QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One model of a ServeGen file."""

    model: str
    clients: int
    windows: int
    requests_per_s: float
    """Mean over the windows that the file spans."""
    busiest_per_s: float
    """The highest of its windows, all clients together."""
    median_cv: float
    """Median over clients and windows of the coefficient of variation of gaps, as measured."""


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """Figures of one trace file."""

    path: Path
    kind: Kind
    report: Report
    requests: int
    """Requests in the trace; for ServeGen what its rates come to."""
    span_s: float
    requests_per_s: float
    burstiness: float
    """Variance over mean of the requests in 30 s, 1 for a Poisson process; NaN for ServeGen, and below two counts."""
    batches: dict[int, int]
    """Requests by number of prompts; empty for ServeGen."""
    percentiles: dict[str, tuple[float, ...]]
    """Column to its percentiles 50, 90 and 99."""
    models: tuple[ModelSummary, ...] = field(default=())

    def lines(self) -> list[str]:
        """The summary in words, a line each."""
        lines = [
            f"{self.path}: {self.kind}",
            *self.report.lines(),
            f"{self.requests:,} requests in {self.span_s:,.0f} s, {self.requests_per_s:.3g} per second",
        ]
        if np.isfinite(self.burstiness):
            lines.append(f"variance over mean of the requests in {COUNT_S:g} s: {self.burstiness:.3g} (Poisson 1)")
        if self.batches:
            shares = sorted(self.batches.items(), key=lambda pair: -pair[1])
            shown = ", ".join(f"{k}: {count / self.requests:.1%}" for k, count in sorted(shares[:8]))
            lines.append(f"prompts per request: {shown}" + (", …" if len(shares) > 8 else ""))
        lines += [
            f"{name}: " + ", ".join(f"p{100 * q:g} {value:.4g}" for q, value in zip(QUANTILES, values, strict=True))
            for name, values in self.percentiles.items()
        ]
        lines += [
            f"{m.model}: {m.clients} clients, {m.windows:,} windows, {m.requests_per_s:.3g} requests per second, "
            f"up to {m.busiest_per_s:.3g}, median CV of gaps {m.median_cv:.3g}"
            for m in self.models
        ]
        return lines


def guess_kind(path: Path) -> Kind:
    """Return the kind of a trace from its header; raises InputError where it is none that is known."""
    names = header(path)
    small = {name.lower() for name in names}
    for kind, columns in KINDS.items():
        if kind == "plain" and "time_s" in small:
            small.add("time")
        if set(columns) <= (small if kind == "plain" else set(names)):
            return kind
    known = "; ".join(f"{kind}: {', '.join(columns)}" for kind, columns in KINDS.items())
    raise InputError(f"{path}:1: the header ({', '.join(names)}) is none of a known trace ({known}).")


def read_trace(path: Path, kind: RequestKind | None = None, max_malformed: float = MALFORMED) -> Trace:
    """Read a trace of single requests, of the kind that its header says; raises InputError."""
    chosen = kind or guess_kind(path)
    if chosen == "servegen":
        raise InputError(
            f"{path}: this is a ServeGen file of rates, not a trace of requests; use it in a stream of kind servegen."
        )
    return {"azure": read_azure, "gentd26": read_gentd26, "plain": read_plain}[chosen](path, max_malformed)


def inspect_trace(path: Path, kind: Kind | None = None, max_malformed: float = MALFORMED) -> TraceSummary:
    """Read a trace and return its figures; raises InputError."""
    chosen = kind or guess_kind(path)
    if chosen == "servegen":
        return _inspect_windows(read_servegen(path, max_malformed))
    trace = read_trace(path, chosen, max_malformed)
    sizes, requests = np.unique(trace.prompts, return_counts=True)
    measured = {"gap_s": np.diff(trace.time_s), "prompts": trace.prompts.astype(np.float64)}
    if chosen == "azure":
        measured |= {column: trace.numbers(column) for column in ("ContextTokens", "GeneratedTokens")}
    return TraceSummary(
        path,
        chosen,
        trace.report,
        len(trace),
        trace.span_s,
        len(trace) / trace.span_s if trace.span_s > 0 else float("nan"),
        _burstiness(trace.time_s),
        dict(zip(sizes.tolist(), requests.tolist(), strict=True)),
        {name: _percentiles(values) for name, values in measured.items() if len(values)},
    )


def _inspect_windows(windows: Windows) -> TraceSummary:
    spanned = int(windows.index.max() - windows.index.min()) + 1
    models = []
    for name in np.unique(windows.model):
        mine = windows.model == name
        per_window = np.bincount(windows.index[mine], windows.rate[mine])
        cv = windows.cv[mine]
        models.append(
            ModelSummary(
                str(name),
                len(np.unique(windows.client[mine])),
                int(mine.sum()),
                float(per_window.sum() / (np.ptp(windows.index[mine]) + 1)),
                float(per_window.max()),
                float(np.nanmedian(cv)) if np.isfinite(cv).any() else float("nan"),
            )
        )
    requests = float(windows.rate.sum() * WINDOW_S)
    percentiles = {"rate_per_s": _percentiles(windows.rate)}
    if np.isfinite(windows.cv).any():
        percentiles["cv"] = _percentiles(windows.cv[np.isfinite(windows.cv)])
    return TraceSummary(
        windows.path,
        "servegen",
        windows.report,
        round(requests),
        spanned * WINDOW_S,
        requests / (spanned * WINDOW_S),
        float("nan"),
        {},
        percentiles,
        tuple(models),
    )


def _burstiness(time_s: NDArray[np.float64]) -> float:
    """Variance over mean of the counts; empty stretches are not written out, they may be years long."""
    intervals = (time_s - time_s[0]) // COUNT_S
    counts = np.unique(intervals, return_counts=True)[1]
    bins = float(intervals[-1]) + 1
    mean = counts.sum() / bins
    return float((counts**2).sum() / bins - mean**2) / mean if bins > 1 else float("nan")


def _percentiles(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(v) for v in np.quantile(values, QUANTILES))
