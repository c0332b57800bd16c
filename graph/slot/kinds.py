"""The three decision kinds of P1: macro-policy of an epoch, routing plan of a slot, deployment of a node."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from domain.cluster import Cluster
from domain.constraints import Violation, check_deployment, check_macro_policy, check_routing
from domain.decisions import NOWHERE, OFF, Allocation, Deployment, MacroPolicy, RoutingPlan
from domain.ledger import Case, Role
from domain.serving import Dispatch
from domain.telemetry import Phase, Snapshot
from graph.gate import answers
from graph.slot.deps import Deps
from graph.slot.open_plans import by_roles
from memory.recall import Recalled
from policies.random import RandomPlanner
from policies.roles import DEPLOYER, PLANNER, SCHEDULER, generator
from policies.standard import candidate_nodes
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
        return self.deps.fallbacks.planner.plan(self.snapshot, (), self._draws())

    def fallbacks(self) -> Iterator[tuple[str, Callable[[], MacroPolicy]]]:
        """The rule, the candidates that were rehearsed, a plan that leaves everything open, and a random one."""
        yield self.deps.fallbacks.planner_name, self.fallback
        for candidate in self.candidates or ():
            yield candidate["name"], partial(self.from_json, candidate["macro_policy"])
        cluster = self.deps.testbed.cluster
        yield "open", lambda: MacroPolicy.unrestricted(cluster)
        yield "random", lambda: RandomPlanner(cluster).plan(self.snapshot, (), self._draws())

    def _draws(self) -> np.random.Generator:
        return generator(self.deps.seed, FALLBACK, self.snapshot.slot, PLANNER)

    def to_json(self, policy: MacroPolicy) -> dict[str, Any]:
        """Form with names."""
        return policy.to_json(self.deps.testbed.cluster)

    def from_json(self, data: dict[str, Any]) -> MacroPolicy:
        """Read the form with names."""
        return MacroPolicy.from_json(self.deps.testbed.cluster, data["routing"], data["roles"])


@dataclass(slots=True)
class RoutingKind:
    """The scheduler's decision for slot `snapshot.slot` (P1 section IV-B1)."""

    deps: Deps
    snapshot: Snapshot
    macro: dict[str, Any] | None
    role: ClassVar[Role] = Role.SCHEDULER
    node: ClassVar[None] = None

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
        roles = deps.policy(self.macro).roles if self.macro else None
        return check_routing(deps.testbed.cluster, plan, roles, deps.local)

    def fallback(self) -> RoutingPlan:
        """Decide without a model."""
        deps, snapshot = self.deps, self.snapshot
        rng = generator(deps.seed, FALLBACK, snapshot.slot, SCHEDULER)
        return deps.fallbacks.scheduler.schedule(snapshot, deps.policy(self.macro), rng)

    def fallbacks(self) -> Iterator[tuple[str, Callable[[], RoutingPlan]]]:
        """The rule, and the nearest node that will do; where origins choose, all nodes that will."""
        cluster = self.deps.testbed.cluster
        yield self.deps.fallbacks.scheduler_name, self.fallback
        if cluster.serving.dispatch is Dispatch.FIXED:
            yield "nearest", self._nearest
        else:
            yield "open", lambda: by_roles(cluster, self.deps.policy(self.macro))

    def _nearest(self) -> RoutingPlan:
        """Each pair to the nearest node of those that can run the LM and have the role."""
        cluster, policy = self.deps.testbed.cluster, self.deps.policy(self.macro)
        targets = np.full((cluster.n_nodes, cluster.n_lms), NOWHERE, dtype=np.int64)
        for i in range(cluster.n_lms):
            nodes = candidate_nodes(cluster, policy, i)
            if nodes.size:
                targets[:, i] = nodes[cluster.latency_s[:, nodes].argmin(axis=1)]
        return RoutingPlan(targets)

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
    by_person: bool = False
    """True where a person decided, whom every rule holds, whoever fills the role."""
    role: ClassVar[Role] = Role.DEPLOYER

    @property
    def node(self) -> str:
        """The name of node n."""
        return self.deps.testbed.cluster.nodes[self.n].name

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
        former, the paper's baselines are meant to do the latter. Agents and persons are held to both.
        """
        deps = self.deps
        if deps.deployer.asker is None and not self.by_person:
            return check_deployment(deps.testbed.cluster, decision, None, None)
        roles = deps.policy(self.macro).roles[self.n] if self.macro else None
        return check_deployment(deps.testbed.cluster, decision, roles, self.snapshot)

    def fallback(self) -> Deployment:
        """Decide without a model."""
        deps, snapshot, n = self.deps, self.snapshot, self.n
        rng = generator(deps.seed, FALLBACK, snapshot.slot, DEPLOYER, n)
        decision = deps.fallbacks.deployer.deploy(snapshot, n, deps.policy(self.macro), rng)
        return keep(snapshot, n) if decision is None else decision

    def fallbacks(self) -> Iterator[tuple[str, Callable[[], Deployment]]]:
        """The rule, and what the node runs already, as far as it may stay."""
        yield self.deps.fallbacks.deployer_name, self.fallback
        yield "keep", self._kept

    def _kept(self) -> Deployment:
        """What may stay of what the node runs: pod by pod, those that are ready first; the rest off.

        Everything off keeps to every rule, so this always does.
        """
        now, phase = keep(self.snapshot, self.n).allocations, self.snapshot.phase[self.n].tolist()
        kept = Deployment(self.n, tuple(OFF for _ in now))
        for i in sorted(range(len(now)), key=lambda i: _STAYS.index(phase[i])):
            trial = Deployment(self.n, (*kept.allocations[:i], now[i], *kept.allocations[i + 1 :]))
            kept = kept if self.rules(trial) else trial
        return kept

    def to_json(self, decision: Deployment) -> dict[str, Any]:
        """Form with names."""
        return decision.to_json(self.deps.testbed.cluster)

    def from_json(self, data: dict[str, Any]) -> Deployment:
        """Read the form with names."""
        return deployment_of(self.deps.testbed.cluster, self.n, data)


_STAYS = [int(p) for p in (Phase.READY, Phase.STARTING, Phase.PENDING, Phase.TERMINATING, Phase.OFF)]


def keep(snapshot: Snapshot, n: int) -> Deployment:
    """The deployment that leaves node n as it is: a pod that shuts down is let go, never asked back."""
    lms, down = range(snapshot.cores.shape[1]), snapshot.phase[n] == Phase.TERMINATING
    return Deployment(n, tuple(OFF if down[i] else snapshot.allocation(n, i) for i in lms))


def deployment_of(cluster: Cluster, n: int, data: Mapping[str, Any]) -> Deployment:
    """Read the form with names.

    Raises:
        KeyError: an LM is missing.
        ValueError: there is an unknown LM, or something that is no allocation.
    """
    if len(data) != cluster.n_lms:
        unknown = sorted(str(name) for name in data.keys() - cluster.lm_index.keys())
        if unknown:
            raise ValueError(f"there is no LM {', '.join(unknown)}")
    return Deployment(n, tuple([_allocation(data[lm.name]) for lm in cluster.lms]))


def _allocation(cell: Any) -> Allocation:
    if cell == "off":
        return OFF
    with contextlib.suppress(TypeError):
        made = Allocation(**cell)
        if all(isinstance(amount, int) and not isinstance(amount, bool) for amount in (made.cores, made.vgpus)):
            return made
    raise ValueError(f"{cell!r} is no allocation, such as 'off', {{'cores': 2}} or {{'vgpus': 1}}")


def traffic_by_name(cluster: Cluster, prompts: Sequence[Sequence[int]], slots: int) -> dict[str, dict[str, float]]:
    """[N][I] prompts over `slots` slots to prompts per slot by LM and origin node; nothing for no slots."""
    if not slots or not len(prompts):
        return {}
    rates = np.asarray(prompts, dtype=np.float64) / slots
    return {
        lm.name: {node.name: float(rates[n, i]) for n, node in enumerate(cluster.nodes)}
        for i, lm in enumerate(cluster.lms)
    }
