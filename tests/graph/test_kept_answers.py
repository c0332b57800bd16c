"""What is kept of a model's answer is bounded, whatever it sends: in the ledger, in checkpoints and on tapes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from domain.ledger import Attempt, Outcome, Reason, Role
from graph.gate.passage import MOST_KEPT
from graph.models import asking
from graph.models.agent import Agent
from graph.models.asking import Asking
from graph.models.tape import Tape
from graph.slot.deps import Filling
from tests.agents import asker, bristol_run, good_deployment, good_plan
from tests.scripted import ScriptedChatModel, answers
from twin.testbeds import load_builtin

BRISTOL = load_builtin("bristol")


def megabytes(folder: Path, name: str) -> float:
    return sum(file.stat().st_size for file in folder.glob(f"{name}*")) / 1e6


@pytest.mark.parametrize(
    "answer", ["x" * 5_000_000, "[" * 5_000_000, '{"reasoning": "' + "x" * 250_000 + '", "deployment": {}}']
)
async def test_a_slot_of_endless_answers_keeps_little_of_them(tmp_path: Path, answer: str) -> None:
    async with bristol_run(tmp_path, "RL", 1, deployer=Filling("m", asker=asker(lambda *_: answer))) as run:
        await run.run()
        decisions = await run.deps.memory.decisions("test", role=Role.DEPLOYER)
    assert {d.reason for d in decisions} <= {Reason.INVALID_JSON, Reason.SCHEMA}
    for decision in decisions:
        assert decision.outcome is Outcome.FALLBACK
        assert [len(a.answer or "") <= MOST_KEPT + 40 for a in decision.attempts if a.messages] == [True, True]
        assert "… (cut here: " in str(decision.attempts[0].answer)
    assert megabytes(tmp_path, "memory") < 2
    assert megabytes(tmp_path, "checkpoints") < 3


async def test_an_answer_that_passes_is_kept_whole(tmp_path: Path) -> None:
    plan = good_plan(BRISTOL)

    def wordy(slot: int, node: str | None, *_: object) -> str:
        sound = json.loads(good_deployment(BRISTOL, plan, node or ""))
        return json.dumps({**sound, "reasoning": "y" * 100_000})

    async with bristol_run(tmp_path, "RL", 1, deployer=Filling("m", asker=asker(wordy))) as run:
        await run.run()
        decisions = await run.deps.memory.decisions("test", role=Role.DEPLOYER)
    accepted = [d for d in decisions if d.outcome is Outcome.ACCEPTED]
    assert accepted
    assert {len(d.attempts[0].answer or "") > 100_000 for d in accepted} == {True}


async def test_a_tape_keeps_no_more_of_an_answer_than_anybody_reads(tmp_path: Path) -> None:
    agent = Agent(Role.SCHEDULER, ScriptedChatModel(reply=answers("z" * 5_000_000)), "m")
    with Tape.record(tmp_path / "run.tape") as tape:
        attempt: Attempt = await Asking(agent, tape=tape).for_decision(0)([{"role": "user", "content": "?"}], {}, 0)
    assert len(attempt.answer or "") == asking.MOST_KEPT
    assert (tmp_path / "run.tape").stat().st_size < 1.1 * asking.MOST_KEPT
