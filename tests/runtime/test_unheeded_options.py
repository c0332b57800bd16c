"""Options that nobody would heed are refused, or make sure that somebody does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import edgewise, refused


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--model", "gpt", "--base-url", "http://127.0.0.1:9/v1"), "--model, --base-url"),
        (("--slot-tokens", "5"), "--slot-tokens"),
        (("--timeout", "5"), "--timeout"),
        (("--patience", "5"), "--patience"),
        (("--planner-tools",), "--planner-tools"),
        (("--tape", "t.jsonl"), "--tape"),
    ],
)
def test_options_of_agents_are_refused_where_rules_decide(tmp_path: Path, options: tuple[str, ...], named: str) -> None:
    said = refused("run", "--family", "RL", "--slots", "1", "--out", str(tmp_path / "run"), *options)
    assert f"{named}: only agents heed that, and RL has none" in said


def test_approval_is_refused_where_nobody_plans(tmp_path: Path) -> None:
    said = refused("run", "--family", "RL", "--slots", "1", "--out", str(tmp_path / "run"), "--approve")
    assert "no planner is in RL" in said


def test_a_memory_that_is_named_is_used_by_rules_too(tmp_path: Path) -> None:
    memory = tmp_path / "memory.sqlite"
    done = edgewise("run", "--family", "AL", "--slots", "1", "--out", str(tmp_path / "run"), "--memory", str(memory))
    assert done.exit_code == 0, done.output
    assert memory.exists()
