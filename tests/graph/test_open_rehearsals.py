"""Open routing plans of agents that are rehearsed: weights count, and what origins would do with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.decisions import MacroPolicy, RoutingPlan
from domain.ledger import Decision, Outcome, Role
from domain.serving import Dispatch
from domain.telemetry import Records
from graph.rehearsal.plans import RehearsalSettings
from graph.rehearsal.slots import SlotRehearser
from graph.slot.deps import Filling
from graph.slot.open_plans import by_roles
from graph.slot.rehearsing import rehearse
from policies.full import FullDeployer
from policies.rehearsal.planner import Effort, RehearsalPlanner
from policies.roles import DEPLOYER, generator
from tests.agents import asker, bristol_run
from tests.clusters import all_alike, as_text, opened, scheduler_answer
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

BRISTOL = replace(load_builtin("bristol"), epoch_slots=12, deadline_s=180.0)
SETTINGS = RehearsalSettings(effort=Effort(evaluations=400, candidates=2, samples=1, horizon_slots=10), futures=2)
WAYS = (Dispatch.ARRIVAL, Dispatch.SPLIT)
SLOTS = 8
# The first run on a machine compiles the twin.
pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("small_effort")]


def loaded(cluster: Cluster, slots: int = 6) -> tuple[RehearsalPlanner, Twin]:
    """A rule that has watched some slots, and a twin in which every node runs what fits."""
    rule, twin, full = RehearsalPlanner(cluster, SETTINGS.effort), Twin(cluster), FullDeployer(cluster)
    workload, policy = load_workload("p1", cluster, 3), MacroPolicy.unrestricted(cluster)
    for slot in range(slots):
        snapshot = twin.observe()
        rule.watch(snapshot)
        for n in range(cluster.n_nodes):
            if (deployment := full.deploy(snapshot, n, policy, generator(3, DEPLOYER, slot, n))) is not None:
                twin.deploy(deployment)
        twin.route(by_roles(cluster, policy))
        twin.advance(workload.arrivals(slot))
    rule.watch(twin.observe())
    return rule, twin


def one_each(plan: RoutingPlan) -> RoutingPlan:
    """The plan with nothing left but the targets of the largest weight: the same targets, and no choice."""
    return RoutingPlan.open(np.eye(len(plan.targets))[plan.targets])


@pytest.mark.parametrize("dispatch", WAYS)
def test_two_plans_with_the_same_targets_are_worth_what_their_weights_leave_to_the_origins(dispatch: Dispatch) -> None:
    cluster = opened(BRISTOL, dispatch)
    rule, twin = loaded(cluster)
    rehearser = SlotRehearser(cluster, rule, 3, SETTINGS, deploys=False)
    policy, snapshot = MacroPolicy.unrestricted(cluster), twin.observe()
    plan = by_roles(cluster, policy)
    assert one_each(plan).targets.tolist() == plan.targets.tolist()
    wide, narrow = (rehearser.routes(snapshot, policy, own)[1].about for own in (plan, one_each(plan)))
    assert wide.get("proposed_objective", wide.get("incumbent_objective", 0.0)) < narrow["proposed_objective"]


def test_a_plan_with_the_rules_own_weights_needs_no_rehearsal_and_one_with_others_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = opened(BRISTOL, Dispatch.SPLIT)
    rule, twin = loaded(cluster)
    rehearser, policy = SlotRehearser(cluster, rule, 3, SETTINGS, deploys=False), MacroPolicy.unrestricted(cluster)
    own = by_roles(cluster, policy)
    assert own.weights is not None
    monkeypatch.setattr(rule.scheduler, "route", lambda *given: own)
    same = RoutingPlan.open(np.repeat(own.weights, cluster.n_nodes, axis=0))
    other = RoutingPlan.open(own.weights * np.linspace(1.0, 2.0, cluster.n_nodes))
    kept = [rehearser.routes(twin.observe(), policy, plan)[1].about for plan in (same, other)]
    assert [about.get("why") for about in kept] == ["the rule's own", None]
    assert "proposed_objective" in kept[1]


async def run(
    folder: Path, cluster: Cluster, answer: str, rehearsed: bool = True, family: str = "RH"
) -> tuple[list[Decision], Records]:
    """A run whose scheduler is an agent that always gives one answer."""
    folder.mkdir(exist_ok=True)
    filling: dict[str, Any] = {"scheduler": Filling("model", asker=asker(lambda *asked: answer)), "planner": None}
    async with bristol_run(folder, family, SLOTS, cluster=cluster, epoch_slots=12, **filling) as made:
        if rehearsed:
            rehearse(made.deps, SETTINGS)
        await made.run()
        return await made.deps.memory.decisions("test", role=Role.SCHEDULER), await made.deps.memory.records("test")


@pytest.mark.parametrize("dispatch", WAYS)
async def test_nodes_that_do_harm_are_overruled_and_the_rules_plan_is_taken(dispatch: Dispatch, tmp_path: Path) -> None:
    cluster = opened(BRISTOL, dispatch)
    decisions, _ = await run(tmp_path, cluster, as_text(all_alike({lm.name: ["VM5"] for lm in cluster.lms})))
    assert {(d.outcome, d.decided_by) for d in decisions} == {(Outcome.OVERRULED, "rehearsal:backlog")}
    assert {tuple((d.rehearsal or {})["proposed"]["*"]["LM4"]) for d in decisions} == {("VM5",)}


@pytest.mark.parametrize("dispatch", WAYS)
async def test_agents_that_leave_the_choice_to_origins_are_faster_than_those_that_leave_none(
    dispatch: Dispatch, tmp_path: Path
) -> None:
    cluster = opened(BRISTOL, dispatch)
    plan = by_roles(cluster, MacroPolicy.unrestricted(cluster))
    means = []
    for name, own in (("wide", plan), ("narrow", one_each(plan))):
        answer = as_text(scheduler_answer(cluster, own))
        decisions, records = await run(tmp_path / name, cluster, answer, rehearsed=False, family="RF")
        assert {d.outcome for d in decisions} == {Outcome.ACCEPTED}
        means.append(records.latency_s[records.success].mean())
    assert means[0] < 0.9 * means[1]
