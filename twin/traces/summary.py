"""What a trace is like, for the eye: how much, for whom, how bursty, how large, before it is fed to a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twin.sentences import one_of
from twin.traces.cells import Names
from twin.traces.clock import Unit
from twin.traces.forms import FORMS, Kind, Role, kind_of
from twin.traces.requests import open_text, read_trace
from twin.traces.rows import MALFORMED, Report, TextFile
from twin.traces.servegen import WINDOW_S, Windows, read_servegen

COUNT_S = 30.0
"""Seconds over which requests are counted for the burstiness."""
QUANTILES = (0.5, 0.9, 0.99, 1.0)
SHOWN = 12
"""Names that are shown of each column, those with the most requests."""


@dataclass(frozen=True, slots=True)
class NameCount:
    """An LM or an origin of a trace."""

    name: str
    requests: int
    line: int
    """Line of its first request in the file."""


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
    """Column to its median, percentiles 90 and 99, and its largest value."""
    models: tuple[ModelSummary, ...] = field(default=())
    """Of a ServeGen file, those with the most requests, by name."""
    more_models: int = 0
    """How many others it has."""
    lms: tuple[NameCount, ...] = field(default=())
    """Requests by LM or model, the most frequent first; empty where the file does not say."""
    origins: tuple[NameCount, ...] = field(default=())
    """Requests by origin, likewise."""

    def lines(self) -> list[str]:
        """The summary in words, a line each."""
        lines = [
            f"{self.path}: {self.kind}",
            *self.report.lines(),
            f"{self.requests:,} requests in {self.span_s:,.0f} s"
            + (f", {self.requests_per_s:.3g} per second" if self.span_s > 0 else ""),
            *(
                f"{what}: {_shown(names)}"
                for what, names in (("LM or model", self.lms), ("origin", self.origins))
                if names
            ),
        ]
        if np.isfinite(self.burstiness):
            lines.append(f"variance over mean of the requests in {COUNT_S:g} s: {self.burstiness:.3g} (Poisson 1)")
        if self.batches:
            shares = sorted(self.batches.items(), key=lambda pair: -pair[1])
            shown = ", ".join(f"{k}: {count / self.requests:.1%}" for k, count in sorted(shares[:8]))
            lines.append(f"prompts per request: {shown}" + (", …" if len(shares) > 8 else ""))
        lines += [
            f"{name}: " + ", ".join(f"{_rank(q)} {value:.4g}" for q, value in zip(QUANTILES, values, strict=True))
            for name, values in self.percentiles.items()
        ]
        lines += [
            f"{m.model}: {m.clients} clients, {m.windows:,} windows, {m.requests_per_s:.3g} requests per second, "
            f"up to {m.busiest_per_s:.3g}, median CV of gaps {m.median_cv:.3g}"
            for m in self.models
        ]
        if self.more_models:
            lines.append(f"and {self.more_models:,} models with fewer requests")
        return lines


def guess_kind(source: Path | TextFile, columns: Mapping[Role, str] | None = None) -> Kind:
    """Return the kind of a trace from its columns; raises InputError where it is none that is known."""
    file = open_text(source) if isinstance(source, Path) else source
    return kind_of(file.path, file.columns, columns)


def inspect_trace(
    path: Path,
    kind: Kind | None = None,
    max_malformed: float = MALFORMED,
    *,
    columns: Mapping[Role, str] | None = None,
    unit: Unit | None = None,
) -> TraceSummary:
    """Read a trace and return its figures; arguments and errors are those of `read_trace`."""
    file = open_text(path)
    chosen = kind or guess_kind(file, columns)
    if chosen == "servegen":
        return _inspect_windows(read_servegen(path, max_malformed))
    tokens = () if chosen == "plain" else FORMS[chosen].counts
    trace = read_trace(file, chosen, max_malformed, columns=columns, unit=unit, as_numbers=tokens)
    sizes, requests = np.unique(trace.prompts, return_counts=True)
    measured = {"gap_s": np.diff(trace.time_s), "prompts": trace.prompts.astype(np.float64)}
    measured |= {column: trace.numbers(column) for column in tokens}
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
        lms=_counted(trace.lm, trace.line),
        origins=_counted(trace.node, trace.line),
    )


def unknown_names(summary: TraceSummary, lms: Sequence[str], nodes: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each name of a trace that a run on a testbed with these LMs and nodes would refuse."""
    for column, names, known in (("lm", summary.lms, lms), ("node", summary.origins, nodes)):
        for entry in names:
            if entry.name not in known:
                yield unknown_name(summary.path, entry.line, column, known, entry.name)


def unknown_name(path: Path, line: int, column: str, known: Sequence[str], name: str) -> str:
    """The sentence for a name that a testbed does not have."""
    what = one_of(known, name)
    fields = "lm or lms" if column == "lm" else "origins or nodes"
    advice = "" if what.endswith("?") else f"; {fields} in the workload file can say what stands for it."
    return f"{path}:{line}: {column} {what}{advice}"


def _inspect_windows(windows: Windows) -> TraceSummary:
    spanned = int(windows.index[-1] - windows.index[0]) + 1
    models = []
    each = np.bincount(windows.model.codes, windows.rate, minlength=len(windows.model.values))
    busiest = np.argsort(-each, kind="stable")[:SHOWN].tolist()
    for name in sorted(windows.model.values[code] for code in busiest):
        mine = windows.model.isin([name])
        index, rate, cv = windows.index[mine], windows.rate[mine], windows.cv[mine]
        per_window = np.add.reduceat(rate, np.flatnonzero(np.diff(index, prepend=-1))) if len(index) else np.zeros(1)
        models.append(
            ModelSummary(
                name,
                len(windows.client.take(mine).counts()),
                len(index),
                float(rate.sum() / (np.ptp(index) + 1)),
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
        len(windows.model.values) - len(models),
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


def _rank(quantile: float) -> str:
    return f"p{100 * quantile:g}" if quantile < 1 else "most"


def _counted(names: Names | None, line: NDArray[np.int64]) -> tuple[NameCount, ...]:
    if names is None:
        return ()
    first = np.full(len(names.values), np.iinfo(np.int64).max)
    np.minimum.at(first, names.codes, line)
    lines = dict(zip(names.values, first.tolist(), strict=True))
    return tuple(NameCount(name, requests, lines[name]) for name, requests in names.counts().items())


def _shown(names: Sequence[NameCount]) -> str:
    text = ", ".join(f"{entry.name[:60]} {entry.requests:,}" for entry in names[:SHOWN])
    rest = names[SHOWN:]
    return text + (f", {len(rest):,} more with {sum(entry.requests for entry in rest):,}" if rest else "")
