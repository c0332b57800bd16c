"""Puts the decision cases to a model, through the same gate as in a run, and carries the decisions out in the twin."""

from __future__ import annotations

import math
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from domain.decisions import Deployment, MacroPolicy, RoutingPlan
from domain.ledger import Role
from domain.objective import summarise
from domain.telemetry import Records
from domain.workload import Arrivals
from graph.gate.passage import Kind, decide
from graph.models.budget import Budget
from graph.slot.deps import Deps, Fallbacks, Filling
from graph.slot.kinds import DeploymentKind, MacroPolicyKind, RoutingKind, keep, traffic_by_name
from memory.opening import open_memory
from memory.store import Memory
from policies.lyapunov import LyapunovDeployer
from policies.roles import DEPLOYER, SCHEDULER, generator
from policies.shares import ShareScheduler
from runtime.agents.evaluation.cases import DecisionCase, Situation, situation
from runtime.agents.filling import Models, fill
from twin.testbed import TwinTestbed

HORIZON = 10
"""Slots with requests over which a decision is carried out; then on until every request has ended."""
Decided = MacroPolicy | RoutingPlan | Deployment


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one case."""

    case: str
    role: str
    outcome: str
    """accepted, repaired or fallback."""
    reason: str | None
    violations: tuple[str, ...]
    """Of all answers."""
    objective: float
    """J in the twin of the decision that was carried out, the fallback's where the model's did not pass."""
    random_objective: float
    """J in the twin of the random policy's decision for the same case."""
    prompt_tokens: int
    completion_tokens: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {name: getattr(self, name) for name in self.__slots__} | {"violations": list(self.violations)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trial:
        """Read plain data back; raises KeyError or TypeError where it is no trial."""
        return cls(**{**data, "violations": tuple(data["violations"])})


async def trials(models: Models, cases: Sequence[DecisionCase]) -> AsyncIterator[Trial]:
    """Put each case to the model of its role."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_memory(Path(folder) / "memory.sqlite") as memory:
            for case in cases:
                yield await _try(situation(case), models, memory)


async def _try(at: Situation, models: Models, memory: Memory) -> Trial:
    kind, filling = _kind(at, models, memory)
    if filling.asker is None:
        raise RuntimeError(f"no model fills the {at.case.role}")
    draft = await decide(kind, filling.asker(at.twin.slot, kind.node), filling.name)
    if draft.decision is None:
        raise RuntimeError(f"{at.case.name} left the gate undecided")
    attempts = draft.attempts
    return Trial(
        case=at.case.name,
        role=str(at.case.role),
        outcome=str(draft.outcome),
        reason=None if draft.reason is None else str(draft.reason),
        violations=tuple(sentence for attempt in attempts for sentence in attempt.violations),
        objective=carry_out(at, kind.from_json(draft.decision)),
        random_objective=carry_out(at, kind.fallback()),
        prompt_tokens=sum(attempt.prompt_tokens for attempt in attempts),
        completion_tokens=sum(attempt.completion_tokens for attempt in attempts),
        seconds=sum(attempt.seconds for attempt in attempts),
    )


def _kind(at: Situation, models: Models, memory: Memory) -> tuple[Kind[Any], Filling[Any]]:
    cluster, snapshot = at.twin.cluster, at.twin.observe()
    testbed = TwinTestbed(at.twin, at.workload)
    filled = fill("MA", cluster, models, None, Budget(models.settings.limits, models.clock))
    deps = Deps(
        testbed=testbed,
        memory=memory,
        run=at.case.name,
        family="MA",
        seed=at.case.seed,
        planner=filled.planner,
        scheduler=filled.scheduler,
        deployer=filled.deployer,
        fallbacks=Fallbacks.random(testbed),
    )
    macro = None if at.policy is None else at.policy.to_json(cluster)
    if at.case.role is Role.PLANNER:
        if filled.planner is None:
            raise RuntimeError("nobody fills the planner")
        traffic = traffic_by_name(cluster, at.traffic, cluster.epoch_slots)
        return MacroPolicyKind(deps, snapshot, traffic, at.last, None), filled.planner
    if at.case.role is Role.SCHEDULER:
        return RoutingKind(deps, snapshot, macro), filled.scheduler
    return DeploymentKind(deps, snapshot, at.node, macro), filled.deployer


def carry_out(at: Situation, decided: Decided) -> float:
    """J of P1-10 of a decision in the twin, over what waits now and what arrives in HORIZON slots, each to its end.

    What was not decided is left to rules: routes follow the macro-policy's shares, nodes deploy by backlog within
    their roles. A routing plan stays in force throughout, and a node keeps its deployment.
    """
    cluster, twin, case = at.twin.cluster, at.twin.copy(), at.case
    policy = decided if isinstance(decided, MacroPolicy) else at.policy or MacroPolicy.unrestricted(cluster)
    scheduler, deployer = ShareScheduler(cluster), LyapunovDeployer(cluster, follow_roles=True)
    parts = list[Records]()
    for k in range(HORIZON + math.ceil(cluster.deadline_s / cluster.slot_s) + 1):
        if k >= HORIZON and not twin.waiting:
            break
        snapshot = twin.observe()
        slot = snapshot.slot
        if isinstance(decided, RoutingPlan):
            twin.route(decided)
        else:
            twin.route(scheduler.schedule(snapshot, policy, generator(case.seed, SCHEDULER, slot)))
        for n in range(cluster.n_nodes):
            if isinstance(decided, Deployment) and decided.node == n:
                deployment: Deployment | None = decided if k == 0 else keep(snapshot, n)
            else:
                deployment = deployer.deploy(snapshot, n, policy, generator(case.seed, DEPLOYER, slot, n))
            if deployment is not None:
                twin.deploy(deployment)
        parts.append(twin.advance(at.workload.arrivals(slot) if k < HORIZON else Arrivals.empty()))
    records = Records.concatenate(parts)
    return summarise(records, cluster.n_lms, cluster.deadline_s, cluster.latency_weight).objective


@dataclass(frozen=True, slots=True)
class RoleScore:
    """The trials of one role together; shares from 0 to 1, means per case."""

    role: str
    cases: int
    valid_first: float
    valid_after_repair: float
    fallback: float
    objective: float
    random_objective: float
    prompt_tokens: float
    completion_tokens: float
    seconds: float


def score(role: str, done: Sequence[Trial]) -> RoleScore:
    """Put trials together. Raises ValueError where there are none."""
    if not done:
        raise ValueError(f"no trials of the {role}")

    def share(*outcomes: str) -> float:
        return fmean(trial.outcome in outcomes for trial in done)

    return RoleScore(
        role=role,
        cases=len(done),
        valid_first=share("accepted"),
        valid_after_repair=share("accepted", "repaired"),
        fallback=share("fallback"),
        objective=fmean(trial.objective for trial in done),
        random_objective=fmean(trial.random_objective for trial in done),
        prompt_tokens=fmean(trial.prompt_tokens for trial in done),
        completion_tokens=fmean(trial.completion_tokens for trial in done),
        seconds=fmean(trial.seconds for trial in done),
    )
