"""Runs of agents where origins choose: the scheduler's nodes pass the gate, are repaired, fall back, and are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.decisions import MacroPolicy, RoutingPlan
from domain.ledger import Attempt, Decision, Outcome, Reason, Role
from domain.serving import Dispatch
from domain.telemetry import Records
from graph.gate.door import BrokenRules, checked
from graph.gate.passage import Draft, fall_back
from graph.slot.deps import Fallbacks, Filling
from graph.slot.kinds import RoutingKind
from graph.slot.planner_tools import rehearsal_rules
from tests.agents import Reply, asker, bristol_run, good_deployment, good_plan, good_routing
from tests.clusters import opened
from twin.testbeds import load_builtin

BRISTOL = load_builtin("bristol")
PLAN = good_plan(BRISTOL)
OPEN_WAYS = (Dispatch.ARRIVAL, Dispatch.SPLIT)


def routing(cluster: Cluster, **nodes: Mapping[str, float]) -> str:
    """A sound answer, but for the nodes of some LMs."""
    answer = json.loads(good_routing(cluster, PLAN))
    answer["routes"][0]["nodes"] |= nodes
    return json.dumps(answer)


def agents(cluster: Cluster, **replies: Reply) -> dict[str, Any]:
    """MA: agents in all roles that answer well, but for `replies` by role."""
    plain: dict[str, Reply] = {
        "planner": lambda slot, node, messages, attempt: PLAN,
        "scheduler": lambda slot, node, messages, attempt: good_routing(cluster, PLAN),
        "deployer": lambda slot, node, messages, attempt: good_deployment(cluster, PLAN, node or ""),
    }
    return {role: Filling("model", asker=asker(reply)) for role, reply in {**plain, **replies}.items()}


def without_role() -> tuple[str, str]:
    """An LM and a node that can run it and does not have the role."""
    roles = json.loads(PLAN)["roles"]
    return next(
        (lm.name, node.name)
        for n, node in enumerate(BRISTOL.nodes)
        for i, lm in enumerate(BRISTOL.lms)
        if BRISTOL.feasible[n, i] and lm.name not in roles[node.name]
    )


async def decided(folder: Path, cluster: Cluster, slots: int = 2, **fillings: Any) -> tuple[list[Decision], Records]:
    async with bristol_run(folder, slots=slots, cluster=cluster, **fillings) as run:
        await run.run()
        return await run.deps.memory.decisions("test"), await run.deps.memory.records("test")


def same(a: Records, b: Records) -> bool:
    return all((getattr(a, f.name) == getattr(b, f.name)).all() for f in fields(Records))


@pytest.mark.parametrize("dispatch", OPEN_WAYS)
@pytest.mark.parametrize("family", ["MA", "MAL"])
async def test_good_agents_are_accepted_and_their_nodes_and_weights_kept(
    family: str, dispatch: Dispatch, tmp_path: Path
) -> None:
    cluster = opened(BRISTOL, dispatch)
    filled = agents(cluster)
    if family == "MAL":  # Lyapunov deploys
        del filled["deployer"]
    decisions, records = await decided(tmp_path, cluster, 3, **filled)
    assert {d.outcome for d in decisions if d.role is not Role.DEPLOYER} == {Outcome.ACCEPTED}
    assert {d.outcome for d in decisions if d.role is Role.DEPLOYER} == {
        Outcome.ACCEPTED if family == "MA" else Outcome.RULE
    }
    roles = json.loads(PLAN)["roles"]
    for plan in (d.decision for d in decisions if d.role is Role.SCHEDULER):
        assert plan == {"*": {lm.name: {node: 1.0 for node in roles if lm.name in roles[node]} for lm in cluster.lms}}
    assert len(records)


async def test_the_prompt_says_how_origins_choose_and_the_schema_asks_for_nodes(tmp_path: Path) -> None:
    cluster, asked = opened(BRISTOL, Dispatch.SPLIT, news_s=2.0), list[tuple[str, Mapping[str, Any]]]()

    def keeping(slot: int, node: str | None) -> Any:
        async def ask(messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], attempt: int) -> Attempt:
            asked.append((messages[0]["content"], schema))
            return Attempt(tuple(dict(m) for m in messages), good_routing(cluster, PLAN))

        return ask

    filled = {**agents(cluster), "scheduler": Filling("model", asker=keeping)}
    await decided(tmp_path, cluster, 1, **filled)
    ((told, schema),) = asked
    assert "as they were 2 s before" in told
    assert schema["properties"]["routes"]["type"] == "array"


@pytest.mark.parametrize(
    ("spoilt", "sentence"),
    [
        ({"LM4": {"VM2": 1}}, "LM4 runs on vGPUs only and VM2 has none; leave it out"),
        ({"LM4": {"VM5": 0}}, "* -> LM4 may go nowhere though some node can serve LM4; allow at least one node."),
        ({"LM1": {"VM7": -1}}, "The weight of VM7 for LM1 is -1; use a number from 0, for not at all, to 1000."),
        ({"LM1": {"VM9": 1}}, '"VM9" in the nodes of "LM1" from "*" is no node; use "VM2",'),
        ({without_role()[0]: {without_role()[1]: 1}}, "is not among the roles of"),
    ],
)
async def test_each_broken_rule_is_shown_to_the_model_which_repairs_it_or_the_fallback_decides(
    spoilt: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    cluster, shown = opened(BRISTOL), list[str]()

    def scheduler(slot: int, node: str | None, messages: Any, attempt: int) -> str:
        if attempt:
            shown.append(messages[-1]["content"])
        return routing(cluster, **({} if attempt and slot == 0 else spoilt))

    decisions, _ = await decided(tmp_path, cluster, **agents(cluster, scheduler=scheduler))
    repaired, fell_back = (d for d in decisions if d.role is Role.SCHEDULER)
    assert repaired.outcome is Outcome.REPAIRED
    assert any(sentence in violation for violation in repaired.attempts[0].violations)
    assert json.dumps(sentence, ensure_ascii=False)[1:-1] in shown[0]
    assert list(repaired.decision) == ["*"]
    assert (fell_back.outcome, fell_back.decided_by) == (Outcome.FALLBACK, "fallback:random")
    assert fell_back.reason in (Reason.VIOLATION, Reason.SCHEMA)
    assert set(fell_back.decision) == {node.name for node in cluster.nodes}, "P1's random policy: fixed targets"


class Broken:
    """A rule that fails."""

    def schedule(self, *given: Any) -> RoutingPlan:
        raise ZeroDivisionError


async def test_behind_a_fallback_that_fails_all_nodes_with_the_role_may_be_used(tmp_path: Path) -> None:
    cluster = opened(BRISTOL)
    async with bristol_run(tmp_path, cluster=cluster) as run:
        deps = run.deps
        deps.fallbacks = replace(Fallbacks.random(deps.testbed), scheduler=Broken(), scheduler_name="bad")
        macro = {key: value for key, value in json.loads(PLAN).items() if key != "reasoning"}
        kind = RoutingKind(deps, await deps.snapshot(0), macro)
        draft = fall_back(kind, Draft(attempts=(Attempt((), "{}"),), reason=Reason.SCHEMA))
        assert draft.decided_by == "fallback:open"
        assert not kind.rules(kind.from_json(draft.decision or {}))
    roles = MacroPolicy.from_json(cluster, macro["routing"], macro["roles"]).roles
    assert {lm: set(nodes) for lm, nodes in (draft.decision or {})["*"].items()} == {
        lm.name: {cluster.nodes[n].name for n in np.flatnonzero(roles[:, i])} for i, lm in enumerate(cluster.lms)
    }


class Killed(Exception):
    """Stands for kill -9."""


async def test_a_killed_run_takes_its_open_plans_from_the_ledger(tmp_path: Path) -> None:
    cluster, dies = opened(BRISTOL, Dispatch.SPLIT), True

    def deployer(slot: int, node: str | None, messages: Any, attempt: int) -> str:
        if dies and (slot, node) == (2, "VM5"):
            raise Killed
        return good_deployment(cluster, PLAN, node or "")

    def scheduler(slot: int, node: str | None, messages: Any, attempt: int) -> str:
        return routing(cluster, LM4=dict.fromkeys(nodes_of("LM4"), 1 + slot))

    filled = agents(cluster, deployer=deployer, scheduler=scheduler)
    with pytest.raises(Killed):
        await decided(tmp_path, cluster, 4, **filled)
    dies = False
    decisions, records = await decided(tmp_path, cluster, 4, **filled)
    (tmp_path / "whole").mkdir()
    assert (whole := await decided(tmp_path / "whole", cluster, 4, **filled))[0] == decisions
    assert same(records, whole[1])
    plans = [d.decision["*"]["LM4"] for d in decisions if d.role is Role.SCHEDULER]
    assert [set(own.values()) for own in plans] == [{1.0}, {2.0}, {3.0}, {4.0}]


def nodes_of(lm: str) -> list[str]:
    """Nodes with the role."""
    return [node for node, lms in json.loads(PLAN)["roles"].items() if lm in lms]


async def test_a_persons_open_plan_passes_the_rules_like_any_other(tmp_path: Path) -> None:
    cluster = opened(BRISTOL)
    async with bristol_run(tmp_path, cluster=cluster) as run:
        kind = RoutingKind(run.deps, await run.deps.snapshot(0), None)
        everything = {lm.name: [n.name for n in cluster.nodes if n.gpus] for lm in cluster.lms}
        assert checked(kind, {"*": everything}, "The plan").decision.is_open
        for wrong in ({"*": {**everything, "LM4": {"VM7": float("nan")}}}, {"*": {**everything, "LM4": ["VM2"]}}):
            with pytest.raises(BrokenRules):
                checked(kind, wrong, "The plan")
        with pytest.raises(BrokenRules, match="not in the form"):
            checked(kind, {"*": {**everything, "LM4": {"VM7": "much"}}}, "The plan")


async def test_cases_are_recalled_for_the_same_way_to_serve_alone(tmp_path: Path) -> None:
    prompts = dict[str, list[str]]()
    for dispatch in (Dispatch.FIXED, *OPEN_WAYS, Dispatch.SPLIT):
        cluster, told = opened(BRISTOL, dispatch), list[str]()

        def planner(slot: int, node: str | None, messages: Any, attempt: int, told: list[str] = told) -> str:
            told.append(messages[1]["content"])
            return PLAN

        name = f"{dispatch}-{len(prompts)}"
        async with bristol_run(
            tmp_path, slots=10, epoch_slots=10, run=name, cluster=cluster, **agents(cluster, planner=planner)
        ) as run:
            await run.run()
        prompts[name] = told
    assert ["of another run" in told[0] for told in prompts.values()] == [False, False, False, True]


async def test_a_planners_rehearsal_lets_origins_choose_among_the_nodes_with_a_share(tmp_path: Path) -> None:
    cluster = opened(BRISTOL)
    async with bristol_run(tmp_path, cluster=cluster, **agents(cluster)) as run:
        rules = rehearsal_rules(run.deps)
        policy = MacroPolicy.unrestricted(cluster)
        plan = rules.schedule(await run.deps.snapshot(0), policy)
    assert plan.weights is not None
    assert (plan.weights[0] > 0).tolist() == (policy.probabilities > 0).tolist()
    assert rules.described.startswith("requests are routed by their origins among the nodes with a share")
