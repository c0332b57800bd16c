"""How far two runs over the same requests are apart, and how sure that is.

Both runs are cut into slots by the arrival of the requests, so that a slot of one and the same slot of the other hold
the same requests: what is common to both, heavy slots and light ones, cancels.

With several seeds the interval is Student's around the mean of the seeds' differences. What lasts for a whole run, such
as a plan that was adopted early, differs from seed to seed and is seen in nothing else, so slots within a seed add
nothing to it; two seeds leave it wide because two seeds say little. With one seed it is a jackknife over blocks of
slots (H. R. Künsch, Annals of Statistics 17, 1989): slots that follow each other are alike, for queues take long to
drain, so blocks are long and few, and the interval is Student's over so many. Where nothing varies, or there is one
block, there is no interval: what did not happen in a run cannot be told from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from domain.cluster import Cluster
from domain.objective import normalised_jain, objective, service_rates

FloatArray = NDArray[np.float64]

CONFIDENCE = 0.95
LEAST_BLOCKS, MOST_BLOCKS = 5, 10
"""Blocks that a run is cut into at least, where it has so many slots, and at most: long ones hardly know each other."""
LIVES = 2
"""Longest lives of a request that a block should last."""
VARIES = 1e-9
"""Spread of a figure, in its own unit, below which it is the rounding of numbers."""
OBJECTIVE, MEAN, FAIRNESS, SERVED = "J", "mean s", "F_norm", "served"
"""Names of figures; those of LMs are SERVED and the name."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of two runs; None where there is no value."""

    figure: str
    base: float | None
    other: float | None
    low: float | None
    """Of the interval around other - base; None where what was observed gives none."""
    high: float | None

    @property
    def value(self) -> float | None:
        """How much more the other one is."""
        return None if self.base is None or self.other is None else self.other - self.base


def figure_names(lms: Sequence[str]) -> list[str]:
    """Return the names of the figures, in order."""
    return [OBJECTIVE, MEAN, FAIRNESS, *(f"{SERVED} {lm}" for lm in lms), SERVED]


def block_slots(cluster: Cluster, slots: int) -> int:
    """Slots in a block: some lives of a request, in LEAST_BLOCKS to MOST_BLOCKS of them."""
    life = math.ceil(cluster.deadline_s / cluster.slot_s)
    return max(1, min(LIVES * life, slots // LEAST_BLOCKS), slots // MOST_BLOCKS)


def sums(
    lm: NDArray[np.int64],
    slot: NDArray[np.int64],
    success: NDArray[np.bool_],
    latency_s: FloatArray,
    slots: int,
    n: int,
) -> FloatArray:
    """Return [slots, 2n + 1]: by slot of arrival what arrived and succeeded of each of n LMs, and their latencies."""
    table = np.zeros((slots, 2 * n + 1))
    np.add.at(table, (slot, lm), 1.0)
    np.add.at(table, (slot[success], n + lm[success]), 1.0)
    np.add.at(table[:, 2 * n], slot[success], latency_s[success])
    return table


def figures(totals: FloatArray, cluster: Cluster) -> FloatArray:
    """Return [..., F] the figures of `figure_names` from sums [..., 2n + 1] over slots; NaN where there is no value."""
    n = cluster.n_lms
    flat = totals.reshape(-1, totals.shape[-1])
    out = np.empty((flat.shape[0], n + 4))
    for row, total in zip(out, flat, strict=True):
        arrived, succeeded = (total[k * n : (k + 1) * n].astype(np.int64) for k in range(2))
        rates = service_rates(arrived, succeeded)
        came, served = float(arrived.sum()), float(succeeded.sum())
        mean = float(total[-1]) / served if served else math.nan
        fairness = normalised_jain(rates)
        norm = mean / cluster.deadline_s if served else float(came > 0)
        row[:3] = objective(norm, fairness, cluster.latency_weight), mean, fairness
        row[3 : 3 + n] = rates
        row[-1] = served / came if came else math.nan
    return out.reshape(*totals.shape[:-1], n + 4)


def differences(base: Sequence[FloatArray], other: Sequence[FloatArray], cluster: Cluster) -> list[Difference]:
    """Compare two runs over the same requests.

    Args:
        base: `sums` of one run, seed by seed, all of as many slots.
        other: of the other run, on the same seeds.
        cluster: says what J is.

    Returns:
        The figures in the mean over the seeds, each with a CONFIDENCE interval around the difference.
    """
    pair = np.stack([np.stack(base), np.stack(other)])  # [2, seeds, slots, columns]
    by_seed = figures(pair.sum(axis=2), cluster)
    points = by_seed.mean(axis=1)
    apart = by_seed[1] - by_seed[0]
    half = _half_width(apart if len(base) > 1 else _pseudo_values(pair[:, 0], apart[0], cluster))
    value, names = points[1] - points[0], figure_names([lm.name for lm in cluster.lms])
    most = np.array([cluster.deadline_s if name == MEAN else 1.0 for name in names])  # that they can be apart
    low, high = np.maximum(value - half, -most), np.minimum(value + half, most)
    return [
        Difference(name, _number(points[0, f]), _number(points[1, f]), _number(low[f]), _number(high[f]))
        for f, name in enumerate(names)
    ]


def _pseudo_values(pair: FloatArray, apart: FloatArray, cluster: Cluster) -> FloatArray:
    """Return [blocks, F]: what each block adds to the differences [F] of one seed's sums [2, slots, columns]."""
    slots = pair.shape[1]
    count = max(1, slots // block_slots(cluster, slots))
    starts = np.linspace(0, slots, count + 1).round().astype(np.int64)[:-1]
    without = figures(pair.sum(axis=1, keepdims=True) - np.add.reduceat(pair, starts, axis=1), cluster)
    pseudo: FloatArray = count * apart - (count - 1) * (without[1] - without[0])
    return pseudo


def _half_width(values: FloatArray) -> FloatArray:
    """Return [F], half of Student's interval around the mean of values [n, F]; NaN where they do not vary."""
    count = values.shape[0]
    if count < 2:
        return np.full(values.shape[1], math.nan)
    spread = values.std(axis=0, ddof=1)
    student = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2.0))
    half: FloatArray = np.where(spread > VARIES, student / math.sqrt(count) * spread, math.nan)
    return half


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
