"""How the compiled engine lays the state of a cluster out in arrays, and by which numbers their columns are known.

Moments and durations are whole numbers of nanoseconds, held as doubles (docs/twin.md, Time): infinity is one of them,
and nothing overflows.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.cluster import Cluster
from domain.moments import NS_PER_S
from domain.serving import Batching

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# pod_i [N, I, POD_I]: the pod; its queue; what arrived in the slot (of LM i, at node n)
PHASE, CORES, VGPUS, WANT, WANT_CORES, WANT_VGPUS, COPIES = range(7)
HEAD, TAIL, REQUESTS, PROMPTS, SERVING, ARRIVED_REQUESTS, ARRIVED_PROMPTS = range(7, 14)
POD_I = 14
# pod_f [N, I, POD_F]; PHASE_END of a READY pod is the moment it got ready; where SERVING, what the head of the queue
# still takes (WORK) at PACE, the time of a prompt
PHASE_END, WANT_SINCE, BUSY, WORK, PACE = range(5)
POD_F = 5
# batch_i [N, I, C, BATCH_I], batch_f [N, I, C, BATCH_F]: the batch that a copy has in hand, SIZE 0 where it has none.
# MEMBERS: prompts of it whose requests have not left; RUNS: what is left of it where a unit takes UNIT, 0 at first.
SIZE, MEMBERS = range(2)
BATCH_I = 2
RUNS, UNIT = range(2)
BATCH_F = 2
# pool_i [capacity, POOL_I], pool_f [capacity, POOL_F]: requests and parts that have not ended, as linked lists.
# ARRIVAL: seconds, as they were given. LEFT: prompts that were not finished when it was last taken up, a whole number.
# WHOLE: where it is a part, the place of the request in whole_i; else -1. From TAKEN on: prompts of it in the batch
# that each copy has in hand.
REQUEST, ORIGIN, BATCH, NEXT, PREVIOUS, INTERRUPTIONS, WHOLE = range(7)
POOL_I = TAKEN = 7
ARRIVAL, JOIN, LEFT, INFERENCE = range(4)
POOL_F = 4
# whole_i [capacity, WHOLE_I], whole_f [capacity, WHOLE_F]: requests in several parts, and the part to be told of.
# W_LAST: when it is back; of one that expired its inference.
W_PARTS, W_PROMPTS, W_INTERRUPTIONS, W_EXPIRED, W_WORKED, W_TARGET, W_NEXT = range(7)
WHOLE_I = 7
W_LAST, W_UPLINK, W_QUEUE, W_INFERENCE, W_DOWNLINK = range(5)
WHOLE_F = 5
# counters [COUNTERS]. PLACES: of the pool in use; WHOLES: of whole_i in use; LONGEST: the longest uplink seen, ns,
# which bounds how far the FIFO order strays from the order of arrival.
FREE, FRESH, WAITING, ARRIVED, SLOT, ENDED, PLACES, FREE_WHOLE, FRESH_WHOLE, WHOLES, LONGEST = range(11)
COUNTERS = 11
# record_i [RECORD_I, R], record_f [RECORD_F, R]
R_REQUEST, R_LM, R_ORIGIN, R_TARGET, R_PROMPTS, R_OUTCOME, R_INTERRUPTIONS = range(7)
RECORD_I = 7
R_ARRIVAL, R_UPLINK, R_QUEUE, R_INFERENCE, R_DOWNLINK = range(5)
RECORD_F = 5

OFF_PHASE, STARTING, READY, TERMINATING = range(4)


def whole_ns(seconds: ArrayLike) -> FloatArray:
    """Return durations in whole nanoseconds."""
    return np.rint(np.multiply(seconds, NS_PER_S))


class State(NamedTuple):
    """Everything that changes. All arrays are contiguous, so a copy is a few memory copies."""

    pod_i: IntArray
    pod_f: FloatArray
    on_gpu: IntArray
    """[N, I, P] vGPUs of the pod on each physical GPU of the node."""
    batch_i: IntArray
    batch_f: FloatArray
    clock: FloatArray
    """[N] the moment up to which the node was played."""
    counters: IntArray
    whole_i: IntArray
    whole_f: FloatArray
    pool_i: IntArray
    pool_f: FloatArray

    @classmethod
    def initial(cls, cluster: Cluster, capacity: int = 64) -> State:
        """Nothing deployed, nothing waiting, slot 0."""
        n, i = cluster.n_nodes, cluster.n_lms
        pod_i = np.zeros((n, i, POD_I), dtype=np.int64)
        pod_i[:, :, [HEAD, TAIL]] = -1
        counters = np.zeros(COUNTERS, dtype=np.int64)
        counters[[FREE, FREE_WHOLE]] = -1
        gpus = max(1, max(node.gpus for node in cluster.nodes))
        serving = cluster.serving
        copies = gpus if serving.copies else int(serving.batching is not Batching.NONE)
        return cls(
            pod_i,
            np.zeros((n, i, POD_F)),
            np.zeros((n, i, gpus), dtype=np.int64),
            np.zeros((n, i, copies, BATCH_I), dtype=np.int64),
            np.zeros((n, i, copies, BATCH_F)),
            np.zeros(n),
            counters,
            np.zeros((0, WHOLE_I), dtype=np.int64),
            np.zeros((0, WHOLE_F)),
            np.zeros((capacity, POOL_I + copies), dtype=np.int64),
            np.zeros((capacity, POOL_F)),
        )

    def copy(self) -> State:
        """An independent copy."""
        used, whole = int(self.counters[FRESH]), int(self.counters[FRESH_WHOLE])
        return State(
            self.pod_i.copy(),
            self.pod_f.copy(),
            self.on_gpu.copy(),
            self.batch_i.copy(),
            self.batch_f.copy(),
            self.clock.copy(),
            self.counters.copy(),
            self.whole_i[:whole].copy(),
            self.whole_f[:whole].copy(),
            self.pool_i[:used].copy(),
            self.pool_f[:used].copy(),
        )

    def with_room(self, places: int, wholes: int) -> State:
        """This state, or one with larger pools, such that so many places more, and requests in parts, fit."""
        # Places that were freed are used before fresh ones.
        pool_i, pool_f, whole_i, whole_f = self.pool_i, self.pool_f, self.whole_i, self.whole_f
        need, used = int(self.counters[PLACES]) + places, int(self.counters[FRESH])
        if need > len(pool_i):
            size = max(need, 2 * len(pool_i))
            pool_i, pool_f = _larger(pool_i, used, size), _larger(pool_f, used, size)
        need, used = int(self.counters[WHOLES]) + wholes, int(self.counters[FRESH_WHOLE])
        if need > len(whole_i):
            size = max(need, 2 * len(whole_i))
            whole_i, whole_f = _larger(whole_i, used, size), _larger(whole_f, used, size)
        if pool_i is self.pool_i and whole_i is self.whole_i:
            return self
        return self._replace(pool_i=pool_i, pool_f=pool_f, whole_i=whole_i, whole_f=whole_f)


GROWS = frozenset({"pool_i", "pool_f", "whole_i", "whole_f"})
"""Fields of State whose arrays grow with what waits."""
Number = TypeVar("Number", bound=np.generic)


def _larger(array: NDArray[Number], used: int, size: int) -> NDArray[Number]:
    grown = np.zeros((size, *array.shape[1:]), dtype=array.dtype)
    grown[:used] = array[:used]
    return grown


class Schedule(NamedTuple):
    """Decisions for T slots in a row."""

    targets: IntArray
    """[T, N, I] fixed routing plans."""
    cores: IntArray
    """[T, N, I]"""
    vgpus: IntArray
    """[T, N, I]"""
    decided: IntArray
    """[T, N] 0 where the node keeps what it has."""
    is_open: IntArray
    """[T] 1 where the routing plan is the open one below."""
    allowed: IntArray
    """[T, N or 1, I, A] nodes that an origin, or any, may use for an LM; -1 behind the last."""
    weight: FloatArray
    """[T, N or 1, I, A] their weights."""

    @classmethod
    def fixed(cls, targets: IntArray, cores: IntArray, vgpus: IntArray, decided: IntArray) -> Schedule:
        """Return a schedule of fixed plans."""
        slots, _, lms = targets.shape
        nobody = np.full((slots, 1, lms, 1), -1, dtype=np.int64)
        return cls(targets, cores, vgpus, decided, np.zeros(slots, dtype=np.int64), nobody, np.ones(nobody.shape))

    def slots(self, first: int, last: int) -> Schedule:
        """Return that of slots `first` to `last`, without the last."""
        return Schedule._make(array[first:last] for array in self)


def allowed(weights: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return `allowed` and `weight` of a Schedule, [R, I, A] each, for the weights of an open plan ([R, I, N])."""
    usable = weights > 0.0
    most = max(1, int(usable.sum(axis=2).max(initial=0)))
    order = np.argsort(~usable, axis=2, kind="stable")[:, :, :most]
    there = np.take_along_axis(usable, order, axis=2)
    weight = np.take_along_axis(weights, order, axis=2)
    return np.where(there, order, -1).astype(np.int64), np.where(there, weight, 1.0)


class Output(NamedTuple):
    """Records of the requests that ended, one column each."""

    record_i: IntArray
    """[RECORD_I, R]"""
    record_f: FloatArray
    """[RECORD_F, R]"""


def output(capacity: int) -> Output:
    """Room for `capacity` records."""
    return Output(np.empty((RECORD_I, capacity), dtype=np.int64), np.empty((RECORD_F, capacity)))
