"""What prompts take at least where pods compute several at once, in units of what one prompt takes (docs/bound.md)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.serving import BatchCurve

FloatArray = NDArray[np.float64]


def least_units(curve: BatchCurve, prompts: int) -> FloatArray:
    """Return [prompts + 1] the fewest units of 0, 1, 2 … prompts on one copy, in whatever batches."""
    units = np.zeros(prompts + 1)
    sizes = [curve.units(size) for size in range(1, min(curve.most, prompts) + 1)]
    for count in range(1, prompts + 1):
        units[count] = min(units[count - size] + of for size, of in enumerate(sizes[:count], start=1))
    return units


def least_share(curve: BatchCurve, prompts: int) -> float:
    """Return the least units a prompt that its share of a batch of at most so many can be."""
    return min(curve.units(size) / size for size in range(1, min(curve.most, prompts) + 1))
