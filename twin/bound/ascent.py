"""The search for good prices: projected supergradient ascent with momentum and a moving target.

The bound is concave in the prices and has kinks, so plain gradients zigzag. Each step aims at a target a little above
the best value so far (Polyak's step length); where the target is not approached, it was too high and comes down.
"""

from __future__ import annotations

import numpy as np

from twin.bound.kernels import move, steepness
from twin.bound.menu import FloatArray, IntArray
from twin.bound.relaxation import Priced, Relaxation

MOMENTUM = 0.85
RELAX = 0.5
"""Share of the way to the target that a step aims at."""
PATIENCE = 8
"""Steps without progress after which the target comes down."""
SHRINK = 0.5
ENOUGH = 1e-4
"""Relative distance of the target at which the search ends."""


def ascend(
    relaxation: Relaxation, service: IntArray, prices: FloatArray, reach_s: float, steps: int
) -> tuple[FloatArray, Priced]:
    """Return better prices, or the same, and what they come to.

    Args:
        relaxation: says what prices come to.
        service: [I] requests of each LM that are served.
        prices: where to begin.
        reach_s: how far above the first value the target begins, in seconds of total latency.
        steps: at most so many.
    """
    best_prices, best = prices, relaxation.price(prices, service)
    prices, now, push, stalled = prices.copy(), best, np.zeros_like(prices), 0
    for _ in range(steps):
        size = steepness(prices, now.slope, relaxation.step)
        if size <= 0.0 or reach_s <= ENOUGH * abs(best.total_s):
            break
        move(prices, push, now.slope, relaxation.step, MOMENTUM, RELAX * (best.total_s + reach_s - now.total_s) / size)
        now = relaxation.price(prices, service)
        stalled = 0 if now.total_s > best.total_s + ENOUGH * reach_s else stalled + 1
        if stalled >= PATIENCE:
            reach_s, stalled = reach_s * SHRINK, 0
        if now.total_s > best.total_s:
            best_prices, best = prices.copy(), now
    return best_prices, best
