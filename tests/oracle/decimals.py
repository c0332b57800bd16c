"""Seeded random scenarios in decimals: all durations are multiples of a step such as 0.7 s, so that ties abound.

No double holds such a step, and sums of it reach one and the same moment along different ways with different digits.
Besides: several vGPUs, slots without a plan, two deployments of one node, and runs that last for months.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from domain.cluster import Cluster
from domain.large_model import CpuProfile, GpuProfile, LargeModel
from tests.oracle.scenarios import CPUS, GPUS, Scenario, node_for, played_on

STEPS_S = (0.1, 0.2, 0.3, 0.7, 1.1, 1.3, 0.01, 0.07, 0.13, 0.05, 2.7, 12.1)
FAR_S = 4e6
"""Seconds that the scenarios last that get far."""


def decimal(seed: int) -> Scenario:
    """Return a scenario whose moments all lie on a grid of decimals."""
    return _on_grid(seed, np.random.default_rng([seed, 3]))


def far(seed: int) -> Scenario:
    """Return such a scenario that lasts for 46 days, where doubles of seconds do not tell nanoseconds apart."""
    return _on_grid(seed, np.random.default_rng([seed, 4]), FAR_S)


def _on_grid(seed: int, rng: np.random.Generator, lasts_s: float = 0.0) -> Scenario:
    step, fine = float(rng.choice(STEPS_S)), bool(rng.random() < 0.5)
    per_slot, slots = int(rng.integers(40, 400)) if fine else int(rng.integers(4, 17)), int(rng.integers(5, 25))
    step *= max(1, round(lasts_s / (step * per_slot * slots)))

    def seconds(low: float, high: float) -> float:
        """Draw a duration between so many slots, none at all included where `low` is 0."""
        first, last = round(low * per_slot), max(1, round(high * per_slot))
        return decimals(int(rng.integers(first, last + 1)) * step)

    n, i = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    lms = tuple(_lm(rng, k, seconds) for k in range(i))
    latency, per_byte = np.zeros((n, n)), np.zeros((n, n))
    far_apart = float(rng.choice([0.2, 1.0, 2.0]))
    for a, b in np.argwhere(~np.eye(n, dtype=np.bool_)):
        latency[a, b], per_byte[a, b] = seconds(0.0, far_apart), seconds(0.0, 0.1) * (rng.random() < 0.5)
    cluster = Cluster(
        name=f"decimal-{seed}",
        nodes=tuple(node_for(rng, k, lms, vgpus_per_gpu=4) for k in range(n)),
        lms=lms,
        latency_s=latency,
        seconds_per_byte=per_byte,
        slot_s=decimals(per_slot * step),
        deadline_s=seconds(0.4, float(rng.choice([2.0, 8.0, 20.0]))),
        pending_timeout_s=seconds(0.0, 4.0),
    )
    grid = rng.integers(0, slots * per_slot, int(rng.integers(20, 120)))
    times = np.array([decimals(int(k) * step) for k in grid])
    s = played_on(rng, cluster, times, slots, most_vgpus=int(rng.choice([1, 3])))
    for t in range(slots):
        if rng.random() < 0.1:
            s.plans[t] = None
        if s.deployments[t] and rng.random() < 0.1:
            again = s.deployments[int(rng.integers(slots))]
            s.deployments[t] += [d for d in again if d.node in {given.node for given in s.deployments[t]}]
    return s


def decimals(seconds: float) -> float:
    """Return what a person would write."""
    return round(seconds, 2)


def _lm(rng: np.random.Generator, k: int, seconds: Callable[[float, float], float]) -> LargeModel:
    def cpu_profile() -> CpuProfile:
        slow, fast = sorted((seconds(0.01, 0.3), seconds(0.01, 0.3)), reverse=True)
        return CpuProfile(((1, slow), (4, fast)) if rng.random() < 0.5 else ((1, slow),))

    def gpu_profile() -> GpuProfile:
        return GpuProfile(seconds(0.0, 0.1), seconds(0.01, 0.2))

    longest = float(rng.choice([0.3, 1.0, 2.0]))
    return LargeModel(
        name=f"lm{k}",
        model="any",
        modality_in=("text",),
        modality_out="text",
        ram_gb=float(rng.integers(1, 4)),
        vram_gb=float(rng.integers(1, 4)),
        gpu_only=False,
        host_cores=int(rng.integers(0, 2)),
        image_gb=1.0,
        uplink_bytes=float(rng.integers(0, 3)),
        downlink_bytes=float(rng.integers(0, 3)),
        start_cpu_s=seconds(0.0, longest),
        start_gpu_s=seconds(0.0, longest),
        stop_s=seconds(0.0, longest),
        cpu_profiles={name: cpu_profile() for name in CPUS},
        gpu_profiles={name: gpu_profile() for name in GPUS},
    )
