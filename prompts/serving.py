"""How a cluster serves requests, in sentences, where that is not P1's way: who chooses the node, batches, copies."""

from __future__ import annotations

from domain.cluster import Cluster
from domain.serving import Batching, Dispatch
from prompts.sentences import number

_CHOOSES = {
    Dispatch.ARRIVAL: "When a request comes, its origin sends it to that of these nodes from which it is back first.",
    Dispatch.SPLIT: (
        "When a request comes, its origin deals its prompts, one after the other, to those of these nodes from which "
        "they are back first; the request is done when its last prompt is back."
    ),
}
_PLANNED = {
    Dispatch.FIXED: "picks target nodes near your shares",
    Dispatch.ARRIVAL: "allows nodes near your shares, each request goes to that of them from which it is back first",
    Dispatch.SPLIT: (
        "allows nodes near your shares, the prompts of each request are dealt to those of them from which they are "
        "back first"
    ),
}
_TOGETHER = {
    Batching.REQUEST: "A pod computes prompts of one request together, as a batch.",
    Batching.QUEUE: "A pod computes prompts that wait together, as a batch, of whatever requests they are.",
}


def choice(cluster: Cluster) -> str:
    """How an origin chooses among the nodes that it may use, what a weight does, and how old the news is."""
    serving = cluster.serving
    age = f"as they were {number(serving.news_s)} s before" if serving.news_s else "as they are then"
    return (
        f"{_CHOOSES[serving.dispatch]} The origin knows all pods, the queues of other nodes {age}, and what it has "
        "sent itself. The seconds until an answer is back are divided by the weight of the node: 1 for all lets time "
        "alone decide, and a node of weight 0.5 has to be twice as soon. A node without a pod that is ready or "
        "starting is passed over; where no node has one, the one of the largest weight is taken."
    )


def planned(cluster: Cluster) -> str:
    """What becomes of the planner's shares in a slot."""
    return _PLANNED[cluster.serving.dispatch]


def together(cluster: Cluster, copies: bool) -> str:
    """What a pod computes at the same time, each sentence as a point of a list; empty in P1's way.

    Args:
        cluster: that is told of.
        copies: say that a pod on several GPUs has copies, where it has.
    """
    serving = cluster.serving
    points = [_TOGETHER[serving.batching]] if serving.batching in _TOGETHER else []
    if copies and serving.copies:
        points.append(
            "A pod on several GPUs holds the LM on each of them, where memory allows, and each copy computes."
        )
    return "".join(f"\n- {point}" for point in points)


def spanning(cluster: Cluster, n: int) -> str:
    """What more than one vGPU brings an LM on node n, which has several GPUs."""
    if cluster.nodes[n].mig:
        return "The GPUs are slices of larger ones, which MIG divides: a pod has one vGPU, on a slice that is its own."
    if cluster.serving.copies:
        return (
            "One vGPU is enough for an LM on one GPU, unless more are written with it. A pod on several GPUs holds "
            "the whole LM on each of them, where so much RAM and vRAM is free, and each copy computes; else it "
            "works on them one after the other, is no faster, and holds an equal part of its vRAM with each vGPU."
        )
    return (
        "One vGPU is enough for an LM unless more are written with it: a pod on several GPUs works on them one after "
        "the other, and is no faster. It holds its vRAM where its vGPUs are, an equal part with each."
    )
