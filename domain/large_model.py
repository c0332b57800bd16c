"""A large model (LM): what it needs, how it starts and stops, and how fast it answers on what hardware.

Speed is never a constant times the resource. On a CPU it is a table of measured points; on a GPU it is a part on the
host (kernel launches, moving data) and a part with kernels on the GPU, for which busy neighbours queue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from domain.serving import BatchCurve

Modality = Literal["text", "image", "audio"]


@dataclass(frozen=True, slots=True)
class CpuProfile:
    """Seconds per prompt on k dedicated cores of one CPU model, from points (cores, seconds).

    Between two points the seconds are linear in 1/k (the shape of a fixed part plus a parallel part, Amdahl);
    beyond the last point more cores bring nothing; below the first the LM does not run.
    """

    points: tuple[tuple[int, float], ...]
    batch: BatchCurve = BatchCurve()
    """What a batch takes, on any number of cores."""

    def seconds_per_prompt(self, cores: int) -> float:
        """Return seconds per prompt with `cores` cores; infinity where the LM does not run."""
        if not self.points or cores < self.points[0][0]:
            return math.inf
        for (k0, s0), (k1, s1) in zip(self.points, self.points[1:], strict=False):
            if cores <= k1:
                weight = (1 / cores - 1 / k1) / (1 / k0 - 1 / k1)
                return s1 + weight * (s0 - s1)
        return self.points[-1][1]


@dataclass(frozen=True, slots=True)
class GpuProfile:
    """Seconds per prompt on one GPU model: `fixed_s` on the host, `compute_s` with kernels on the GPU.

    That is the sum alone; what busy neighbours add is `domain.gpu_sharing`.
    """

    fixed_s: float
    compute_s: float
    batch: BatchCurve = BatchCurve()

    @property
    def seconds_per_prompt(self) -> float:
        """Seconds per prompt with no busy neighbour on the GPU."""
        return self.fixed_s + self.compute_s


@dataclass(frozen=True, slots=True)
class LargeModel:
    """One LM type i of P1 section III, served one per pod."""

    name: str
    model: str
    modality_in: tuple[Modality, ...]
    """What one prompt holds: one or several, such as a text and an image."""
    modality_out: Modality
    ram_gb: float
    """RAM that a pod requests, M_i^min of P1-1."""
    vram_gb: float
    """GPU memory that a pod on vGPUs needs, V_i^min of P1-1."""
    gpu_only: bool
    """True where the LM may only run on vGPUs and is only routed to nodes that have a GPU."""
    host_cores: int
    """CPU cores that a pod on vGPUs requests beside them; counted in C_n of P1-1."""
    image_gb: float
    """Container image on disk."""
    uplink_bytes: float
    """Bytes that one prompt sends from its origin node to the target node."""
    downlink_bytes: float
    """Bytes that one answer sends back."""
    start_cpu_s: float
    """Seconds from admission to ready on CPU: container start and weight loading."""
    start_gpu_s: float
    """Seconds from admission to ready on vGPUs."""
    stop_s: float
    """Seconds of shutdown, during which the pod's resources stay held (P1 section V-D)."""
    cpu_profiles: Mapping[str, CpuProfile] = field(default_factory=dict)
    """Speed by CPU model; an LM does not run on a CPU model that is absent."""
    gpu_profiles: Mapping[str, GpuProfile] = field(default_factory=dict)
    """Speed by GPU model; an LM does not run on a GPU model that is absent."""
    unified_gb: float | None = None
    """GB that a pod on vGPUs holds where CPU and GPU use one memory; None where that is RAM and vRAM in sum."""

    @property
    def unified_memory_gb(self) -> float:
        """`unified_gb`, or what it is where nothing was measured."""
        return self.ram_gb + self.vram_gb if self.unified_gb is None else self.unified_gb

    @property
    def is_image(self) -> bool:
        """True where images go in or come out (the image workload of P1-18)."""
        return "image" in (*self.modality_in, self.modality_out)

    @property
    def modalities(self) -> str:
        """In words, such as 'text and image to text'."""
        return f"{' and '.join(self.modality_in)} to {self.modality_out}"
