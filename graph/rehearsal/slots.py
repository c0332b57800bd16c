"""Rehearsal of a slot's decisions: the agents' routes and deployments beside the rules', in the twin, from the present.

A slot is rehearsed with what is decided for it, and with the rules backlog and steady in every slot after it: so the
difference to the rules alone is what this slot's decisions cost or bring. A plan's margin holds for the whole of J, and
so a slot may use up the share of it that its requests are of the rehearsal's. Routes come first; deployments have what
they left. Where the agents' deployments together are worse, they are tried node by node, and those are kept that stay
within the margin.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from domain.cluster import Cluster
from domain.decisions import OFF, Deployment, MacroPolicy, RoutingPlan
from domain.telemetry import Snapshot
from graph.rehearsal.plans import RehearsalSettings
from policies.rehearsal.planner import RehearsalPlanner
from policies.rehearsal.score import Opening, Prediction, Rehearsal
from policies.roles import generator
from policies.steady import is_up

REHEARSED = 7
"""Key of the streams of random numbers, beside those of `policies.roles`, the tools and the fallbacks."""
DRAINING = 4
"""Slots that a rehearsal is expected to take after its arrivals."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of what agents proposed for a slot."""

    kept: frozenset[int]
    """Nodes whose deployments are kept; for routes, 0 where they are."""
    about: Mapping[str, Any]
    """For the ledger."""


class SlotRehearser:
    """Rehearses the slots of one run."""

    def __init__(
        self,
        cluster: Cluster,
        rule: RehearsalPlanner,
        seed: int,
        settings: RehearsalSettings,
        deploys: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it for a run.

        Args:
            cluster: of the run.
            rule: its forecast and its rules.
            seed: of the run.
            settings: see there.
            deploys: False where a rule other than steady deploys: then nodes stay as they are in rehearsals.
            clock: monotonic seconds, for the guard.
        """
        self._cluster, self._rule, self._seed, self._settings, self._clock = cluster, rule, seed, settings, clock
        self._deploys = deploys
        played = 2 * cluster.n_nodes * (settings.horizon_slots + DRAINING) * settings.futures
        self.futures = settings.futures if played <= settings.node_slots else 0
        """Of each rehearsal; 0: the cluster is too large to rehearse slots."""
        self._stage: tuple[int, Rehearsal, Prediction] | None = None

    def routes(self, snapshot: Snapshot, policy: MacroPolicy, proposed: RoutingPlan) -> tuple[RoutingPlan, Compared]:
        """Return the rule's routes, and whether the agent's are kept."""
        rule = self._rule.scheduler.route(snapshot, policy, self._rule.forecast.traffic())
        if not rule.differing(proposed).any():
            return rule, Compared(frozenset([0]), {"verdict": "kept", "why": "the rule's own"})
        stage, base = self._begin(snapshot, policy)
        own = stage.predict(policy, Opening(routes=proposed))
        kept = self._harmless(own, base, base)
        return rule, Compared(frozenset([0] if kept else []), self._about(kept, own, base))

    def deployments(
        self,
        snapshot: Snapshot,
        policy: MacroPolicy,
        routes: RoutingPlan,
        proposed: Mapping[int, Deployment],
        rule: Mapping[int, Deployment | None],
        fixed: list[Deployment],
    ) -> Compared:
        """Say which of the agents' deployments are kept.

        Args:
            snapshot: the present.
            policy: in force.
            routes: of the slot, as they were adopted.
            proposed: node to its agent's deployment.
            rule: node to the rule's; None leaves the node as it is.
            fixed: deployments that are decided already, of other nodes.
        """
        differing = [n for n in sorted(proposed) if not self._same(snapshot, proposed[n], rule[n])]
        everybody = frozenset(proposed)
        if not differing:
            return Compared(everybody, {"verdict": "kept", "why": "the rule's own"})
        stage, base = self._begin(snapshot, policy)
        until = self._clock() + self._settings.guard * self._cluster.slot_s

        def play(kept: frozenset[int]) -> Prediction:
            chosen = [proposed[n] if n in kept else rule[n] for n in sorted(proposed)]
            return stage.predict(policy, Opening(routes, [*fixed, *(d for d in chosen if d is not None)]))

        kept = everybody - set(differing)
        together, alone = play(everybody), play(kept)
        if self._harmless(together, base, alone):
            return Compared(everybody, self._about(True, together, alone))
        adopted = alone
        for n in differing[: self._settings.runs - 2] if len(differing) > 1 else []:
            if self._clock() > until:
                break
            trial = play(kept | {n})
            if self._harmless(trial, base, alone):
                kept, adopted = kept | {n}, trial
        return Compared(kept, {**self._about(False, together, alone), "adopted_objective": adopted.objective})

    def steady(self, snapshot: Snapshot, n: int, policy: MacroPolicy) -> Deployment | None:
        """Return the rule's deployment of a node; None leaves it as it is."""
        rule = self._rule
        choice = rule.deployer.choose(snapshot, n, policy, rule.forecast.traffic())
        return rule.deployer.step(snapshot, n, policy, choice)

    def _begin(self, snapshot: Snapshot, policy: MacroPolicy) -> tuple[Rehearsal, Prediction]:
        """Return the slot's stage, and what the rules alone come to on it."""
        if self._stage is None or self._stage[0] != snapshot.slot:
            rule = self._rule
            stage = Rehearsal(
                self._cluster,
                rule.scheduler,
                rule.deployer if self._deploys else None,
                snapshot,
                rule.forecast.traffic(),
                self._settings.horizon_slots,
                self.futures,
                generator(self._seed, REHEARSED, snapshot.slot),
                lasting=1,
            )
            self._stage = snapshot.slot, stage, stage.predict(policy)
        return self._stage[1], self._stage[2]

    def _harmless(self, own: Prediction, base: Prediction, incumbent: Prediction) -> bool:
        """True where it is within the slot's share of the margin above the rules alone, or no worse than the incumbent.

        A standard error of the mean difference, future by future, is added to it: of many decisions that are just as
        good, the luck of a few futures must not pick those that are worse.
        """
        allowed = self._settings.margin / self._settings.horizon_slots * base.objective
        return _above(own, base) <= allowed or _above(own, incumbent) <= 0.0

    def _same(self, snapshot: Snapshot, proposed: Deployment, rule: Deployment | None) -> bool:
        if rule is not None:
            return rule == proposed
        n, up = proposed.node, is_up(snapshot, proposed.node)
        return all(a == (snapshot.allocation(n, i) if up[i] else OFF) for i, a in enumerate(proposed.allocations))

    def _about(self, kept: bool, proposed: Prediction, incumbent: Prediction) -> dict[str, Any]:
        return {
            "verdict": "kept" if kept else "overruled",
            "proposed_objective": proposed.objective,
            "incumbent_objective": incumbent.objective,
            "futures": self.futures,
            "slots": self._settings.horizon_slots,
        }


def _above(own: Prediction, other: Prediction) -> float:
    """Mean difference in J over the futures, and a standard error."""
    difference = np.subtract(own.objectives, other.objectives)
    return float(difference.mean() + difference.std(ddof=1) / math.sqrt(difference.size))
