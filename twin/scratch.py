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

    who: IntArray
    """[5, M] TENANT: LMs whose pods on vGPUs are ready and have requests. Of customers: BUSY_LM; BUSY_COPY, the GPU of
    a copy, -1 for a pod as a whole; REACH, the GPUs that it uses, as bits, 0 when its network is done. MEMBER: the
    customers of the network in hand."""
    amount: FloatArray
    """[3, M] of customers: TAKES (a prompt there), RUNS_ON (what is in hand), HOST (of a prompt, on the host)."""
    network: FloatArray
    """[3, M, P] of customers, on each GPU: DEMAND (of a prompt), SHARE (mean customers), THEN (one round later)."""
    ahead: FloatArray
    """[2 ** MOST_EXACT, P] mean customers at each GPU, by the set of members."""
    key: IntArray
    """[MEMO] set of busy pods of which `kept` tells."""
    kept: FloatArray
    """[MEMO, M] their paces."""
    option: FloatArray
    """[4, N] of the pods that an origin may choose, by what it knows: PROMPT, ns of one; FREE_AT, the moment at which
    it would be free; BEFORE, prompts, where batches or copies count; VALUE of one more."""
    dealt: IntArray
    """[N] prompts that each of them gets."""


TENANT, BUSY_LM, BUSY_COPY, REACH, MEMBER = range(5)
TAKES, RUNS_ON, HOST = range(3)
DEMAND, SHARE, THEN = range(3)
PROMPT, FREE_AT, BEFORE, VALUE = range(4)


def scratch(state: State) -> Scratch:
    """Room for a cluster of the size of `state`."""
    nodes, lms, gpus = state.on_gpu.shape
    customers = lms * max(1, state.batch_i.shape[2])
    return Scratch(
        who=np.full((5, customers), -1, dtype=np.int64),
        amount=np.zeros((3, customers)),
        network=np.zeros((3, customers, gpus)),
        ahead=np.zeros((2 ** min(MOST_EXACT, customers), gpus)),
        key=np.zeros(MEMO, dtype=np.int64),
        kept=np.zeros((MEMO, customers)),
        option=np.zeros((4, nodes)),
        dealt=np.zeros(nodes, dtype=np.int64),
    )
