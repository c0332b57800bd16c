"""Shadows decide every slot on the same snapshot, act on nothing, and are compared with the family that acts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.decisions import Allocation, Deployment, RoutingPlan
from domain.errors import InputError
from domain.ledger import Outcome
from policies.families import FAMILIES, make
from runtime.agents.request import AgentRequest
from runtime.cli.commands.agent_runs import by_graph
from runtime.results.columns import PartWriter
from runtime.results.summary import FamilyResult
from runtime.results.tally import Tally
from runtime.runs.graph_families import GraphFamilies
from runtime.runs.loop import run_slots
from runtime.runs.shadow import Decisions, predict
from tests.agent_server import decides, serving, sound_answers
from tests.clusters import quiet
from tests.graph_families import CLUSTER, run_family
from tools.traffic import SlotTraffic, come_again
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
    assert (tmp_path / "graph" / "draft" / "slots.parquet").read_bytes() == (plain / "slots.parquet").read_bytes()
    assert done.result == FamilyResult.of(CLUSTER, code, 1, tally)
