"""What a run came to, as `summary.json` of its folder holds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from domain.cluster import Cluster
from domain.errors import InputError, refusal
from domain.telemetry import EpochTelemetry
from policies.rehearsal.foresight import Totals
from runtime.results.own_dispatch import words_of
from runtime.results.tally import Tally

if TYPE_CHECKING:
    from twin.bound import Bound

SUMMARY = "summary.json"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Telemetry(_Model):
    """M_e of P1-11 with names; None where there is no value (nothing arrived, or nothing succeeded)."""

    arrived: dict[str, int]
    succeeded: dict[str, int]
    success_ratio: dict[str, float | None]
    mean_latency_s: dict[str, float | None]
    p95_latency_s: dict[str, float | None]
    global_mean_latency_s: float | None
    global_p95_latency_s: float | None
    fairness: float
    latency_norm: float
    objective: float

    @property
    def success(self) -> float | None:
        """Share of all requests that succeeded; None where none arrived."""
        arrived = sum(self.arrived.values())
        return sum(self.succeeded.values()) / arrived if arrived else None

    @classmethod
    def of(cls, cluster: Cluster, known: EpochTelemetry) -> Telemetry:
        """Give names to the arrays."""

        def named(values: NDArray[np.float64]) -> dict[str, float | None]:
            return {lm.name: _number(float(values[i])) for i, lm in enumerate(cluster.lms)}

        def counted(values: NDArray[np.int64]) -> dict[str, int]:
            return {lm.name: int(values[i]) for i, lm in enumerate(cluster.lms)}

        return cls(
            arrived=counted(known.arrived),
            succeeded=counted(known.succeeded),
            success_ratio=named(known.success_ratio),
            mean_latency_s=named(known.mean_latency_s),
            p95_latency_s=named(known.p95_latency_s),
            global_mean_latency_s=_number(known.global_mean_latency_s),
            global_p95_latency_s=_number(known.global_p95_latency_s),
            fairness=known.fairness,
            latency_norm=known.latency_norm,
            objective=known.objective,
        )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


class RoleFigures(_Model):
    """A role that a model filled."""

    model: str
    outcomes: dict[str, int]
    """How decisions came about: accepted, repaired, overruled, fallback, reused, person."""
    reasons: dict[str, int]
    """Why fallbacks decided."""
    said: dict[str, str] = {}
    """Of each reason the first sentence that came with it, in the server's own words where it gave some."""
    unwrapped: int = 0
    """Answers that were read although something stood around their JSON object."""
    not_rehearsed: int = 0
    """Answers that were taken without a rehearsal although the run rehearses: the cluster was too large."""
    questions: int
    """That the model was asked, or would have been asked in vain: repairs and failures included."""
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    """Of all questions together; those of one slot's deployers run side by side."""
    cost_usd: float | None = None
    """None where the price is not known."""

    @property
    def fallback_share(self) -> float | None:
        """Share of decisions that the model did not make; None where there were none."""
        total = sum(self.outcomes.values())
        return self.outcomes.get("fallback", 0) / total if total else None


class ShadowFigures(_Model):
    """A family that decided beside the acting one and acted on nothing."""

    family: str
    slots: int
    """In which it decided."""
    failed: int = 0
    """Slots in which it could not."""
    routes_differ: float
    """Share of routes that differ from the acting ones."""
    deployments_differ: float
    """Share of nodes whose deployments differ."""
    predicted_regret: float | None
    """Mean of predicted J of the acting decisions minus that of the shadow's; None where nothing could be predicted."""


class PredictionFigures(_Model):
    """Predictions of adopted plans, and what came out. Plans made before anything was seen are not counted."""

    plans: int
    predicted_objective: float
    """Mean of predicted J over the plans."""
    objective: float
    """Mean of J over the requests of each plan's horizon."""
    objective_error: float
    """Mean absolute difference of the two, plan by plan."""
    predicted_fairness: float
    fairness: float
    fairness_error: float
    predicted_mean_latency_s: float | None
    """None where no plan had a latency to compare."""
    mean_latency_s: float | None
    latency_error_s: float | None
    correction: float
    """Factor for latencies predicted next."""

    @classmethod
    def of(cls, totals: Totals) -> PredictionFigures | None:
        """Take means; None where nothing was compared."""
        n, timed = totals.plans, totals.latencies
        if not n:
            return None
        return cls(
            plans=n,
            predicted_objective=totals.predicted_objective / n,
            objective=totals.objective / n,
            objective_error=totals.objective_error / n,
            predicted_fairness=totals.predicted_fairness / n,
            fairness=totals.fairness / n,
            fairness_error=totals.fairness_error / n,
            predicted_mean_latency_s=totals.predicted_latency_s / timed if timed else None,
            mean_latency_s=totals.latency_s / timed if timed else None,
            latency_error_s=totals.latency_error_s / timed if timed else None,
            correction=totals.factor,
        )


class FamilyResult(_Model):
    """One family on one seed."""

    family: str
    seed: int
    slots: int
    """Slots run, the ones without new requests at the end included."""
    telemetry: Telemetry
    """Over the whole run."""
    epochs: list[Telemetry]
    """Over the requests that ended in each epoch; the last one holds the slots without new requests."""
    decided_by: dict[str, dict[str, int]]
    """Role, then who filled it, then how many decisions."""
    agents: dict[str, RoleFigures] = {}
    """Role to its figures, for roles that a model filled."""
    agents_share: float | None = None
    """Share of the decisions in their roles that its agents made; None in a family of rules."""
    stands_in: bool = False
    """True where rules filled the roles of its agents, for there was no model to ask."""
    serving: str | None = None
    """Which bound is its own, by `BoundFigures.serving`; None: that of the run."""
    shadows: list[ShadowFigures] = []
    predictions: PredictionFigures | None = None
    """None where no plan was rehearsed, or none has been compared."""
    notes: list[str] = []
    """Sentences that belong above the numbers: rules in place of agents, a dry run, a choice that nobody has."""

    @classmethod
    def of(cls, cluster: Cluster, family: str, seed: int, tally: Tally, serving: str | None = None) -> FamilyResult:
        """Close the books of a run; `serving` as the field."""
        decided: dict[str, dict[str, int]] = {}
        for (role, who), count in sorted(tally.decided_by.items()):
            decided.setdefault(role, {})[who] = count
        return cls(
            family=family,
            seed=seed,
            slots=tally.slots,
            telemetry=Telemetry.of(cluster, tally.telemetry()),
            epochs=[Telemetry.of(cluster, epoch) for epoch in tally.epochs],
            decided_by=decided,
            serving=serving,
            predictions=PredictionFigures.of(tally.predictions),
            notes=tally.notes(words_of(family)),
        )


class BoundFigures(_Model):
    """What no decisions can beat on the requests of one seed (docs/bound.md)."""

    seed: int
    serving: str | None = None
    """What is not P1's in the model that it holds for, in words; None in runs before this was kept: that of the run."""
    full_service: bool
    """False where no decisions can serve every request in time."""
    max_success: dict[str, int]
    """The most requests of each LM that can be served in time, were the others dropped."""
    solo_mean_s: float | None
    """Mean latency of those, each alone in the cluster."""
    mean_latency_s: float | None
    """Least mean latency of any decisions that serve so many."""
    objective: float
    """Least J of any decisions that serve so many: the yardstick of the tables."""
    objective_any: float
    """Least J of any decisions at all, those that drop requests included: lower, and far from what can be reached."""

    @classmethod
    def of(cls, cluster: Cluster, seed: int, serving: str, known: Bound) -> BoundFigures:
        """Give names to the arrays."""
        return cls(
            seed=seed,
            serving=serving,
            full_service=known.full_service,
            max_success={lm.name: int(known.max_success[i]) for i, lm in enumerate(cluster.lms)},
            solo_mean_s=_number(known.solo_mean_s),
            mean_latency_s=_number(known.capacity_mean_s),
            objective=known.objective_full,
            objective_any=known.objective_any,
        )


class Summary(_Model):
    """`summary.json`: every family on every seed, and what no family can beat."""

    testbed: str
    workload: str
    load: float
    """Factor of the workload's requests."""
    nodes: list[str]
    lms: list[str]
    slots: int
    """Slots with new requests."""
    slot_s: float
    epoch_slots: int
    deadline_s: float
    latency_weight: float
    serving: str = ""
    """What is not P1's in how requests are served, in words."""
    families: list[str]
    seeds: list[int]
    results: list[FamilyResult]
    """Seed by seed, families in order."""
    bounds: list[BoundFigures]
    """Of the run's way to serve requests, seed by seed."""
    other_bounds: list[BoundFigures] = []
    """Of P1's model and of the ways of families with a dispatch of their own, where the run's is another."""
    warnings: list[str] = []
    """What was left out, and numbers that mean less than they seem to: a sentence each."""
    notes: list[str] = []
    """What else there is to say of the workload and its files."""

    def of(self, family: str) -> list[FamilyResult]:
        """Return the runs of one family, seed by seed."""
        return [result for result in self.results if result.family == family]

    def ratio(self, result: FamilyResult) -> float | None:
        """Return J of a run over the least J of decisions that serve all they can; None where that is 0."""
        own = self.bounds
        if result.serving is not None:
            own = [bound for bound in self.other_bounds if bound.serving == result.serving]
        return _over(result, own)

    def ratio_to_p1(self, result: FamilyResult) -> float | None:
        """Return the same with the bound of P1's model; None in that model itself, or where it is not known."""
        served = self.serving if result.serving is None else result.serving
        return _over(result, self.p1_bounds) if served else None

    @property
    def p1_bounds(self) -> list[BoundFigures]:
        """What no decisions of P1's model can beat, seed by seed; empty where it was not worked out."""
        if not self.serving or any(bound.serving == "" for bound in self.bounds):
            return self.bounds
        return [bound for bound in self.other_bounds if bound.serving == ""]

    @property
    def like_p1(self) -> bool:
        """True where P1's own figures come from the same testbed and workload."""
        return self.testbed == "bristol" and self.workload == "p1" and self.load == 1.0 and not self.serving

    def to_json(self) -> str:
        """Return the text of `summary.json`."""
        return self.model_dump_json(indent=1) + "\n"


def _over(result: FamilyResult, bounds: Sequence[BoundFigures]) -> float | None:
    least = next((bound.objective for bound in bounds if bound.seed == result.seed), 0.0)
    return result.telemetry.objective / least if least > 0 else None


def load_summary(folder: Path) -> Summary:
    """Read the summary of a finished run; raises InputError where the folder holds none."""
    path = folder / SUMMARY
    try:
        return Summary.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} is not the folder of a finished run: there is no {SUMMARY} in it.") from None
    except OSError as error:
        raise refusal(f"{path} cannot be read", error) from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise InputError(f"{path}: {where} is not what a run writes ({problem['msg']}); run it again.") from None
