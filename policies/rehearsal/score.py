"""Rehearse a candidate in the twin: from the present, over sampled futures, with the rules that will carry it out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.decisions import Deployment, MacroPolicy, RoutingPlan
from domain.objective import summarise
from domain.telemetry import Records, Snapshot
from domain.workload import Arrivals
from policies.backlog import BacklogScheduler
from policies.rehearsal.forecast import Traffic
from policies.rehearsal.profile import Profile
from policies.steady import SteadyDeployer
from twin.reconstruct import reconstruct
from twin.twin import Twin

LASTING = 3
"""How often what arrives in the second half of a future counts: it stands for the time after it, when what a change of
placement cost at first is long past."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a candidate came to in its rehearsals: means over the sampled futures."""

    objective: float
    """J of P1-10, over the storm too where one is feared: the figure by which candidates are compared."""
    mean_latency_s: float
    """Success only."""
    fairness: float
    """F_norm of P1-8."""
    success_ratio: NDArray[np.float64]
    """[I] over all futures; NaN where nothing arrived."""
    spread: float
    """Standard deviation of J over the futures without the storm, as all that is told but `objective`, `objectives`."""
    objectives: tuple[float, ...]
    """J of each future: futures are the same for all candidates, so candidates are compared future by future."""
    profile: Profile
    """The same by slot of arrival, every request counted once."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What somebody else decided for the first slot of a rehearsal; what is None is left to the rules."""

    routes: RoutingPlan | None = None
    deployments: Sequence[Deployment] | None = None
    """One per node at most; nodes without one stay as they are."""


class Rehearsal:
    """Futures from one present, and a stage on which candidates play them."""

    def __init__(
        self,
        cluster: Cluster,
        scheduler: BacklogScheduler,
        deployer: SteadyDeployer | None,
        snapshot: Snapshot,
        traffic: Traffic,
        horizon_slots: int,
        samples: int,
        rng: np.random.Generator,
        lasting: int = LASTING,
        storm: bool = False,
    ) -> None:
        """Draw the futures.

        Args:
            cluster: the cluster.
            scheduler: rule that routes in the rehearsal.
            deployer: rule that deploys in the rehearsal; None: every node stays as it is.
            snapshot: the present.
            traffic: what is expected to come.
            horizon_slots: slots with arrivals; then the rehearsal goes on until all of them have ended.
            samples: number of futures.
            rng: draws the futures, the same for every candidate.
            lasting: how often what arrives in the second half of a future counts.
            storm: add a future with a burst of traffic, where there is reason to fear one.
        """
        self._cluster, self._scheduler, self._deployer = cluster, scheduler, deployer
        self._snapshot, self._traffic = snapshot, traffic
        self._start = reconstruct(cluster, snapshot, scheduler.gpus.speeds(snapshot.cores, snapshot.vgpus)[2])
        self.horizon_slots, self._lasting = horizon_slots, lasting
        self._futures = traffic.futures(samples, snapshot.slot, horizon_slots, cluster.slot_s, rng)
        self._expected = samples
        feared = traffic.storm(snapshot.slot, horizon_slots, cluster.slot_s, rng) if storm else None
        if feared is not None:
            self._futures.append(feared)
        self.slots = 0

    def predict(self, policy: MacroPolicy, opening: Opening | None = None) -> Prediction:
        """Play every future under a macro-policy, with an opening where one is given."""
        cluster, records = self._cluster, [self._play(policy, f, opening or Opening()) for f in self._futures]
        played = [self._weighed(own) for own in records]
        told = [summarise(r, cluster.n_lms, cluster.deadline_s, cluster.latency_weight) for r in played]
        values, expected = [t.objective for t in told], [t.objective for t in told[: self._expected]]
        played, told, records = played[: self._expected], told[: self._expected], records[: self._expected]
        everything = summarise(Records.concatenate(played), cluster.n_lms, cluster.deadline_s, cluster.latency_weight)
        return Prediction(
            objective=float(np.mean(values)),
            mean_latency_s=everything.global_mean_latency_s,
            fairness=float(np.mean([t.fairness for t in told])),
            success_ratio=everything.success_ratio,
            spread=float(np.std(expected)),
            objectives=tuple(values),
            profile=Profile.of(records, self._snapshot.slot, self.horizon_slots, cluster.slot_s, cluster.n_lms),
        )

    def _play(self, policy: MacroPolicy, future: list[Arrivals], opening: Opening) -> Records:
        twin, cluster, parts = self._start.copy(), self._cluster, list[Records]()
        last = len(future) + math.ceil(cluster.deadline_s / cluster.slot_s)
        choices = self._choices(self._snapshot, policy) if opening.deployments is None else None
        settled = self._deployer is None
        for t in range(last + 1):
            if t < len(future) or not settled:
                snapshot = twin.observe() if t else self._snapshot
                if t < len(future):
                    routes = opening.routes if t == 0 else None
                    twin.route(routes or self._scheduler.route(snapshot, policy, self._traffic))
                if t == 0 and opening.deployments is not None:
                    for deployment in opening.deployments:
                        twin.deploy(deployment)
                elif not settled:
                    choices = choices or self._choices(snapshot, policy)
                    settled = not self._deploy(twin, snapshot, policy, choices)
            parts.append(twin.advance(future[t] if t < len(future) else Arrivals.empty()))
            self.slots += 1
            if t + 1 >= len(future) and not twin.waiting:
                break
        return Records.concatenate(parts)

    def _weighed(self, records: Records) -> Records:
        """Return the records, those of requests that arrived after the middle of the future several times."""
        middle = (self._snapshot.slot + self.horizon_slots / 2.0) * self._cluster.slot_s
        rows = np.repeat(np.arange(len(records)), np.where(records.arrival_s >= middle, self._lasting, 1))
        return Records(*(getattr(records, f.name)[rows] for f in fields(Records)))

    def _choices(self, snapshot: Snapshot, policy: MacroPolicy) -> list[int]:
        """What every node should run."""
        deployer, nodes = self._deployer, range(self._cluster.n_nodes)
        return [] if deployer is None else [deployer.choose(snapshot, n, policy, self._traffic) for n in nodes]

    def _deploy(self, twin: Twin, snapshot: Snapshot, policy: MacroPolicy, choices: list[int]) -> bool:
        """Take the next steps; False where every node runs its choice."""
        if self._deployer is None:
            return False
        unsettled = self._deployer.unsettled(snapshot, choices)
        for n in unsettled:
            deployment = self._deployer.step(snapshot, n, policy, choices[n])
            if deployment is not None:
                twin.deploy(deployment)
        return bool(unsettled)
