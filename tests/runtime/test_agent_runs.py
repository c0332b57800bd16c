"""Runs of agents from settings to run folder: over HTTP, without a model, from a tape, dry, within budgets, killed."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from domain.errors import InputError
from domain.ledger import Decision, Outcome, Reason, Role
from graph.slot import checkpoints
from graph.slot.reuse import Reuse
from runtime.agents.families import family_code, recipe_of
from runtime.replay.recorded import from_checkpoints
from runtime.runs.graph_families import CHECKPOINTS
from tests.agent_server import contents, decides, role_of, serving, sound_answers
from tests.clusters import tiny
from tests.graph_families import CLUSTER, Done, run_family

ANSWERS = sound_answers(CLUSTER, seed=0)  # which gives both nodes a role
LONGER = tiny(deadline_s=120.0, epoch_slots=12)
"""More than 30 requests end in an epoch, below which a case is not recalled."""
SLOTS = 4 + 4  # with requests, and until the last deadline


def counted(done: Done, role: Role) -> Counter[Outcome]:
    return Counter(d.outcome for d in done.decisions if d.role is role)


def without_run(decisions: list[Decision]) -> list[dict[str, object]]:
    return [{**d.to_json(), "run": ""} for d in decisions]


def test_three_epochs_over_http_cases_grow_are_recalled_and_change_the_prompt(tmp_path: Path) -> None:
    with serving(decides(ANSWERS)) as server:
        done = run_family(tmp_path, "MA", 36, cluster=LONGER, base_url=server.base_url, model="scripted")
    assert [case.epoch for case in done.cases] == [0, 1, 2]
    prompts = ["\n".join(contents(body)) for body in server.requests if role_of(body) == "planner"]
    assert len(prompts) == 4  # the last one for the slots until the last deadline
    assert "first epoch of the run" in prompts[0]
    assert "a random macro-policy on this cluster came to" in prompts[0]
    figures = [f"J {case.objective:.3g}" for case in done.cases]
    assert [[figure in prompt for figure in figures] for prompt in prompts[1:]] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
    told = done.result.agents
    assert {role: f.outcomes for role, f in told.items()} == {
        "planner": {"accepted": 4},
        "scheduler": {"accepted": 40},
        "deployer": {"accepted": 80},
    }
    assert len(server.requests) == sum(f.questions for f in told.values()) == 124
    assert sum(f.prompt_tokens for f in told.values()) == 124 * 11
    assert done.result.decided_by["scheduler"] == {"agent:scripted": 40}


def test_without_a_model_rules_stand_in_and_nothing_is_called_an_agents(tmp_path: Path) -> None:
    done = run_family(tmp_path, "MA")
    assert {d.outcome for d in done.decisions} == {Outcome.RULE}
    assert done.result.agents == {}
    assert (done.result.agents_share, done.result.stands_in) == (0.0, True)
    assert done.result.notes == [
        "No model decides in this run of MA: there is no OPENAI_API_KEY, no --base-url and no --llm. "
        "Rules fill its roles: planner rehearsal, scheduler backlog, deployer steady."
    ]
    assert set(done.result.decided_by["deployer"]) == {"steady"}


@pytest.mark.parametrize(("asked", "kept"), [("1", 1), ("3", 3), (None, SLOTS), ("all", SLOTS)])
def test_a_run_keeps_as_many_checkpoints_as_asked_for(
    asked: str | None, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "PRUNED_EVERY", 1)
    done = run_family(tmp_path, "RL", via_graph=True, checkpoints=asked)
    slots = asyncio.run(from_checkpoints(done.home / CHECKPOINTS, "RL-seed1"))
    assert [slot.slot for slot in slots] == list(range(SLOTS))[-kept:]


def test_mal_and_mixes_ask_the_model_for_their_roles_only(tmp_path: Path) -> None:
    with serving(decides(ANSWERS)) as server:
        mal = run_family(tmp_path / "mal", "MAL", base_url=server.base_url, model="m")
        mix = run_family(tmp_path / "mix", "none+agent+random", base_url=server.base_url, model="m")
    assert counted(mal, Role.DEPLOYER) == {Outcome.RULE: SLOTS * 2}
    assert mal.result.decided_by["deployer"] == {"lyapunov": SLOTS * 2}
    assert counted(mal, Role.PLANNER) == {Outcome.ACCEPTED: 2}
    assert counted(mix, Role.PLANNER) == {}
    assert counted(mix, Role.SCHEDULER) == {Outcome.ACCEPTED: SLOTS}


@pytest.mark.parametrize("code", ["MB", "agent+agent", "agent+agent+nobody", "full+agent+agent", "none+none+full"])
def test_a_family_that_does_not_exist_is_one_sentence(code: str) -> None:
    with pytest.raises(InputError):
        family_code(code)
    assert recipe_of(family_code(" Rehearsal+Agent+lyapunov ")).scheduler == "agent"


def test_a_tape_plays_the_run_again_bit_by_bit_and_calls_nobody(tmp_path: Path) -> None:
    tape = tmp_path / "run.tape"
    plan = ANSWERS("planner", [])

    def broken_at_first(role: str, messages: Sequence[str]) -> str:
        return (
            plan.replace('"north"', '"nowhere"')
            if role == "planner" and len(messages) == 2
            else ANSWERS(role, messages)
        )

    with serving(decides(broken_at_first)) as server:
        first = run_family(tmp_path / "first", "MA", base_url=server.base_url, model="m", tape=tape)
        asked = len(server.requests)
    again = run_family(tmp_path / "again", "MA", model="m", replay_tape=tape)
    assert counted(first, Role.PLANNER) == {Outcome.REPAIRED: 2}
    assert asked == sum("attempt" in json.loads(line) for line in tape.read_text().splitlines())
    assert again.records == first.records
    assert again.decisions == first.decisions
    assert again.result == first.result
    with pytest.raises(InputError, match="tape holds the answer of m for"):
        run_family(tmp_path / "other", "MA", model="other", replay_tape=tape)


def test_a_tape_of_a_run_with_a_shared_memory_is_played_whatever_the_memory_holds_by_then(tmp_path: Path) -> None:
    shared, tape = str(tmp_path / "all.sqlite"), tmp_path / "run.tape"
    with serving(decides(ANSWERS)) as server:
        given: dict[str, Any] = {"cluster": LONGER, "base_url": server.base_url, "model": "m", "memory": shared}
        run_family(tmp_path / "before", "MA", 12, **given)
        known = len(server.requests)
        first = run_family(tmp_path / "first", "MA", 36, tape=tape, shadow=("agent+agent+random",), **given)
        prompts = "\n".join(text for body in server.requests[known:] for text in contents(body))
        assert "of another run, decided by" in prompts
        assert "of this run, decided by" in prompts
        run_family(tmp_path / "after", "MA", 12, **given)
    run = next(decision.run for decision in first.decisions if decision.run.endswith(_token(first)))
    assert run not in prompts
    for name, memory in (("grown", shared), ("fresh", None), ("other", str(tmp_path / "other.sqlite"))):
        given = {"cluster": LONGER, "model": "m", "memory": memory, "replay_tape": tape}
        again = run_family(tmp_path / name, "MA", 36, shadow=("agent+agent+random",), **given)
        assert again.records == first.records
        assert again.result == first.result


def _token(done: Done) -> str:
    return (done.home / "run-id").read_text(encoding="utf-8")


def test_the_tape_of_another_run_is_refused_as_often_as_it_is_named(tmp_path: Path) -> None:
    tape = tmp_path / "other.tape"
    tape.write_text("")
    for _ in range(2):
        with pytest.raises(InputError, match="other.tape exists: choose another name for the tape"):
            run_family(tmp_path / "run", "MA", base_url="http://127.0.0.1:9/v1", model="m", tape=tape)
    assert tape.read_text() == ""


def test_a_dry_run_decides_and_leaves_the_world_alone(tmp_path: Path) -> None:
    with serving(decides(ANSWERS)) as server:
        done = run_family(tmp_path, "MA", base_url=server.base_url, model="m", dry_run=True)
    assert counted(done, Role.DEPLOYER) == {Outcome.ACCEPTED: SLOTS * 2}
    assert done.result.telemetry.success == 0.0
    lines = [json.loads(line) for line in (tmp_path / "dry-run.jsonl").read_text().splitlines()]
    assert [line["slot"] for line in lines] == list(range(SLOTS))
    assert set(lines[0]["deployments"]) == {"north", "south"}
    assert lines[0]["routes"].keys() == {"north", "south"}
    assert done.result.notes[0].startswith("Dry run: nothing was acted on. In 8 slots 16 deployments would")


def test_a_budget_of_tokens_is_kept_and_what_it_costs_is_counted(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("m: {prompt_usd: 1.0, completion_usd: 10}\n")
    with serving(decides(ANSWERS)) as server:
        done = run_family(
            tmp_path / "run", "MA", base_url=server.base_url, model="m", slot_tokens=6000, max_tokens=500, prices=prices
        )
    fallen = [d for d in done.decisions if d.outcome is Outcome.FALLBACK]
    assert fallen
    assert {d.reason for d in fallen} == {Reason.BUDGET}
    assert sum(f.questions for f in done.result.agents.values()) == len(done.decisions)
    planner = done.result.agents["planner"]
    asked = planner.outcomes["accepted"]
    assert planner.cost_usd == pytest.approx(asked * (11 * 1.0 + 7 * 10) / 1e6)


def test_a_memory_that_runs_share_keeps_them_apart_and_lets_cases_be_recalled(tmp_path: Path) -> None:
    shared = str(tmp_path / "all.sqlite")
    with serving(decides(ANSWERS)) as server:
        first = run_family(tmp_path / "a", "MA", 12, cluster=LONGER, base_url=server.base_url, memory=shared)
        known = len(server.requests)
        second = run_family(tmp_path / "b", "MA", 12, cluster=LONGER, base_url=server.base_url, memory=shared)
    assert len(second.decisions) == 2 * len(first.decisions)
    assert len(second.cases) == 2
    prompt = "\n".join(contents(server.requests[known]))
    assert f"J {first.cases[0].objective:.3g}" in prompt, "a case of the first run in the first prompt of the second"


def test_a_plan_is_reused_where_telemetry_has_not_moved(tmp_path: Path) -> None:
    with serving(decides(ANSWERS)) as server:
        done = run_family(tmp_path, "MA", 24, base_url=server.base_url, model="m", reuse_plan=True)
        plain = run_family(tmp_path / "plain", "MA", 24, base_url=server.base_url, model="m")
    plans = [d for d in done.decisions if d.role is Role.PLANNER]
    reused = [d for d in plans if d.outcome is Outcome.REUSED]
    assert {d.decided_by for d in reused} <= {"reused"}
    assert done.result.agents["planner"].outcomes == Counter(str(d.outcome) for d in plans)
    assert counted(plain, Role.PLANNER) == {Outcome.ACCEPTED: 7}
    cases = {case.epoch: case for case in done.cases if case.run == "MA-seed1"}
    made = 0
    for plan in plans[1:]:
        epoch = plan.slot // CLUSTER.epoch_slots
        still = made > 0 and Reuse().holds(cases[made - 1], cases[epoch - 1])
        assert (plan.outcome is Outcome.REUSED) == still
        made = made if still else epoch


def test_telemetry_that_moves_ends_the_reuse(tmp_path: Path) -> None:
    case = run_family(tmp_path, "none+random+lyapunov").cases[0]
    assert Reuse().holds(case, case)
    assert not Reuse().holds(case, dataclasses.replace(case, objective=case.objective + 0.03))
    one = next(iter(case.success_ratio))
    assert not Reuse().holds(case, dataclasses.replace(case, success_ratio={**case.success_ratio, one: None}))
    doubled = {lm: {node: 2 * rate for node, rate in row.items()} for lm, row in case.traffic.items()}
    assert not Reuse().holds(case, dataclasses.replace(case, traffic=doubled))
    with pytest.raises(InputError, match="from 0 to 1"):
        Reuse(traffic=1.5)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"tape": Path("a"), "replay_tape": Path("b")}, "--tape records and --replay-tape plays"),
        ({"llm": "remote"}, "--llm must be local"),
        ({"timeout_s": 0.0}, "--timeout must be above 0"),
        ({"fallback": "magic"}, "--fallback"),
        ({"fallback": "random+local+random"}, "local cannot take over from the scheduler"),
        ({"prices": Path("nowhere.yaml")}, "nowhere.yaml"),
        ({"replay_tape": Path("nowhere.tape")}, "nowhere.tape"),
        ({"base_url": "nonsense"}, "nonsense"),
        ({"checkpoints": "0"}, "--checkpoints must be a number of slots, 1 or more, or all, not '0'"),
        ({"checkpoints": "few"}, "--checkpoints must be a number of slots, 1 or more, or all, not 'few'"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(asked: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        run_family(tmp_path, "MA", **asked)
