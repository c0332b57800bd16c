"""Whole runs with rehearsal: over HTTP and from a tape, the report, and the options that steer it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from domain.decisions import MacroPolicy
from domain.errors import InputError
from domain.ledger import Outcome
from graph.rehearsal.plans import RehearsalSettings
from graph.slot.deps import Deps, Filling
from graph.slot.planner_tools import rehearsal_rules
from graph.slot.rehearsing import rehearse
from policies.families import make
from runtime.agents.request import AgentRequest
from runtime.agents.settings import read_request
from runtime.cli.commands.agent_runs import ask_on_terminal
from runtime.report.tables import report
from runtime.results.summary import BoundFigures, FamilyResult, PredictionFigures, RoleFigures, Summary, Telemetry
from runtime.results.tally import Tally
from runtime.runs.loop import run_slots
from tests.agent_server import decides, serving, sound_answers
from tests.agents import asker, deps_of
from tests.clusters import tiny
from tests.graph_families import run_family
from tests.plain_memory import PlainMemory
from twin.testbed import TwinTestbed
from twin.twin import Twin
from twin.workloads import load_workload

CLUSTER = tiny(deadline_s=60.0)
ANSWERS = sound_answers(CLUSTER, seed=0)  # which gives both nodes a role
SLOTS = 7  # with requests, and two more: the epoch that begins with the last one closes the one before
# The first run on a machine compiles the twin.
pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("small_effort")]


def test_a_tape_plays_a_rehearsed_run_again_bit_by_bit(tmp_path: Path) -> None:
    tape = tmp_path / "run.tape"
    with serving(decides(ANSWERS)) as server:
        asked: dict[str, Any] = {"cluster": CLUSTER, "rehearse": "all", "model": "m"}
        first = run_family(tmp_path / "first", "MA", SLOTS, base_url=server.base_url, tape=tape, **asked)
        known = len(server.requests)
        again = run_family(tmp_path / "again", "MA", SLOTS, replay_tape=tape, **asked)
        assert len(server.requests) == known
    assert again.records == first.records
    assert again.decisions == first.decisions
    assert again.result == first.result
    assert any(d.outcome is Outcome.OVERRULED for d in first.decisions)
    assert first.result.predictions is not None


def test_a_model_that_never_makes_sense_leaves_a_rehearsed_run_to_family_rh(tmp_path: Path) -> None:
    def nonsense(role: str, messages: Sequence[str]) -> str:
        return "I would rather talk about boats."

    with serving(decides(nonsense)) as server:
        told = run_family(
            tmp_path / "ma", "MA", SLOTS, cluster=CLUSTER, base_url=server.base_url, model="m", rehearse="all"
        ).result
    rule = run_family(tmp_path / "rh", "RH", SLOTS, cluster=CLUSTER, via_graph=True).result
    assert {role: set(by) for role, by in told.decided_by.items()} == {
        "planner": {"fallback:rehearsal"},
        "scheduler": {"fallback:backlog"},
        "deployer": {"fallback:steady"},
    }
    assert told.telemetry == rule.telemetry
    assert told.predictions == rule.predictions


def test_family_rh_is_compared_with_its_predictions_in_both_loops(tmp_path: Path) -> None:
    by_graph = run_family(tmp_path, "RH", SLOTS, cluster=CLUSTER, via_graph=True).result
    tally = Tally(CLUSTER)
    for result in run_slots(Twin(CLUSTER), make("RH", CLUSTER), load_workload("p1", CLUSTER, 1), SLOTS, 1):
        tally.add(result)
    assert by_graph.predictions == PredictionFigures.of(tally.predictions)
    assert tally.predictions.plans > 0


def told(**changes: object) -> FamilyResult:
    telemetry = Telemetry(
        arrived={"chat": 10}, succeeded={"chat": 10}, success_ratio={"chat": 1.0}, mean_latency_s={"chat": 9.0},
        p95_latency_s={"chat": 9.0}, global_mean_latency_s=9.0, global_p95_latency_s=9.0, fairness=1.0,
        latency_norm=0.01, objective=0.005,
    )  # fmt: skip
    role = RoleFigures(
        model="m", outcomes={"accepted": 3, "overruled": 4, "fallback": 1}, reasons={"timeout": 1}, not_rehearsed=2,
        questions=8, prompt_tokens=1, completion_tokens=1, seconds=1.0,
    )  # fmt: skip
    predictions = PredictionFigures(
        plans=4, predicted_objective=0.0091, objective=0.0095, objective_error=0.0005, predicted_fairness=1.0,
        fairness=1.0, fairness_error=0.0, predicted_mean_latency_s=16.4, mean_latency_s=17.1, latency_error_s=0.8,
        correction=1.03,
    )  # fmt: skip
    return FamilyResult(
        family="MA", seed=1, slots=4, telemetry=telemetry, epochs=[], decided_by={}, agents={"planner": role},
        predictions=predictions,
    ).model_copy(update=changes)  # fmt: skip


def shown(run: FamilyResult, width: int) -> str:
    bound = BoundFigures(
        seed=1, full_service=True, max_success={"chat": 10}, solo_mean_s=1.0, mean_latency_s=2.0, objective=0.004,
        objective_any=0.001,
    )  # fmt: skip
    summary = Summary(
        testbed="tiny", workload="p1", load=1.0, nodes=["north"], lms=["chat"], slots=4, slot_s=30.0, epoch_slots=4,
        deadline_s=900.0, latency_weight=0.5, families=["MA"], seeds=[1], results=[run], bounds=[bound],
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=width, highlight=False)
    for part in report(summary, width):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100])
def test_the_report_says_who_was_overruled_and_how_far_predictions_were_off(width: int) -> None:
    text = shown(told(), width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert "overruled" in text
    assert "MA planner: overruled 4, not rehearsed 2, timeout 1" in text
    for figure in ("16.4", "17.1", "0.8", "0.0091", "0.0095", "0.0005", "0.0000"):
        assert figure in text
    assert "error: mean absolute difference" in " ".join(text.split())
    plain = shown(told(agents={}, predictions=None), width)
    assert "overruled" not in plain
    assert "pred." not in plain


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"rehearse": "some"}, "--rehearse must be 'all', 'plans' or 'off', not 'some'"),
        ({"margin": -0.1}, "the margin of a rehearsal must be from 0 to 1, not -0.1"),
    ],
)
def test_options_of_rehearsal_that_make_no_sense_are_one_sentence(asked: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_request(AgentRequest(**asked), 30.0, {})  # type: ignore[arg-type]  # options of any type


def test_agents_are_rehearsed_unless_it_is_switched_off_or_there_are_none() -> None:
    url = "http://127.0.0.1:9/v1"
    settings = read_request(AgentRequest(base_url=url), 30.0, {})
    assert settings.rehearsal is not None
    assert (settings.rehearsal.slots, settings.rehearsal.margin) == (True, 0.02)
    assert settings.to_json()["fallback"] == "rehearsal+backlog+steady"
    plans = read_request(AgentRequest(base_url=url, rehearse="plans", margin=0.1), 30.0, {}).rehearsal
    assert plans is not None
    assert (plans.slots, plans.margin) == (False, 0.1)
    off = read_request(AgentRequest(base_url=url, rehearse="off"), 30.0, {})
    assert (off.rehearsal, off.to_json()["fallback"]) == (None, "random")
    assert read_request(AgentRequest(), 30.0, {}).rehearsal is None
    assert settings.fallbacks(CLUSTER, rehearsed=False).planner_name == "random"


def test_the_planners_tool_rehearses_with_the_rules_by_which_its_answer_will_be() -> None:
    deps: Deps = deps_of(
        make("RL", CLUSTER), TwinTestbed(Twin(CLUSTER), load_workload("p1", CLUSTER, 1)), PlainMemory(), "x"
    )
    deps.planner = Filling("model", asker=asker(lambda slot, node, messages, attempt: None))
    assert "the rule lyapunov" in rehearsal_rules(deps).described
    rehearse(deps, RehearsalSettings())
    rules = rehearsal_rules(deps)
    assert "the rule backlog" in rules.described
    snapshot, policy = Twin(CLUSTER).observe(), deps.policy(None)
    assert (rules.schedule(snapshot, policy).targets >= 0).any()
    assert rules.deploy(snapshot, 1, policy) is not None
    assert deps.slot_rehearsal is None, "no agent decides in the slots of this run"


@pytest.mark.parametrize("rehearsed", [True, False])
async def test_a_person_who_approves_is_told_what_is_predicted(
    rehearsed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    predicted = {"objective": 0.0094, "mean_latency_s": 16.9, "fairness": 1.0}
    question = {
        "question": "Adopt it?",
        "decided_by": "agent:m",
        "macro_policy": MacroPolicy.unrestricted(CLUSTER).to_json(CLUSTER),
        "rehearsal": {"predicted": predicted} if rehearsed else None,
    }
    assert await ask_on_terminal(question) is True
    sentence = "Predicted: J 0.0094, mean latency 16.9 s, F 1.000."
    assert (sentence in capsys.readouterr().err) == rehearsed
