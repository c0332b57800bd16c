"""What telemetry says about the requests to come: rates by origin and LM, sizes of batches, and how sure that is.

A Gamma-Poisson estimate with forgetting. The rates of the origins of one LM are shrunk towards their mean, so that one
quiet slot does not make an origin vanish. A second estimate with a short memory notices when the traffic has changed:
it then becomes the first. All of it is a few small arrays that `observe` updates from one snapshot at a time, so a
forecast is rebuilt from recorded snapshots, or saved and restored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from domain.cluster import Cluster
from domain.telemetry import Snapshot
from domain.workload import Arrivals

FloatArray = NDArray[np.float64]

LONG, SHORT = 80.0, 8.0
"""Slots of memory of the two estimates."""
SHRINK = 4.0
"""Slots of even traffic that are mixed into each origin's own."""
FIRST_GUESS = 3.0
"""Slots of the traffic assumed at first that are mixed in, divided by one more than the slots seen."""
SURPRISE, SHIFT = 4.5, 0.25
"""Standard deviations, and share of the rate, by which the short memory must differ for the traffic to have changed."""
BLIND = 0.15
"""Added to the unevenness of arrivals, since routes hold for a slot; fits LM4's wait on bristol at 0.9 utilisation."""
UNKNOWN = 0.3
"""Standard deviation of the rates, as a share of them, before anything is known."""
UTILISATION = 0.7
"""Of what the hardware could do: the load that is assumed before anything is known."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a slot is expected to bring."""

    requests: FloatArray
    """[N, I] requests of LM i at origin n per slot."""
    batch: FloatArray
    """[I] prompts per request, 1 or more."""
    batch_variance: FloatArray
    """[I]"""
    dispersion: FloatArray
    """[I] variance of the requests of a slot, origin and LM, divided by their mean; 1 for Poisson."""
    slots: float
    """Slots that the estimate rests on; 0 before the first."""
    swing: FloatArray
    """[I] standard deviation of an LM's rate over minutes, as a share of the rate: bursts, and what is not known."""

    @property
    def prompts(self) -> FloatArray:
        """[N, I] prompts per slot."""
        return self.requests * self.batch

    @property
    def spread(self) -> FloatArray:
        """[I] c of `fluid`: how uneven arrivals and batches are (Kingman), and what routing a slot ahead adds."""
        return 0.5 * (self.dispersion + self.batch_variance / self.batch**2) + BLIND

    def scaled(self, factors: FloatArray) -> Traffic:
        """Return the same with each LM's rates multiplied, [I]."""
        return replace(self, requests=self.requests * factors)

    def futures(
        self, number: int, first: int, slots: int, slot_s: float, rng: np.random.Generator
    ) -> list[list[Arrivals]]:
        """Draw futures: each the requests of `slots` slots from slot `first` on.

        Each LM's rate holds for a future. Over the futures it takes the quantiles of a normal distribution with the
        LM's swing, in a random order, so that a few futures are enough to see both low and high rates.
        """
        quantiles = ndtri((np.arange(number) + 0.5) / number)
        shifts = np.column_stack([rng.permutation(quantiles) for _ in self.swing])
        factors = np.clip(1.0 + self.swing * shifts, 0.2, 3.0)
        return [self.scaled(row).sample(first, slots, slot_s, rng) for row in factors]

    def sample(self, first: int, slots: int, slot_s: float, rng: np.random.Generator) -> list[Arrivals]:
        """Draw the requests of `slots` slots from slot `first` on, at the expected rates."""
        rates = self.requests
        low = np.maximum(1.0, np.round(self.batch - math.sqrt(3.0) * np.sqrt(self.batch_variance) + 0.5))
        high = np.maximum(low, 2.0 * self.batch - low)
        return [self._slot(first + k, slot_s, rates, low, high, rng) for k in range(slots)]

    def _slot(
        self, slot: int, slot_s: float, rates: FloatArray, low: FloatArray, high: FloatArray, rng: np.random.Generator
    ) -> Arrivals:
        counts: NDArray[np.int64] = np.zeros(rates.shape, dtype=np.int64)
        for i, d in enumerate(self.dispersion.tolist()):
            mean: FloatArray = rates[:, i]
            if d < 0.95:  # binomial
                trials = np.maximum(np.round(mean / (1.0 - d)), 1.0)
                counts[:, i] = rng.binomial(trials.astype(np.int64), np.minimum(mean / trials, 1.0))
            elif d > 1.05:  # negative binomial
                counts[:, i] = rng.poisson(rng.gamma(np.maximum(mean, 1e-12) / (d - 1.0), d - 1.0))
            else:
                counts[:, i] = rng.poisson(mean)
        total = int(counts.sum())
        pair = np.repeat(np.arange(counts.size), counts.ravel())
        origin, lm = np.divmod(pair, counts.shape[1])
        sizes = np.round(low[lm] + rng.random(total) * (high[lm] - low[lm] + 1.0) - 0.5).astype(np.int64)
        times = np.minimum((slot + rng.random(total)) * slot_s, np.nextafter((slot + 1) * slot_s, 0.0))
        return Arrivals.of(times, origin, lm, np.maximum(sizes, 1))


@dataclass
class Sums:
    """Discounted sums over the slots seen."""

    slots: FloatArray
    """[] their number."""
    requests: FloatArray
    """[N, I]"""
    prompts: FloatArray
    """[I]"""
    squares: FloatArray
    """[I] of (prompts - requests * batch)."""
    deviations: FloatArray
    """[I] of (requests - rate) squared, summed over origins."""
    swings: FloatArray
    """[I] of (short memory's rate / rate - 1) squared."""

    @classmethod
    def zero(cls, nodes: int, lms: int) -> Sums:
        """Nothing seen."""
        return cls(np.zeros(()), np.zeros((nodes, lms)), np.zeros(lms), np.zeros(lms), np.zeros(lms), np.zeros(lms))

    def fade(self, memory: float) -> None:
        """Forget a little of everything."""
        keep = 1.0 - 1.0 / memory
        for array in (self.slots, self.requests, self.prompts, self.squares, self.deviations, self.swings):
            array *= keep

    def copy(self) -> Sums:
        """Return an independent copy."""
        return Sums(**{f.name: getattr(self, f.name).copy() for f in fields(self)})


class Forecast:
    """The estimate of one run, slot by slot."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._long = Sums.zero(cluster.n_nodes, cluster.n_lms)
        self._short = Sums.zero(cluster.n_nodes, cluster.n_lms)
        self._slot = 0
        self._prior = prior_requests(cluster)
        self._known: Traffic | None = None

    def watch(self, snapshot: Snapshot) -> None:
        """Learn from the slot that ended; a snapshot seen before changes nothing."""
        if snapshot.slot <= self._slot:
            return
        now = self.traffic()
        self._slot, self._known = snapshot.slot, None
        requests = snapshot.arrived_requests.astype(np.float64)
        prompts = snapshot.arrived_prompts.astype(np.float64)
        batch = now.batch if self._long.slots else prompts.sum(axis=0) / np.maximum(requests.sum(axis=0), 1.0)
        off, deviation = (prompts - requests * batch) ** 2, (requests - now.requests) ** 2
        for sums, memory in ((self._long, LONG), (self._short, SHORT)):
            sums.fade(memory)
            sums.slots += 1.0
            sums.requests += requests
            sums.prompts += prompts.sum(axis=0)
            sums.squares += off.sum(axis=0)
            if self._long.slots > 2.0:
                sums.deviations += deviation.sum(axis=0)
        short, rate = self._short, np.maximum(now.requests.sum(axis=0), 1e-9)
        if short.slots > 0.6 * SHORT:
            ratio = short.requests.sum(axis=0) / short.slots / rate
            self._long.swings += np.minimum(ratio - 1.0, 2.0) ** 2
        if self.surprised(now).any():
            swings = self._long.swings / np.maximum(self._long.slots, 1.0) * short.slots
            self._long = replace(short, **{f.name: getattr(short, f.name).copy() for f in fields(short)})
            self._long.swings = swings

    def surprised(self, expected: Traffic) -> NDArray[np.bool_]:
        """Return [I] True where the last few slots do not fit what was expected."""
        sums = self._short
        if sums.slots < 0.6 * SHORT:
            return np.zeros(self._cluster.n_lms, dtype=np.bool_)
        mean = expected.requests.sum(axis=0) * sums.slots
        seen = sums.requests.sum(axis=0)
        deviation = np.sqrt(np.maximum(expected.dispersion, 0.5) * np.maximum(mean, 1.0) + (expected.swing * mean) ** 2)
        away = np.abs(seen - mean)
        return np.asarray((away > SURPRISE * deviation) & (away > SHIFT * np.maximum(mean, 1.0)), dtype=np.bool_)

    def traffic(self) -> Traffic:
        """Return what the next slots are expected to bring."""
        if self._known is None:
            self._known = self._estimate()
        return self._known

    def _estimate(self) -> Traffic:
        sums, nodes = self._long, self._cluster.n_nodes
        if not sums.slots:
            ones = np.ones(self._cluster.n_lms)
            even = np.repeat(self._prior[None] / nodes, nodes, axis=0)
            return Traffic(even, ones, 0.0 * ones, ones, 0.0, UNKNOWN * ones)
        seen = sums.requests.sum(axis=0)
        some = np.maximum(seen, 1.0)
        batch = np.maximum(sums.prompts / some, 1.0)
        guess = FIRST_GUESS / (1.0 + sums.slots)
        mean = (seen + guess * self._prior / batch) / (sums.slots + guess) / nodes
        requests = (sums.requests + SHRINK * mean) / (sums.slots + SHRINK)
        dispersion = np.where(seen > 20.0, sums.deviations / some, 1.0)
        return Traffic(
            requests, batch, sums.squares / some, np.maximum(dispersion, 0.05), float(sums.slots), self._swing()
        )

    def _swing(self) -> FloatArray:
        """Return `Traffic.swing`: what was seen, less what counting alone brings, and what few slots leave open."""
        sums = self._long
        slots, rate = float(sums.slots), np.maximum(sums.requests.sum(axis=0) / np.maximum(sums.slots, 1.0), 1e-9)
        dispersion = np.clip(sums.deviations / np.maximum(sums.requests.sum(axis=0), 1.0), 0.1, None)
        batch = np.maximum(sums.prompts, 1.0) / np.maximum(sums.requests.sum(axis=0), 1.0)
        uneven = dispersion + sums.squares / np.maximum(sums.requests.sum(axis=0), 1.0) / batch**2
        seen = np.maximum(sums.swings / max(slots, 1.0) - dispersion / (rate * SHORT), 0.0)
        swing: FloatArray = np.sqrt(np.minimum(seen, 1.0) + uneven / (rate * max(slots, 1.0)))
        return np.minimum(swing, 1.0)

    def save(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "slot": self._slot,
            **{
                name: {f.name: np.asarray(getattr(sums, f.name)).tolist() for f in fields(sums)}
                for name, sums in (("long", self._long), ("short", self._short))
            },
        }

    def load(self, data: dict[str, Any]) -> None:
        """Go on from `save`; raises KeyError where the data are of another kind."""
        self._slot, self._known = int(data["slot"]), None
        self._long, self._short = (
            Sums(**{f.name: np.array(data[name][f.name], dtype=np.float64) for f in fields(Sums)})
            for name in ("long", "short")
        )


def prior_requests(cluster: Cluster) -> FloatArray:
    """Return [I] prompts per slot that are assumed before anything is known: the same for every LM that can run.

    As many as would use UTILISATION of the LM with the least capacity, its fastest mode on every node, and of the GPUs
    under all LMs that run on nothing else.
    """
    n_nodes, n_lms = cluster.n_nodes, cluster.n_lms
    best = np.full((n_nodes, n_lms), np.inf)
    known = dict[object, FloatArray]()
    for n, node in enumerate(cluster.nodes):
        kind = (node.cpu_model, node.cpu_cores, node.gpu_model, node.gpus, node.ram_gb, node.vram_gb)
        if kind not in known:
            known[kind] = np.array(
                [
                    min(
                        cluster.gpu_seconds(n, i) if cluster.runs_on_gpu(n, i) else math.inf,
                        cluster.cpu_seconds(n, i, node.cpu_cores) if cluster.runs_on_cpu(n, i) else math.inf,
                    )
                    for i in range(n_lms)
                ]
            )
        best[n] = known[kind]
    capacity = (1.0 / best).sum(axis=0)
    on_gpu = [i for i, lm in enumerate(cluster.lms) if lm.gpu_only and capacity[i] > 0.0]
    rate = float(capacity[capacity > 0.0].min(initial=math.inf))
    if on_gpu:
        fastest = best[:, on_gpu].min(axis=0).sum()
        rate = min(rate, sum(node.gpus for node in cluster.nodes) / float(fastest))
    if not math.isfinite(rate):
        return np.zeros(n_lms)
    return np.where(capacity > 0.0, UTILISATION * rate * cluster.slot_s, 0.0)
