"""From an entry of a workload file that names a real trace to its stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domain.errors import InputError
from twin.sentences import one_of
from twin.traces import WINDOW_S, Trace, Windows, guess_kind, read_servegen, read_trace
from twin.workloads import schema
from twin.workloads.build import Site, batch_sizes
from twin.workloads.choice import Choice, Weighted
from twin.workloads.limits import MOST_IN_WINDOW, MOST_REQUESTS
from twin.workloads.randomness import Part, generator, hashed
from twin.workloads.renewal import Clients, Clock, RenewalStream
from twin.workloads.replay import ReplayStream, resample, slots_of


def build_trace(entry: schema.TraceEntry, site: Site) -> tuple[ReplayStream, list[str]]:
    """Return the stream of a trace and what there is to say of the file."""
    path = _path(entry, site)
    if entry.format is None and guess_kind(path) == "servegen":
        raise site.error(("kind",), f"must be 'servegen' for {path.name}, which holds rates, not requests")
    trace = read_trace(path, entry.format, entry.max_malformed)
    if entry.lm is None and trace.lm is None:
        raise site.error((), f"must have the field 'lm': {path.name} does not say which LM its requests are for")
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
    origins = _trace_origins(trace, entry, site)
    fixed = origins[rows] if isinstance(origins, np.ndarray) else origins
    lm = _trace_lms(trace, site)[rows] if entry.lm is None else np.full(len(rows), site.lm(entry.lm, ("lm",)))
    length = slots_of(span / entry.time_scale, site.cluster.slot_s)
    stream = ReplayStream(
        times,
        lm.astype(np.int64),
        _trace_prompts(trace, entry, site, rows, u[2]),
        fixed,
        u[:2],
        length,
        entry.repeat,
        site.cluster.slot_s,
        f"{path.name} ({trace.kind}) for {entry.lm or 'the LMs that it names'}",
    )
    return stream, [f"{path.name}: {line}" for line in trace.report.lines()]


def build_servegen(entry: schema.ServeGenEntry, site: Site) -> tuple[RenewalStream, list[str]]:
    """Return the stream of ServeGen rates and what there is to say of the file."""
    windows = read_servegen(_path(entry, site), entry.max_malformed)
    rows = windows.model == entry.model
    if not rows.any():
        raise site.error(("model",), one_of(sorted(set(windows.model.tolist())), entry.model))
    if entry.clients is not None:
        known = sorted(set(windows.client[rows].tolist()))
        for k, client in enumerate(entry.clients):
            if client not in known:
                raise site.error(("clients", k), one_of(known, client))
        rows &= np.isin(windows.client, entry.clients)
    first, last = int(entry.start_s // WINDOW_S), int(windows.index[rows].max())
    if first > last:
        raise site.error(("start_s",), f"must be before the last window ends, at {(last + 1) * WINDOW_S:g} s")
    rows &= (windows.index >= first) & (windows.rate > 0)
    rate = windows.rate[rows] * (entry.rate_scale * site.load)
    origins, node = _client_origins(windows, entry, site)
    node = None if node is None else node[rows]
    _check_rates(windows.index[rows], rate, entry, site)
    clients = Clients(windows.index[rows], rate, windows.shape[rows], windows.weibull[rows], node)
    clock = Clock(site.cluster.slot_s, entry.start_s, entry.time_scale, last - first + 1, entry.repeat)
    title = f"{windows.path.name} (servegen) for {entry.lm}: {len(np.unique(windows.client[rows]))} clients"
    prompts = batch_sizes(entry.prompts)
    stream = RenewalStream(title, clients, clock, site.lm(entry.lm, ("lm",)), origins, prompts, site.seed, site.stream)
    return stream, [f"{windows.path.name}: {line}" for line in windows.report.lines()]


def _check_rates(window: NDArray[np.int64], rate: NDArray[np.float64], entry: schema.ServeGenEntry, site: Site) -> None:
    """Raise InputError where a window, or a slot at its rate, has more requests than memory should hold."""
    if not len(window):
        return
    starts = np.flatnonzero(np.diff(window, prepend=-1))
    highest = float(np.add.reduceat(rate, starts).max())
    if highest * WINDOW_S > MOST_IN_WINDOW:
        raise site.error(
            ("rate_scale",),
            f"must make at most {MOST_IN_WINDOW:,} requests in a window of {WINDOW_S:g} s; "
            f"times the load, it makes {highest * WINDOW_S:.3g}",
        )
    site.check_slot(highest * entry.time_scale * site.cluster.slot_s, ("time_scale",))


def _path(entry: schema.Playback, site: Site) -> Path:
    return site.document.path.parent / Path(entry.path).expanduser()


def _matching(trace: Trace, entry: schema.TraceEntry, site: Site) -> NDArray[np.int64]:
    """Rows from start_s on that meet all conditions."""
    kept = trace.time_s >= entry.start_s
    if not kept.any():
        raise site.error(("start_s",), f"must be before the last request, at {trace.time_s[-1]:g} s")
    for k, where in enumerate(entry.where):
        _known_column(trace, where.column, site, ("where", k, "column"))
        if where.min is not None:
            kept &= trace.numbers(where.column) >= where.min
        if where.below is not None:
            kept &= trace.numbers(where.column) < where.below
        if where.one_of is not None:
            kept &= np.isin(trace.texts(where.column), where.one_of)
    if not kept.any():
        raise site.error(("where",), f"must leave a row of {trace.path.name}; none meets it from start_s on")
    return np.flatnonzero(kept)


def _known_column(trace: Trace, column: str, site: Site, field: tuple[str | int, ...]) -> None:
    if column not in trace.table.column_names:
        raise site.error(field, one_of(trace.table.column_names, column))


def _trace_lms(trace: Trace, site: Site) -> NDArray[np.int64]:
    assert trace.lm is not None
    return _indices(trace, trace.lm, site.cluster.lm_index, "lm")


def _trace_origins(trace: Trace, entry: schema.TraceEntry, site: Site) -> NDArray[np.int64] | Choice:
    spec = entry.origins
    if spec is None and trace.node is not None:
        return _indices(trace, trace.node, site.cluster.node_index, "node")
    if isinstance(spec, schema.HashOrigins):
        _known_column(trace, spec.column, site, ("origins", "column"))
        return _hashed_nodes(spec, trace.texts(spec.column), site)
    return site.origins(spec or schema.EvenOrigins(kind="even"))


def _hashed_nodes(spec: schema.HashOrigins, names: NDArray[np.str_], site: Site) -> NDArray[np.int64]:
    weights = (
        np.ones(site.cluster.n_nodes) if spec.nodes is None else site.node_weights(spec.nodes, ("origins", "nodes"))
    )
    u = hashed(site.seed, names)
    return Weighted(weights).pick(u, np.stack([u, u]))


def _indices(trace: Trace, names: NDArray[np.str_], index: dict[str, int], column: str) -> NDArray[np.int64]:
    distinct, where = np.unique(names, return_inverse=True)
    for k, name in enumerate(distinct.tolist()):
        if name not in index:
            line = int(trace.line[where == k].min())
            what = one_of(list(index), name)
            raise InputError(f"{trace.path}:{line}: {column} {what}{'' if what.endswith('?') else '.'}")
    return np.array([index[name] for name in distinct.tolist()], dtype=np.int64)[where]


def _trace_prompts(
    trace: Trace, entry: schema.TraceEntry, site: Site, rows: NDArray[np.int64], u: NDArray[np.float64]
) -> NDArray[np.int64]:
    spec = entry.prompts
    if spec is None:
        return trace.prompts[rows]
    if not isinstance(spec, schema.ColumnPrompts):
        return batch_sizes(spec).pick(u)
    _known_column(trace, spec.column, site, ("prompts", "column"))
    values = trace.numbers(spec.column)[rows]
    bad = np.flatnonzero(~((values >= 1) & (values <= 1000) & (values == np.floor(values))))
    if bad.size:
        text = str(trace.texts(spec.column)[rows[bad[0]]])
        raise site.error(
            ("prompts", "column"),
            f"must hold whole numbers from 1 to 1000, not {text!r} as on line "
            f"{trace.line[rows[bad[0]]]} of {trace.path.name}; leave such rows out with where",
        )
    return values.astype(np.int64)


def _client_origins(
    windows: Windows, entry: schema.ServeGenEntry, site: Site
) -> tuple[Choice, NDArray[np.int64] | None]:
    spec = entry.origins
    if not isinstance(spec, schema.HashOrigins):
        return site.origins(spec), None
    if spec.column != "client":
        raise site.error(("origins", "column"), f"must be 'client' for a ServeGen file, not {spec.column!r}")
    names = np.char.add(np.char.add(windows.model, "/"), windows.client)
    return Weighted(np.ones(site.cluster.n_nodes)), _hashed_nodes(spec, names, site)
