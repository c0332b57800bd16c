"""Runs of MA and MAL over HTTP where origins choose: from settings to run folder, and again from a tape."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.decisions import RoutingPlan
from domain.ledger import Outcome, Role
from domain.serving import Dispatch
from tests.agent_server import contents, decides, role_of, serving, sound_answers
from tests.clusters import opened
from tests.graph_families import CLUSTER, run_family

SLOTS = 4 + 4  # with requests, and until the last deadline


@pytest.mark.parametrize("dispatch", [Dispatch.ARRIVAL, Dispatch.SPLIT])
@pytest.mark.parametrize("family", ["MA", "MAL"])
def test_agents_schedule_in_both_open_ways_and_the_ledger_holds_their_plans(
    family: str, dispatch: Dispatch, tmp_path: Path
) -> None:
    cluster = opened(CLUSTER, dispatch)
    with serving(decides(sound_answers(cluster, seed=0))) as server:
        done = run_family(tmp_path, family, cluster=cluster, base_url=server.base_url, model="m")
    plans = [d for d in done.decisions if d.role is Role.SCHEDULER]
    assert [d.outcome for d in plans] == SLOTS * [Outcome.ACCEPTED]
    assert all(RoutingPlan.from_json(cluster, d.decision).is_open for d in plans)
    asked = [contents(body)[0] for body in server.requests if role_of(body) == "scheduler"]
    assert len(asked) == SLOTS
    assert all("its origin" in told for told in asked)
    assert [case.testbed for case in done.cases] == [f"tiny (dispatch {dispatch})"] * len(done.cases)
    assert done.cases


def test_a_tape_plays_a_run_in_which_origins_choose_again(tmp_path: Path) -> None:
    cluster, tape = opened(CLUSTER, Dispatch.SPLIT), tmp_path / "run.tape"
    with serving(decides(sound_answers(cluster, seed=0))) as server:
        one = run_family(tmp_path / "one", "MA", cluster=cluster, base_url=server.base_url, model="m", tape=tape)
    two = run_family(tmp_path / "two", "MA", cluster=cluster, model="m", replay_tape=tape)
    assert [d.decision for d in two.decisions] == [d.decision for d in one.decisions]
