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
from domain.moments import last_before
from domain.telemetry import Snapshot
from domain.workload import Arrivals

FloatArray = NDArray[np.float64]

LONG, SHORT = 80.0, 4.0
"""Slots of memory of the two estimates."""
SHRINK = 4.0
"""Slots of even traffic that are mixed into each origin's own."""
FIRST_GUESS = 3.0
"""Slots of the traffic assumed at first that are mixed in, divided by one more than the slots seen."""
SURPRISE = 7.0
"""Logarithm of how much likelier the short memory must have made what came, for a change of traffic."""
PEAK_MEMORY = 400.0
"""Slots in which a peak of an LM's traffic is forgotten."""
STORM, STORM_SLOTS = 1.5, 8
"""How much higher than its rate an LM's peak must be for a storm to be feared, and how many slots storms last; by then
a planner has seen what is going on."""
LEAST_RATE = 0.3
"""Requests of an LM per slot that are expected at least where likelihoods are compared."""
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
    """Slots that the estimate of the least known LM rests on; 0 before the first."""
    swing: FloatArray
    """[I] standard deviation of an LM's rate over minutes, as a share of the rate: bursts, and what is not known."""
    peak: FloatArray
    """[I] most prompts of an LM per slot, over the slots of the short memory; to begin with, the first guess."""

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

    def storm(self, first: int, slots: int, slot_s: float, rng: np.random.Generator) -> list[Arrivals] | None:
        """Draw a future in which the LM that is furthest below its peak is at it for a while, from a quarter on.

        None where no LM is far below. No forecast sees such a burst; a plan that could not bear it would be dear.
        """
        rate = np.maximum(self.prompts.sum(axis=0), 1e-9)
        i = int(np.argmax(self.peak / rate))
        if self.peak[i] < STORM * rate[i]:
            return None
        factors = np.where(np.arange(len(rate)) == i, self.peak / rate, 1.0)
        begin, end = slots // 4, min(slots // 4 + STORM_SLOTS, slots)
        parts = ((self, 0, begin), (self.scaled(factors), begin, end), (self, end, slots))
        return [slot for traffic, a, b in parts for slot in traffic.sample(first + a, b - a, slot_s, rng)]

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
        times = np.minimum((slot + rng.random(total)) * slot_s, last_before((slot + 1) * slot_s))
        return Arrivals.of(times, origin, lm, np.maximum(sizes, 1))


@dataclass
class Sums:
    """Discounted sums over the slots seen. Each LM has its own, since traffic may change for one of them alone."""

    slots: FloatArray
    """[I] their number."""
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
        return cls(np.zeros(lms), np.zeros((nodes, lms)), np.zeros(lms), np.zeros(lms), np.zeros(lms), np.zeros(lms))

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
        self._surprise = np.zeros(cluster.n_lms)
        self._slot = 0
        self.changed = -1
        """Slot before which the traffic of an LM was last found to have changed; -1 where it never has."""
        self._prior = prior_requests(cluster)
        self._peak = self._prior.copy()
        self._known: Traffic | None = None

    def watch(self, snapshot: Snapshot) -> None:
        """Learn from the slot that ended; a snapshot seen before changes nothing."""
        if snapshot.slot <= self._slot:
            return
        now, begun = self.traffic(), bool(self._long.slots.any())
        self._slot, self._known = snapshot.slot, None
        requests = snapshot.arrived_requests.astype(np.float64)
        prompts = snapshot.arrived_prompts.astype(np.float64)
        batch = now.batch if begun else prompts.sum(axis=0) / np.maximum(requests.sum(axis=0), 1.0)
        off, deviation = (prompts - requests * batch) ** 2, (requests - now.requests) ** 2
        if begun:
            self._compare(requests.sum(axis=0), now)
        for sums, memory in ((self._long, LONG), (self._short, SHORT)):
            sums.fade(memory)
            sums.slots += 1.0
            sums.requests += requests
            sums.prompts += prompts.sum(axis=0)
            sums.squares += off.sum(axis=0)
            sums.deviations += np.where(self._long.slots > 2.0, deviation.sum(axis=0), 0.0)
        short, rate = self._short, np.maximum(now.requests.sum(axis=0), 1e-9)
        ratio = short.requests.sum(axis=0) / short.slots / rate
        self._long.swings += np.where(short.slots > 0.6 * SHORT, np.minimum(ratio - 1.0, 2.0) ** 2, 0.0)
        lately, usual = (s.prompts / np.maximum(s.slots, 1.0) for s in (self._short, self._long))
        faded = self._peak - np.maximum(self._peak - usual, 0.0) / PEAK_MEMORY
        self._peak = np.where(short.slots > 0.6 * SHORT, np.maximum(lately, faded), faded)
        if (self._surprise > SURPRISE).any():
            self.changed = snapshot.slot
            self._forget(self._surprise > SURPRISE)

    def _compare(self, came: FloatArray, now: Traffic) -> None:
        """Add how much likelier the short memory made what came than the long one: a CUSUM of log-likelihood ratios.

        Of the quasi-Poisson likelihood, whose variance is the dispersion times the mean. Page, Biometrika 41 (1954).
        """
        likely = [
            came * np.log(mean) - mean
            for mean in (np.maximum(s.requests.sum(axis=0) / s.slots, LEAST_RATE) for s in (self._short, self._long))
        ]
        ratio = (likely[0] - likely[1]) / np.maximum(now.dispersion, 1.0)
        self._surprise = np.maximum(self._surprise + ratio, 0.0)

    def _forget(self, changed: NDArray[np.bool_]) -> None:
        """Let the short memory become the long one for LMs whose traffic has changed."""
        self._surprise = np.where(changed, 0.0, self._surprise)
        swings = self._long.swings / np.maximum(self._long.slots, 1.0) * self._short.slots
        for f in fields(Sums):
            old, new = getattr(self._long, f.name), getattr(self._short, f.name)
            setattr(self._long, f.name, np.where(changed, swings if f.name == "swings" else new, old))

    def traffic(self) -> Traffic:
        """Return what the next slots are expected to bring."""
        if self._known is None:
            self._known = self._estimate()
        return self._known

    def _estimate(self) -> Traffic:
        sums, nodes = self._long, self._cluster.n_nodes
        if not sums.slots.any():
            ones = np.ones(self._cluster.n_lms)
            even = np.repeat(self._prior[None] / nodes, nodes, axis=0)
            return Traffic(even, ones, 0.0 * ones, ones, 0.0, UNKNOWN * ones, self._peak)
        seen = sums.requests.sum(axis=0)
        some = np.maximum(seen, 1.0)
        batch = np.maximum(sums.prompts / some, 1.0)
        guess = FIRST_GUESS / (1.0 + sums.slots)
        mean = (seen + guess * self._prior / batch) / (sums.slots + guess) / nodes
        requests = (sums.requests + SHRINK * mean) / (sums.slots + SHRINK)
        dispersion = np.where(seen > 20.0, sums.deviations / some, 1.0)
        dispersion, known = np.maximum(dispersion, 0.05), float(sums.slots.min())
        return Traffic(requests, batch, sums.squares / some, dispersion, known, self._swing(), self._peak)

    def _swing(self) -> FloatArray:
        """Return `Traffic.swing`: what was seen, less what counting alone brings, and what few slots leave open."""
        sums = self._long
        slots = np.maximum(sums.slots, 1.0)
        rate = np.maximum(sums.requests.sum(axis=0) / slots, 1e-9)
        dispersion = np.clip(sums.deviations / np.maximum(sums.requests.sum(axis=0), 1.0), 0.1, None)
        batch = np.maximum(sums.prompts, 1.0) / np.maximum(sums.requests.sum(axis=0), 1.0)
        uneven = dispersion + sums.squares / np.maximum(sums.requests.sum(axis=0), 1.0) / batch**2
        seen = np.maximum(sums.swings / slots - dispersion / (rate * SHORT), 0.0)
        swing: FloatArray = np.sqrt(np.minimum(seen, 1.0) + uneven / (rate * slots))
        return np.minimum(swing, 1.0)

    def save(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "slot": self._slot,
            "changed": self.changed,
            "surprise": self._surprise.tolist(),
            "peak": self._peak.tolist(),
            **{
                name: {f.name: np.asarray(getattr(sums, f.name)).tolist() for f in fields(sums)}
                for name, sums in (("long", self._long), ("short", self._short))
            },
        }

    def load(self, data: dict[str, Any]) -> None:
        """Go on from `save`; raises KeyError where the data are of another kind."""
        self._slot, self._known = int(data["slot"]), None
        self.changed, self._surprise = int(data["changed"]), np.array(data["surprise"], dtype=np.float64)
        self._peak = np.array(data["peak"], dtype=np.float64)
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
        if node.hardware not in known:
            known[node.hardware] = np.array(
                [
                    min(
                        cluster.gpu_seconds(n, i) if cluster.runs_on_gpu(n, i) else math.inf,
                        cluster.cpu_seconds(n, i, node.cpu_cores) if cluster.runs_on_cpu(n, i) else math.inf,
                    )
                    for i in range(n_lms)
                ]
            )
        best[n] = known[node.hardware]
    capacity = (1.0 / best).sum(axis=0)
    on_gpu = [i for i, lm in enumerate(cluster.lms) if lm.gpu_only and capacity[i] > 0.0]
    rate = float(capacity[capacity > 0.0].min(initial=math.inf))
    if on_gpu:
        fastest = best[:, on_gpu].min(axis=0).sum()
        rate = min(rate, sum(node.gpus for node in cluster.nodes) / float(fastest))
    if not math.isfinite(rate):
        return np.zeros(n_lms)
    return np.where(capacity > 0.0, UTILISATION * rate * cluster.slot_s, 0.0)
