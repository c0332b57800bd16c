"""The least objective of any policy, whatever it drops. It is weak, because a policy may drop all that takes long.

Latency counts successes only (P1-9) and fairness only compares rates (P1-6), so a policy that completes one request of
each LM, the quickest, can score better than one that completes everything. docs/bound.md, claim 10.
"""

from __future__ import annotations

import numpy as np

from domain.objective import objective
from twin.bound.menu import FloatArray, IntArray

LEVELS = 1000
"""Steps of mean latency that are looked at."""
BISECTIONS = 60


def weakest_objective(arrived: IntArray, quickest_s: FloatArray, deadline_s: float, latency_weight: float) -> float:
    """Return what no policy's P1-10 falls below.

    Args:
        arrived: [I] requests of each LM.
        quickest_s: [I] least latency of any request of the LM; infinity where none can be completed.
        deadline_s: tau.
        latency_weight: lambda.
    """
    present = arrived > 0
    if not present.any():
        return 0.0
    served = present & (quickest_s <= deadline_s)
    if not served.any():
        return 1.0
    levels = np.linspace(quickest_s[served].min(), quickest_s[served].max(), LEVELS + 1)
    fairness = _fairest(arrived[served].astype(np.float64), quickest_s[served], levels[1:], int(present.sum()))
    return min(
        objective(latency / deadline_s, fair, latency_weight)
        for latency, fair in zip(levels[:-1].tolist(), fairness.tolist(), strict=True)
    )


def _fairest(arrived: FloatArray, quickest_s: FloatArray, levels: FloatArray, types: int) -> FloatArray:
    """Return, for each level, the most fairness (P1-8) of rates whose mean latency is at most the level.

    Of rates r with sum 1 and sum_i b_i r_i <= 0, b_i = arrived_i (quickest_i - level), the fairest have the least sum
    of squares: r_i proportional to max(0, 1 - t b_i) with the least t >= 0 that satisfies the constraint.
    """
    if types == 1:
        return np.ones(len(levels))
    weight = arrived / arrived.sum() * (quickest_s - levels[:, None])
    largest = np.abs(weight).max(axis=1)
    low = np.zeros(len(levels))
    high = np.divide(2.0**BISECTIONS, largest, out=np.zeros(len(levels)), where=largest > 0.0)
    for _ in range(2 * BISECTIONS):
        middle = 0.5 * (low + high)
        over = (weight * np.maximum(0.0, 1.0 - middle[:, None] * weight)).sum(axis=1) > 0.0
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    rates = np.maximum(0.0, 1.0 - low[:, None] * weight)  # low breaks the constraint by a hair: fairness errs upwards
    jain = rates.sum(axis=1) ** 2 / (types * (rates**2).sum(axis=1))
    fairness: FloatArray = np.clip((types * jain - 1.0) / (types - 1.0), 0.0, 1.0)
    return fairness
