"""From an entry of a workload file that names ServeGen's rates to its stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin.sentences import one_of
from twin.traces import WINDOW_S, Names, Windows, read_servegen
from twin.workloads import schema
from twin.workloads.build import Site, batch_sizes
from twin.workloads.build_traces import MOST_OPTIONS, hashed_nodes
from twin.workloads.choice import Choice, Weighted
from twin.workloads.limits import MOST_IN_WINDOW
from twin.workloads.renewal import Clients, Clock, RenewalStream
from twin.workloads.usage import Taken


def build_servegen(entry: schema.ServeGenEntry, site: Site) -> tuple[RenewalStream, Taken]:
    """Return the stream of ServeGen rates and what it takes of the file."""
    windows = read_servegen(site.file(entry.path), entry.max_malformed)
    there = windows.model.isin([entry.model])
    if not there.any():
        raise site.error(("model",), one_of(sorted(windows.model.counts())[:MOST_OPTIONS], entry.model))
    rows = there.copy()
    if entry.clients is not None:
        known = sorted(windows.client.take(rows).counts())
        for k, client in enumerate(entry.clients):
            if client not in known:
                raise site.error(("clients", k), one_of(known[:MOST_OPTIONS], client))
        rows &= windows.client.isin(entry.clients)
    first, last = int(entry.start_s // WINDOW_S), int(windows.index[rows].max())
    if first > last:
        raise site.error(("start_s",), f"must be before the last window ends, at {(last + 1) * WINDOW_S:g} s")
    rows &= (windows.index >= first) & (windows.rate > 0)
    rate = windows.rate[rows] * (entry.rate_scale * site.load)
    _check_rates(windows.index[rows], rate, entry, site)
    origins, node = _client_origins(windows, entry, site)
    node = None if node is None else node[rows]
    clients = Clients(windows.index[rows], rate, windows.shape[rows], windows.weibull[rows], node)
    clock = Clock(site.cluster.slot_s, entry.start_s, entry.time_scale, last - first + 1, entry.repeat)
    count = len(windows.client.take(rows).counts())
    title = f"{windows.path.name} (servegen) for {entry.lm}: {count} clients"
    prompts = batch_sizes(entry.prompts)
    stream = RenewalStream(title, clients, clock, site.lm(entry.lm, ("lm",)), origins, prompts, site.seed, site.stream)
    taken = Taken(windows.path, "windows of clients", there & (windows.rate > 0), rows, windows.report)
    return stream, taken


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


def _client_origins(
    windows: Windows, entry: schema.ServeGenEntry, site: Site
) -> tuple[Choice, NDArray[np.int64] | None]:
    spec = entry.origins
    if not isinstance(spec, schema.HashOrigins):
        return site.origins(spec), None
    if spec.column != "client":
        raise site.error(("origins", "column"), f"must be 'client' for a ServeGen file, not {spec.column!r}")
    # A client is known by its model too: two models may have clients of one number.
    places, codes = np.unique(np.stack([windows.model.codes, windows.client.codes]), axis=1, return_inverse=True)
    pairs = [f"{windows.model.values[m]}/{windows.client.values[c]}" for m, c in places.T.tolist()]
    names = Names(tuple(pairs), codes.ravel().astype(np.int64))
    return Weighted(np.ones(site.cluster.n_nodes)), hashed_nodes(spec, names, site)
