"""From an entry of a workload file that names a real trace to its stream."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from domain.errors import InputError
from twin.sentences import one_of
from twin.traces import Names, Trace, column_named, guess_kind, open_text, read_trace, unknown_name
from twin.workloads import schema
from twin.workloads.build import Site, batch_sizes
from twin.workloads.choice import Choice, Weighted
from twin.workloads.limits import MOST_REQUESTS
from twin.workloads.randomness import Part, generator, hashed
from twin.workloads.replay import ReplayStream, resample, slots_of
from twin.workloads.usage import Taken

MOST_OPTIONS = 10_000
"""Names among which one that is meant is looked for."""


def build_trace(entry: schema.TraceEntry, site: Site) -> tuple[ReplayStream, Taken]:
    """Return the stream of a trace and what it takes of the file."""
    trace = _read(entry, site)
    if entry.lm is None and trace.lm is None:
        raise site.error((), f"must have the field 'lm': {trace.path.name} does not say which LM its requests are for")
    kept = _matching(trace, entry, site)
    rng = generator(site.seed, site.stream, Part.TRACE, 0)
    scale = entry.rate_scale * site.load
    if len(kept) * scale > MOST_REQUESTS:
        raise site.error(
            ("rate_scale",),
            f"must make at most {MOST_REQUESTS:,} requests; times the load, it makes {len(kept) * scale:.3g} "
            f"of the {len(kept):,} that count",
        )
    span = float(trace.time_s[-1]) - entry.start_s
    rows, times = resample(trace.time_s[kept] - entry.start_s, span, scale, rng.random(len(kept)))
    rows, times = kept[rows], times / entry.time_scale
    if not len(rows):
        raise site.error(("rate_scale",), f"must be larger: {scale:g} leaves none of {len(kept):,} requests")
    u = rng.random((3, len(rows)))
    origins = _origins(trace, entry, site, kept)
    lm = site.lm(entry.lm, ("lm",)) if entry.lm is not None else _lms(trace, entry, site, kept)
    stream = ReplayStream(
        times,
        lm[rows] if isinstance(lm, np.ndarray) else np.full(len(rows), lm, dtype=np.int64),
        _prompts(trace, entry, site, rows, u[2]),
        origins[rows] if isinstance(origins, np.ndarray) else origins,
        u[:2],
        slots_of(span / entry.time_scale, site.cluster.slot_s),
        entry.repeat,
        site.cluster.slot_s,
        f"{trace.path.name} ({trace.kind}) for {entry.lm or 'the LMs that it names'}",
    )
    used = np.zeros(len(trace), dtype=np.bool_)
    used[kept] = True
    return stream, Taken(trace.path, "requests", np.ones(len(trace), dtype=np.bool_), used, trace.report)


def _read(entry: schema.TraceEntry, site: Site) -> Trace:
    """Read the file with the columns that the entry speaks of."""
    path = site.file(entry.path)
    file = open_text(path)
    if entry.format is None and guess_kind(file, entry.columns) == "servegen":
        raise site.error(("kind",), f"must be 'servegen' for {path.name}, which holds rates, not requests")
    as_numbers, as_names = list[str](), list[str]()
    for k, where in enumerate(entry.where):
        _check_column(where.column, file.columns, site, ("where", k, "column"))
        if where.min is not None or where.below is not None:
            as_numbers.append(where.column)
        if where.one_of is not None:
            as_names.append(where.column)
    if isinstance(entry.prompts, schema.ColumnPrompts):
        _check_column(entry.prompts.column, file.columns, site, ("prompts", "column"))
        as_numbers.append(entry.prompts.column)
    if isinstance(entry.origins, schema.HashOrigins):
        _check_column(entry.origins.column, file.columns, site, ("origins", "column"))
        as_names.append(entry.origins.column)
    return read_trace(
        file,
        entry.format,
        entry.max_malformed,
        columns=entry.columns,
        unit=entry.time_unit,
        as_numbers=as_numbers,
        as_names=as_names,
    )


def _check_column(name: str, columns: tuple[str, ...], site: Site, field: tuple[str | int, ...]) -> None:
    if column_named(name, columns) is None:
        raise site.error(field, one_of(columns, name))


def _matching(trace: Trace, entry: schema.TraceEntry, site: Site) -> NDArray[np.int64]:
    """Rows from start_s on that meet all conditions."""
    kept = trace.time_s >= entry.start_s
    if not kept.any():
        raise site.error(("start_s",), f"must be before the last request, at {trace.time_s[-1]:g} s")
    for where in entry.where:
        if where.min is not None:
            kept &= trace.numbers(where.column) >= where.min
        if where.below is not None:
            kept &= trace.numbers(where.column) < where.below
        if where.one_of is not None:
            kept &= trace.names(where.column).isin(where.one_of)
    if not kept.any():
        raise site.error(("where",), f"must leave a row of {trace.path.name}; none meets it from start_s on")
    return np.flatnonzero(kept)


def _lms(trace: Trace, entry: schema.TraceEntry, site: Site, kept: NDArray[np.int64]) -> NDArray[np.int64]:
    """[R] LMs by the names in the trace; those of rows that do not count are anything."""
    assert trace.lm is not None
    for name, lm in (entry.lms or {}).items():
        site.lm(lm, ("lms", name))
    return _indices(trace, trace.lm, entry.lms or {}, site.cluster.lm_index, "lm", kept)


def _origins(trace: Trace, entry: schema.TraceEntry, site: Site, kept: NDArray[np.int64]) -> NDArray[np.int64] | Choice:
    spec = entry.origins
    for name, node in (entry.nodes or {}).items():
        site.node(node, ("nodes", name))
    if spec is None and trace.node is not None:
        return _indices(trace, trace.node, entry.nodes or {}, site.cluster.node_index, "node", kept)
    if entry.nodes is not None:
        raise site.error(("nodes",), f"must be left out: {trace.path.name} does not say where its requests arrive")
    if isinstance(spec, schema.HashOrigins):
        return hashed_nodes(spec, trace.names(spec.column), site)
    return site.origins(spec or schema.EvenOrigins(kind="even"))


def hashed_nodes(spec: schema.HashOrigins, names: Names, site: Site) -> NDArray[np.int64]:
    """[R] the node of each name, which depends on the seed and the name alone."""
    weights = (
        np.ones(site.cluster.n_nodes) if spec.nodes is None else site.node_weights(spec.nodes, ("origins", "nodes"))
    )
    u = hashed(site.seed, names.values)
    return Weighted(weights).pick(u, np.stack([u, u]))[names.codes]


def _indices(
    trace: Trace,
    names: Names,
    meant: Mapping[str, str],
    index: Mapping[str, int],
    column: str,
    kept: NDArray[np.int64],
) -> NDArray[np.int64]:
    places = np.array([index.get(meant.get(name, name), -1) for name in names.values], dtype=np.int64)
    of_rows: NDArray[np.int64] = places[names.codes]
    wrong = kept[of_rows[kept] < 0]
    if wrong.size:
        row = wrong[np.argmin(trace.line[wrong])]
        name = names.values[names.codes[row]]
        raise InputError(unknown_name(trace.path, int(trace.line[row]), column, list(index), name))
    return of_rows


def _prompts(
    trace: Trace, entry: schema.TraceEntry, site: Site, rows: NDArray[np.int64], u: NDArray[np.float64]
) -> NDArray[np.int64]:
    spec = entry.prompts
    if spec is None:
        return trace.prompts[rows]
    if not isinstance(spec, schema.ColumnPrompts):
        return batch_sizes(spec).pick(u)
    values = trace.numbers(spec.column)[rows]
    bad = np.flatnonzero(~((values >= 1) & (values <= 1000) & (values == np.floor(values))))
    if bad.size:
        value = "no number" if np.isnan(values[bad[0]]) else f"{values[bad[0]]:g}"
        raise site.error(
            ("prompts", "column"),
            f"must hold whole numbers from 1 to 1000, not {value} as on {trace.place} "
            f"{trace.line[rows[bad[0]]]} of {trace.path.name}; leave such rows out with where",
        )
    return values.astype(np.int64)
