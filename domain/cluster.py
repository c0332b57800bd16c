"""What the cluster is: nodes, LMs, the network between nodes, and the clockwork of slots and epochs (P1 III)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from domain.large_model import LargeModel


@dataclass(frozen=True, slots=True)
class Node:
    """One MEC server, a Kubernetes node."""

    name: str
    site: str
    cpu_model: str
    cpu_cores: int
    """C_n of P1-1."""
    ram_gb: float
    """M_n of P1-1."""
    gpu_model: str | None = None
    gpus: int = 0
    vgpus_per_gpu: int = 1
    """Time-slicing replicas of each GPU; P1 uses 2."""
    vram_gb: float = 0.0
    """V_n of P1-1, all GPUs of the node together."""

    @property
    def vgpus(self) -> int:
        """G_n of P1-1: what Kubernetes counts as nvidia.com/gpu."""
        return self.gpus * self.vgpus_per_gpu


@dataclass(frozen=True)
class Cluster:
    """The static side of a testbed. Index n counts `nodes`, index i counts `lms`, everywhere in the project."""

    name: str
    nodes: tuple[Node, ...]
    """Workers only; nodes that just run the control plane are in `control_nodes`."""
    lms: tuple[LargeModel, ...]
    latency_s: NDArray[np.float64]
    """[N, N] one-way delay from node to node in seconds; the diagonal is zero."""
    seconds_per_byte: NDArray[np.float64]
    """[N, N] inverse bandwidth; the diagonal is zero."""
    control_nodes: tuple[Node, ...] = ()
    slot_s: float = 30.0
    """Length of a slot in seconds (P1 section V-D: 30)."""
    epoch_slots: int = 50
    """Slots in an epoch (P1 section V-D: 50)."""
    deadline_s: float = 900.0
    """End-to-end deadline tau of P1-3, seconds."""
    latency_weight: float = 0.5
    """lambda of P1-10; 1 weighs latency alone, 0 fairness alone."""
    pending_timeout_s: float = 300.0
    """Seconds after which a Pending pod is withdrawn."""

    @property
    def n_nodes(self) -> int:
        """N."""
        return len(self.nodes)

    @property
    def n_lms(self) -> int:
        """I."""
        return len(self.lms)

    @cached_property
    def node_index(self) -> dict[str, int]:
        """Node name to n."""
        return {node.name: n for n, node in enumerate(self.nodes)}

    @cached_property
    def lm_index(self) -> dict[str, int]:
        """LM name to i."""
        return {lm.name: i for i, lm in enumerate(self.lms)}

    @cached_property
    def feasible(self) -> NDArray[np.bool_]:
        """[N, I] True where node n could run LM i in some mode, alone; GPU-only LMs need a node with a GPU."""
        return np.array(
            [
                [self.runs_on_gpu(n, i) or self.runs_on_cpu(n, i) for i in range(self.n_lms)]
                for n in range(self.n_nodes)
            ],
            dtype=np.bool_,
        )

    def runs_on_gpu(self, n: int, i: int) -> bool:
        """True where LM i fits on one vGPU of node n and its speed there is known."""
        node, lm = self.nodes[n], self.lms[i]
        return (
            node.vgpus >= 1
            and node.gpu_model in lm.gpu_profiles
            and lm.ram_gb <= node.ram_gb
            and lm.vram_gb <= node.vram_gb
            and lm.host_cores <= node.cpu_cores
        )

    def runs_on_cpu(self, n: int, i: int) -> bool:
        """True where LM i may run on the CPU of node n and its speed with all the cores is known."""
        node, lm = self.nodes[n], self.lms[i]
        return not lm.gpu_only and lm.ram_gb <= node.ram_gb and math.isfinite(self.cpu_seconds(n, i, node.cpu_cores))

    def cpu_seconds(self, n: int, i: int, cores: int) -> float:
        """Seconds per prompt of LM i on `cores` cores of node n; infinity where it cannot run."""
        profile = self.lms[i].cpu_profiles.get(self.nodes[n].cpu_model)
        return math.inf if profile is None or cores < 1 else profile.seconds_per_prompt(cores)

    def gpu_seconds(self, n: int, i: int, share: float = 1.0) -> float:
        """Seconds per prompt of LM i on a GPU of node n that gives it `share` of its time; infinity where none."""
        model = self.nodes[n].gpu_model
        profile = self.lms[i].gpu_profiles.get(model) if model else None
        return math.inf if profile is None else profile.seconds_per_prompt(share)

    def uplink_seconds(self, origin: int, target: int, i: int, prompts: int) -> float:
        """Seconds to move a request of LM i from origin to target, part of X_q in P1-7; zero at home."""
        return float(
            self.latency_s[origin, target] + prompts * self.lms[i].uplink_bytes * self.seconds_per_byte[origin, target]
        )

    def downlink_seconds(self, origin: int, target: int, i: int, prompts: int) -> float:
        """Seconds to move its answers from target back to origin; zero at home."""
        return float(
            self.latency_s[target, origin]
            + prompts * self.lms[i].downlink_bytes * self.seconds_per_byte[target, origin]
        )
