"""What a busy neighbour on the same GPU costs a prompt, as rules count it: the law of the twin for two pods."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.gpu_sharing import HOST_CONTENTION
from twin.compiled import compiled

FloatArray = NDArray[np.float64]


@compiled
def delay_beside(fixed: float, compute: float, other_fixed: float, other_compute: float) -> float:
    """Return the seconds by which a prompt is longer beside one busy neighbour; 0 where that is not on a GPU."""
    if other_compute <= 0.0:
        return 0.0
    return float(HOST_CONTENTION * fixed + compute * other_compute / (other_fixed + other_compute))


def delays(fixed: FloatArray, compute: FloatArray) -> FloatArray:
    """Return [..., I, I] the same for each LM (rows) beside each other one, of [..., I] seconds that are finite."""
    total = fixed + compute
    share = np.divide(compute, total, out=np.zeros_like(total), where=compute > 0.0)
    delay: FloatArray = HOST_CONTENTION * fixed[..., :, None] + compute[..., :, None] * share[..., None, :]
    return np.where(compute[..., None, :] > 0.0, delay, 0.0)
