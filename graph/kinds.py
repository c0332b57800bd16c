"""The three decision kinds of P1: macro-policy of an epoch, routing plan of a slot, deployment of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from domain.cluster import Cluster
from domain.constraints import Violation, check_deployment, check_macro_policy, check_routing
from domain.decisions import OFF, Allocation, Deployment, MacroPolicy, RoutingPlan
from domain.ledger import Case, Role
from domain.telemetry import Snapshot
from graph import answers
from graph.deps import Deps
from graph.gate import Kind
from memory.recall import Recalled
from policies.roles import DEPLOYER, PLANNER, SCHEDULER, generator
from prompts.planner import planner_messages
from prompts.repair import repair_messages

FALLBACK = 9
"""Key of the fallbacks' streams of random numbers, beside those of `policies.roles`."""


def macro_policy_kind(
    deps: Deps,
    snapshot: Snapshot,
    traffic: dict[str, dict[str, float]],
    last: Case | None,
    recalled: Recalled | None,
    candidates: Sequence[Mapping[str, Any]] | None = None,
) -> Kind[MacroPolicy]:
    """The planner's decision for the epoch that begins at `snapshot.slot` (P1 section IV-A)."""
    cluster = deps.testbed.cluster

    def fallback() -> MacroPolicy:
        rng = generator(deps.seed, FALLBACK, snapshot.slot, PLANNER)
        return deps.fallbacks.planner.plan(snapshot, (), rng)

    return Kind(
        role=Role.PLANNER,
        node=None,
        schema=lambda: answers.schema_for_macro_policy(cluster),
        messages=lambda: planner_messages(
            cluster,
            snapshot=snapshot,
            traffic=traffic,
            last=last,
            baseline=deps.baseline,
            recalled=recalled,
            candidates=candidates,
            margin=None if deps.rehearsal is None else deps.rehearsal.settings.margin,
        ),
        repair=repair_messages,
        parse=lambda text: answers.parse_macro_policy(cluster, text, deps.gate.tolerance),
        rules=lambda policy: check_macro_policy(cluster, policy),
        fallback=fallback,
        fallback_name=deps.fallbacks.planner_name,
        to_json=lambda policy: policy.to_json(cluster),
        from_json=lambda data: macro_policy_of(cluster, data),
    )


def routing_kind(deps: Deps, snapshot: Snapshot, macro: dict[str, Any] | None) -> Kind[RoutingPlan]:
    """The scheduler's decision for slot `snapshot.slot` (P1 section IV-B1)."""
    cluster = deps.testbed.cluster
    policy = deps.policy(macro)

    def fallback() -> RoutingPlan:
        rng = generator(deps.seed, FALLBACK, snapshot.slot, SCHEDULER)
        return deps.fallbacks.scheduler.schedule(snapshot, policy, rng)

    def parse(text: str) -> tuple[RoutingPlan, bool]:
        return answers.parse_routing(cluster, text), False

    return Kind(
        role=Role.SCHEDULER,
        node=None,
        schema=lambda: deps.routing_schema,
        messages=lambda: deps.scheduler_prompts.messages(snapshot, policy),
        repair=repair_messages,
        parse=parse,
        rules=lambda plan: check_routing(cluster, plan, None if macro is None else policy.roles, deps.local),
        fallback=fallback,
        fallback_name=deps.fallbacks.scheduler_name,
        to_json=lambda plan: plan.to_json(cluster),
        from_json=lambda data: RoutingPlan.from_json(cluster, data),
    )


def deployment_kind(deps: Deps, snapshot: Snapshot, n: int, macro: dict[str, Any] | None) -> Kind[Deployment]:
    """The deployer's decision for node n in slot `snapshot.slot` (P1 section IV-B2)."""
    cluster = deps.testbed.cluster
    node = cluster.nodes[n]
    policy = deps.policy(macro)
    by_agent = deps.deployer.asker is not None

    def fallback() -> Deployment:
        rng = generator(deps.seed, FALLBACK, snapshot.slot, DEPLOYER, n)
        decision = deps.fallbacks.deployer.deploy(snapshot, n, policy, rng)
        return keep(snapshot, n) if decision is None else decision

    def rules(decision: Deployment) -> list[Violation]:
        # A rule restates what it wants while a pod is Pending and knows no roles (P1 on MAL); the testbed voids
        # the former, the paper's baselines are meant to do the latter. Agents are held to both.
        return check_deployment(
            cluster,
            decision,
            policy.roles[n] if by_agent and macro is not None else None,
            snapshot if by_agent else None,
        )

    def parse(text: str) -> tuple[Deployment, bool]:
        return deps.deployment_reader.read(n, text), False

    return Kind(
        role=Role.DEPLOYER,
        node=node.name,
        schema=lambda: deps.deployment_schema(n),
        messages=lambda: deps.deployer_prompts.messages(snapshot, n, policy.roles[n]),
        repair=repair_messages,
        parse=parse,
        rules=rules,
        fallback=fallback,
        fallback_name=deps.fallbacks.deployer_name,
        to_json=lambda decision: decision.to_json(cluster),
        from_json=lambda data: deployment_of(cluster, n, data),
    )


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
