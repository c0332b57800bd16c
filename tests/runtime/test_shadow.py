"""Shadows decide every slot on the same snapshot, act on nothing, and are compared with the family that acts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.decisions import Allocation, Deployment, MacroPolicy, RoutingPlan
from domain.errors import InputError
from domain.ledger import Outcome, Role
from domain.telemetry import Snapshot
from graph.gate.passage import Draft
from graph.slot.deps import Filling
from memory import open_memory
from policies.families import FAMILIES, make
from policies.random import RandomPlanner
from runtime.agents.request import AgentRequest
from runtime.cli.commands.agent_runs import by_graph
from runtime.results.columns import PartWriter
from runtime.results.summary import FamilyResult
from runtime.results.tally import Tally
from runtime.runs.graph_families import GraphFamilies
from runtime.runs.loop import run_slots
from runtime.runs.shadow import Decisions, Shadow, ShadowFailedError
from runtime.runs.shadowed import predict
from tests.agent_server import decides, serving, sound_answers
from tests.agents import deps_of
from tests.clusters import quiet
from tests.graph_families import CLUSTER, run_family
from tools.traffic import SlotTraffic, come_again
from twin.testbed import TwinTestbed
from twin.twin import Twin
from twin.workloads import load_workload

pytestmark = pytest.mark.usefixtures("small_effort")
SLOTS = 4 + 4  # with requests, and until the last deadline


def lines(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / "shadow.jsonl").read_text().splitlines()]


def test_shadows_change_nothing_in_the_run(tmp_path: Path) -> None:
    plain = run_family(tmp_path / "plain", "RL", via_graph=True)
    watched = run_family(tmp_path / "watched", "RL", via_graph=True, shadow=("RR", "AL"))
    assert watched.records == plain.records
    assert watched.result.decided_by == plain.result.decided_by
    assert plain.result.shadows == []


def test_what_a_shadow_decides_is_compared_slot_by_slot(tmp_path: Path) -> None:
    done = run_family(tmp_path, "RL", via_graph=True, shadow=("RR", "RL"))
    rr, same = done.result.shadows
    assert (rr.family, rr.slots, rr.routes_differ) == ("RR", SLOTS, 0.0), "RR and RL draw the same routes"
    assert rr.deployments_differ > 0
    assert (same.routes_differ, same.deployments_differ, same.predicted_regret) == (0.0, 0.0, 0.0)
    told = [line for line in lines(tmp_path) if line["shadow"] == "RR"]
    assert [line["slot"] for line in told] == list(range(SLOTS))
    assert told[0]["predicted_regret"] is None, "nothing has arrived yet that could come again"
    regrets = [line["predicted_regret"] for line in told[1:]]
    assert rr.predicted_regret == pytest.approx(np.mean(regrets))
    for line in told[1:]:
        assert line["predicted_regret"] == line["predicted_objective"] - line["shadow_predicted_objective"]
    decided = {d.run for d in done.decisions}
    assert decided == {"RL-seed1"}, "the ledger of the run is its own"


def test_agents_can_be_tried_as_a_shadow_before_they_act(tmp_path: Path) -> None:
    with serving(decides(sound_answers(CLUSTER, seed=0))) as server:
        done = run_family(tmp_path, "RL", base_url=server.base_url, model="m", via_graph=True, shadow=("MA",))
        assert len(server.requests) == 2 + SLOTS * 3
    assert {d.outcome for d in done.decisions} == {Outcome.RULE}
    assert done.result.agents == {}
    assert done.result.shadows[0].slots == SLOTS


def test_a_shadow_that_fails_costs_the_acting_run_nothing_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run_family(tmp_path / "plain", "RL", via_graph=True)
    routes, plans = Shadow._route, RandomPlanner.plan

    async def fails(self: Shadow, snapshot: Snapshot) -> Draft:
        if snapshot.slot == 2:
            raise ZeroDivisionError("no traffic")
        return await routes(self, snapshot)

    def fails_to_plan(self: Any, snapshot: Snapshot, history: Any, rng: Any) -> MacroPolicy:
        if snapshot.slot == 4:
            raise KeyError("LM7")
        return plans(self, snapshot, history, rng)

    monkeypatch.setattr(Shadow, "_route", fails)
    monkeypatch.setattr(RandomPlanner, "plan", fails_to_plan)
    done = run_family(tmp_path / "watched", "RL", via_graph=True, shadow=("random+average+lyapunov", "RR"))
    assert done.records == plain.records
    one, other = done.result.shadows
    assert (one.slots, one.failed, other.slots, other.failed) == (SLOTS - 2, 2, SLOTS - 1, 1)
    assert done.result.notes == [
        f"The shadow {shadow} could not decide {failed} of 8 slots; "
        "first in slot 2: internal: ZeroDivisionError: no traffic"
        for shadow, failed in ((one.family, 2), (other.family, 1))
    ]
    failed = [(line["slot"], line["shadow"], line["failed"]) for line in lines(done.home) if "failed" in line]
    assert (4, one.family, "internal: KeyError: 'LM7'") in failed
    assert [line["slot"] for line in lines(done.home) if line["shadow"] == one.family] == list(range(SLOTS))


async def test_a_slot_that_a_shadow_failed_in_is_found_in_its_ledger_and_is_not_decided_later(tmp_path: Path) -> None:
    testbed = TwinTestbed(Twin(CLUSTER), load_workload("p1", CLUSTER, 1))
    before = await testbed.observe()
    async with open_memory(tmp_path / "m.sqlite") as memory:
        acting = deps_of(make("RL", CLUSTER), testbed, memory, "acting")

        def shadow(rule: Any) -> Shadow:
            deps = deps_of(make("AL", CLUSTER), testbed, memory, "shadow")
            deps.planner = Filling("random", RandomPlanner(CLUSTER))
            deps.scheduler = Filling("x", rule)
            return Shadow(deps)

        class Fails:
            def schedule(self, *given: Any) -> RoutingPlan:
                raise OSError("disk full")

        with pytest.raises(ShadowFailedError, match="internal: OSError: disk full"):
            await shadow(Fails()).decide(before, acting)
        kept = await memory.decisions("shadow", 0)
        assert [(str(d.role), d.decided_by) for d in kept if d.role is not Role.DEPLOYER] == [
            ("planner", "rule:random"),
            ("scheduler", "fallback:failed"),
        ]
        acting.replaying = True  # the run goes on after a kill
        with pytest.raises(ShadowFailedError, match="internal: OSError: disk full"):
            await shadow(make("AL", CLUSTER).scheduler).decide(before, acting)
        assert await memory.decisions("shadow", 0) == kept


def test_the_prediction_prefers_serving_to_not_serving() -> None:
    snapshot = quiet(CLUSTER)
    traffic = SlotTraffic(np.array([[1, 0], [0, 0]]), np.array([[1, 0], [0, 0]]))
    arrivals = come_again([traffic], CLUSTER.slot_s, 0, 4)
    home = RoutingPlan(np.zeros((2, 2), dtype=np.int64))
    serves = Decisions(home, (Deployment(0, (Allocation(cores=4), Allocation())),))
    assert predict(CLUSTER, snapshot, Decisions(home, ()), arrivals) == 1.0
    assert predict(CLUSTER, snapshot, serves, arrivals) < 0.2


def test_a_shadow_that_acts_already_is_refused() -> None:
    def prepare(*shadows: str) -> GraphFamilies:
        asked = AgentRequest(shadow=shadows)
        return by_graph(asked, CLUSTER, ["RL"], lambda seed: load_workload("p1", CLUSTER, seed), 4)

    with pytest.raises(InputError, match="--shadow names RL"):
        prepare("RL")
    with pytest.raises(InputError, match="--shadow names RR"):
        prepare("RR", "rr")
    with pytest.raises(InputError, match="There is no policy family 'XX'"):
        prepare("XX")
    assert prepare("rr,al", "none+agent+random").settings.shadows == ("RR", "AL", "none+agent+random")


@pytest.mark.parametrize("code", list(FAMILIES))
def test_every_family_of_rules_is_the_same_through_the_graph(code: str, tmp_path: Path) -> None:
    """Beside bristol's in test_slot_graph: here with all the books, and with rules that watch."""
    done = run_family(tmp_path / "graph", code, 10, via_graph=True)
    plain = tmp_path / "plain"
    plain.mkdir()
    tally = Tally(CLUSTER)
    with PartWriter(plain, CLUSTER, code, 1) as writer:
        for result in run_slots(Twin(CLUSTER), make(code, CLUSTER), load_workload("p1", CLUSTER, 1), 10, 1):
            tally.add(result)
            writer.add(result)
    assert done.records == (plain / "records.parquet").read_bytes()
    for name in ("slots.parquet", "placements.parquet", "routes.parquet"):
        assert (tmp_path / "graph" / "draft" / name).read_bytes() == (plain / name).read_bytes()
    assert done.result == FamilyResult.of(CLUSTER, code, 1, tally)
