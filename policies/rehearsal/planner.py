"""Planner that rehearses: forecast, search by the fluid yardstick, try the best few in the twin, adopt the best."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.constraints import check_macro_policy
from domain.decisions import MacroPolicy
from domain.telemetry import EpochTelemetry, Snapshot
from policies.backlog import BacklogScheduler
from policies.random import RandomPlanner
from policies.rehearsal.forecast import Forecast, Traffic
from policies.rehearsal.menu import Menus
from policies.rehearsal.score import Prediction, Rehearsal
from policies.rehearsal.search import Group, Yardstick, everywhere, present_groups, role_groups, search, spread_out
from policies.steady import SteadyDeployer, is_up

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

PATIENCE_SLOTS = 6
"""Slots between a plan and the next one, unless the epoch ends."""
HASTE_SLOTS = 2
"""The same where the traffic of an LM was found to have changed meanwhile."""
SHIFT = 0.15
"""Change of an LM's rate, as a share of it, that may be worth a new plan."""
WIDENED = 3
"""Placements, best first, of which variants with an LM on every GPU are rehearsed too."""
WORTH = 0.08
"""Share of J by which a new placement must be better than what runs."""
CLEARLY = 0.05
"""Share of J by which a plan must be better than leaving the rules their freedom."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a plan may cost. Counts make a plan the same on every machine; the seconds are a guard."""

    evaluations: int = 4_000
    """Placements that the fluid yardstick looks at."""
    candidates: int = 8
    """Placements that are rehearsed."""
    samples: int = 4
    """Futures of each rehearsal."""
    horizon_slots: int = 40
    """Slots of a future."""
    node_slots: int = 60_000
    """Nodes times slots that rehearsals may simulate: fewer futures and candidates on larger clusters."""
    seconds: float = 15.0
    """No new rehearsal begins later than this after the first has ended."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A macro-policy and what its rehearsal came to."""

    policy: MacroPolicy
    prediction: Prediction


@dataclass(frozen=True, slots=True)
class Planned:
    """What the plan in force was made for."""

    slot: int
    traffic: Traffic
    usable: BoolArray
    """[N] nodes that could be read."""

    def outdated(self, snapshot: Snapshot, traffic: Traffic) -> bool:
        """True where nodes came or went, or some LM's rate is no longer within what was expected."""
        if (self.usable != ~np.isnan(snapshot.age_s)).any():
            return True
        then, now = self.traffic.prompts.sum(axis=0), traffic.prompts.sum(axis=0)
        sure = np.sqrt(traffic.dispersion / np.maximum(traffic.requests.sum(axis=0) * max(traffic.slots, 1.0), 1e-9))
        return bool((np.abs(now - then) > np.maximum(SHIFT * then, 2.0 * sure * now)).any())


class RehearsalPlanner:
    """Plans an epoch by search and rehearsal; asks for a new plan when the old one no longer fits the traffic.

    It asks where the forecast has left what the plan was made for, or a node was lost or has come back, and the fluid
    yardstick finds a placement that is better by WORTH than what runs; PATIENCE_SLOTS after the last plan at the
    earliest, HASTE_SLOTS where the forecast has found that the traffic is no longer what it was.
    """

    def __init__(
        self, cluster: Cluster, effort: Effort | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster, self._effort, self._clock = cluster, effort or Effort(), clock
        self.menus = Menus.of(cluster)
        self._random = RandomPlanner(cluster)
        self._planned: Planned | None = None
        self.forecast = Forecast(cluster)
        self.rehearsed: list[Candidate] = []
        """Candidates of the last plan, as `candidates` returned them; the first was adopted."""
        self.stage: Rehearsal | None = None
        """On which they were rehearsed: other plans can be compared with them there, on the same futures."""
        self.scheduler, self.deployer = BacklogScheduler(cluster), SteadyDeployer(cluster, self.menus)

    def watch(self, snapshot: Snapshot) -> bool:
        """Learn from the slot that ended."""
        self.forecast.watch(snapshot)
        if self._planned is None:
            return False
        changed = self.forecast.changed > self._planned.slot
        if snapshot.slot < self._planned.slot + (HASTE_SLOTS if changed else PATIENCE_SLOTS):
            return False
        return self._planned.outdated(snapshot, self.forecast.traffic()) and self._worth_it(snapshot)

    def _worth_it(self, snapshot: Snapshot) -> bool:
        """True where the best placement for the traffic of now is far better than what runs."""
        menus, usable = self.menus, ~np.isnan(snapshot.age_s)
        cores, vgpus = self._up(snapshot)
        yardstick = Yardstick(self._cluster, menus, self.forecast.traffic())
        now = present_groups(menus, cores, vgpus, usable)
        nodes = np.bincount(menus.kind[usable], minlength=len(menus.kinds))
        rng = np.random.default_rng(snapshot.slot)
        best = search(menus, nodes, yardstick, [now], self._effort.evaluations // 4, 1, rng)[0]
        return best.objective < (1.0 - WORTH) * yardstick(now)[0]

    def plan(self, snapshot: Snapshot, history: Sequence[EpochTelemetry], rng: np.random.Generator) -> MacroPolicy:
        """Return the macro-policy with the best rehearsals."""
        self.planned(snapshot)
        self.rehearsed = self.candidates(snapshot, self.forecast.traffic(), rng)
        return self.rehearsed[0].policy

    def planned(self, snapshot: Snapshot) -> None:
        """Take it that a plan is made now; what a run that goes on after a kill says of the plans made before."""
        self._planned = Planned(snapshot.slot, self.forecast.traffic(), ~np.isnan(snapshot.age_s))

    def candidates(self, snapshot: Snapshot, traffic: Traffic, rng: np.random.Generator) -> list[Candidate]:
        """Return rehearsed macro-policies, the one to adopt first; what runs now is among them where anything does.

        First is the open policy, unless another is clearly better: it leaves the rules all their freedom, so it bears
        traffic that nobody expected, which no rehearsal plays. The others follow, least J first.
        """
        began, effort, cluster = math.inf, self._effort, self._cluster
        policies = self.proposals(snapshot, traffic, rng)
        slots = effort.node_slots // cluster.n_nodes
        known = 1.0 if traffic.slots else 0.5  # of a guess, details tell nothing
        policies = policies[: math.ceil(len(policies) * known)]
        horizon = int(min(effort.horizon_slots * known, max(8, slots // 8)))
        samples = int(min(effort.samples, max(1, slots // (4 * horizon))))
        policies = policies[: max(2, slots // (samples * 2 * horizon))]
        rules = self.scheduler, self.deployer
        rehearsal = Rehearsal(cluster, *rules, snapshot, traffic, horizon, samples, rng, storm=True)
        self.stage = rehearsal
        done = list[Candidate]()
        for policy in policies:
            if done and self._clock() - began > effort.seconds:
                break
            done.append(Candidate(policy, rehearsal.predict(policy)))
            if len(done) == 1:  # all that had to be compiled has been
                began = self._clock()
        free = open_policy(cluster, ~np.isnan(snapshot.age_s))
        ranked = sorted(done, key=lambda candidate: candidate.prediction.objective)
        for candidate in ranked:
            if _same(candidate.policy, free) and not clearly_better(ranked[0].prediction, candidate.prediction):
                return [candidate, *(other for other in ranked if other is not candidate)]
        return ranked

    def _up(self, snapshot: Snapshot) -> tuple[IntArray, IntArray]:
        """Return cores and vGPUs of the pods that are not off or shutting down."""
        up = np.array([is_up(snapshot, n) for n in range(self._cluster.n_nodes)])
        return np.where(up, snapshot.cores, 0), np.where(up, snapshot.vgpus, 0)

    def proposals(self, snapshot: Snapshot, traffic: Traffic, rng: np.random.Generator) -> list[MacroPolicy]:
        """Return the sound macro-policies worth a rehearsal, by the fluid yardstick, best first.

        The search climbs from what runs now, from a random plan, which gives every LM a place, and from the fullest
        placement. Second comes what the rules would do without a plan, so that none is adopted that is worse. Where
        all that is found leaves an LM out, the random plan is what is returned.
        """
        cluster, menus, effort = self._cluster, self.menus, self._effort
        usable = ~np.isnan(snapshot.age_s)
        cores, vgpus = self._up(snapshot)
        nodes = np.bincount(menus.kind[usable], minlength=len(menus.kinds))
        yardstick = Yardstick(cluster, menus, traffic)
        anything = self._random.plan(snapshot, [], rng)
        starts: list[dict[Group, int]] = [role_groups(menus, anything.roles, usable)]
        running = bool((cores + vgpus)[usable].any())
        if running:
            starts.insert(0, present_groups(menus, cores, vgpus, usable))
        found = search(menus, nodes, yardstick, starts, effort.evaluations, effort.candidates, rng)
        wider = [everywhere(menus, dict(top.groups), i) for top in found[:WIDENED] for i in range(cluster.n_lms)]
        found[1:1] = [yardstick.placement(groups) for groups in wider if groups is not None]
        if running:
            found.insert(1, yardstick.placement(starts[0]))
        policies = [
            spread_out(cluster, menus, placement, cores, vgpus, snapshot.backlog_prompts, usable) for placement in found
        ]
        policies.insert(1, open_policy(cluster, usable))
        return [policy for policy in policies if not check_macro_policy(cluster, policy)] or [anything]


def clearly_better(one: Prediction, other: Prediction) -> bool:
    """Return True where J is less by a share of CLEARLY, and by two standard errors over the futures."""
    gains = np.array(other.objectives) - np.array(one.objectives)
    error = float(gains.std(ddof=1)) / math.sqrt(gains.size) if gains.size > 1 else 0.0
    return float(gains.mean()) > max(CLEARLY * other.objective, 2.0 * error)


def _same(one: MacroPolicy, other: MacroPolicy) -> bool:
    return np.array_equal(one.probabilities, other.probabilities) and np.array_equal(one.roles, other.roles)


def open_policy(cluster: Cluster, usable: BoolArray) -> MacroPolicy:
    """Return even shares and every feasible role on the nodes that can be read: what the rules do without a plan."""
    roles = cluster.feasible & usable[:, None]
    shares = roles.T / np.maximum(roles.T.sum(axis=1, keepdims=True), 1)
    return MacroPolicy(shares, roles)
