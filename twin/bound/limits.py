"""What no policy can beat on the requests of a run: lower limits on latency and objective, upper ones on service."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from domain.cluster import Cluster
from domain.objective import normalised_jain, objective, service_rates
from domain.serving import Serving
from domain.workload import Arrivals
from twin.bound.ascent import ascend
from twin.bound.menu import FloatArray, IntArray, menu
from twin.bound.relaxation import Relaxation
from twin.bound.service import most_served
from twin.bound.solo import Solo, solo
from twin.bound.weakest import weakest_objective

ROUNDING = 1e-9
"""Relative slack on the deadline, so that rounding never counts a request as hopeless."""
MOST_STEPS = 150
WORK = 20_000_000
"""Requests times steps of the search for prices, after which it takes fewer steps …"""
FEWEST_STEPS = 60
"""… but not fewer than this."""
ROUNDS = ((0.5, 0.6, 2.0), (0.25, 0.1, 1.5), (0.25, 0.03, 1.25))
"""Of the search: its share of the steps; how far above the present value it aims first, in total solo latencies; and
the patience of a request, in terms of what it would pay at the prices of the window that it is ready in."""
REACH = 0.1
"""The same for a search that starts from prices found for another service."""
PATIENCE = 1.1
"""A request's patience, in terms of what it pays."""


@dataclass(frozen=True)
class Bound:
    """Limits that hold for every policy on one cluster and one list of requests (docs/bound.md)."""

    cluster: Cluster
    arrived: IntArray
    """[I] A_i of P1-2."""
    max_success: IntArray
    """[I] the most requests of each LM that any policy can complete in time, were the others dropped."""
    full_service: bool
    """False where no policy can complete every request; True only says that nothing here rules it out."""
    _solo_sums: list[FloatArray]
    """Per LM, sums of its 0, 1, 2 … least solo latencies; of the requests that can meet their deadline."""
    _relaxation: Relaxation | None
    _prices: FloatArray
    _steps: int
    _known: dict[tuple[int, ...], float] = field(default_factory=dict)
    """What `at_service` has told."""

    @cached_property
    def solo_mean_s(self) -> float:
        """`solo_at` the service `max_success`."""
        return self.solo_at(self.max_success)

    @cached_property
    def capacity_mean_s(self) -> float:
        """`at_service` of `max_success`: least mean latency of any policy with that service; NaN where it is none."""
        return self.at_service(self.max_success)

    @cached_property
    def objective_full(self) -> float:
        """`objective_at` the service `max_success`."""
        return self.objective_at(self.max_success)

    @cached_property
    def objective_any(self) -> float:
        """Least P1-10 of any policy, whatever it drops. Weak: dropping all but the quickest requests comes close."""
        quickest = np.array([sums[1] if len(sums) > 1 else np.inf for sums in self._solo_sums])
        return weakest_objective(self.arrived, quickest, self.cluster.deadline_s, self.cluster.latency_weight)

    def solo_at(self, succeeded: ArrayLike) -> float:
        """Return the least mean latency of `succeeded` [I] requests, each alone in the cluster; NaN for none.

        Raises:
            ValueError: more than arrived, or than could meet their deadline alone.
        """
        service = self._checked(succeeded)
        return self._solo_total(service) / float(service.sum()) if service.any() else math.nan

    def at_service(self, succeeded: ArrayLike) -> float:
        """Return the least mean latency of any policy that completes `succeeded` [I] requests; NaN for none.

        Raises:
            ValueError: as `solo_at`.
        """
        service = self._checked(succeeded)
        if not service.any():
            return math.nan
        known = self._known.get(tuple(service.tolist()))
        if known is None:
            known = max(self._solo_total(service), self._priced_total(service)) / float(service.sum())
            self._known[tuple(service.tolist())] = known
        return known

    def objective_at(self, succeeded: ArrayLike) -> float:
        """Return the least P1-10 of any policy that completes `succeeded` [I] requests of each LM.

        Raises:
            ValueError: as `solo_at`.
        """
        service = self._checked(succeeded)
        if not service.any():
            return 1.0 if self.arrived.any() else 0.0
        fairness = normalised_jain(service_rates(self.arrived, service))
        return objective(self.at_service(service) / self.cluster.deadline_s, fairness, self.cluster.latency_weight)

    def _priced_total(self, service: IntArray) -> float:
        relaxation = self._relaxation
        if relaxation is None:
            return 0.0
        if np.array_equal(service, self.max_success):
            return relaxation.price(self._prices, service).total_s
        best = _best(relaxation, service, self._prices)
        return ascend(relaxation, service, best, REACH * self._solo_total(service), self._steps // 2)[1].total_s

    def _solo_total(self, service: IntArray) -> float:
        return float(sum(sums[n] for sums, n in zip(self._solo_sums, service, strict=True)))

    def _checked(self, succeeded: ArrayLike) -> IntArray:
        service = np.asarray(succeeded, dtype=np.int64)
        if service.shape != self.arrived.shape:
            raise ValueError(f"service needs one count for each of the {len(self.arrived)} LMs, not {service.tolist()}")
        for lm, count, sums in zip(self.cluster.lms, service.tolist(), self._solo_sums, strict=True):
            if not 0 <= count < len(sums):
                raise ValueError(
                    f"{lm.name} cannot have {count} successes: {len(sums) - 1} of its requests can meet their deadline"
                )
        return service


def bound(cluster: Cluster, arrivals: Arrivals, steps: int | None = None, serving: Serving | None = None) -> Bound:
    """Bound every policy on these requests.

    Args:
        cluster: the testbed.
        arrivals: all requests of a run.
        steps: of the search for prices: more make the bound tighter. None: as many as take a few seconds.
        serving: how requests are served instead of as the cluster says; `Serving()` is P1's way.
    """
    cluster = cluster if serving is None else replace(cluster, serving=serving)
    everyone = solo(cluster, arrivals)
    kept = np.flatnonzero(everyone.latency_s <= cluster.deadline_s * (1.0 + ROUNDING))
    hopeful = Arrivals(arrivals.time_s[kept], arrivals.origin[kept], arrivals.lm[kept], arrivals.prompts[kept])
    alone = Solo(everyone.latency_s[kept], everyone.uplink_s[kept], everyone.downlink_s[kept])
    ways = menu(cluster)
    service, full = most_served(cluster, ways, hopeful)
    steps = min(max(WORK // max(1, len(kept)), FEWEST_STEPS), MOST_STEPS) if steps is None else steps
    relaxation = Relaxation(cluster, ways, hopeful, alone) if len(kept) else None
    return Bound(
        cluster=cluster,
        arrived=np.bincount(arrivals.lm, minlength=cluster.n_lms).astype(np.int64),
        max_success=service,
        full_service=full and len(kept) == len(arrivals),
        _solo_sums=[
            np.concatenate([[0.0], np.cumsum(np.sort(alone.latency_s[hopeful.lm == i]))]) for i in range(cluster.n_lms)
        ],
        _relaxation=relaxation,
        _steps=steps,
        _prices=_search(relaxation, hopeful.lm, service, alone.latency_s, steps) if relaxation else np.empty(0),
    )


def _search(relaxation: Relaxation, lm: IntArray, service: IntArray, alone_s: FloatArray, steps: int) -> FloatArray:
    prices, mean_s = relaxation.fluid(), (np.bincount(lm, weights=alone_s) / np.maximum(np.bincount(lm), 1))[lm]
    for share, reach, patience in ROUNDS:
        relaxation.be_patient(np.zeros(len(lm)))
        paid_s = relaxation.price(prices, service, clip=False).cost_s
        relaxation.be_patient(patience * np.maximum(paid_s, alone_s + mean_s))
        prices = _best(relaxation, service, prices)
        prices, priced = ascend(relaxation, service, prices, reach * float(alone_s.sum()), round(share * steps))
    relaxation.be_patient(PATIENCE * priced.cost_s)
    return prices


def _best(relaxation: Relaxation, service: IntArray, prices: FloatArray) -> FloatArray:
    """Return the prices, or half of them, or nothing: what bounds best."""
    return max((share * prices for share in (1.0, 0.5, 0.0)), key=lambda p: relaxation.price(p, service).total_s)
