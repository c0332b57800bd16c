"""The read-only tools that a planner may be offered, bound to one run. Tools that write are never among them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from langchain_core.tools import BaseTool, ToolException

from domain.decisions import Deployment, MacroPolicy, RoutingPlan
from domain.serving import Dispatch
from domain.telemetry import Snapshot
from graph.gate.answers import AnswerError, parse_macro_policy
from graph.slot.deps import Deps
from graph.slot.open_plans import by_shares
from memory.engine import MemoryAway
from memory.recall import Recalled
from policies.lyapunov import LyapunovDeployer
from policies.rehearsal.planner import RehearsalPlanner
from policies.roles import DEPLOYER, SCHEDULER, generator
from policies.shares import ShareScheduler
from tools.looking import read_snapshot, scrape_node
from tools.recalling import recall_cases
from tools.rehearsing import Rules, rehearse_tool
from tools.traffic import SlotTraffic, WatchedTestbed

REHEARSAL = 8
"""Key of the rehearsals' streams of random numbers, beside those of `policies.roles` and the fallbacks."""


def planner_tools(deps: Deps) -> list[BaseTool]:
    """Make recall_cases, read_snapshot, scrape_node and rehearse for a run.

    A rehearsal needs to know what arrived lately, so `deps.testbed` becomes a `WatchedTestbed` unless it is one: call
    this before the first slot.
    """
    if not isinstance(deps.testbed, WatchedTestbed):
        deps.testbed = WatchedTestbed(deps.testbed, deps.testbed.cluster.epoch_slots)
    testbed, cluster = deps.testbed, deps.testbed.cluster

    async def recall(best: int, worst: int, nearest: int) -> Recalled:
        traffic = deps.last_case.traffic if deps.last_case else None
        try:
            return await deps.memory.recall(cluster.setting, traffic, best, worst, nearest)
        except MemoryAway as error:
            raise ToolException(f"The memory cannot be read just now, decide without it: {error}") from error

    def recent() -> Sequence[SlotTraffic]:
        return testbed.recent

    def parse(text: str) -> MacroPolicy:
        try:
            return parse_macro_policy(cluster, text, deps.gate.tolerance)[0]
        except AnswerError as error:
            raise ToolException(str(error)) from error

    return [
        recall_cases(recall, lambda: deps.last_case.run if deps.last_case else None),
        read_snapshot(cluster, testbed.observe),
        scrape_node(testbed.inner),
        rehearse_tool(cluster, testbed.observe, recent, parse, functools.cache(lambda: rehearsal_rules(deps))),
    ]


def rehearsal_rules(deps: Deps) -> Rules:
    """Who decides in a rehearsal: the run's own rules, and in place of agents rules that keep to the macro-policy.

    Where the answer will be rehearsed, it is by those rules with which it will be.
    """
    cluster = deps.testbed.cluster
    if deps.rehearsal is not None:
        return _of_rehearsal(deps.rehearsal.rule)
    scheduler = deps.scheduler.rule
    shares = ShareScheduler(cluster) if cluster.serving.dispatch is Dispatch.FIXED else None
    deployer = deps.deployer.rule or LyapunovDeployer(cluster, follow_roles=True)

    def schedule(snapshot: Snapshot, policy: MacroPolicy) -> RoutingPlan:
        draws = _draws(deps, snapshot, SCHEDULER)
        if scheduler is not None:
            return scheduler.schedule(snapshot, policy, draws)
        return by_shares(cluster, policy) if shares is None else shares.schedule(snapshot, policy, draws)

    def deploy(snapshot: Snapshot, n: int, policy: MacroPolicy) -> Deployment | None:
        return deployer.deploy(snapshot, n, policy, _draws(deps, snapshot, DEPLOYER, n))

    by_themselves = "their origins among the nodes with a share" if shares is None else "your shares"
    return Rules(
        schedule,
        deploy,
        described=(
            f"requests are routed by {'the rule ' + deps.scheduler.name if scheduler else by_themselves}, "
            f"nodes deploy by {'the rule ' + deps.deployer.name if deps.deployer.rule else 'backlog within your roles'}"
        ),
    )


def _of_rehearsal(rule: RehearsalPlanner) -> Rules:
    def schedule(snapshot: Snapshot, policy: MacroPolicy) -> RoutingPlan:
        return rule.scheduler.route(snapshot, policy, rule.forecast.traffic())

    def deploy(snapshot: Snapshot, n: int, policy: MacroPolicy) -> Deployment | None:
        choice = rule.deployer.choose(snapshot, n, policy, rule.forecast.traffic())
        return rule.deployer.step(snapshot, n, policy, choice)

    return Rules(schedule, deploy, "requests are routed by the rule backlog, nodes deploy by the rule steady")


def _draws(deps: Deps, snapshot: Snapshot, *key: int) -> np.random.Generator:
    return generator(deps.seed, REHEARSAL, snapshot.slot, *key)
