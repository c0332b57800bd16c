"""How pods that are busy on the same GPUs slow each other: by demand, for who has no kernels on a GPU takes nothing.

A busy pod is the one customer of its class in a closed network: a prompt spends `host` seconds off the GPUs (launching
kernels, moving data) and `gpu` seconds on each of them. A GPU is processor sharing, the host a delay; mean value
analysis is exact for that (M. Reiser and S. S. Lavenberg, "Mean-value analysis of closed multichain queuing networks",
J. ACM 27, 1980). Beside that the host part itself grows with each busy neighbour, for launches and switches of context
contend in the driver: one number, fitted. How many vGPUs a pod was given plays no part; the driver does not know them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

HOST_CONTENTION = 0.12
"""Growth of the host part per busy neighbour on one of the pod's GPUs (`python -m benchmarks.gpu_sharing`)."""


def shared_seconds(
    host: Sequence[float], gpu: Sequence[Sequence[float]], contention: float = HOST_CONTENTION
) -> tuple[float, ...]:
    """Seconds per prompt of pods that are all busy.

    Args:
        host: [J] seconds of a prompt off the GPUs.
        gpu: [J][P] seconds of a prompt with kernels on GPU p; 0 where the pod is not on it.
        contention: growth of `host` per neighbour.

    Returns:
        [J] seconds per prompt; alone it is host + the sum of gpu.
    """
    gpus = range(len(gpu[0])) if gpu else range(0)

    @cache
    def network(busy: int) -> dict[int, tuple[float, tuple[float, ...]]]:
        """Pod to its seconds and its mean customers at each GPU, in the network of the pods in the mask `busy`."""
        found = {}
        for j in range(len(host)):
            if not busy >> j & 1:
                continue
            others = network(busy & ~(1 << j))
            ahead = [sum(queue[p] for _, queue in others.values()) for p in gpus]
            at = [gpu[j][p] * (1.0 + ahead[p]) for p in gpus]
            neighbours = sum(any(gpu[k][p] and gpu[j][p] for p in gpus) for k in others)
            seconds = host[j] * (1.0 + contention * neighbours) + sum(at)
            found[j] = seconds, tuple(a / seconds if seconds else 0.0 for a in at)
        return found

    together = network((1 << len(host)) - 1)
    return tuple(together[j][0] for j in range(len(host)))
