"""A twin in the state that a snapshot tells of: where every rehearsal starts, live or simulated.

A snapshot does not say everything. What it leaves open is filled in the plainest way: the prompts of a backlog are
spread evenly over its requests, which came one after the other at even intervals since the oldest; they came from the
node where they wait, and nothing is in hand; vGPUs sit where admission would have put them, LM by LM, as copies where
memory allows; a Pending pod waits since now, and for the pod before it where that still stops, of which the snapshot
does not say what it holds.

In a twin a Pending pod fits only once something is released. In a cluster it may fit and not be bound yet, so the first
slot of the rebuilt twin begins with an admission (docs/twin.md, Admission) on each node that has one.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from domain.cluster import SLACK_GB, Cluster
from domain.decisions import OFF, Allocation, Deployment
from domain.gpus import Gpus
from domain.moments import nanoseconds, on_clock
from domain.telemetry import Phase, Snapshot
from twin.layout import (
    ARRIVAL,
    ARRIVED,
    BATCH,
    COPIES,
    CORES,
    FRESH,
    HEAD,
    JOIN,
    LEFT,
    NEXT,
    ORIGIN,
    PHASE,
    PHASE_END,
    PLACES,
    PREVIOUS,
    PROMPTS,
    REQUEST,
    REQUESTS,
    SLOT,
    TAIL,
    VGPUS,
    WAITING,
    WANT,
    WANT_CORES,
    WANT_SINCE,
    WANT_VGPUS,
    WHOLE,
    IntArray,
    State,
    whole_ns,
)
from twin.twin import Twin


def reconstruct(cluster: Cluster, snapshot: Snapshot, gpu: IntArray | None = None) -> Twin:
    """Return a twin at the start of `snapshot.slot`; nodes without a reading count as empty.

    Given `gpu` ([N, I]), pods with as many vGPUs as bits have one on each physical GPU p whose bit p is set.
    """
    twin = Twin(cluster)
    state = State.initial(cluster, capacity=int(snapshot.backlog_requests.sum()) + 64)
    state.counters[SLOT] = snapshot.slot
    _pods(cluster, snapshot, state, gpu)
    _requests(cluster, snapshot, state)
    twin.adopt(state)
    for n in np.flatnonzero((snapshot.phase == int(Phase.PENDING)).any(axis=1)):
        with suppress(ValueError):  # there is a pod beside it that no twin could run
            twin.deploy(_unchanged(snapshot, int(n)))
    return twin


def _unchanged(snapshot: Snapshot, n: int) -> Deployment:
    """The deployment of a node that asks for what it has, or is to have: all that it brings is an admission."""
    going = snapshot.phase[n] == int(Phase.TERMINATING)
    pairs = zip(snapshot.cores[n].tolist(), snapshot.vgpus[n].tolist(), going.tolist(), strict=True)
    return Deployment(n, tuple(OFF if gone else Allocation(cores=c, vgpus=g) for c, g, gone in pairs))


def _pods(cluster: Cluster, snapshot: Snapshot, state: State, gpu: IntArray | None) -> None:
    pod, now = state.pod_i, nanoseconds(snapshot.time_s)
    pending = snapshot.phase == int(Phase.PENDING)
    waits_for = np.where(snapshot.phase_left_s > 0.0, int(Phase.TERMINATING), int(Phase.OFF))
    pod[:, :, PHASE] = np.where(pending, waits_for, snapshot.phase)
    pod[:, :, CORES] = np.where(pending, 0, snapshot.cores)
    pod[:, :, VGPUS] = np.where(pending, 0, snapshot.vgpus)
    pod[:, :, COPIES] = 1
    state.clock[:] = now
    pod[:, :, WANT] = pending
    pod[:, :, WANT_CORES] = np.where(pending, snapshot.cores, 0)
    pod[:, :, WANT_VGPUS] = np.where(pending, snapshot.vgpus, 0)
    state.pod_f[:, :, PHASE_END] = now + whole_ns(snapshot.phase_left_s)
    state.pod_f[:, :, WANT_SINCE] = now
    vgpus, on_gpu = pod[:, :, VGPUS], state.on_gpu
    one_gpu = np.array([node.gpus == 1 for node in cluster.nodes])
    on_gpu[one_gpu, :, 0] = vgpus[one_gpu]
    if gpu is not None:
        told = gpu[:, :, None] >> np.arange(on_gpu.shape[2]) & 1
        known = told.sum(axis=2) == vgpus
        on_gpu[known] = told[known]
    for n in np.flatnonzero((on_gpu.sum(axis=2) < vgpus).any(axis=1)):
        _place(cluster, int(n), vgpus[n], on_gpu[n])
    if cluster.serving.copies:
        for n, i in np.argwhere((on_gpu > 0).sum(axis=2) > 1):
            pod[n, i, COPIES] = _copies(cluster, int(n), int(i), pod[n], on_gpu[n])


def _copies(cluster: Cluster, n: int, i: int, pod: IntArray, on_gpu: IntArray) -> int:
    """The copies of a pod on several GPUs: as many, where the node has the memory beside its other pods."""
    node, spans, copies = cluster.nodes[n], on_gpu > 0, np.maximum(pod[:, COPIES], 1)
    copies[i] = int(spans[i].sum())
    whole = np.array([cluster.vram_gb(n, j) for j in range(cluster.n_lms)])
    parts = np.where(copies[:, None] > 1, spans, on_gpu / np.maximum(pod[:, VGPUS], 1)[:, None])
    ram = [copies[j] * cluster.ram_gb(n, int(j), pod[j, VGPUS] > 0) for j in np.flatnonzero(pod[:, PHASE])]
    fits = (whole @ parts <= node.gpu_vram_gb + SLACK_GB).all() and sum(ram) <= node.ram_gb + SLACK_GB
    return int(copies[i]) if fits else 1


def _place(cluster: Cluster, n: int, vgpus: IntArray, on_gpu: IntArray) -> None:
    """Fill `on_gpu` [I, P] of a node with the vGPUs [I] of the pods that are not there yet."""
    node, gpus = cluster.nodes[n], Gpus(cluster.nodes[n])
    there = on_gpu.sum(axis=1) > 0
    for i in np.flatnonzero(there):
        gpus.hold(on_gpu[i : i + 1, : node.gpus], cluster.vram_gb(n, int(i)))
    for i in np.flatnonzero((vgpus > 0) & ~there):
        taken = gpus.place(int(vgpus[i]), cluster.vram_gb(n, int(i)))
        for _ in range(int(vgpus[i] - taken.sum())):  # the rule would have found no room, and yet it runs there
            taken[0, np.argmax(node.vgpus_per_gpu - gpus.vgpus[0] - taken[0])] += 1
        gpus.hold(taken, cluster.vram_gb(n, int(i)))
        on_gpu[i, : node.gpus] = taken[0]


def _requests(cluster: Cluster, snapshot: Snapshot, state: State) -> None:
    place = 0
    for n, i in np.argwhere((snapshot.backlog_requests > 0) & (snapshot.backlog_prompts > 0)):
        prompts = int(snapshot.backlog_prompts[n, i])
        count = min(int(snapshot.backlog_requests[n, i]), prompts)
        sizes = np.full(count, prompts // count)
        sizes[: prompts % count] += 1
        arrival_s = snapshot.time_s - snapshot.oldest_wait_s[n, i] * (1.0 - np.arange(count) / count)
        rows = np.arange(place, place + count)
        state.pool_i[rows] = 0
        state.pool_f[rows] = 0.0
        state.pool_i[rows, REQUEST] = rows
        state.pool_i[rows, WHOLE] = -1
        state.pool_i[rows, ORIGIN] = n
        state.pool_i[rows, BATCH] = sizes
        state.pool_i[rows, NEXT] = np.append(rows[1:], -1)
        state.pool_i[rows, PREVIOUS] = np.append(-1, rows[:-1])
        state.pool_f[rows, ARRIVAL] = arrival_s
        state.pool_f[rows, JOIN] = on_clock(arrival_s)
        state.pool_f[rows, LEFT] = sizes
        state.pod_i[n, i, HEAD], state.pod_i[n, i, TAIL] = rows[0], rows[-1]
        state.pod_i[n, i, REQUESTS], state.pod_i[n, i, PROMPTS] = count, prompts
        place += count
    state.counters[[FRESH, PLACES, WAITING, ARRIVED]] = place
