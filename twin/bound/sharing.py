"""How much work with kernels the pods of one node can finish in a second at most, however they share its GPUs."""

from __future__ import annotations

import math

MOST_EXACT = 10
"""Busy pods of one network up to which twin.md's mean value analysis is exact."""
ITERATIONS = 50
"""Of Schweitzer's approximation, beyond."""


def gpu_seconds_per_second(gpus: int, vgpus: int, customers: int) -> float:
    """Return the most GPU seconds a second that so many pods and copies can get done (docs/bound.md, claim 3).

    That is one for each GPU, but for what the growth of host parts may bring where a pod spans GPUs that it shares.
    """
    together = min(customers, vgpus)
    if vgpus == gpus:  # nobody shares
        return float(together)
    if gpus == 1:
        if together <= MOST_EXACT:
            return 1.0
        return math.pow(together, (1.0 - 1.0 / together) ** (ITERATIONS - 1))
    spanning = min(customers, vgpus - 1)  # at once, where one of them spans: it has two vGPUs
    if together <= MOST_EXACT:
        return float(max(min(gpus, together), min(spanning, gpus * max(1, spanning - 1))))
    return float(together)
