"""One node with several GPUs and LMs that hardly fit on them, drawn at random, for tests of what memory allows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from hypothesis import strategies as st

from domain.cluster import Cluster, Node
from domain.decisions import OFF, Allocation
from domain.large_model import LargeModel
from tests.clusters import CHAT


def alone(node: Node, lms: tuple[LargeModel, ...]) -> Cluster:
    """Return a cluster of one node."""
    return Cluster("alone", (node,), lms, np.zeros((1, 1)), np.zeros((1, 1)))


def lm(name: str, vram_gb: float, **changes: Any) -> LargeModel:
    """Return an LM that runs anywhere."""
    return dataclasses.replace(CHAT, name=name, vram_gb=vram_gb, **{"ram_gb": 1.0, **changes})


def box(gpus: int, gpu_gb: float, vgpus_per_gpu: int = 2, **changes: Any) -> Node:
    """Return a node with GPUs of `gpu_gb` each."""
    node = Node("box", "tower", "C", 16, 64.0, "G", gpus, vgpus_per_gpu, gpus * gpu_gb)
    return dataclasses.replace(node, **changes)


@st.composite
def crowded(draw: st.DrawFn) -> Cluster:
    """Draw a node whose GPUs, RAM and cores are about as large as what all LMs ask for."""
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    unified = draw(st.integers(0, 4)) == 0
    lms = tuple(
        lm(
            f"lm{k}",
            float(size),
            gpu_only=draw(st.booleans()),
            host_cores=draw(st.integers(0, 2)),
            unified_gb=draw(st.none() | st.integers(1, 13).map(float)),
        )
        for k, size in enumerate(sizes)
    )
    node = box(
        draw(st.integers(1, 3)),
        float(draw(st.integers(2, 12))),
        draw(st.integers(1, 3)),
        cpu_cores=draw(st.integers(1, 12)),
        ram_gb=float(draw(st.integers(1, 24))),
    )
    return alone(dataclasses.replace(node, vram_gb=0.0, unified_memory=True) if unified else node, lms)


@st.composite
def crowded_deployments(draw: st.DrawFn) -> tuple[Cluster, tuple[Allocation, ...]]:
    """Draw such a node, and for each LM what the node could run it with if the LM were alone there."""
    cluster = draw(crowded())
    allocations = []
    for i in range(cluster.n_lms):
        modes = [OFF]
        if cluster.runs_on_cpu(0, i):
            modes.append(Allocation(cores=draw(st.integers(1, 4))))
        if cluster.runs_on_gpu(0, i):
            modes.append(Allocation(vgpus=draw(st.integers(1, 4))))
        allocations.append(draw(st.sampled_from(modes)))
    return cluster, tuple(allocations)
