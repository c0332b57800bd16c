"""Models that hang, answer garbage, refuse, rate-limit or die: every slot ends on time, with counted fallbacks."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from domain.ledger import Decision, Outcome, Reason, Role
from graph.models.agent import Agent, Endpoint
from graph.models.breaker import CircuitBreaker
from graph.models.budget import Limits
from graph.slot.state import SlotState
from runtime.agents.filling import Models, make_deps
from runtime.agents.settings import AgentSettings
from runtime.runs.graph_run import GraphRun
from tests.agent_server import sound_answers
from tests.clusters import tiny
from tests.plain_memory import PlainMemory
from tests.scripted import Reply, ScriptedChatModel, answers, hangs, is_dead, rate_limits, refuses, takes, truncates
from twin.testbed import TwinTestbed
from twin.twin import Twin
from twin.workloads import load_workload

pytestmark = pytest.mark.looptime
CLUSTER = tiny()
SLOTS, SLOT_S = 6, 30.0
PER_SLOT = 1 + CLUSTER.n_nodes
"""Scheduler and deployers; the planner comes at slots 0 and 4."""
SOUND = sound_answers(CLUSTER, seed=0)


def sound(role: Role) -> Reply:
    return lambda messages, options: SOUND(role, [str(message.content) for message in messages])


async def run(
    reply: Reply, *roles: Role, dies_at: int = 0, limits: Limits | None = None, timeout_s: float = 10.0
) -> tuple[list[Decision], list[float]]:
    """Run with `reply` in these roles (all where none is named) from slot `dies_at` on; what was decided, how long."""
    loop, seconds = asyncio.get_running_loop(), list[float]()
    endpoint = Endpoint("scripted", CircuitBreaker(clock=loop.time))
    limits = limits or Limits(seconds=SLOT_S)
    slot = 0

    def agent(role: Role) -> Agent:
        good = sound(role)

        def say(messages: Any, options: Any) -> Any:
            bad = slot >= dies_at and role in (roles or tuple(Role))
            return (reply if bad else good)(messages, options)

        return Agent(role, ScriptedChatModel(reply=say), "scripted", endpoint, timeout_s)

    models = Models(AgentSettings({}, limits=limits), {role: agent(role) for role in Role}, loop.time)
    memory, began = PlainMemory(), loop.time()
    testbed = TwinTestbed(Twin(CLUSTER), load_workload("p1", CLUSTER, 1))

    async def passed(state: SlotState) -> None:
        nonlocal slot, began
        slot += 1
        seconds.append(loop.time() - began)
        began = loop.time()

    deps = make_deps("MA", testbed, memory, "run", 1, models)
    await GraphRun(deps, InMemorySaver(), SLOTS, replays=True, on_slot=passed).run()
    assert len(memory.kept) == SLOTS * PER_SLOT + 2
    return sorted(memory.kept.values(), key=lambda d: d.slot), seconds


def fallen(decisions: list[Decision]) -> Counter[Reason | None]:
    return Counter(d.reason for d in decisions if d.outcome is Outcome.FALLBACK)


async def test_a_model_that_hangs_costs_the_slot_its_time_limits_and_no_more() -> None:
    decisions, seconds = await run(hangs())
    assert set(fallen(decisions)) <= {Reason.TIMEOUT, Reason.BREAKER_OPEN, Reason.BUDGET}
    assert {d.outcome for d in decisions} == {Outcome.FALLBACK}
    assert max(seconds) <= SLOT_S + 1e-6
    assert seconds[2] == 0.0, "the breaker is open: nobody waits for a server that keeps hanging"


async def test_the_seconds_of_a_slot_are_shared_by_all_that_is_asked_in_it() -> None:
    slow = takes(8.0, "no answer at all")
    decisions, seconds = await run(slow, limits=Limits(seconds=20.0))
    assert max(seconds) <= 20.0 + 1e-6
    assert fallen(decisions)[Reason.BUDGET] > 0
    generous, longer = await run(slow, limits=Limits())
    assert longer[0] == pytest.approx(6 * 8.0), "planner, scheduler, deployers: two questions each, one after another"
    assert fallen(generous) == {Reason.INVALID_JSON: len(generous)}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answers("I would rather not write JSON."), Reason.INVALID_JSON),
        (answers('{"a": 1, "a": 2}'), Reason.INVALID_JSON),
        (answers("{}"), Reason.SCHEMA),
        (answers("x" * 1_000_000), Reason.INVALID_JSON),
        (refuses(), Reason.REFUSAL),
        (truncates('{"reasoning": "and so'), Reason.TRUNCATED),
    ],
    ids=["prose", "duplicate keys", "empty", "huge", "refusal", "cut off"],
)
async def test_what_is_no_answer_is_counted_by_its_reason_in_every_role(reply: Reply, reason: Reason) -> None:
    decisions, seconds = await run(reply)
    assert fallen(decisions) == {reason: len(decisions)}
    assert max(seconds) == 0.0


async def test_rate_limits_are_waited_for_within_the_time_of_the_slot() -> None:
    decisions, seconds = await run(rate_limits(retry_after_s=3.0))
    assert set(fallen(decisions)) == {Reason.RATE_LIMIT, Reason.BREAKER_OPEN}
    assert 3.0 <= max(seconds) <= SLOT_S


async def test_a_model_that_dies_in_the_middle_of_an_epoch_leaves_what_it_planned_in_force() -> None:
    decisions, seconds = await run(is_dead(), dies_at=2)
    assert {d.outcome for d in decisions if d.slot < 2} == {Outcome.ACCEPTED}
    assert {d.outcome for d in decisions if d.slot >= 2} == {Outcome.FALLBACK}
    assert set(fallen(decisions)) == {Reason.CONNECTION, Reason.BREAKER_OPEN}
    roles = next(d for d in decisions if d.role is Role.PLANNER).decision["roles"]
    for decision in decisions:
        if decision.role is Role.DEPLOYER and 2 <= decision.slot < 4:
            on = {lm for lm, cell in decision.decision.items() if cell != "off"}
            assert on <= set(roles[str(decision.node)]), "a fallback within the plan of the model that died"
    assert max(seconds) <= SLOT_S


async def test_one_role_that_fails_costs_the_others_nothing() -> None:
    decisions, _ = await run(answers("no"), Role.SCHEDULER)
    by_role = Counter((d.role, d.outcome) for d in decisions)
    assert by_role == {
        (Role.PLANNER, Outcome.ACCEPTED): 2,
        (Role.SCHEDULER, Outcome.FALLBACK): SLOTS,
        (Role.DEPLOYER, Outcome.ACCEPTED): SLOTS * CLUSTER.n_nodes,
    }


async def test_every_fallback_that_can_be_chosen_passes_the_rules_it_stands_in_for() -> None:
    for fallback in ("random", "random+average+lyapunov", "rehearsal+backlog+lyapunov"):
        settings = AgentSettings({}, limits=Limits(seconds=SLOT_S), fallback=fallback)
        agent = Agent(Role.PLANNER, ScriptedChatModel(reply=answers("no")), "scripted")
        models = Models(settings, {role: dataclasses.replace(agent, role=role) for role in Role})
        memory, testbed = PlainMemory(), TwinTestbed(Twin(CLUSTER), load_workload("p1", CLUSTER, 1))
        deps = make_deps("MA", testbed, memory, "run", 1, models)
        await GraphRun(deps, InMemorySaver(), 9, replays=True).run()
        names = {d.decided_by.removeprefix("fallback:") for d in memory.kept.values()}
        assert names == set(fallback.split("+"))
