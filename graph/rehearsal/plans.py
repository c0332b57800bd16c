"""Rehearsal of macro-policies: what the planner is shown, and whether its answer is adopted.

Before the planner is asked, the rule of family RH makes its plan from the present snapshot. What it would adopt is the
incumbent; the model sees it beside other candidates and the plan in force, each with what is predicted. An answer that
passes the gate plays the same futures. It is adopted unless it is predicted to be worse than the incumbent by more than
the margin; then the incumbent is, and the ledger says that rehearsal decided. So a bad planner does what the rule does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from domain.cluster import Cluster
from domain.decisions import MacroPolicy
from domain.errors import InputError
from domain.ledger import Outcome
from domain.telemetry import EpochTelemetry, Snapshot
from graph.gate.passage import Draft, Kind
from policies.rehearsal.foresight import Expectation, Figures, Foresight
from policies.rehearsal.planner import Candidate, Effort, RehearsalPlanner
from policies.rehearsal.profile import Profile
from policies.rehearsal.score import Prediction, Rehearsal
from policies.roles import PLANNER, generator

T = TypeVar("T")
IN_FORCE = "in force"
"""Name of the plan in force among the candidates."""


@dataclass(frozen=True, slots=True)
class RehearsalSettings:
    """What is rehearsed of the decisions of agents, and how. Efforts are counts, the same on every machine."""

    effort: Effort = field(default_factory=Effort)
    """Of the rule's plan that the planner's answer is compared with."""
    slots: bool = True
    """True where routes and deployments are rehearsed too, every slot."""
    margin: float = 0.02
    """Share of the incumbent's predicted J by which an answer may be worse and still be adopted."""
    shown: int = 3
    """Candidates that the planner is shown, the plan in force not counted."""
    horizon_slots: int = 8
    """Slots with arrivals in the rehearsal of a slot's decisions."""
    futures: int = 4
    """Futures of such a rehearsal, 2 or more."""
    node_slots: int = 10_000
    """Nodes times slots that two such rehearsals may simulate; slots of larger clusters are not rehearsed."""
    runs: int = 16
    """Rehearsals of one slot's deployments at most."""
    guard: float = 0.1
    """Share of a slot's length after which no further rehearsal of its decisions begins; never met but in distress."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.margin <= 1.0:
            raise InputError(f"the margin of a rehearsal must be from 0 to 1, not {self.margin:g}")
        if self.futures < 2:
            raise InputError(f"a slot must be rehearsed on 2 futures or more, not {self.futures}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """The candidates of one slot, the incumbent first, and the stage on which they were rehearsed."""

    slot: int
    named: Sequence[tuple[str, Candidate]]
    stage: Rehearsal
    assumed: bool
    """True where no slot has been seen, so that the traffic is assumed."""

    @property
    def incumbent(self) -> tuple[str, Candidate]:
        """What is adopted where the answer is worse, or none came."""
        return self.named[0]


class Rehearser:
    """Rehearses the plans of one run. As a planner it is the rule of RH; it watches like it and asks for new plans."""

    def __init__(
        self,
        cluster: Cluster,
        seed: int,
        settings: RehearsalSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it for a run.

        Args:
            cluster: of the run.
            seed: of the run: the plans are those of family RH with this seed.
            settings: see there.
            clock: monotonic seconds, for guards.
        """
        self.cluster, self.seed, self.settings = cluster, seed, settings or RehearsalSettings()
        self.rule = RehearsalPlanner(cluster, self.settings.effort, clock)
        self._prepared: Prepared | None = None

    def watch(self, snapshot: Snapshot) -> bool:
        """Learn from the slot that ended; True asks for a new macro-policy."""
        return self.rule.watch(snapshot)

    def plan(self, snapshot: Snapshot, history: Sequence[EpochTelemetry], rng: np.random.Generator) -> MacroPolicy:
        """Return the incumbent, as the fallback of a planner that failed."""
        return self._prepare(snapshot, None).incumbent[1].policy

    async def prepare(self, snapshot: Snapshot, in_force: MacroPolicy | None) -> Prepared:
        """Return the candidates of the slot: searched and rehearsed once, beside the event loop.

        Args:
            snapshot: the present.
            in_force: the macro-policy in force where an agent made it; the rule knows its own.
        """
        if self._prepared is None or self._prepared.slot != snapshot.slot:
            return await asyncio.to_thread(self._prepare, snapshot, in_force)
        return self._prepared

    def _prepare(self, snapshot: Snapshot, in_force: MacroPolicy | None) -> Prepared:
        if self._prepared is not None and self._prepared.slot == snapshot.slot:
            return self._prepared
        rule, assumed = self.rule, not self.rule.forecast.traffic().slots
        rule.plan(snapshot, (), generator(self.seed, PLANNER, snapshot.slot))
        if rule.stage is None:
            raise RuntimeError("a plan was made without a rehearsal")
        found = _distinct(rule.rehearsed, self.settings.shown)
        named = [(f"candidate {k}", candidate) for k, candidate in enumerate(found, 1)]
        if in_force is not None:
            kept = Candidate(in_force, rule.stage.predict(in_force))
            better = kept.prediction.objective < named[0][1].prediction.objective
            named.insert(0 if better else len(named), (IN_FORCE, kept))
        self._prepared = Prepared(snapshot.slot, named, rule.stage, assumed)
        return self._prepared

    def told(self, prepared: Prepared, factor: float) -> list[dict[str, Any]]:
        """Return the candidates for the planner's prompt, predicted latencies multiplied by the factor."""
        return [
            {
                "name": name,
                "macro_policy": candidate.policy.to_json(self.cluster),
                "predicted": _told(self.cluster, candidate.prediction, factor),
            }
            for name, candidate in prepared.named
        ]

    async def settle(self, kind: Kind[MacroPolicy], draft: Draft, prepared: Prepared) -> Draft:
        """Adopt the agent's answer or the incumbent. A fallback on a candidate gets its prediction."""
        name, best = prepared.incumbent
        about: dict[str, Any] = {"slots": prepared.stage.horizon_slots, "assumed": prepared.assumed}
        if draft.outcome is Outcome.FALLBACK:
            taken = (own for _, own in prepared.named if draft.decision == kind.to_json(own.policy))
            if (candidate := next(taken, None)) is None:
                return draft
            return draft._replace(rehearsal={**about, "predicted": predicted(self.cluster, candidate.prediction)})
        if draft.outcome not in (Outcome.ACCEPTED, Outcome.REPAIRED) or draft.decision is None:
            return draft
        own = await asyncio.to_thread(prepared.stage.predict, kind.from_json(draft.decision))
        limit = best.prediction.objective * (1.0 + self.settings.margin)
        about |= {
            "incumbent": {"name": name, "objective": best.prediction.objective},
            "margin": self.settings.margin,
        }
        if own.objective <= limit:
            return draft._replace(rehearsal={"verdict": "kept", **about, "predicted": predicted(self.cluster, own)})
        told = {**about, "predicted": predicted(self.cluster, best.prediction)}
        proposed = {"predicted": _brief(self.cluster, own), "decision": draft.decision}
        return overruled(draft, kind.to_json(best.policy), name, {**told, "proposed": proposed})


def overruled(draft: Draft, decision: dict[str, Any], by: str, rehearsal: dict[str, Any]) -> Draft:
    """Settle with what rehearsal kept instead of the agent's answer."""
    return draft._replace(
        decision=decision,
        outcome=Outcome.OVERRULED,
        decided_by=f"rehearsal:{by}",
        normalised=False,
        rehearsal={"verdict": "overruled", **rehearsal},
    )


def by_rule(draft: Draft, cluster: Cluster, planner: RehearsalPlanner) -> Draft:
    """Add to the plan of family RH what was predicted of it."""
    if draft.outcome is not Outcome.RULE or planner.stage is None:
        return draft
    about = {"slots": planner.stage.horizon_slots, "assumed": not planner.forecast.traffic().slots}
    return draft._replace(rehearsal={**about, "predicted": predicted(cluster, planner.rehearsed[0].prediction)})


def predicted(cluster: Cluster, prediction: Prediction) -> dict[str, Any]:
    """The prediction of what is adopted as plain data, for the ledger."""
    return {**_brief(cluster, prediction), "profile": prediction.profile.to_json()}


def _brief(cluster: Cluster, prediction: Prediction) -> dict[str, Any]:
    figures = Figures.of(prediction)
    ratios = zip(cluster.lms, prediction.success_ratio.tolist(), strict=True)
    return {
        "objective": figures.objective,
        "mean_latency_s": figures.mean_latency_s,
        "fairness": figures.fairness,
        "success_ratio": {lm.name: None if np.isnan(ratio) else ratio for lm, ratio in ratios},
        "spread": prediction.spread,
    }


def expect(foresight: Foresight, snapshot: Snapshot, draft: Draft) -> None:
    """Follow the plan that is adopted, where something was predicted of it."""
    said = draft.rehearsal or {}
    if "predicted" not in said:
        foresight.forget(snapshot.slot)
        return
    values = said["predicted"]
    figures = Figures(values["objective"], values["mean_latency_s"], values["fairness"])
    foresight.expect(snapshot, Expectation(figures, Profile.from_json(values["profile"]), said["assumed"]))


def _told(cluster: Cluster, prediction: Prediction, factor: float) -> dict[str, Any]:
    figures = Figures.of(prediction).corrected(factor, cluster)
    plain = _brief(cluster, prediction)
    plain |= {"objective": figures.objective, "mean_latency_s": figures.mean_latency_s}
    return {name: value for name, value in plain.items() if value is not None}


def _distinct(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """The first so many that differ in more than a percent of a share."""
    seen, found = set[bytes](), list[Candidate]()
    for candidate in candidates:
        key = np.round(candidate.policy.probabilities, 2).tobytes() + candidate.policy.roles.tobytes()
        if key not in seen and len(found) < most:
            seen.add(key)
            found.append(candidate)
    return found
