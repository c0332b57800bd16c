"""How long a run is where nobody says, and how many requests it may have."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import runtime.runs.length
from domain.errors import InputError
from domain.workload import Arrivals
from runtime.runs.length import affordable_slots, all_arrivals
from runtime.runs.remarks import Asked, Remarks
from tests.clusters import tiny
from tests.workload_files import BRISTOL, stream
from twin.workloads import load_workload


def trace(tmp_path: Path, last_s: float, requests: int = 50) -> str:
    rows = "".join(f"{last_s * k / (requests - 1):.3f},VM2,LM1,1\n" for k in range(requests))
    (tmp_path / "mine.csv").write_text("time_s,node,lm,prompts\n" + rows)
    return "{kind: trace, path: mine.csv}"


def test_a_week_is_affordable_for_one_family_of_rules_and_ten_epochs_always_are(tmp_path: Path) -> None:
    week = stream(tmp_path, trace(tmp_path, 14 * 86_400.0))
    assert affordable_slots(BRISTOL, week, ["RL"], seeds=1) == 20_000
    assert affordable_slots(BRISTOL, week, ["RR", "RL", "AL", "RF", "LL"], seeds=1) == 4_000
    assert affordable_slots(BRISTOL, week, ["RR", "RL", "AL", "RF", "LL", "RH"], seeds=1) == 1_150
    assert affordable_slots(BRISTOL, week, ["RL"], seeds=5) == 4_000
    assert affordable_slots(BRISTOL, week, ["RH"], seeds=8) == 500


def test_many_requests_shorten_what_is_affordable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.runs.length, "AFFORDABLE_REQUESTS", 1000)
    busy = stream(tmp_path, trace(tmp_path, 86_400.0, requests=2000))
    assert affordable_slots(BRISTOL, busy, ["RL"], seeds=1) == 1400
    assert affordable_slots(BRISTOL, busy, ["RL"], seeds=10) == 500


def test_a_run_of_more_requests_than_memory_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = load_workload("p1", BRISTOL, 1)
    assert len(all_arrivals(workload, 5)) == sum(len(workload.arrivals(slot)) for slot in range(5))
    monkeypatch.setattr(runtime.runs.length, "MOST_REQUESTS", 100)
    with pytest.raises(
        InputError, match=r"more than 100 requests in its first 5 slots of 900; give it a smaller --load"
    ):
        all_arrivals(workload, 900)


def test_requests_that_are_too_large_for_the_deadline_are_counted() -> None:
    cluster = tiny(deadline_s=20.0)  # draw takes 5 s for a prompt at best
    arrivals = Arrivals.of([0, 1, 2, 3], [0, 0, 0, 0], [0, 1, 1, 1], [1, 4, 5, 8])
    asked = Asked.of(cluster, arrivals) + Asked.of(cluster, arrivals)
    assert asked.warnings(cluster, 10) == [
        "4 of 6 requests of draw have more than the 4 prompts that its fastest node serves within the deadline of "
        "20 s; none of them can succeed."
    ]


def test_what_is_known_before_a_run_is_of_its_files_and_its_testbed(tmp_path: Path) -> None:
    never = dataclasses.replace(BRISTOL, deadline_s=1.0)
    known = Remarks.before(never, stream(tmp_path, trace(tmp_path, 900.0), cluster=never), 3)
    assert known.warnings[0].startswith("mine.csv (plain) for the LMs that it names: 5 of 50 requests are played in 3")
    assert known.warnings[1].startswith("No node can serve LM")
    again = load_workload("real", BRISTOL, 1)
    said = Remarks.before(BRISTOL, again, 200)
    assert said.warnings == ()
    assert any("10 of 96 windows are played in 200 slots; a round of them takes 1,920 slots" in n for n in said.notes)
