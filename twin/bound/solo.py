"""Each request alone in the cluster: the latency that it could not beat even if nobody else were there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.serving import BatchCurve, Dispatch
from domain.workload import Arrivals
from twin.bound.batches import least_units
from twin.bound.menu import classes, ways

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Solo:
    """What each of R requests needs at least, in seconds; infinity where no node can run its LM."""

    latency_s: FloatArray
    """End to end, on the node that is best for it, or dealt over nodes in the best way."""
    uplink_s: FloatArray
    """To the nearest node that can run its LM, of the request or of the first prompt that may go alone."""
    downlink_s: FloatArray
    """From the nearest node that can run its LM, in the same way."""


def best_seconds(cluster: Cluster) -> FloatArray:
    """[N, I] least seconds per prompt on each node over all allocations; infinity where the LM does not run."""
    best = np.full((cluster.n_nodes, cluster.n_lms), np.inf)
    for members in classes(cluster):
        for i in range(cluster.n_lms):
            best[members, i] = min((way.seconds for way in ways(cluster, members[0], i)), default=np.inf)
    return best


def pod_seconds(cluster: Cluster, i: int, prompts: int) -> FloatArray:
    """[N, prompts + 1] least seconds in which one pod of LM i on each node computes 0, 1, 2 … prompts.

    Alone, in the best batches, on all copies that it can hold; infinity where the LM does not run.
    """
    best, counts = np.full((cluster.n_nodes, prompts + 1), np.inf), np.arange(prompts + 1)
    units = dict[BatchCurve, FloatArray]()
    for members in classes(cluster):
        for way in ways(cluster, members[0], i):
            if way.batch not in units:
                units[way.batch] = least_units(way.batch, prompts)
            best[members] = np.minimum(best[members], way.seconds * units[way.batch][-(-counts // way.copies)])
    return best


def solo(cluster: Cluster, arrivals: Arrivals) -> Solo:
    """Return the least seconds of every request (docs/bound.md, claim 6)."""
    found = Solo(*(np.full(len(arrivals), np.inf) for _ in range(3)))
    split = cluster.serving.dispatch is Dispatch.SPLIT
    for i, lm in enumerate(cluster.lms):
        mine, runs = np.flatnonzero(arrivals.lm == i), cluster.feasible[:, i]
        if not mine.size or not runs.any():
            continue
        most = int(arrivals.prompts[mine].max())
        counts = np.arange(1, most + 1) if split else np.unique(arrivals.prompts[mine])
        seconds = pod_seconds(cluster, i, most)[np.ix_(runs, counts)]
        for origin in np.unique(arrivals.origin[mine]):
            up, up_per_byte = cluster.latency_s[origin, runs], cluster.seconds_per_byte[origin, runs]
            down, down_per_byte = cluster.latency_s[runs, origin], cluster.seconds_per_byte[runs, origin]
            uplink = up[:, None] + counts * lm.uplink_bytes * up_per_byte[:, None]
            downlink = down[:, None] + counts * lm.downlink_bytes * down_per_byte[:, None]
            total = uplink + downlink + seconds
            here = mine[arrivals.origin[mine] == origin]
            place = np.searchsorted(counts, arrivals.prompts[here])
            # Parts of a request come back in the order of `total`: the K-th to be back brings the last of K prompts.
            found.latency_s[here] = (np.sort(total, axis=None) if split else total.min(axis=0))[place]
            found.uplink_s[here] = uplink.min(axis=0)[0 if split else place]
            found.downlink_s[here] = downlink.min(axis=0)[0 if split else place]
    return found
