"""evaluate-model: fixed cases, the gate of a run, decisions carried out in the twin, and counts that add up."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

import runtime.cli.commands.evaluate
import runtime.results.versions
from domain.decisions import RoutingPlan
from domain.errors import InputError
from domain.ledger import Role
from runtime.agents.evaluation.cases import CaseFile, DecisionCase, cluster_of, load_cases, situation
from runtime.agents.evaluation.kept import Kept
from runtime.agents.evaluation.trial import Trial, carry_out, score
from runtime.cli.program import app
from runtime.results.locks import try_lock
from tests.agent_server import contents, role_of, serving, sound_answers
from tests.fake_openai import completion

FILE = load_cases()


def test_the_cases_are_fixed_and_cover_every_role_on_two_testbeds() -> None:
    assert FILE.version == 1
    assert Counter(case.role for case in FILE.cases) == {Role.PLANNER: 5, Role.SCHEDULER: 6, Role.DEPLOYER: 9}
    assert len({case.name for case in FILE.cases}) == len({case.seed for case in FILE.cases}) == 20
    assert {cluster_of(case.testbed).n_nodes for case in FILE.cases} == {6, 10}


@pytest.mark.parametrize("role", list(Role))
def test_a_case_is_the_same_whenever_it_is_played(role: Role) -> None:
    case = next(case for case in FILE.cases if case.role is role and case.slots)
    one, other = situation(case), situation(case)
    assert one.twin.save() == other.twin.save()
    assert (one.traffic, one.last, one.node) == (other.traffic, other.last, other.node)
    assert one.twin.waiting > 0


def test_a_better_plan_gets_a_lower_objective() -> None:
    at = situation(next(case for case in FILE.cases if case.name == "scheduler-bristol-empty"))
    assert at.policy is not None
    cluster = at.twin.cluster
    spread = carry_out(at, at.policy)
    away = RoutingPlan(np.zeros((cluster.n_nodes, cluster.n_lms), dtype=np.int64))
    assert spread < carry_out(at, away), "all requests at one node"


def test_a_score_adds_up() -> None:
    def trial(outcome: str, seconds: float) -> Trial:
        return Trial("c", "planner", outcome, None, (), 0.2, 0.4, 100, 10, seconds)

    got = score(
        "planner", [trial("accepted", 1.0), trial("repaired", 2.0), trial("fallback", 3.0), trial("accepted", 2.0)]
    )
    assert (got.cases, got.valid_first, got.valid_after_repair, got.fallback) == (4, 0.5, 0.75, 0.25)
    assert [got.objective, got.random_objective, got.seconds] == pytest.approx([0.2, 0.4, 2.0])
    with pytest.raises(ValueError, match="no trials of the planner"):
        score("planner", [])


def test_the_command_prints_a_table_and_writes_every_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clusters = {cluster_of(case.testbed).nodes[0].name: cluster_of(case.testbed) for case in FILE.cases}
    sound = {first: sound_answers(cluster) for first, cluster in clusters.items()}

    async def behave(_: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(0)
        texts, role = contents(body), role_of(body)
        first = next((name for name in sound if f'"{name}"' in "\n".join(texts)), None)
        if first is None:  # the question before the first
            return web.json_response(completion(body, {"content": '{"ready": true}'}))
        answer = sound[first](role, texts) if role == "planner" or len(texts) > 2 else '{"reasoning": "no"}'
        return web.json_response(completion(body, {"content": answer}))

    with serving(behave) as server:
        done = CliRunner().invoke(
            app,
            [
                "evaluate-model",
                "--role",
                "planner",
                "--role",
                "scheduler",
                "--base-url",
                server.base_url,
                "--model",
                "m",
            ]
            + ["--out", "m.json"],
        )
    assert done.exit_code == 0, done.output
    assert "11 decision cases, version 1" in done.stdout
    assert "(planner, scheduler) answers in" in done.stderr
    written = json.loads(Path("m.json").read_text())
    by_role = {row["role"]: row for row in written["roles"]}
    assert by_role["planner"]["valid_first"] == 1.0
    for row in by_role.values():
        assert row["valid_after_repair"] + row["fallback"] == pytest.approx(1.0)
        assert 0.0 <= row["objective"] <= 1.0
    assert by_role["scheduler"]["valid_first"] == 0.0
    assert all(case["violations"] for case in written["cases"] if case["role"] == "scheduler")
    assert sum(case["prompt_tokens"] for case in written["cases"]) == 11 * (len(server.requests) - 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [([], "There is no model to evaluate"), (["--base-url", "http://127.0.0.1:9/v1", "--role", "cook"], "--role must")],
)
def test_what_cannot_be_evaluated_is_one_sentence(arguments: list[str], sentence: str) -> None:
    done = CliRunner().invoke(app, ["evaluate-model", *arguments])
    assert done.exit_code == 2
    assert sentence in done.stderr


def test_an_interrupted_evaluation_goes_on_and_asks_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime.results.versions, "_code", lambda: "the same")
    monkeypatch.setattr(runtime.cli.commands.evaluate, "load_cases", lambda: CaseFile(version=1, cases=FILE.cases[:3]))
    asked = list[str]()

    def interrupted_at(number: int) -> Callable[..., AsyncIterator[Trial]]:
        async def found(models: object, cases: Sequence[DecisionCase]) -> AsyncIterator[Trial]:
            for case in cases:
                if len(asked) == number:
                    raise KeyboardInterrupt
                asked.append(case.name)
                yield Trial(case.name, str(case.role), "accepted", None, ("v",), 0.2, 0.4, 100, 10, 1.0)

        return found

    async def unasked(*_: object) -> None:
        pass

    monkeypatch.setattr(runtime.cli.commands.evaluate, "preflight", unasked)

    def evaluated(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["evaluate-model", "--base-url", "http://127.0.0.1:9/v1", *arguments])

    monkeypatch.setattr(runtime.cli.commands.evaluate, "trials", interrupted_at(2))
    first = evaluated("--out", "m.json")
    assert first.exit_code == 130
    assert "interrupted; the same command goes on where it stopped." in first.stderr
    assert not Path("m.json").exists()
    nowhere = evaluated()
    assert "interrupted; nothing was kept; with --out FILE" in nowhere.stderr
    monkeypatch.setattr(runtime.cli.commands.evaluate, "trials", interrupted_at(99))
    second = evaluated("--out", "m.json")
    assert second.exit_code == 0, second.output
    assert "2/3 cases kept from the interrupted evaluation" in second.stderr
    assert asked == [case.name for case in FILE.cases[:3]]
    assert [case["case"] for case in json.loads(Path("m.json").read_text())["cases"]] == asked
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]


def test_trials_of_other_settings_are_set_aside_and_can_be_gone_on_with(tmp_path: Path) -> None:
    trial = Trial("c", "planner", "accepted", None, (), 0.2, 0.4, 100, 10, 1.0)
    with Kept(tmp_path / "m.json", {"model": "a"}) as kept:
        kept.add(trial)
    with (tmp_path / ".m.json.partial").open("a") as file:
        file.write('{"case": "torn')
    with Kept(tmp_path / "m.json", {"model": "a"}) as kept:
        assert kept.trials == [trial]
    for model, aside in (("b", "m-interrupted.json"), ("c", None), ("d", None)):
        with Kept(tmp_path / "m.json", {"model": model}) as kept:
            assert kept.trials == []
            expected = None if aside is None else (tmp_path / aside, "model was a, is b now")
            assert kept.left == expected, "what holds no trial is not kept"
    with Kept(tmp_path / "m-interrupted.json", {"model": "a"}) as kept:
        assert kept.trials == [trial]


def test_a_commit_that_changes_no_code_goes_on_with_the_trials(tmp_path: Path) -> None:
    trial = Trial("c", "planner", "accepted", None, (), 0.2, 0.4, 100, 10, 1.0)
    for commit in ("a", "b"):
        with Kept(tmp_path / "m.json", {"versions": f'{{"commit": "{commit}", "code_sha256": "1"}}'}) as kept:
            assert kept.trials == ([trial] if commit == "b" else [])
            kept.add(trial)
    with Kept(tmp_path / "m.json", {"versions": '{"commit": "c", "code_sha256": "2"}'}) as kept:
        assert kept.left == (tmp_path / "m-interrupted.json", "commit was b, is c now")


def test_a_second_evaluation_into_the_same_file_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    trial = Trial("c", "planner", "accepted", None, (), 0.2, 0.4, 100, 10, 1.0)
    with Kept(tmp_path / "m.json", {"model": "a"}) as kept:
        kept.add(trial)
        for model in ("a", "b"):
            with pytest.raises(InputError, match="m.json is being written by another evaluation; wait for it"):
                Kept(tmp_path / "m.json", {"model": model}).__enter__()
        with Kept(tmp_path / "n.json", {"model": "a"}):
            pass  # another file is nobody's business
        kept.add(trial)
    with Kept(tmp_path / "m.json", {"model": "a"}) as kept:
        assert kept.trials == [trial, trial]
        kept.done()
    assert [path.name for path in tmp_path.iterdir()] == [".n.json.partial"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_folder_without_locks_is_named(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*lock: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(InputError, match="cannot be locked: .*Choose a folder on a local disk"):
        try_lock(tmp_path / "lock")
    with pytest.raises(InputError, match="none cannot hold the trials: No such file or directory"):
        Kept(tmp_path / "none" / "m.json", {}).__enter__()
