"""How fast pods are, by what is observed of them: allocations, and the GPUs, copies and batches that follow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from policies.batching import parts
from policies.rehearsal.menu import admission, copies

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Gpus:
    """Speeds of pods, and who shares which GPU with whom, as far as allocations tell."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._sets: dict[tuple[int, bytes], dict[int, int]] = {}
        self._last: tuple[tuple[bytes, bytes], tuple[FloatArray, FloatArray, IntArray]] | None = None
        most = max(node.cpu_cores for node in cluster.nodes)
        n_nodes, n_lms = cluster.n_nodes, cluster.n_lms
        self._cpu_s = np.full((n_nodes, n_lms, most + 1), np.inf)
        self._fixed_s, self._compute_s = np.full((n_nodes, n_lms), np.inf), np.zeros((n_nodes, n_lms))
        known = dict[object, int]()
        self._alike = list[int]()
        for n, node in enumerate(cluster.nodes):
            first = known.setdefault((node.cpu_model, node.cpu_cores, node.gpu_model), n)
            self._alike.append(first)
            if first < n:
                self._cpu_s[n] = self._cpu_s[first]
                self._fixed_s[n], self._compute_s[n] = self._fixed_s[first], self._compute_s[first]
                continue
            for i, lm in enumerate(cluster.lms):
                self._cpu_s[n, i, 1 : node.cpu_cores + 1] = [
                    cluster.cpu_seconds(n, i, c) for c in range(1, node.cpu_cores + 1)
                ]
                profile = lm.gpu_profiles.get(node.gpu_model) if node.gpu_model else None
                if profile is not None:
                    self._fixed_s[n, i], self._compute_s[n, i] = profile.fixed_s, profile.compute_s

    def speeds(self, cores: IntArray, vgpus: IntArray) -> tuple[FloatArray, FloatArray, IntArray]:
        """Return fixed and compute seconds per prompt, and the physical GPUs as bits: [N, I], not to be written to."""
        key = (cores.tobytes(), vgpus.tobytes())
        if self._last is None or self._last[0] != key:
            self._last = key, self._speeds(cores, vgpus)
        return self._last[1]

    def _speeds(self, cores: IntArray, vgpus: IntArray) -> tuple[FloatArray, FloatArray, IntArray]:
        on_gpu = vgpus > 0
        rows, columns = np.indices(cores.shape)
        fixed = np.where(on_gpu, self._fixed_s, self._cpu_s[rows, columns, np.clip(cores, 0, self._cpu_s.shape[2] - 1)])
        compute = np.where(on_gpu, self._compute_s, 0.0)
        gpu = on_gpu.astype(np.int64)
        for n, node in enumerate(self._cluster.nodes):
            if node.gpus > 1 and on_gpu[n].any():
                places = self.places(n, vgpus[n])
                on_cpu = np.flatnonzero((cores[n] > 0) & ~on_gpu[n]).tolist()
                for i, count in copies(self._cluster, n, places, on_cpu).items():
                    gpu[n, i] = places[i]
                    fixed[n, i] /= count
                    compute[n, i] /= count
        return fixed, compute, gpu

    def in_batch(self, vgpus: IntArray, batch: FloatArray) -> FloatArray:
        """Return [N, I] the part of a prompt alone that a prompt takes in batches of `batch` ([I])."""
        by_kind = {n: parts(self._cluster, n, batch) for n in set(self._alike)}
        part = np.array([by_kind[n] for n in self._alike])
        return np.where(vgpus > 0, part[:, :, 1], part[:, :, 0])

    def places(self, n: int, vgpus: IntArray) -> dict[int, int]:
        """Return `admission` of pods with so many vGPUs ([I])."""
        key = (n, vgpus.tobytes())
        if key not in self._sets:
            self._sets[key] = admission(self._cluster, n, {i: g for i, g in enumerate(vgpus.tolist()) if g})
        return self._sets[key]
