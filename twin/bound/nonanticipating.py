"""What no policy can expect to beat that routes requests before it knows how large they are (docs/bound.md).

The limits of `twin.bound.limits` hold for policies that know every request beforehand and serve queues in any order.
Policies with fixed plans know neither times nor sizes when they route, and pods are first come, first served. For them,
one queue per LM before all of its nodes, each at its fastest, is the best that there could be (claim 11).
"""

from __future__ import annotations

import heapq

import numpy as np

from domain.cluster import Cluster
from domain.serving import Dispatch
from domain.workload import Arrivals
from twin.bound.menu import BoolArray, FloatArray, IntArray, menu
from twin.bound.solo import pod_seconds, solo


def nonanticipating_mean_s(cluster: Cluster, arrivals: Arrivals) -> float:
    """Return the mean latency of the ideal queues; its expectation bounds that of every non-anticipating policy.

    Holds for policies that complete every request, where the batch sizes of an LM are drawn one by one from one
    distribution, whatever the arrival times: compare means over many runs of a workload, not a single run.

    Args:
        cluster: the testbed.
        arrivals: all requests of a run, at least one.

    Returns:
        Seconds; infinity where the LM of a request runs on no node.

    Raises:
        ValueError: origins choose, and so know the size of the request; or a pod may have several requests in hand.
    """
    if cluster.serving.dispatch is not Dispatch.FIXED or menu(cluster).apart.any():
        raise ValueError("ideal queues bound fixed dispatch alone, to pods that have one request in hand at a time")
    alone = solo(cluster, arrivals)
    if not np.isfinite(alone.latency_s).all():
        return np.inf
    total = 0.0
    for i in range(cluster.n_lms):
        mine = np.flatnonzero(arrivals.lm == i)
        if mine.size:
            runs, time_s, prompts = cluster.feasible[:, i], arrivals.time_s[mine], arrivals.prompts[mine]
            work_s: FloatArray = pod_seconds(cluster, i, int(prompts.max())).min(axis=0)[prompts]
            waits = central_waits(time_s, work_s, int(runs.sum()))
            total += float((waits + work_s + alone.downlink_s[mine]).sum())
            total -= _overtakings_s(time_s, work_s, _most_uplink_difference(cluster, i, runs, prompts))
    return total / len(arrivals)


def central_waits(time_s: FloatArray, work_s: FloatArray, servers: int) -> FloatArray:
    """Return [R] seconds from arrival to start where one queue, first come, first served, feeds equal servers."""
    free, waits = [0.0] * servers, np.empty(len(time_s))
    for q, (time, work) in enumerate(zip(time_s.tolist(), work_s.tolist(), strict=True)):
        start = max(time, free[0])
        heapq.heapreplace(free, start + work)
        waits[q] = start - time
    return waits


def _most_uplink_difference(cluster: Cluster, i: int, runs: BoolArray, prompts: IntArray) -> float:
    """Return by how many seconds a later request can be earlier in a queue, for its shorter uplink."""
    least, most = (
        cluster.latency_s[:, runs] + k * cluster.lms[i].uplink_bytes * cluster.seconds_per_byte[:, runs]
        for k in (int(prompts.min()), int(prompts.max()))
    )
    return float(most.max() - least.min())


def _overtakings_s(time_s: FloatArray, work_s: FloatArray, difference_s: float) -> float:
    """Return what can be gained where a shorter request overtakes a longer one that came so many seconds before."""
    gained, apart = 0.0, 1
    while apart < len(time_s):
        close = np.flatnonzero(time_s[apart:] - time_s[:-apart] <= difference_s)
        if not close.size:
            break
        gained += float(np.abs(work_s[close + apart] - work_s[close]).sum())
        apart += 1
    return gained
