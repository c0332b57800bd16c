"""A family of agents is called by its name alone where its agents decided, in the table, the report and the figures."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runtime.report.figures import latency_and_fairness, per_lm
from runtime.report.tables import report
from runtime.results.labels import family_label
from runtime.results.summary import BoundFigures, FamilyResult, RoleFigures, Summary, Telemetry
from tests.agent_server import contents, decides, role_of, serving, sound_answers
from tests.fake_openai import Behaviour, completion, fails
from tests.graph_families import CLUSTER, run_family

SOUND = sound_answers(CLUSTER, seed=0)


def summary(*runs: dict[str, dict[str, int]], **changes: Any) -> Summary:
    """One family MA with these outcomes by role, a seed for each."""
    told = Telemetry(
        arrived={"chat": 10},
        succeeded={"chat": 8},
        success_ratio={"chat": 0.8},
        mean_latency_s={"chat": 5.0},
        p95_latency_s={"chat": 9.0},
        global_mean_latency_s=5.0,
        global_p95_latency_s=9.0,
        fairness=1.0,
        latency_norm=0.1,
        objective=0.05,
    )
    results = [
        FamilyResult(
            family="MA",
            seed=seed,
            slots=4,
            telemetry=told,
            epochs=[],
            decided_by={"scheduler": {"agent:m": 4}},
            agents={
                role: RoleFigures(
                    model="m",
                    outcomes=outcomes,
                    reasons={},
                    questions=1,
                    prompt_tokens=1,
                    completion_tokens=1,
                    seconds=1.0,
                )
                for role, outcomes in run.items()
            },
            **changes,
        )
        for seed, run in enumerate(runs)
    ]
    seeds = list(range(len(runs)))
    bounds = [
        BoundFigures(
            seed=seed,
            full_service=True,
            max_success={"chat": 10},
            solo_mean_s=1.0,
            mean_latency_s=2.0,
            objective=0.1,
            objective_any=0.1,
        )
        for seed in seeds
    ]
    return Summary(
        testbed="tiny",
        workload="p1",
        load=1.0,
        nodes=["n"],
        lms=["chat"],
        slots=4,
        slot_s=30.0,
        epoch_slots=4,
        deadline_s=90.0,
        latency_weight=0.5,
        families=["MA"],
        seeds=seeds,
        results=results,
        bounds=bounds,
    )


def printed(told: Summary, width: int = 100) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width)
    for part in report(told, width):
        console.print(part)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120, 150])
@pytest.mark.parametrize("lms", [1, 6])
def test_the_name_of_who_decided_is_never_broken(lms: int, width: int) -> None:
    told = summary({})
    ratio = dict.fromkeys([f"LM{n}" for n in range(1, lms + 1)], 0.8)
    telemetry = told.results[0].telemetry.model_copy(update={"success_ratio": ratio})
    decided = {"scheduler": {"agent:m": 9}, "planner": {"rehearsal:candidate": 4}, "deployer": {"rule:a-long-one": 1}}
    run = told.results[0].model_copy(update={"telemetry": telemetry, "decided_by": decided})
    text = printed(told.model_copy(update={"lms": [*ratio], "results": [run]}), width)
    assert max(map(len, text.splitlines())) <= width
    words = text.split()
    assert {"agent:m", "rehearsal:candidate", "rule:a-long-one"} <= {*words}
    assert ("Decided" in words) == (width == 80 or (width, lms) == (100, 6))


@pytest.mark.parametrize(
    ("outcomes", "name"),
    [
        ({"scheduler": {"accepted": 60, "repaired": 20, "reused": 10, "fallback": 10}}, "MA"),
        ({"scheduler": {"accepted": 89, "fallback": 11}}, "MA (agents 89 %)"),
        ({"scheduler": {"accepted": 4, "fallback": 95}}, "MA (agents 4 %)"),
        ({"scheduler": {"accepted": 30, "overruled": 70}}, "MA (agents 30 %)"),
        ({"planner": {"fallback": 4}, "deployer": {"accepted": 400}}, "MA (planner 0 %)"),
        ({}, "MA"),
    ],
)
def test_a_family_whose_agents_hardly_decided_is_called_so(outcomes: dict[str, dict[str, int]], name: str) -> None:
    told = summary(outcomes)
    assert family_label(told, "MA") == name
    assert f" {name} " in printed(told)
    plain = " ".join(printed(told, 80).split())
    assert ("(agents" in plain or "(planner" in plain) == (name != "MA")
    assert ("A family is called by its code alone" in plain) == (name != "MA")
    for draw in (latency_and_fairness, per_lm):
        legend = draw(told).legends[0]
        assert name in [text.get_text() for text in legend.get_texts()]


def test_the_share_is_that_of_all_seeds_together() -> None:
    assert family_label(summary({"scheduler": {"accepted": 100}}, {"scheduler": {"fallback": 100}}), "MA") == (
        "MA (agents 50 %)"
    )


def test_rules_that_stand_in_for_agents_do_not_pass_for_them() -> None:
    assert family_label(summary({}, stands_in=True), "MA") == "MA (agents 0 %)"


def test_the_servers_sentence_stands_below_the_reasons(tmp_path: Path) -> None:
    with serving(fails(401, "Incorrect API key provided: sk-abcd")) as server:
        done = run_family(tmp_path, "MA", base_url=server.base_url, model="m")
    figures = done.result.agents["scheduler"]
    assert done.result.agents_share == 0.0
    assert figures.said["rejected_by_server"] == "HTTP 401: Incorrect API key provided: ***"
    told = summary({}).model_copy(update={"results": [done.result], "families": ["MA"], "seeds": [done.result.seed]})
    bounds = [summary({}).bounds[0].model_copy(update={"seed": done.result.seed})]
    told = told.model_copy(update={"bounds": bounds, "lms": [lm.name for lm in CLUSTER.lms]})
    lines = printed(told).splitlines()
    assert "  rejected_by_server: HTTP 401: Incorrect API key provided: ***" in lines


def wrapped(around: Callable[[str], str]) -> Behaviour:
    async def behave(_: Any, body: dict[str, Any]) -> Any:
        from aiohttp import web

        text = around(SOUND(role_of(body), contents(body)))
        return web.json_response(completion(body, {"content": text}))

    return behave


def test_answers_with_something_around_them_decide_and_are_counted(tmp_path: Path) -> None:
    with serving(wrapped(lambda text: f"<think>\nTwo nodes.\n</think>\n\n```json\n{text}\n```")) as server:
        done = run_family(tmp_path / "wrapped", "MA", base_url=server.base_url, model="m")
    with serving(decides(SOUND)) as server:
        bare = run_family(tmp_path / "bare", "MA", base_url=server.base_url, model="m")
    assert done.result.agents_share == bare.result.agents_share == 1.0
    for role, figures in done.result.agents.items():
        assert figures.outcomes == bare.result.agents[role].outcomes
        assert (figures.unwrapped, bare.result.agents[role].unwrapped) == (figures.questions, 0)
    assert done.records == bare.records
