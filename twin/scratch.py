"""Room that the compiled engine works in: it allocates nothing itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from twin.layout import FloatArray, IntArray, State

MOST_EXACT = 10
"""Customers of one network up to which mean value analysis goes over all their subsets."""
MEMO = 4096
"""Sets of busy pods whose paces are kept; a power of two."""


class Scratch(NamedTuple):
    """One for a cluster, whatever twin of it is played: all that outlives a call are paces, which stay as they are.

    M customers at most are busy on a node at once: its pods, or their copies.
    """

    tenant: IntArray
    """[I] LMs whose pods on vGPUs are ready and have requests."""
    busy: IntArray
    """[M] LMs whose pods are busy."""
    copy: IntArray
    """[M] the GPU of a copy; -1 for a pod as a whole."""
    pace: FloatArray
    """[M] what a prompt takes in each of them."""
    work: FloatArray
    """[M] what is in hand still takes there."""
    fixed: FloatArray
    """[M] of a prompt, on the host."""
    demand: FloatArray
    """[M, P] of a prompt, on each GPU."""
    reach: IntArray
    """[M] the GPUs that it uses, as bits; 0 when its network is done."""
    member: IntArray
    """[M] of the network in hand."""
    share: FloatArray
    """[M, P] mean customers of each at each GPU."""
    then: FloatArray
    """[M, P] the same, one round later."""
    ahead: FloatArray
    """[2 ** MOST_EXACT, P] mean customers at each GPU, by the set of members."""
    key: IntArray
    """[MEMO] set of busy pods of which `kept` tells."""
    kept: FloatArray
    """[MEMO, M] their paces."""
    seconds: FloatArray
    """[N] ns of a prompt in the pod that an origin looks at."""
    free: FloatArray
    """[N] moment at which it would be free, by what the origin knows."""
    ready: FloatArray
    """[N] moment from which on it can work."""
    waiting: FloatArray
    """[N] prompts before it, where batches or copies count."""
    score: FloatArray
    """[N] of one prompt more."""
    dealt: IntArray
    """[N] prompts that it gets."""


def scratch(state: State) -> Scratch:
    """Room for a cluster of the size of `state`."""
    nodes, lms, gpus = state.on_gpu.shape
    customers = lms * max(1, state.batch_i.shape[2])
    return Scratch(
        tenant=np.zeros(lms, dtype=np.int64),
        busy=np.zeros(customers, dtype=np.int64),
        copy=np.full(customers, -1, dtype=np.int64),
        pace=np.zeros(customers),
        work=np.zeros(customers),
        fixed=np.zeros(customers),
        demand=np.zeros((customers, gpus)),
        reach=np.zeros(customers, dtype=np.int64),
        member=np.zeros(customers, dtype=np.int64),
        share=np.zeros((customers, gpus)),
        then=np.zeros((customers, gpus)),
        ahead=np.zeros((2 ** min(MOST_EXACT, customers), gpus)),
        key=np.zeros(MEMO, dtype=np.int64),
        kept=np.zeros((MEMO, customers)),
        seconds=np.zeros(nodes),
        free=np.zeros(nodes),
        ready=np.zeros(nodes),
        waiting=np.zeros(nodes),
        score=np.zeros(nodes),
        dealt=np.zeros(nodes, dtype=np.int64),
    )
