"""The physical GPUs of a node: which of them a pod's vGPUs come from, and what each of them holds (docs/twin.md, Pods).

Memory is not shared between GPUs. A pod that has its vGPUs on several of them holds its part of the LM on each, in
proportion to the vGPUs: with two of three vGPUs on one GPU, two thirds of its vRAM are there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.cluster import SLACK_GB, Node

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


class Gpus:
    """The GPUs of R nodes with the same hardware, each with pods of its own; all are empty at first."""

    def __init__(self, node: Node, rows: int = 1) -> None:
        self._node = node
        self.vgpus: IntArray = np.zeros((rows, node.gpus), dtype=np.int64)
        """[R, P] vGPUs of each GPU that pods have."""
        self.held_gb: FloatArray = np.zeros((rows, node.gpus))
        """[R, P] vRAM of each GPU that pods hold."""

    def rows(self, rows: IntArray) -> Gpus:
        """Return the nodes with these numbers, as copies; a number may come several times."""
        other = Gpus(self._node, 0)
        other.vgpus, other.held_gb = self.vgpus[rows], self.held_gb[rows]
        return other

    def place(self, vgpus: IntArray | int, vram_gb: float) -> IntArray:
        """Return [R, P] the vGPUs that a pod would have on each GPU, fewer than `vgpus` where no more find room.

        They are taken one by one, each from the GPU with the most free vGPUs of those that can hold the pod's part of
        one vGPU more, the lowest number on a tie.

        Args:
            vgpus: of the pod, on each node ([R]) or the same on all.
            vram_gb: of the pod.
        """
        rows, wanted = np.arange(len(self.vgpus)), np.broadcast_to(vgpus, len(self.vgpus))
        each = (vram_gb / np.maximum(wanted, 1))[:, None]
        taken = np.zeros_like(self.vgpus)
        for k in range(int(wanted.max(initial=0))):
            free = self._node.vgpus_per_gpu - self.vgpus - taken
            free[self.held_gb + (taken + 1) * each > self._node.gpu_vram_gb + SLACK_GB] = 0
            best = free.argmax(axis=1)
            taken[rows, best] += (free[rows, best] > 0) & (k < wanted)
        return taken

    def hold(self, taken: IntArray, vram_gb: float) -> None:
        """Admit a pod that was placed: `taken` is what `place` returned for its vRAM."""
        self.vgpus = self.vgpus + taken
        self.held_gb = self.held_gb + taken * (vram_gb / np.maximum(taken.sum(axis=1), 1))[:, None]

    def admit(self, vgpus: IntArray | int, vram_gb: float) -> BoolArray:
        """Place and admit a pod on each of the nodes; [R] whether it fits. Where it does not, nothing changes."""
        taken = self.place(vgpus, vram_gb)
        fits: BoolArray = taken.sum(axis=1) == vgpus
        taken[~fits] = 0
        self.hold(taken, vram_gb)
        return fits
