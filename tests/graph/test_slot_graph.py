"""The slot graph on the twin: families run through it, agents pass the gate or fall back, nothing is decided twice."""

from __future__ import annotations

import asyncio
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.decisions import MacroPolicy
from domain.ledger import NOTHING, Decision, Outcome, Reason, Role
from domain.telemetry import Records, Snapshot
from graph.slot.deps import Filling
from graph.slot.state import SlotState
from memory import MemoryAway
from policies.families import FAMILIES, make
from policies.roles import DEPLOYER, SCHEDULER, generator
from runtime.results.role_figures import DecisionTally
from tests.agents import asker, bristol_run, good_deployment, good_plan, good_routing
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

CLUSTER = load_builtin("bristol")
PLAN = good_plan(CLUSTER)
ROUTING = good_routing(CLUSTER, PLAN)


def agents(calls: list[tuple[int, str | None, int]] | None = None, **replies: Any) -> dict[str, Any]:
    """All three roles filled by agents that answer well, but for `replies` by role."""
    plain = {
        "planner": lambda slot, node, messages, attempt: PLAN,
        "scheduler": lambda slot, node, messages, attempt: ROUTING,
        "deployer": lambda slot, node, messages, attempt: good_deployment(CLUSTER, PLAN, node),
    }
    return {role: Filling("model", asker=asker(reply, calls)) for role, reply in {**plain, **replies}.items()}


def same(a: Records, b: Records) -> None:
    for f in fields(Records):
        np.testing.assert_array_equal(getattr(a, f.name), getattr(b, f.name), err_msg=f.name)


def plain_loop(code: str, slots: int, seed: int = 3) -> Records:
    """The family on the twin with no graph around it."""
    twin, family = Twin(CLUSTER), make(code, CLUSTER)
    workload, policy, parts = load_workload("p1", CLUSTER, seed), MacroPolicy.unrestricted(CLUSTER), []
    for slot in range(slots):
        snapshot = twin.observe()
        twin.route(family.scheduler.schedule(snapshot, policy, generator(seed, SCHEDULER, slot)))
        for n in range(CLUSTER.n_nodes):
            deployment = family.deployer.deploy(snapshot, n, policy, generator(seed, DEPLOYER, slot, n))
            if deployment is not None:
                twin.deploy(deployment)
        parts.append(twin.advance(workload.arrivals(slot)))
    return Records.concatenate(parts)


@pytest.mark.parametrize("code", ["RR", "RL", "AL", "RF", "LL"])
async def test_a_family_of_rules_gives_the_records_of_the_plain_twin(code: str, tmp_path: Path) -> None:
    assert code in FAMILIES
    async with bristol_run(tmp_path, code, slots=25, epoch_slots=20) as run:
        await run.run()
        same(await run.deps.memory.records("test"), plain_loop(code, 25))


async def test_good_agents_are_accepted_in_every_role(tmp_path: Path) -> None:
    async with bristol_run(tmp_path, slots=3, **agents()) as run:
        await run.run()
        decisions = await run.deps.memory.decisions("test")
    assert len(decisions) == 1 + 3 * (1 + CLUSTER.n_nodes)
    assert {d.outcome for d in decisions} == {Outcome.ACCEPTED}
    assert {d.decided_by for d in decisions} == {"agent:model"}


async def test_a_broken_plan_is_repaired_when_the_model_sees_its_violations(tmp_path: Path) -> None:
    shown: list[str] = []

    def planner(slot: int, node: str | None, messages: Any, attempt: int) -> str:
        if attempt == 0:
            return PLAN.replace('"VM2"', '"VM9"')
        shown.append(messages[-1]["content"])
        return PLAN

    async with bristol_run(tmp_path, slots=1, **agents(planner=planner)) as run:
        await run.run()
        (plan,) = await run.deps.memory.decisions("test", role=Role.PLANNER)
    assert plan.outcome == Outcome.REPAIRED
    assert plan.attempts[0].violations
    assert "VM9" in shown[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("not json", Reason.INVALID_JSON),
        ('{"routes": 3}', Reason.SCHEMA),
        (None, Reason.CONNECTION),
        (json.dumps({"reasoning": "", "routes": {}}), Reason.SCHEMA),
    ],
)
async def test_what_does_not_pass_twice_falls_back_to_random_and_says_why(
    answer: str | None, reason: Reason, tmp_path: Path
) -> None:
    bad = agents(scheduler=lambda slot, node, messages, attempt: answer)
    async with bristol_run(tmp_path, slots=2, **bad) as run:
        await run.run()
        plans = await run.deps.memory.decisions("test", role=Role.SCHEDULER)
    assert [(p.outcome, p.decided_by, p.reason) for p in plans] == 2 * [(Outcome.FALLBACK, "fallback:random", reason)]
    assert len(plans[0].attempts) == (1 if answer is None else 2)


async def test_a_node_on_which_nothing_can_run_is_not_asked_about(tmp_path: Path) -> None:
    nodes = (replace(CLUSTER.nodes[0], cpu_cores=0, spare_cores=0.5), *CLUSTER.nodes[1:])
    cluster, calls = replace(CLUSTER, nodes=nodes), list[tuple[int, str | None, int]]()
    plan = good_plan(cluster)
    replies: dict[str, Any] = {
        "planner": lambda slot, node, messages, attempt: plan,
        "scheduler": lambda slot, node, messages, attempt: good_routing(cluster, plan),
        "deployer": lambda slot, node, messages, attempt: good_deployment(cluster, plan, node or ""),
    }
    fillings: dict[str, Any] = {role: Filling("model", asker=asker(reply, calls)) for role, reply in replies.items()}
    async with bristol_run(tmp_path, slots=2, cluster=cluster, **fillings) as run:
        await run.run()
        decisions = await run.deps.memory.decisions("test", role=Role.DEPLOYER)
    assert "VM2" not in {node for _, node, _ in calls}
    assert {d.decided_by for d in decisions if d.node == "VM2"} == {NOTHING}
    assert {d.outcome for d in decisions if d.node != "VM2"} == {Outcome.ACCEPTED}
    tally = DecisionTally()
    tally.add(decisions)
    assert tally.decided_by == {("deployer", "agent:model"): 2 * 5}


async def test_one_bad_node_costs_the_others_nothing(tmp_path: Path) -> None:
    def deployer(slot: int, node: str | None, messages: Any, attempt: int) -> str | None:
        return None if node == "VM4" else good_deployment(CLUSTER, PLAN, node or "")

    async with bristol_run(tmp_path, slots=2, **agents(deployer=deployer)) as run:
        await run.run()
        by_node = {d.node: d.outcome for d in await run.deps.memory.decisions("test", 1, Role.DEPLOYER)}
    assert by_node.pop("VM4") == Outcome.FALLBACK
    assert set(by_node.values()) == {Outcome.ACCEPTED}


async def test_an_agent_that_leaves_the_roles_is_stopped(tmp_path: Path) -> None:
    roles = json.loads(PLAN)["roles"]
    wrong = json.loads(ROUTING)
    lm, node = next(
        (lm.name, node.name)
        for n, node in enumerate(CLUSTER.nodes)
        for i, lm in enumerate(CLUSTER.lms)
        if CLUSTER.feasible[n, i] and lm.name not in roles[node.name]
    )
    wrong["routes"]["VM3"][lm] = node
    bad = agents(scheduler=lambda slot, n, messages, attempt: json.dumps(wrong))
    async with bristol_run(tmp_path, slots=1, **bad) as run:
        await run.run()
        (plan,) = await run.deps.memory.decisions("test", role=Role.SCHEDULER)
    assert plan.outcome == Outcome.FALLBACK
    assert "not among the roles" in plan.attempts[1].violations[0]


class Killed(Exception):
    """Stands for kill -9."""


@pytest.mark.parametrize("at", [(2, None, 0), (2, "VM3", 0), (2, "VM7", 0)])
async def test_a_killed_run_goes_on_at_its_slot_and_decides_nothing_twice(
    at: tuple[int, str | None, int], tmp_path: Path
) -> None:
    calls: list[tuple[int, str | None, int]] = []
    dies = True

    def deployer(slot: int, node: str | None, messages: Any, attempt: int) -> str:
        if dies and (slot, node, attempt) == at:
            raise Killed
        return good_deployment(CLUSTER, PLAN, node or "")

    def scheduler(slot: int, node: str | None, messages: Any, attempt: int) -> str:
        if dies and (slot, node, attempt) == at:
            raise Killed
        return ROUTING

    filled = agents(calls, deployer=deployer, scheduler=scheduler)
    with pytest.raises(Killed):
        async with bristol_run(tmp_path, slots=5, **filled) as run:
            await run.run()
    dies = False
    async with bristol_run(tmp_path, slots=5, **filled) as run:
        assert await run.run() == 2
        records, decisions = await run.deps.memory.records("test"), await run.deps.memory.decisions("test")
    async with bristol_run(tmp_path, slots=5, run="whole", **agents()) as run:
        await run.run()
        same(records, await run.deps.memory.records("whole"))
    keys = [(d.slot, d.role, d.node) for d in decisions]
    assert len(keys) == len(set(keys)) == 1 + 5 * 7
    planner_calls = [c for c in calls if c == (0, None, 0)]
    assert len(planner_calls) == 2  # planner and scheduler of slot 0, once each


async def test_cases_grow_and_reach_the_planner_of_the_next_epoch(tmp_path: Path) -> None:
    prompts: list[str] = []

    def planner(slot: int, node: str | None, messages: Any, attempt: int) -> str:
        prompts.append("\n".join(m["content"] for m in messages))
        return PLAN

    async with bristol_run(tmp_path, slots=21, epoch_slots=10, **agents(planner=planner)) as run:
        await run.run()
        cases = await run.deps.memory.cases("bristol")
    assert [case.epoch for case in cases] == [0, 1]
    assert len(prompts) == 3
    assert f"F {cases[0].fairness:.3g}" in prompts[1]
    assert len(prompts[2]) > len(prompts[1]) > len(prompts[0])


async def test_a_person_can_refuse_a_plan(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    async def no(question: dict[str, Any]) -> bool:
        asked.append(question)
        return False

    async with bristol_run(tmp_path, slots=2, **agents()) as run:
        await type(run)(run.deps, run.checkpointer, 2, True, approver=no).run()
        (plan,) = await run.deps.memory.decisions("test", role=Role.PLANNER)
    proposed = json.loads(PLAN)
    policy = MacroPolicy.from_json(CLUSTER, proposed["routing"], proposed["roles"])
    assert [question["macro_policy"] for question in asked] == [policy.to_json(CLUSTER)]
    assert (plan.outcome, plan.reason) == (Outcome.FALLBACK, Reason.DISAPPROVED)


async def test_a_run_killed_while_a_person_is_asked_asks_again_and_keeps_the_answer_of_the_model(
    tmp_path: Path,
) -> None:
    calls: list[tuple[int, str | None, int]] = []

    async def dies(question: dict[str, Any]) -> bool:
        raise Killed

    async def yes(question: dict[str, Any]) -> bool:
        return True

    with pytest.raises(Killed):
        async with bristol_run(tmp_path, slots=2, **agents(calls)) as run:
            await type(run)(run.deps, run.checkpointer, 2, True, approver=dies).run()
    async with bristol_run(tmp_path, slots=2, **agents(calls)) as run:
        await type(run)(run.deps, run.checkpointer, 2, True, approver=yes).run()
        (plan,) = await run.deps.memory.decisions("test", role=Role.PLANNER)
    assert plan.outcome == Outcome.ACCEPTED
    assert calls.count((0, None, 0)) == 2  # planner once, scheduler once


async def test_shards_decide_what_single_tasks_decide(tmp_path: Path) -> None:
    seen: list[list[Decision]] = []
    for name, above in (("one", 200), ("shards", 0)):
        (tmp_path / name).mkdir()
        async with bristol_run(tmp_path / name, slots=3, **agents()) as run:
            run.deps.gate = type(run.deps.gate)(shard_above=above, shard_nodes=4)
            await run.run()
            seen.append(await run.deps.memory.decisions("test"))
    assert seen[0] == seen[1]


async def test_the_state_says_how_the_slot_went(tmp_path: Path) -> None:
    states: list[SlotState] = []

    async def keep(state: SlotState) -> None:
        states.append(state)
        await asyncio.sleep(0)

    async with bristol_run(tmp_path, slots=3, **agents()) as run:
        await type(run)(run.deps, run.checkpointer, 3, True, on_slot=keep).run()
    assert [s["completed"] for s in states] == [0, 1, 2]
    assert all(len(s["decisions"]) == (8 if s["slot"] == 0 else 7) for s in states)
    assert states[2]["outcome"]["arrived_requests"] > 0
    assert type(states[2]["decisions"][0]["outcome"]) is str  # plain data: nothing that a checkpoint has to be told of
    json.dumps(states[2])


async def test_a_node_that_cannot_be_read_stays_as_it_is_and_nobody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, str | None, int]] = []
    async with bristol_run(tmp_path, slots=3, **agents(calls)) as run:
        observe = run.deps.testbed.observe

        async def blind() -> Snapshot:
            snapshot = await observe()
            age = snapshot.age_s.copy()
            age[2] = np.nan if snapshot.slot == 1 else 0.0
            return replace(snapshot, age_s=age)

        monkeypatch.setattr(run.deps.testbed, "observe", blind)  # a world that loses sight of a node
        await run.run()
        (unread,) = [d for d in await run.deps.memory.decisions("test", 1, Role.DEPLOYER) if d.node == "VM4"]
    assert (unread.outcome, unread.reason, unread.decision) == (Outcome.FALLBACK, Reason.UNREAD, {})
    assert [(0, "VM4", 0) in calls, (1, "VM4", 0) in calls, (2, "VM4", 0) in calls] == [True, False, True]


class Away:
    """A memory whose store is away: what is written waits in a journal, reads fail."""

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> None:
            if not name.startswith("put_"):
                raise MemoryAway("nobody there")

        return call


async def test_a_memory_that_is_away_does_not_stop_a_run(tmp_path: Path) -> None:
    states: list[SlotState] = []

    async def keep(state: SlotState) -> None:
        states.append(state)

    async with bristol_run(tmp_path, slots=21, epoch_slots=20, **agents()) as run:
        run.deps.memory = Away()
        await type(run)(run.deps, run.checkpointer, 21, True, on_slot=keep).run()
        assert run.deps.last_case is not None
        assert run.deps.last_case.ended > 0
    assert states[-1]["completed"] == 20


async def test_a_copy_of_the_plan_in_force_is_compared_once_however_many_ask(tmp_path: Path) -> None:
    compared = []

    class Copy(dict[str, Any]):
        def __ne__(self, other: object) -> bool:
            compared.append(other)
            return dict(self) != other

    async with bristol_run(tmp_path) as run:
        first = run.deps.policy(json.loads(PLAN))
        copied = Copy(json.loads(PLAN))
        assert all(run.deps.policy(copied) is first for _ in range(5))
    assert len(compared) == 1
