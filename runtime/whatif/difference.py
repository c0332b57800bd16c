"""How far two runs over the same requests are apart, and how sure that is.

Both runs are cut into slots by the arrival of the requests, so that a slot of one and the same slot of the other hold
the same requests: what is common to both, heavy slots and light ones, cancels. Slots that follow each other are alike,
for queues take long to drain; so blocks of slots are drawn, not slots (the circular block bootstrap of Politis and
Romano, 1992). Where there are several seeds, seeds are drawn first, and blocks within each. Few blocks show too little
of what could have been, so an interval is widened as Student's distribution is wider than the normal one.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from domain.cluster import Cluster
from domain.objective import normalised_jain, objective, service_rates

FloatArray = NDArray[np.float64]

RESAMPLES = 2_000
CONFIDENCE = 0.95
SEED = 20_260_101
"""Of the draws, so that the same runs give the same intervals."""
LEAST_BLOCKS = 5
"""Blocks that a run is cut into at least, where it has so many slots."""
OBJECTIVE, MEAN, FAIRNESS, SERVED = "J", "mean s", "F_norm", "served"
"""Names of figures; those of LMs are SERVED and the name."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of two runs; None where there is no value."""

    figure: str
    base: float | None
    other: float | None
    low: float | None
    """Of the interval around other - base."""
    high: float | None

    @property
    def value(self) -> float | None:
        """How much more the other one is."""
        return None if self.base is None or self.other is None else self.other - self.base


def figure_names(lms: Sequence[str]) -> list[str]:
    """Return the names of the figures, in order."""
    return [OBJECTIVE, MEAN, FAIRNESS, *(f"{SERVED} {lm}" for lm in lms), SERVED]


def block_slots(cluster: Cluster, slots: int) -> int:
    """Slots in a block: as long as a request may live, but short enough for LEAST_BLOCKS of them."""
    return max(1, min(math.ceil(cluster.deadline_s / cluster.slot_s), slots // LEAST_BLOCKS))


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
    points = figures(pair.sum(axis=2), cluster).mean(axis=1)
    length = block_slots(cluster, pair.shape[2])
    drawn = _drawn(pair, length, np.random.default_rng(SEED))
    resampled = figures(drawn, cluster)  # [2, resamples, seeds, figures]
    tail = 50.0 * (1.0 - CONFIDENCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a figure that no draw has a value of: NaN it is
        apart = np.nanmean(resampled[1] - resampled[0], axis=1)
        value, ends = points[1] - points[0], np.nanpercentile(apart, [tail, 100.0 - tail], axis=0)
    low, high = value + _widening(len(base) * round(pair.shape[2] / length)) * (ends - value)
    names = figure_names([lm.name for lm in cluster.lms])
    return [
        Difference(name, _number(points[0, f]), _number(points[1, f]), _number(low[f]), _number(high[f]))
        for f, name in enumerate(names)
    ]


def _drawn(pair: FloatArray, length: int, rng: np.random.Generator) -> FloatArray:
    """Return [2, resamples, seeds, columns]: sums over blocks that were drawn, the same for both runs."""
    _, seeds, slots, _ = pair.shape
    around = np.concatenate([pair, pair[:, :, : length - 1]], axis=2) if length > 1 else pair
    upto = np.cumsum(around, axis=2)
    before = np.concatenate([np.zeros_like(upto[:, :, :1]), upto], axis=2)
    blocks = before[:, :, length:] - before[:, :, :-length]  # [2, seeds, slots, columns], by first slot
    chosen = rng.integers(seeds, size=(RESAMPLES, seeds)) if seeds > 1 else np.zeros((RESAMPLES, 1), dtype=np.int64)
    total = np.zeros((2, RESAMPLES, seeds, pair.shape[3]))
    for _ in range(round(slots / length)):
        total += blocks[:, chosen, rng.integers(slots, size=(RESAMPLES, seeds))]
    return total


def _widening(blocks: int) -> float:
    """Half the width of a t interval of so many blocks over that of the bootstrap, which divides by B, not B - 1."""
    if blocks < 2:
        return 1.0
    level = 0.5 + CONFIDENCE / 2.0
    return float(stdtrit(blocks - 1, level) / ndtri(level)) * math.sqrt(blocks / (blocks - 1))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
