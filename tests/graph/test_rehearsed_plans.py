"""Plans of agents that are rehearsed: good ones are adopted, bad ones overruled, and all of it is written down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.decisions import MacroPolicy
from domain.errors import InputError
from domain.ledger import Decision, Outcome, Reason, Role
from domain.objective import summarise
from domain.telemetry import Records
from graph.rehearsal.plans import RehearsalSettings
from graph.slot.checkpoints import open_checkpointer
from graph.slot.deps import Deps, Filling
from graph.slot.rehearsing import rehearse
from memory import open_memory
from policies.families import make
from policies.rehearsal.forecast import Traffic
from policies.rehearsal.planner import Effort, RehearsalPlanner
from policies.roles import PLANNER, generator
from prompts.sentences import number
from runtime.results.role_figures import DecisionTally
from runtime.results.summary import PredictionFigures
from runtime.runs.graph_run import GraphRun
from runtime.runs.loop import run_slots
from tests.agents import Reply, asker, deps_of, good_plan
from twin.testbed import TwinTestbed
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

CLUSTER = replace(load_builtin("bristol"), epoch_slots=12, deadline_s=300.0)
EFFORT = Effort(evaluations=400, candidates=3, samples=1, horizon_slots=10)
SETTINGS = RehearsalSettings(effort=EFFORT, slots=False)
SLOTS = 24
pytestmark = pytest.mark.timeout(300)  # the first run on a machine compiles the twin


def answer(policy: MacroPolicy, cluster: Cluster = CLUSTER) -> str:
    return json.dumps({"reasoning": "so", **policy.to_json(cluster)})


def near_the_rule() -> MacroPolicy:
    """A plan of the rule's for traffic like P1's, made from an empty cluster once and for all."""
    ones = np.ones(CLUSTER.n_lms)
    traffic = Traffic(np.full((6, 4), 8 / 9), 4.5 * ones, 5.25 * ones, 0.1 * ones, 50.0, 0.1 * ones, 24.0 * ones)
    rng = np.random.default_rng(4)
    return RehearsalPlanner(CLUSTER, EFFORT).candidates(Twin(CLUSTER).observe(), traffic, rng)[0].policy


def all_on_one_node() -> MacroPolicy:
    roles = np.zeros((6, 4), dtype=np.bool_)
    roles[5] = True
    return MacroPolicy(np.array([[0, 0, 0, 0, 0, 1.0]] * 4), roles)


EVEN, RANDOM, BAD = answer(MacroPolicy.unrestricted(CLUSTER)), good_plan(CLUSTER), answer(all_on_one_node())


class Ran:
    """What a run left behind."""

    def __init__(self, deps: Deps, decisions: list[Decision], records: Records) -> None:
        self.deps, self.records = deps, records
        self.plans = [d for d in decisions if d.role is Role.PLANNER]

    @property
    def objective(self) -> float:
        return summarise(self.records, CLUSTER.n_lms, CLUSTER.deadline_s, CLUSTER.latency_weight).objective


async def planned_by(
    folder: Path, reply: Reply | str, settings: RehearsalSettings | None, seed: int = 3, slots: int = SLOTS
) -> Ran:
    """Run a planner that is an agent, with the rules of RH below it; without settings nothing is rehearsed."""
    folder.mkdir(exist_ok=True)
    asked: Reply = (lambda slot, node, messages, attempt: reply) if isinstance(reply, str) else reply
    async with (
        open_memory(folder / "memory.sqlite") as memory,
        open_checkpointer(folder / "checkpoints.sqlite") as saver,
    ):
        testbed = TwinTestbed(Twin(CLUSTER), load_workload("p1", CLUSTER, seed))
        deps = deps_of(make("RH", CLUSTER), testbed, memory, "test", seed)
        deps.planner = Filling("model", asker=asker(asked))
        if settings is not None:
            deps.fallbacks = replace(deps.fallbacks, planner=RehearsalPlanner(CLUSTER), planner_name="rehearsal")
            rehearse(deps, settings)
        await GraphRun(deps, saver, slots, replays=True).run()
        return Ran(deps, await memory.decisions("test"), await memory.records("test"))


def rule_alone(seed: int = 3, slots: int = SLOTS) -> Records:
    family = replace(make("RH", CLUSTER), planner=RehearsalPlanner(CLUSTER, EFFORT))
    results = run_slots(Twin(CLUSTER), family, load_workload("p1", CLUSTER, seed), slots, seed)
    return Records.concatenate([result.records for result in islice(results, slots)])


def same(a: Records, b: Records) -> bool:
    return all((getattr(a, f.name) == getattr(b, f.name)).all() for f in fields(Records))


@pytest.mark.parametrize("seed", [3, 4])
async def test_a_bad_planner_does_what_the_rule_alone_does(seed: int, tmp_path: Path) -> None:
    ran = await planned_by(tmp_path, BAD, SETTINGS, seed)
    assert {plan.outcome for plan in ran.plans} == {Outcome.OVERRULED}
    assert same(ran.records, rule_alone(seed))


@pytest.mark.parametrize(
    ("name", "most"), [("like the rule's", 1.02), ("even shares", 1.02), ("random", 0.6), ("one node", 0.2)]
)
async def test_a_rehearsed_plan_beats_an_unrehearsed_one_of_the_same_model(
    name: str, most: float, tmp_path: Path
) -> None:
    text = {"even shares": EVEN, "random": RANDOM, "one node": BAD}.get(name) or answer(near_the_rule())
    rehearsed = await planned_by(tmp_path / "rehearsed", text, SETTINGS)
    as_it_is = await planned_by(tmp_path / "as it is", text, None)
    assert rehearsed.objective <= most * as_it_is.objective
    assert {plan.outcome for plan in as_it_is.plans} == {Outcome.ACCEPTED}


async def test_the_ledger_says_what_was_proposed_what_was_predicted_and_that_rehearsal_decided(tmp_path: Path) -> None:
    ran = await planned_by(tmp_path, BAD, SETTINGS, slots=1)
    (plan,) = ran.plans
    assert (plan.outcome, plan.decided_by) == (Outcome.OVERRULED, "rehearsal:candidate 1")
    assert plan.attempts[0].answer == BAD
    told = plan.rehearsal or {}
    assert told["verdict"] == "overruled"
    assert told["proposed"]["decision"] == all_on_one_node().to_json(CLUSTER)
    assert told["proposed"]["predicted"]["objective"] > 1.02 * told["incumbent"]["objective"]
    assert told["incumbent"] == {"name": "candidate 1", "objective": told["predicted"]["objective"]}
    assert told["predicted"]["success_ratio"].keys() == {"LM1", "LM2", "LM3", "LM4"}
    tally = DecisionTally()
    tally.add([plan])
    assert tally.decided_by == {("planner", "rehearsal:candidate 1"): 1}
    assert tally.figures({Role.PLANNER: "model"}, {})["planner"].outcomes == {"overruled": 1}


async def test_a_planner_that_picks_the_first_candidate_is_adopted_as_its_own(tmp_path: Path) -> None:
    rule = RehearsalPlanner(CLUSTER, EFFORT)
    picked = rule.plan(Twin(CLUSTER).observe(), [], generator(3, PLANNER, 0))
    (plan,) = (await planned_by(tmp_path, answer(picked), SETTINGS, slots=1)).plans
    assert (plan.outcome, plan.decided_by) == (Outcome.ACCEPTED, "agent:model")
    told = plan.rehearsal or {}
    assert told["predicted"]["objective"] == told["incumbent"]["objective"]


@pytest.mark.parametrize(("margin", "outcome"), [(0.02, Outcome.OVERRULED), (1.0, Outcome.ACCEPTED)])
async def test_the_margin_is_what_a_plan_may_be_worse_by(margin: float, outcome: Outcome, tmp_path: Path) -> None:
    (plan,) = (await planned_by(tmp_path, RANDOM, replace(SETTINGS, margin=margin), slots=1)).plans
    told = plan.rehearsal or {}
    own = told["predicted"] if outcome is Outcome.ACCEPTED else told["proposed"]["predicted"]
    assert (plan.outcome, told["margin"]) == (outcome, margin)
    assert (own["objective"] <= (1.0 + margin) * told["incumbent"]["objective"]) == (outcome is Outcome.ACCEPTED)
    with pytest.raises(InputError, match="from 0 to 1"):
        RehearsalSettings(margin=1.5)


async def test_the_planner_is_shown_the_candidates_and_its_own_plan_in_force(tmp_path: Path) -> None:
    prompts: list[str] = []

    def planner(slot: int, node: str | None, messages: Sequence[Any], attempt: int) -> str:
        prompts.append(messages[-1]["content"])
        return EVEN

    ran = await planned_by(tmp_path, planner, replace(SETTINGS, margin=0.5), slots=13)
    assert len(ran.plans) > 1
    assert {plan.outcome for plan in ran.plans} == {Outcome.ACCEPTED}
    told = ran.plans[0].rehearsal or {}
    assert '- "candidate 1": expected mean latency' in prompts[0]
    assert f"J {number(told['incumbent']['objective'])} ±" in prompts[0]
    assert 'at most 50 % above that of "candidate 1"' in prompts[0]
    assert [prompt.count('- "in force": expected') for prompt in prompts] == [0] + [1] * (len(ran.plans) - 1)


@pytest.mark.parametrize(
    ("text", "reason"), [("nonsense", Reason.INVALID_JSON), (None, Reason.CONNECTION)], ids=["nonsense", "no answer"]
)
async def test_where_the_model_fails_the_incumbent_takes_over_as_a_fallback(
    text: str | None, reason: Reason, tmp_path: Path
) -> None:
    ran = await planned_by(tmp_path, lambda slot, node, messages, attempt: text, SETTINGS)
    assert {(plan.outcome, plan.decided_by, plan.reason) for plan in ran.plans} == {
        (Outcome.FALLBACK, "fallback:rehearsal", reason)
    }
    assert all("predicted" in (plan.rehearsal or {}) for plan in ran.plans)
    assert same(ran.records, rule_alone())


class Killed(Exception):
    """Stands for kill -9."""


async def test_a_killed_run_goes_on_with_its_predictions_and_its_correction(tmp_path: Path) -> None:
    calls, dies = list[int](), True
    settings = replace(SETTINGS, margin=0.5)
    whole = await planned_by(tmp_path / "whole", EVEN, settings, slots=26)
    planned = [plan.slot for plan in whole.plans]
    last = planned[-1]

    def planner(slot: int, node: str | None, messages: Sequence[Any], attempt: int) -> str:
        calls.append(slot)
        if dies and slot == last:
            raise Killed
        return EVEN

    with pytest.raises(Killed):
        await planned_by(tmp_path, planner, settings, slots=26)
    dies = False
    ran = await planned_by(tmp_path, planner, settings, slots=26)
    assert calls == [*planned, last]
    assert ran.deps.foresight.totals == whole.deps.foresight.totals
    assert ran.deps.foresight.totals.plans >= 1
    assert ran.deps.foresight.totals.factor != 1.0
    assert ran.plans == whole.plans
    assert same(ran.records, whole.records)


async def test_what_came_out_is_kept_with_the_epoch_and_its_case(tmp_path: Path) -> None:
    ran = await planned_by(tmp_path, EVEN, replace(SETTINGS, margin=0.5), slots=36)
    async with open_memory(tmp_path / "memory.sqlite") as memory:
        entries, cases = await memory.telemetry("test"), await memory.cases("bristol")
    compared = [done for entry in entries for done in entry.extra.get("predictions", [])]
    assert [(done["slot"], done["assumed"]) for done in compared[:2]] == [(0, True), (ran.plans[1].slot, False)]
    known = compared[1:]
    for done in known:
        first, last = done["slot"] * CLUSTER.slot_s, (done["slot"] + done["slots"]) * CLUSTER.slot_s
        arrived = (ran.records.arrival_s >= first) & (ran.records.arrival_s < last)
        assert done["requests"] >= int(arrived.sum()) > 50
    figures = PredictionFigures.of(ran.deps.foresight.totals)
    assert figures is not None
    assert figures.plans == len(known)
    assert figures.objective == pytest.approx(np.mean([done["came_out"]["objective"] for done in known]))
    errors = [abs(done["came_out"]["objective"] - done["predicted"]["objective"]) for done in known]
    assert figures.objective_error == pytest.approx(np.mean(errors))
    expected = {(plan.rehearsal or {})["predicted"]["objective"] for plan in ran.plans}
    assert {case.predicted_objective for case in cases} <= expected
