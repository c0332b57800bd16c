"""An outage of a model server costs a run on the twin what it would have cost live, and no run waits for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.exceptions import ModelConnectionError
from langgraph.checkpoint.memory import InMemorySaver

from domain.ledger import Decision, Outcome, Reason, Role
from graph.models.agent import Abilities, Agent, Endpoint
from graph.models.breaker import CircuitBreaker
from graph.models.budget import Limits
from graph.models.slot_clock import SlotClock
from runtime.agents.filling import Models, make_deps
from runtime.agents.settings import AgentSettings
from runtime.runs.graph_run import GraphRun
from runtime.runs.waiting import WaitingTestbed
from tests.agent_server import sound_answers
from tests.clusters import tiny
from tests.plain_memory import PlainMemory
from tests.scripted import ScriptedChatModel
from twin.testbed import TwinTestbed
from twin.twin import Twin
from twin.workloads import load_workload

pytestmark = pytest.mark.looptime
CLUSTER = tiny()
SOUND = sound_answers(CLUSTER, seed=0)
SLOT_S, ANSWER_S = 30.0, 0.05


class Refused(Exception):
    """A server that refuses, for good."""

    status_code = 401


@dataclass
class Run:
    """What a run came to."""

    decisions: list[Decision]
    seconds: float
    said: list[str]
    reasons: Counter[Reason | None] = field(init=False)

    def __post_init__(self) -> None:
        fallen = [d for d in self.decisions if d.outcome is Outcome.FALLBACK]
        self.reasons, self.slots = Counter(d.reason for d in fallen), {d.slot for d in fallen}

    @property
    def share(self) -> float:
        """Of the decisions that the agents made."""
        return 1.0 - self.reasons.total() / len(self.decisions)


async def run(
    slots: int, away: Any, patience_s: float = 300.0, error: Exception | None = None, given_up: bool = False
) -> Run:
    """A run of agents on a server that fails while `away` says so of the seconds since its start."""
    loop = asyncio.get_running_loop()
    began, said = loop.time(), list[str]()
    world = SlotClock(SLOT_S, loop.time)
    endpoint = Endpoint("http://model.test/v1", CircuitBreaker(clock=world), {"scripted": Abilities(given_up=given_up)})

    async def say(role: Role, messages: Any) -> Any:
        if away(loop.time() - began):
            return error or ModelConnectionError("Connection error.")
        await asyncio.sleep(ANSWER_S)
        return SOUND(role, [str(message.content) for message in messages])

    def agent(role: Role) -> Agent:
        model = ScriptedChatModel(reply=lambda messages, options: say(role, messages))
        return Agent(role, model, "scripted", endpoint, 10.0)

    settings = AgentSettings({}, limits=Limits(seconds=SLOT_S))
    models = Models(settings, {role: agent(role) for role in Role}, loop.time)
    memory = PlainMemory()
    testbed = TwinTestbed(Twin(CLUSTER), load_workload("p1", CLUSTER, 1))
    waiting = WaitingTestbed(testbed, world, [endpoint], patience_s, said.append)
    deps = make_deps("MA", waiting, memory, "run", 1, models)
    await GraphRun(deps, InMemorySaver(), slots, replays=True).run()
    return Run(sorted(memory.kept.values(), key=lambda d: d.slot), loop.time() - began, said)


@pytest.mark.parametrize(("slots", "share"), [(50, 0.97), pytest.param(150, 0.99, marks=pytest.mark.live)])
async def test_an_outage_of_12_seconds_costs_the_one_slot_that_it_would_cost_live(slots: int, share: float) -> None:
    done = await run(slots, lambda s: 2.0 < s < 14.0)
    assert len(done.slots) == 1
    assert done.share > share
    assert 30.0 < done.seconds < slots * 4 * ANSWER_S + SLOT_S + 1.0
    assert len(done.said) == 2
    assert done.said[0].startswith("http://model.test/v1 does not answer (connection: Connection error.): slots last")
    assert done.said[1].startswith("the server answers again, after ")


@pytest.mark.parametrize(("slots", "share"), [(50, 0.91), pytest.param(150, 0.97, marks=pytest.mark.live)])
async def test_a_server_that_loads_for_40_seconds_costs_the_slots_that_it_would_cost_live(
    slots: int, share: float
) -> None:
    done = await run(slots, lambda s: s < 40.0)
    assert done.slots <= {0, 1, 2, 3}, "40 s of loading, and the rest of a breaker's pause of 60 s"
    assert done.share > share


async def test_without_patience_an_outage_costs_slots_and_not_the_run() -> None:
    done = await run(150, lambda s: 2.0 < s < 14.0, patience_s=0.0)
    assert done.said == []
    assert 0.8 < done.share < 1.0
    assert done.seconds < 60.0


async def test_a_server_that_stays_away_is_waited_for_as_long_as_the_run_is_patient_and_no_longer() -> None:
    done = await run(60, lambda s: s > 1.0, patience_s=100.0)
    assert len(done.said) == 2
    assert done.said[1].startswith("no answer in 100 s: the run goes on")
    waited = 100.0 + (4 - 1) * 3.5 + 60 / 3 * 3.5
    assert done.seconds < waited + 60.0
    assert set(done.reasons) == {Reason.CONNECTION, Reason.BREAKER_OPEN}


async def test_a_server_that_refuses_is_not_waited_for() -> None:
    done = await run(20, lambda s: True, error=Refused("Incorrect API key provided"))
    assert done.seconds < 1.0
    assert done.said == []
    assert set(done.reasons) == {Reason.REJECTED_BY_SERVER, Reason.BREAKER_OPEN}


async def test_a_server_that_answers_some_is_not_away() -> None:
    calls = [0]

    def every_third(_: float) -> bool:
        calls[0] += 1
        return calls[0] % 7 == 0

    done = await run(30, every_third, error=TimeoutError("too slow"))
    assert done.seconds < 30 * 5.0
    assert done.said == []


async def test_a_server_that_was_given_up_before_the_first_slot_is_waited_for_once_it_has_answered() -> None:
    done = await run(40, lambda s: s < 8.0 or 12.0 < s < 20.0, given_up=True)
    assert len(done.said) == 2, "of the second outage alone"
    assert min(done.slots) == 0


async def test_each_outage_is_waited_for_anew() -> None:
    done = await run(60, lambda s: 2.0 < s < 14.0 or 34.0 < s < 46.0, patience_s=120.0)
    assert len(done.slots) <= 1 + 4, "the second opens the breaker, for two slots more"
    assert [line.partition(" answer")[0].rpartition(" ")[2] for line in done.said] == ["not", "server"] * 2
