"""Each request alone in the cluster: the latency that it could not beat even if nobody else were there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.workload import Arrivals
from twin.bound.menu import classes, ways

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Solo:
    """What each of R requests needs at least, in seconds; infinity where no node can run its LM."""

    latency_s: FloatArray
    """End to end, on the node that is best for it."""
    uplink_s: FloatArray
    """To the nearest node that can run its LM."""
    downlink_s: FloatArray
    """From the nearest node that can run its LM."""


def best_seconds(cluster: Cluster) -> FloatArray:
    """[N, I] least seconds per prompt on each node over all allocations; infinity where the LM does not run."""
    best = np.full((cluster.n_nodes, cluster.n_lms), np.inf)
    for members in classes(cluster):
        for i in range(cluster.n_lms):
            best[members, i] = min((way.seconds for way in ways(cluster, members[0], i)), default=np.inf)
    return best


def solo(cluster: Cluster, arrivals: Arrivals) -> Solo:
    """Return the least seconds of every request (docs/bound.md, claim 3)."""
    best = best_seconds(cluster)
    found = Solo(*(np.full(len(arrivals), np.inf) for _ in range(3)))
    for i, prompts in {*zip(arrivals.lm.tolist(), arrivals.prompts.tolist(), strict=True)}:
        lm, runs = cluster.lms[i], np.isfinite(best[:, i])
        if not runs.any():
            continue
        latency, per_byte = cluster.latency_s[:, runs], cluster.seconds_per_byte[:, runs]
        back, back_per_byte = cluster.latency_s[runs].T, cluster.seconds_per_byte[runs].T
        uplink = latency + prompts * lm.uplink_bytes * per_byte
        downlink = back + prompts * lm.downlink_bytes * back_per_byte
        total = uplink + downlink + prompts * best[runs, i]
        mine = np.flatnonzero((arrivals.lm == i) & (arrivals.prompts == prompts))
        origin = arrivals.origin[mine]
        found.latency_s[mine] = total.min(axis=1)[origin]
        found.uplink_s[mine] = uplink.min(axis=1)[origin]
        found.downlink_s[mine] = downlink.min(axis=1)[origin]
    return found
