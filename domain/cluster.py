"""What the cluster is: nodes, LMs, the network between nodes, and the clockwork of slots and epochs (P1 III)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from domain.large_model import LargeModel
from domain.serving import Serving

SLACK_GB = 1e-9
"""GB by which a sum of memory may miss its limit: rounding, nothing else."""


@dataclass(frozen=True, slots=True)
class Node:
    """One MEC server, a Kubernetes node."""

    name: str
    site: str
    cpu_model: str
    cpu_cores: int
    """C_n of P1-1, whole cores; 0 where there is less than one."""
    ram_gb: float
    """M_n of P1-1; with `unified_memory` all that CPU and GPUs have between them."""
    gpu_model: str | None = None
    gpus: int = 0
    vgpus_per_gpu: int = 1
    """Places for pods on each GPU (time-slicing replicas), no shares of its speed; P1 uses 2."""
    vram_gb: float = 0.0
    """V_n of P1-1, all GPUs of the node together; each has the same part. 0 with `unified_memory`."""
    unified_memory: bool = False
    """True where CPU and GPUs use one memory, `ram_gb`: what a pod on vGPUs holds, it holds of that."""
    spare_cores: float = 0.0
    """What Kubernetes could allocate beyond `cpu_cores`; LMs get whole cores, so nobody uses it."""
    mig: bool = False
    """True where `gpus` are MIG slices, one vGPU each: a pod has one of them, as a CUDA process has."""

    @property
    def vgpus(self) -> int:
        """G_n of P1-1: what Kubernetes counts as nvidia.com/gpu."""
        return self.gpus * self.vgpus_per_gpu

    @property
    def most_vgpus(self) -> int:
        """The most vGPUs that one pod can have."""
        return min(1, self.vgpus) if self.mig else self.vgpus

    @property
    def hardware(self) -> tuple[object, ...]:
        """All but name and site: equal for nodes of the same hardware."""
        return (
            *(self.cpu_model, self.cpu_cores, self.spare_cores, self.ram_gb),
            *(self.gpu_model, self.gpus, self.vgpus_per_gpu, self.vram_gb, self.unified_memory, self.mig),
        )

    @property
    def gpu_vram_gb(self) -> float:
        """What one GPU has, and what a pod on that GPU can hold of it."""
        return self.vram_gb / self.gpus if self.gpus else 0.0


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
    serving: Serving = Serving()
    """How requests are dispatched, batched and copied."""

    @property
    def setting(self) -> str:
        """What epochs must share to compare: the testbed, and how it serves requests where that is not P1's way."""
        return f"{self.name} ({self.serving.words})" if self.serving.words else self.name

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
        return np.array([[cores > 0 or vgpus > 0 for cores, vgpus in row] for row in self._least], dtype=np.bool_)

    @cached_property
    def _least(self) -> list[list[tuple[int, int]]]:
        """Least cores and least vGPUs of each LM on each node; nodes of the same hardware share a list."""
        known: dict[tuple[object, ...], list[tuple[int, int]]] = {}
        kinds = [node.hardware for node in self.nodes]
        for n, kind in enumerate(kinds):
            if kind not in known:
                known[kind] = [(self._cores(n, i), self._vgpus(n, i)) for i in range(self.n_lms)]
        return [known[kind] for kind in kinds]

    def _cores(self, n: int, i: int) -> int:
        node, lm = self.nodes[n], self.lms[i]
        profile = lm.cpu_profiles.get(node.cpu_model)
        if lm.gpu_only or lm.ram_gb > node.ram_gb + SLACK_GB or profile is None or not profile.points:
            return 0
        least = max(1, profile.points[0][0])
        return least if least <= node.cpu_cores else 0

    def _vgpus(self, n: int, i: int) -> int:
        node, lm, vram_gb = self.nodes[n], self.lms[i], self.vram_gb(n, i)
        if (
            node.vgpus < 1
            or node.gpu_model not in lm.gpu_profiles
            or self.ram_gb(n, i, True) > node.ram_gb + SLACK_GB
            or vram_gb > node.vram_gb + SLACK_GB
            or lm.host_cores > node.cpu_cores
        ):
            return 0
        least = max(1, math.ceil((vram_gb - SLACK_GB) / node.gpu_vram_gb)) if vram_gb > SLACK_GB else 1
        return least if least <= node.most_vgpus else 0

    def ram_gb(self, n: int, i: int, on_vgpus: bool) -> float:
        """GB that a pod of LM i holds of the RAM of node n, M_ni of P1-1."""
        lm = self.lms[i]
        return lm.unified_memory_gb if on_vgpus and self.nodes[n].unified_memory else lm.ram_gb

    def vram_gb(self, n: int, i: int) -> float:
        """GB that a pod of LM i on vGPUs holds of the vRAM of node n, V_ni of P1-1; 0 where its memory is unified."""
        return 0.0 if self.nodes[n].unified_memory else self.lms[i].vram_gb

    def least_cores(self, n: int, i: int) -> int:
        """Return the fewest cores with which LM i runs on node n alone; 0 where it does not run on its CPU."""
        return self._least[n][i][0]

    def least_vgpus(self, n: int, i: int) -> int:
        """Return the fewest vGPUs with which LM i runs on node n alone; 0 where it does not run on its GPUs.

        An LM that is larger than one GPU needs several of them: up to the number of GPUs, each vGPU comes from a GPU
        of its own, which then holds its part of the LM.
        """
        return self._least[n][i][1]

    def runs_on_gpu(self, n: int, i: int) -> bool:
        """True where LM i fits on vGPUs of node n and its speed there is known."""
        return self._least[n][i][1] > 0

    def runs_on_cpu(self, n: int, i: int) -> bool:
        """True where LM i may run on the CPU of node n and its speed with all the cores is known."""
        return self._least[n][i][0] > 0

    def cpu_seconds(self, n: int, i: int, cores: int) -> float:
        """Seconds per prompt of LM i on `cores` cores of node n; infinity where it cannot run."""
        profile = self.lms[i].cpu_profiles.get(self.nodes[n].cpu_model)
        return math.inf if profile is None or cores < 1 else profile.seconds_per_prompt(cores)

    def gpu_seconds(self, n: int, i: int) -> float:
        """Seconds per prompt of LM i on a GPU of node n with no busy neighbour; infinity where it cannot run."""
        model = self.nodes[n].gpu_model
        profile = self.lms[i].gpu_profiles.get(model) if model else None
        return math.inf if profile is None else profile.seconds_per_prompt

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
