"""Plans that a person refused, and plans that were to be kept: what is in force afterwards, and whose it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from domain.cluster import Cluster
from domain.decisions import MacroPolicy
from domain.ledger import Decision, Outcome, Reason, Role
from graph.rehearsal.plans import RehearsalSettings
from graph.slot.checkpoints import open_checkpointer
from graph.slot.deps import Fallbacks, Filling
from graph.slot.rehearsing import rehearse
from graph.slot.reuse import Reuse
from memory import open_memory
from policies.families import make
from policies.rehearsal.planner import Effort
from runtime.runs.graph_run import GraphRun
from tests.agents import asker, deps_of, good_plan
from tests.clusters import tiny
from twin.testbed import TwinTestbed
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

BRISTOL = replace(load_builtin("bristol"), epoch_slots=3)
EFFORT = Effort(evaluations=400, candidates=3, samples=1, horizon_slots=10)
REHEARSED = RehearsalSettings(effort=EFFORT, slots=False, margin=0.0)
pytestmark = pytest.mark.timeout(300)  # the first run on a machine compiles the twin


@dataclass
class Asked:
    """A run in which a person is asked, and what it left behind."""

    plans: list[Decision] = field(default_factory=list)
    questions: list[dict[str, Any]] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)


async def asked(
    folder: Path,
    cluster: Cluster,
    slots: int,
    plan: Callable[[int], str],
    says: Callable[[int], bool] | None,
    *,
    settings: RehearsalSettings | None = None,
    reuse: Reuse | None = None,
    workload: str = "p1",
) -> Asked:
    """Let an agent plan, from the number of the slot; `says` answers the first question, the second …, None: none."""
    found = Asked()

    async def approver(question: dict[str, Any]) -> bool:
        found.questions.append(question)
        assert says is not None
        return says(len(found.questions) - 1)

    async def on_slot(state: Any) -> None:
        found.states.append(state)

    async with open_memory(folder / "m.sqlite") as memory, open_checkpointer(folder / "c.sqlite") as saver:
        testbed = TwinTestbed(Twin(cluster), load_workload(workload, cluster, 1))
        deps = deps_of(make("RH", cluster), testbed, memory, "r", 1)
        deps.planner = Filling("m", asker=asker(lambda slot, node, messages, attempt: plan(slot)))
        deps.reuse = reuse
        if settings is not None:
            deps.fallbacks = Fallbacks.rehearsed(testbed)
            rehearse(deps, settings)
        run = GraphRun(deps, saver, slots, replays=True, on_slot=on_slot)
        await (run if says is None else replace(run, approver=approver)).run()
        found.plans = await memory.decisions("r", role=Role.PLANNER)
    return found


async def test_a_refused_plan_of_the_rule_is_not_adopted_as_its_own_fallback(tmp_path: Path) -> None:
    ran = await asked(tmp_path, BRISTOL, 1, lambda slot: good_plan(BRISTOL), lambda k: False, settings=REHEARSED)
    (plan,), (question,) = ran.plans, ran.questions
    assert question["decided_by"] == "rehearsal:candidate 1"  # the model's was worse: the rule's was shown
    assert plan.decision != question["macro_policy"]
    assert (plan.outcome, plan.reason, plan.decided_by) == (
        Outcome.FALLBACK,
        Reason.DISAPPROVED,
        "fallback:candidate 2",
    )
    assert plan.rehearsal is not None
    assert plan.rehearsal["predicted"]["objective"] > 0


async def test_after_a_no_the_plan_in_force_goes_on_and_stays_whose_it_was(tmp_path: Path) -> None:
    ran = await asked(tmp_path, BRISTOL, 4, lambda slot: good_plan(BRISTOL, 5 + slot), lambda k: k == 0)
    assert [plan.decided_by for plan in ran.plans] == ["agent:m", "fallback:previous"]
    assert ran.plans[1].decision == ran.plans[0].decision
    assert [state["macro_by"] for state in ran.states] == 4 * ["agent:m"]
    assert ran.states[3]["macro_made"] == 0


async def test_a_plan_that_is_refused_a_second_time_does_not_go_on_because_it_was_in_force(tmp_path: Path) -> None:
    ran = await asked(tmp_path, BRISTOL, 4, lambda slot: good_plan(BRISTOL), lambda k: k == 0)
    assert ran.questions[1]["macro_policy"] == ran.questions[1]["in_force"] == ran.plans[0].decision
    assert ran.plans[1].decision != ran.plans[0].decision
    assert (ran.plans[1].decided_by, ran.plans[1].reason) == ("fallback:random", Reason.DISAPPROVED)
    assert ran.states[3]["macro_by"] == "fallback:random"


async def test_where_the_refused_plan_is_the_only_one_nobody_plans(tmp_path: Path) -> None:
    whole = tiny()
    cluster = replace(whole, nodes=whole.nodes[1:], latency_s=whole.latency_s[1:, 1:])
    cluster = replace(cluster, seconds_per_byte=whole.seconds_per_byte[1:, 1:])
    only = MacroPolicy.unrestricted(cluster)
    told = json.dumps({"reasoning": "so", **only.to_json(cluster)})
    ran = await asked(tmp_path, cluster, 2, lambda slot: told, lambda k: False)
    (plan,) = ran.plans
    assert (plan.decision, plan.decided_by, plan.reason) == ({}, "fallback:none", Reason.DISAPPROVED)
    assert [state["macro_policy"] for state in ran.states] == [None, None]


async def test_a_plan_is_not_kept_where_a_rule_that_watches_asked_for_a_new_one(tmp_path: Path) -> None:
    cluster = replace(load_builtin("bristol"), epoch_slots=5, deadline_s=180.0)
    told = json.dumps({"reasoning": "so", **MacroPolicy.unrestricted(cluster).to_json(cluster)})
    settings = replace(REHEARSED, effort=replace(EFFORT, candidates=2), margin=1.0)
    always = Reuse(traffic=1.0, success=1.0, objective=1.0)
    ran = await asked(tmp_path, cluster, 33, lambda slot: told, None, settings=settings, reuse=always, workload="drift")
    made = {plan.slot: str(plan.outcome) for plan in ran.plans}
    within = {made[slot] for slot in made if slot % 5}
    assert within == {"accepted"}
    assert "reused" in made.values()
