"""The three decision kinds of P1: macro-policy of an epoch, routing plan of a slot, deployment of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from domain.cluster import Cluster
from domain.constraints import Violation, check_deployment, check_macro_policy, check_routing
from domain.decisions import OFF, Allocation, Deployment, MacroPolicy, RoutingPlan
from domain.ledger import Case, Role
from domain.telemetry import Snapshot
from graph.gate import answers
from graph.slot.deps import Deps
from memory.recall import Recalled
from policies.roles import DEPLOYER, PLANNER, SCHEDULER, generator
from prompts.planner import planner_messages

FALLBACK = 9
"""Key of the fallbacks' streams of random numbers, beside those of `policies.roles`."""


@dataclass(slots=True)
class MacroPolicyKind:
    """The planner's decision for the epoch that begins at `snapshot.slot` (P1 section IV-A)."""

    deps: Deps
    snapshot: Snapshot
    traffic: dict[str, dict[str, float]]
    last: Case | None
    recalled: Recalled | None
    candidates: Sequence[Mapping[str, Any]] | None = None
    role: ClassVar[Role] = Role.PLANNER
    node: ClassVar[None] = None

    @property
    def fallback_name(self) -> str:
        """The rule behind `fallback`."""
        return self.deps.fallbacks.planner_name

    def schema(self) -> dict[str, Any]:
        """JSON schema of an answer."""
        return answers.schema_for_macro_policy(self.deps.testbed.cluster)

    def messages(self) -> list[dict[str, str]]:
        """The prompt."""
        deps = self.deps
        return planner_messages(
            deps.testbed.cluster,
            snapshot=self.snapshot,
            traffic=self.traffic,
            last=self.last,
            baseline=deps.baseline,
            recalled=self.recalled,
            candidates=self.candidates,
            margin=None if deps.rehearsal is None else deps.rehearsal.settings.margin,
        )

    def parse(self, text: str) -> tuple[MacroPolicy, bool]:
        """Answer to decision, and whether its shares had to be scaled."""
        return answers.parse_macro_policy(self.deps.testbed.cluster, text, self.deps.gate.tolerance)

    def rules(self, policy: MacroPolicy) -> list[Violation]:
        """What the decision breaks."""
        return check_macro_policy(self.deps.testbed.cluster, policy)

    def fallback(self) -> MacroPolicy:
        """Decide without a model."""
        rng = generator(self.deps.seed, FALLBACK, self.snapshot.slot, PLANNER)
        return self.deps.fallbacks.planner.plan(self.snapshot, (), rng)

    def to_json(self, policy: MacroPolicy) -> dict[str, Any]:
        """Form with names."""
        return policy.to_json(self.deps.testbed.cluster)

    def from_json(self, data: dict[str, Any]) -> MacroPolicy:
        """Read the form with names."""
        return macro_policy_of(self.deps.testbed.cluster, data)


@dataclass(slots=True)
class RoutingKind:
    """The scheduler's decision for slot `snapshot.slot` (P1 section IV-B1)."""

    deps: Deps
    snapshot: Snapshot
    macro: dict[str, Any] | None
    role: ClassVar[Role] = Role.SCHEDULER
    node: ClassVar[None] = None

    @property
    def fallback_name(self) -> str:
        """The rule behind `fallback`."""
        return self.deps.fallbacks.scheduler_name

    def schema(self) -> dict[str, Any]:
        """JSON schema of an answer."""
        return self.deps.routing_schema

    def messages(self) -> list[dict[str, str]]:
        """The prompt."""
        return self.deps.scheduler_prompts.messages(self.snapshot, self.deps.policy(self.macro))

    def parse(self, text: str) -> tuple[RoutingPlan, bool]:
        """Answer to decision; nothing of it is ever scaled."""
        return answers.parse_routing(self.deps.testbed.cluster, text), False

    def rules(self, plan: RoutingPlan) -> list[Violation]:
        """What the decision breaks."""
        deps = self.deps
        roles = None if self.macro is None else deps.policy(self.macro).roles
        return check_routing(deps.testbed.cluster, plan, roles, deps.local)

    def fallback(self) -> RoutingPlan:
        """Decide without a model."""
        deps, snapshot = self.deps, self.snapshot
        rng = generator(deps.seed, FALLBACK, snapshot.slot, SCHEDULER)
        return deps.fallbacks.scheduler.schedule(snapshot, deps.policy(self.macro), rng)

    def to_json(self, plan: RoutingPlan) -> dict[str, Any]:
        """Form with names."""
        return plan.to_json(self.deps.testbed.cluster)

    def from_json(self, data: dict[str, Any]) -> RoutingPlan:
        """Read the form with names."""
        return RoutingPlan.from_json(self.deps.testbed.cluster, data)


@dataclass(slots=True)
class DeploymentKind:
    """The deployer's decision for node n in slot `snapshot.slot` (P1 section IV-B2)."""

    deps: Deps
    snapshot: Snapshot
    n: int
    macro: dict[str, Any] | None
    role: ClassVar[Role] = Role.DEPLOYER

    @property
    def node(self) -> str:
        """The name of node n."""
        return self.deps.testbed.cluster.nodes[self.n].name

    @property
    def fallback_name(self) -> str:
        """The rule behind `fallback`."""
        return self.deps.fallbacks.deployer_name

    def schema(self) -> dict[str, Any]:
        """JSON schema of an answer."""
        return self.deps.deployment_schema(self.n)

    def messages(self) -> list[dict[str, str]]:
        """The prompt."""
        deps = self.deps
        return deps.deployer_prompts.messages(self.snapshot, self.n, deps.policy(self.macro).roles[self.n])

    def parse(self, text: str) -> tuple[Deployment, bool]:
        """Answer to decision; nothing of it is ever scaled."""
        return self.deps.deployment_reader.read(self.n, text), False

    def rules(self, decision: Deployment) -> list[Violation]:
        """What the decision breaks.

        A rule restates what it wants while a pod is Pending and knows no roles (P1 on MAL); the testbed voids the
        former, the paper's baselines are meant to do the latter. Agents are held to both.
        """
        deps = self.deps
        if deps.deployer.asker is None:
            return check_deployment(deps.testbed.cluster, decision, None, None)
        roles = None if self.macro is None else deps.policy(self.macro).roles[self.n]
        return check_deployment(deps.testbed.cluster, decision, roles, self.snapshot)

    def fallback(self) -> Deployment:
        """Decide without a model."""
        deps, snapshot, n = self.deps, self.snapshot, self.n
        rng = generator(deps.seed, FALLBACK, snapshot.slot, DEPLOYER, n)
        decision = deps.fallbacks.deployer.deploy(snapshot, n, deps.policy(self.macro), rng)
        return keep(snapshot, n) if decision is None else decision

    def to_json(self, decision: Deployment) -> dict[str, Any]:
        """Form with names."""
        return decision.to_json(self.deps.testbed.cluster)

    def from_json(self, data: dict[str, Any]) -> Deployment:
        """Read the form with names."""
        return deployment_of(self.deps.testbed.cluster, self.n, data)


def keep(snapshot: Snapshot, n: int) -> Deployment:
    """The deployment that leaves node n as it is."""
    return Deployment(n, tuple(snapshot.allocation(n, i) for i in range(snapshot.cores.shape[1])))


def macro_policy_of(cluster: Cluster, data: dict[str, Any] | None) -> MacroPolicy:
    """Read the form with names; None is the run without a planner."""
    if data is None:
        return MacroPolicy.unrestricted(cluster)
    return MacroPolicy.from_json(cluster, data["routing"], data["roles"])


def deployment_of(cluster: Cluster, n: int, data: dict[str, Any]) -> Deployment:
    """Read the form with names."""
    cells = [data[lm.name] for lm in cluster.lms]
    return Deployment(n, tuple([OFF if cell == "off" else Allocation(**cell) for cell in cells]))


def traffic_by_name(cluster: Cluster, prompts: Sequence[Sequence[int]], slots: int) -> dict[str, dict[str, float]]:
    """[N][I] prompts over `slots` slots to prompts per slot by LM and origin node; nothing for no slots."""
    if not slots or not len(prompts):
        return {}
    rates = np.asarray(prompts, dtype=np.float64) / slots
    return {
        lm.name: {node.name: float(rates[n, i]) for n, node in enumerate(cluster.nodes)}
        for i, lm in enumerate(cluster.lms)
    }
