"""Routes and deployments of agents that are rehearsed, slot by slot."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from domain.decisions import Allocation, Deployment, MacroPolicy, RoutingPlan
from domain.ledger import Decision, Outcome, Role
from domain.objective import summarise
from domain.telemetry import Records, Snapshot
from graph.rehearsal.plans import RehearsalSettings
from graph.slot.checkpoints import open_checkpointer
from graph.slot.deps import Deps, Filling
from graph.slot.rehearsing import rehearse
from memory import open_memory
from policies.backlog import BacklogScheduler
from policies.families import make
from policies.rehearsal.planner import Effort
from runtime.results.role_figures import DecisionTally
from runtime.runs.graph_run import GraphRun
from tests.agents import Reply, asker, deps_of
from tests.clusters import as_text, deployer_answer, scheduler_answer
from twin.testbed import TwinTestbed
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

CLUSTER = replace(load_builtin("bristol"), epoch_slots=12, deadline_s=180.0)
SETTINGS = RehearsalSettings(effort=Effort(evaluations=400, candidates=2, samples=1, horizon_slots=10), futures=2)
SLOTS = 8
# The first run on a machine compiles the twin.
pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("small_effort")]


class Run:
    """A run in the twin whose planner is nobody, so that every node may host what it can run."""

    def __init__(self, settings: RehearsalSettings | None = SETTINGS, slots: int = SLOTS, seed: int = 3) -> None:
        self.settings, self.slots, self.seed = settings, slots, seed
        self.testbed = TwinTestbed(Twin(CLUSTER), load_workload("p1", CLUSTER, seed))
        self.deps: Deps | None = None

    async def __call__(self, folder: Path, **agents: Reply) -> tuple[list[Decision], Records]:
        folder.mkdir(exist_ok=True)
        async with (
            open_memory(folder / "memory.sqlite") as memory,
            open_checkpointer(folder / "checkpoints.sqlite") as saver,
        ):
            self.deps = deps = deps_of(make("RH", CLUSTER), self.testbed, memory, "test", self.seed)
            deps.planner = None
            for role, reply in agents.items():
                setattr(deps, role, Filling("model", asker=asker(reply)))
            if self.settings is not None:
                rehearse(deps, self.settings)
            await GraphRun(deps, saver, self.slots, replays=True).run()
            return await memory.decisions("test"), await memory.records("test")


def objective(records: Records) -> float:
    return summarise(records, CLUSTER.n_lms, CLUSTER.deadline_s, CLUSTER.latency_weight).objective


def outcomes(decisions: Sequence[Decision], role: Role) -> Counter[tuple[Outcome, str]]:
    return Counter((d.outcome, d.decided_by) for d in decisions if d.role is role)


def everything_to(node: str) -> str:
    return json.dumps(
        {"reasoning": "", "routes": {n.name: {lm.name: node for lm in CLUSTER.lms} for n in CLUSTER.nodes}}
    )


def off(slot: int, node: str | None, messages: Any, attempt: int) -> str:
    return deployed(node, CLUSTER.n_lms * (Allocation(),))


def deployed(node: str | None, allocations: tuple[Allocation, ...]) -> str:
    return as_text(deployer_answer(CLUSTER, Deployment(CLUSTER.node_index[node or ""], allocations)))


def to_vm5(slot: int, node: str | None, messages: Any, attempt: int) -> str:
    return everything_to("VM5")


def same(a: Records, b: Records) -> bool:
    return all((getattr(a, f.name) == getattr(b, f.name)).all() for f in fields(Records))


@pytest.mark.parametrize(
    "agents", [{"scheduler": to_vm5}, {"deployer": off}, {"scheduler": to_vm5, "deployer": off}], ids="-".join
)
async def test_bad_agents_are_overruled_slot_after_slot_and_the_rules_have_their_way(
    agents: dict[str, Reply], tmp_path: Path
) -> None:
    decisions, records = await Run()(tmp_path / "rehearsed", **agents)
    _, as_it_is = await Run(None)(tmp_path / "as it is", **agents)
    _, rules = await Run(None)(tmp_path / "rules")
    if "scheduler" in agents:
        assert outcomes(decisions, Role.SCHEDULER) == {(Outcome.OVERRULED, "rehearsal:backlog"): SLOTS}
    if "deployer" in agents:
        assert outcomes(decisions, Role.DEPLOYER) == {(Outcome.OVERRULED, "rehearsal:steady"): SLOTS * 6}
    assert same(records, rules)
    assert objective(records) < 0.5 * objective(as_it_is)


async def test_routes_are_kept_where_they_do_no_harm(tmp_path: Path) -> None:
    """A scheduler that does what the rule does, and from slot 4 on sends all of LM4 to VM4."""
    rule, run = BacklogScheduler(CLUSTER), Run(slots=8)
    policy = MacroPolicy.unrestricted(CLUSTER)

    async def watched() -> Snapshot:
        snapshot = await observe()
        rule.watch(snapshot)
        seen[snapshot.slot] = snapshot
        return snapshot

    observe, seen = run.testbed.observe, dict[int, Snapshot]()
    run.testbed.observe = watched  # type: ignore[method-assign]  # the rule looks on

    def scheduler(slot: int, node: str | None, messages: Any, attempt: int) -> str:
        targets = rule.route(seen[slot], policy, rule.forecast.traffic()).targets.copy()
        if slot >= 4:
            targets[:, 3] = 2
        return as_text(scheduler_answer(CLUSTER, RoutingPlan(targets)))

    decisions, _ = await run(tmp_path, scheduler=scheduler)
    plans = [d for d in decisions if d.role is Role.SCHEDULER]
    assert [(plan.rehearsal or {})["verdict"] for plan in plans] == 4 * ["kept"] + 4 * ["overruled"]
    assert {plan.outcome for plan in plans[:4]} == {Outcome.ACCEPTED}
    told = plans[-1].rehearsal or {}
    assert told["proposed_objective"] > told["incumbent_objective"]
    assert told["proposed"]["VM2"]["LM4"] == "VM4"


async def test_of_the_deployers_those_that_do_no_harm_are_kept(tmp_path: Path) -> None:
    cluster_of = {"VM7": CLUSTER.n_lms * (Allocation(),)}
    run = Run(slots=3)

    def deployer(slot: int, node: str | None, messages: Any, attempt: int) -> str | None:
        if node == "VM4":
            return None
        assert run.deps is not None
        assert run.deps.slot_rehearsal is not None
        assert run.deps.seen is not None
        n = CLUSTER.node_index[node or ""]
        step = run.deps.slot_rehearsal.steady(run.deps.seen, n, MacroPolicy.unrestricted(CLUSTER))
        own = step.allocations if step is not None else tuple(run.deps.seen.allocation(n, i) for i in range(4))
        return deployed(node, cluster_of.get(node or "", own))

    decisions, _ = await run(tmp_path, deployer=deployer)
    by_node = {node: [d for d in decisions if d.node == node] for node in ("VM2", "VM3", "VM4", "VM5", "VM6", "VM7")}
    assert {d.outcome for node in ("VM2", "VM3", "VM5", "VM6") for d in by_node[node]} == {Outcome.ACCEPTED}
    assert {(d.outcome, d.decided_by) for d in by_node["VM7"]} == {(Outcome.OVERRULED, "rehearsal:steady")}
    assert {(d.outcome, d.rehearsal) for d in by_node["VM4"]} == {(Outcome.FALLBACK, None)}


async def test_slots_of_a_cluster_that_is_too_large_are_not_rehearsed_and_that_is_counted(tmp_path: Path) -> None:
    decisions, _ = await Run(replace(SETTINGS, node_slots=100), slots=2)(tmp_path, scheduler=to_vm5, deployer=off)
    assert {d.outcome for d in decisions} == {Outcome.ACCEPTED}
    tally = DecisionTally()
    tally.add(decisions)
    figures = tally.figures({Role.SCHEDULER: "model", Role.DEPLOYER: "model"}, {})
    assert [figures[role].not_rehearsed for role in ("scheduler", "deployer")] == [2, 12]


class Killed(Exception):
    """Stands for kill -9."""


@pytest.mark.parametrize("at", ["VM6", None])
async def test_a_run_killed_among_its_deployers_decides_nothing_twice(at: str | None, tmp_path: Path) -> None:
    dies, asked = True, Counter[tuple[int, str | None]]()

    def deployer(slot: int, node: str | None, messages: Any, attempt: int) -> str:
        asked[slot, node] += 1
        if dies and (slot, node) == (4, at):
            raise Killed
        return off(slot, node, messages, attempt)

    def scheduler(slot: int, node: str | None, messages: Any, attempt: int) -> str:
        asked[slot, None] += 1
        if dies and (slot, at) == (4, None):
            raise Killed
        return to_vm5(slot, node, messages, attempt)

    with pytest.raises(Killed):
        await Run()(tmp_path, scheduler=scheduler, deployer=deployer)
    dies = False
    decisions, records = await Run()(tmp_path, scheduler=scheduler, deployer=deployer)
    whole, as_whole = await Run()(tmp_path / "whole", scheduler=to_vm5, deployer=off)
    assert decisions == whole
    assert same(records, as_whole)
    assert {slot for (slot, _), count in asked.items() if count > 1} == {4}
    assert asked[4, None] == (1 if at else 2)
