"""How the compiled engine lays a cluster and its state out in arrays: column numbers, and the tables of a cluster.

Moments and durations are whole numbers of nanoseconds, held as doubles (docs/twin.md, Time): infinity is one of them,
and nothing overflows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.cluster import Cluster
from domain.moments import NS_PER_S

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# pod_i [N, I, POD_I]
PHASE, CORES, VGPUS, WANT, WANT_CORES, WANT_VGPUS, HEAD, TAIL, REQUESTS, PROMPTS, SERVING = range(11)
POD_I = 11
# pod_f [N, I, POD_F]; PHASE_END of a READY pod is the moment it got ready
PHASE_END, WANT_SINCE, BUSY = range(3)
POD_F = 3
# in_hand [N, I, IN_HAND]: where SERVING, what the head of the queue still takes at PACE, the time of a prompt
WORK, PACE = range(2)
IN_HAND = 2
# pool_i [capacity, POOL_I], pool_f [capacity, POOL_F]: the requests that have not ended, as linked lists.
# ARRIVAL: seconds, as they were given. LEFT: prompts that were not finished when it was last taken up, a whole number.
REQUEST, ORIGIN, BATCH, NEXT, PREVIOUS, INTERRUPTIONS = range(6)
POOL_I = 6
ARRIVAL, JOIN, LEFT, INFERENCE = range(4)
POOL_F = 4
# counters [COUNTERS], longest [1]
FREE, FRESH, WAITING, ARRIVED, SLOT, ENDED = range(6)
COUNTERS = 6
# arrived_in_slot [N, I, 2]
ARRIVED_REQUESTS, ARRIVED_PROMPTS = range(2)
# record_i [RECORD_I, R], record_f [RECORD_F, R]
R_REQUEST, R_LM, R_ORIGIN, R_TARGET, R_PROMPTS, R_OUTCOME, R_INTERRUPTIONS = range(7)
RECORD_I = 7
R_ARRIVAL, R_UPLINK, R_QUEUE, R_INFERENCE, R_DOWNLINK = range(5)
RECORD_F = 5

OFF_PHASE, STARTING, READY, TERMINATING = range(4)


class Tables(NamedTuple):
    """A cluster as the engine reads it; never written."""

    cores: IntArray
    """[N]"""
    gpus: IntArray
    """[N]"""
    vgpus_per_gpu: IntArray
    """[N]"""
    memory: FloatArray
    """[N, 2] RAM and vRAM, GB."""
    gpu_gb: FloatArray
    """[N] vRAM of one GPU, GB."""
    pod_gb: FloatArray
    """[N, I, 3] what a pod holds: RAM on the CPU, RAM on vGPUs, vRAM on vGPUs, GB."""
    host_cores: IntArray
    """[I]"""
    pod_ns: FloatArray
    """[I, 3] start on CPU, start on vGPUs, stop."""
    payload: FloatArray
    """[I, 2] bytes per prompt up and down."""
    cpu_ns: FloatArray
    """[N, I, cores + 1] for a prompt, infinite where the LM does not run."""
    gpu_ns: FloatArray
    """[N, I, 2] fixed and compute part of a prompt, infinite where the LM does not run."""
    network: FloatArray
    """[N, N, 2] latency in seconds and seconds per byte, origin first."""
    slot_s: float
    """Length of a slot, seconds: slot t begins at the nanosecond nearest to t * slot_s."""
    deadline_ns: float
    pending_timeout_ns: float


def whole_ns(seconds: ArrayLike) -> FloatArray:
    """Return durations in whole nanoseconds."""
    return np.rint(np.multiply(seconds, NS_PER_S))


def tables(cluster: Cluster) -> Tables:
    """Lay a cluster out for the engine; a prompt takes at least a nanosecond."""
    nodes, lms = cluster.nodes, cluster.lms
    most = max(node.cpu_cores for node in nodes)
    cpu = np.full((len(nodes), len(lms), most + 1), np.inf)
    gpu = np.full((len(nodes), len(lms), 2), np.inf)
    pod_gb = np.tile(np.array([[lm.ram_gb, lm.ram_gb, lm.vram_gb] for lm in lms], dtype=np.float64), (len(nodes), 1, 1))
    pod_gb[[node.unified_memory for node in nodes], :, 1:] = [[lm.unified_memory_gb, 0.0] for lm in lms]
    known: dict[tuple[str, str | None, int], int] = {}
    for n, node in enumerate(nodes):
        twin = known.setdefault((node.cpu_model, node.gpu_model, node.cpu_cores), n)
        if twin < n:
            cpu[n], gpu[n] = cpu[twin], gpu[twin]
            continue
        for i, lm in enumerate(lms):
            if not lm.gpu_only:
                cpu[n, i, 1 : node.cpu_cores + 1] = [cluster.cpu_seconds(n, i, c) for c in range(1, node.cpu_cores + 1)]
            profile = lm.gpu_profiles.get(node.gpu_model) if node.gpu_model else None
            if profile is not None:
                gpu[n, i] = profile.fixed_s, profile.compute_s
    return Tables(
        cores=np.array([node.cpu_cores for node in nodes], dtype=np.int64),
        gpus=np.array([node.gpus for node in nodes], dtype=np.int64),
        vgpus_per_gpu=np.array([node.vgpus_per_gpu for node in nodes], dtype=np.int64),
        memory=np.array([[node.ram_gb, node.vram_gb] for node in nodes], dtype=np.float64),
        gpu_gb=np.array([node.gpu_vram_gb for node in nodes], dtype=np.float64),
        pod_gb=pod_gb,
        host_cores=np.array([lm.host_cores for lm in lms], dtype=np.int64),
        pod_ns=whole_ns([[lm.start_cpu_s, lm.start_gpu_s, lm.stop_s] for lm in lms]),
        payload=np.array([[lm.uplink_bytes, lm.downlink_bytes] for lm in lms], dtype=np.float64),
        cpu_ns=np.maximum(whole_ns(cpu), 1.0),
        gpu_ns=np.maximum(whole_ns(gpu), [0.0, 1.0]),
        network=np.ascontiguousarray(np.stack([cluster.latency_s, cluster.seconds_per_byte], axis=2), dtype=np.float64),
        slot_s=float(cluster.slot_s),
        deadline_ns=float(whole_ns(cluster.deadline_s)),
        pending_timeout_ns=float(whole_ns(cluster.pending_timeout_s)),
    )


class State(NamedTuple):
    """Everything that changes. All arrays are contiguous, so a copy is a few memory copies."""

    pod_i: IntArray
    pod_f: FloatArray
    in_hand: FloatArray
    on_gpu: IntArray
    """[N, I, P] vGPUs of the pod on each physical GPU of the node."""
    arrived_in_slot: IntArray
    counters: IntArray
    longest: FloatArray
    """[1] the longest uplink seen: bounds how far the FIFO order strays from the order of arrival."""
    pool_i: IntArray
    pool_f: FloatArray

    @classmethod
    def initial(cls, cluster: Cluster, capacity: int = 64) -> State:
        """Nothing deployed, nothing waiting, slot 0."""
        n, i = cluster.n_nodes, cluster.n_lms
        pod_i = np.zeros((n, i, POD_I), dtype=np.int64)
        pod_i[:, :, [HEAD, TAIL]] = -1
        counters = np.zeros(COUNTERS, dtype=np.int64)
        counters[FREE] = -1
        gpus = max(1, max(node.gpus for node in cluster.nodes))
        return cls(
            pod_i,
            np.zeros((n, i, POD_F)),
            np.zeros((n, i, IN_HAND)),
            np.zeros((n, i, gpus), dtype=np.int64),
            np.zeros((n, i, 2), dtype=np.int64),
            counters,
            np.zeros(1),
            np.zeros((capacity, POOL_I), dtype=np.int64),
            np.zeros((capacity, POOL_F)),
        )

    def copy(self) -> State:
        """An independent copy."""
        used = int(self.counters[FRESH])
        return State(
            self.pod_i.copy(),
            self.pod_f.copy(),
            self.in_hand.copy(),
            self.on_gpu.copy(),
            self.arrived_in_slot.copy(),
            self.counters.copy(),
            self.longest.copy(),
            self.pool_i[:used].copy(),
            self.pool_f[:used].copy(),
        )

    def with_room(self, extra: int) -> State:
        """This state, or one with larger pools, such that `extra` more requests fit."""
        need = int(self.counters[WAITING]) + extra  # places that were freed are used before fresh ones
        if need <= self.pool_i.shape[0]:
            return self
        used, capacity = int(self.counters[FRESH]), max(need, 2 * self.pool_i.shape[0])
        pool_i, pool_f = np.empty((capacity, POOL_I), dtype=np.int64), np.empty((capacity, POOL_F))
        pool_i[:used], pool_f[:used] = self.pool_i[:used], self.pool_f[:used]
        return self._replace(pool_i=pool_i, pool_f=pool_f)


class Scratch(NamedTuple):
    """Room that the engine works in; it keeps nothing between calls and allocates nothing itself."""

    weight: FloatArray
    """[P] busy vGPUs on each physical GPU of the node in hand."""
    tenant: IntArray
    """[I] LMs whose pods on vGPUs are ready and have requests."""
    busy: IntArray
    """[I] LMs whose pods are busy."""
    pace: FloatArray
    """[I] what a prompt takes in each busy pod."""
    work: FloatArray
    """[I] what the request in hand still takes there."""


def scratch(state: State) -> Scratch:
    """Room for a cluster of the size of `state`."""
    lms, gpus = state.on_gpu.shape[1:]
    index, duration = np.zeros((2, lms), dtype=np.int64), np.zeros((2, lms))
    return Scratch(np.zeros(gpus), *index, *duration)


class Schedule(NamedTuple):
    """Decisions for T slots in a row."""

    targets: IntArray
    """[T, N, I] routing plans."""
    cores: IntArray
    """[T, N, I]"""
    vgpus: IntArray
    """[T, N, I]"""
    decided: IntArray
    """[T, N] 0 where the node keeps what it has."""


class Output(NamedTuple):
    """Records of the requests that ended, one column each."""

    record_i: IntArray
    """[RECORD_I, R]"""
    record_f: FloatArray
    """[RECORD_F, R]"""


def output(capacity: int) -> Output:
    """Room for `capacity` records."""
    return Output(np.empty((RECORD_I, capacity), dtype=np.int64), np.empty((RECORD_F, capacity)))
