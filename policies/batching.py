"""What batches save: rules count in seconds per prompt, and in a batch a prompt takes a part of what it takes alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.serving import BatchCurve, Batching

FloatArray = NDArray[np.float64]


def parts(cluster: Cluster, n: int, batch: FloatArray) -> FloatArray:
    """Return [I, 2] the part of a prompt alone that a prompt takes on the CPU of node n, and on its GPUs.

    Args:
        cluster: the cluster.
        n: node.
        batch: [I] prompts of a request; with `queue` batches they are at least as large.
    """
    found, node = np.ones((cluster.n_lms, 2)), cluster.nodes[n]
    if cluster.serving.batching is Batching.NONE:
        return found
    for i, lm in enumerate(cluster.lms):
        for mode, profile in enumerate(
            (lm.cpu_profiles.get(node.cpu_model), lm.gpu_profiles.get(node.gpu_model or ""))
        ):
            if profile is not None:
                found[i, mode] = _part(profile.batch, max(1, round(float(batch[i]))))
    return found


def _part(curve: BatchCurve, prompts: int) -> float:
    full, rest = divmod(prompts, curve.most)
    units = full * curve.units(curve.most) + (curve.units(rest) if rest else 0.0)
    return 1.0 if not math.isfinite(units) else units / prompts
