"""SmolLM2 for real in all three roles, over HTTP: whatever it answers, the loop holds and the counts add up."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from domain.ledger import Decision, Outcome, Role
from tests.clusters import tiny
from tests.graph_families import run_family

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]
CLUSTER = tiny(deadline_s=30.0)
"""One slot without requests at the end."""
SLOTS = 2 + 1


def check(decision: Decision) -> None:
    """What an entry of the ledger says must fit together."""
    last = decision.attempts[-1]
    assert 1 <= len(decision.attempts) <= 2
    match decision.outcome:
        case Outcome.ACCEPTED:
            assert len(decision.attempts) == 1
            assert not last.violations
        case Outcome.REPAIRED:
            assert len(decision.attempts) == 2
            assert decision.attempts[0].violations
            assert not last.violations
        case Outcome.FALLBACK:
            assert decision.decided_by == "fallback:random"
            assert decision.reason is not None
            assert last.violations or last.error
        case other:
            raise AssertionError(f"an agent's decision cannot be {other}")
    assert (decision.reason is None) == (decision.outcome is not Outcome.FALLBACK)


def test_a_real_model_fills_every_role_and_its_tape_plays_the_run_again(tmp_path: Path) -> None:
    tape = tmp_path / "run.tape"
    done = run_family(tmp_path / "run", "MA", 2, cluster=CLUSTER, tape=tape, llm="local", max_tokens=160)
    assert Counter(d.role for d in done.decisions) == {
        Role.PLANNER: 1,
        Role.SCHEDULER: SLOTS,
        Role.DEPLOYER: SLOTS * CLUSTER.n_nodes,
    }
    for decision in done.decisions:
        check(decision)
    for role, figures in done.result.agents.items():
        own = [d for d in done.decisions if d.role == role]
        assert figures.model.startswith("SmolLM2")
        assert figures.outcomes == Counter(str(d.outcome) for d in own)
        assert figures.questions == sum(len(d.attempts) for d in own)
        assert figures.prompt_tokens == sum(a.prompt_tokens for d in own for a in d.attempts) > 0
        assert sum(figures.reasons.values()) == figures.outcomes.get("fallback", 0)
        print(f"\n{role}: {figures.outcomes} {figures.reasons}, {figures.seconds / figures.questions:.1f} s a question")
    asked = [line for line in tape.read_text().splitlines() if '"key"' in line]
    assert len(asked) == sum(f.questions for f in done.result.agents.values())
    again = run_family(tmp_path / "again", "MA", 2, cluster=CLUSTER, replay_tape=tape, llm="local", max_tokens=160)
    assert again.decisions == done.decisions
    assert again.records == done.records
    assert again.result == done.result
