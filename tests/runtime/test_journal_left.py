"""A run whose memory stayed away says where its journal is, under the name that the folder has in the end."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

import runtime.runs.experiment
from domain.ledger import Decision
from memory import drain_journal, open_memory, waiting_in
from runtime.cli.program import app
from tests.testbed_files import SMALL, write

pytestmark = pytest.mark.usefixtures("small_effort")


async def remembered(path: Path) -> list[Decision]:
    async with open_memory(path) as memory:
        (run,) = await memory.runs()
        return await memory.decisions(run)


def test_a_run_whose_memory_stayed_away_names_the_journal_that_it_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime.runs.experiment, "draw", lambda summary, folder: [])
    write(tmp_path, SMALL)
    words = [
        "run",
        "-t",
        "small.yaml",
        "-f",
        "AL",
        "--slots",
        "2",
        "--via-graph",
        "--memory",
        "shared.sqlite",
        "--out",
        "run",
    ]
    with closing(sqlite3.connect("shared.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with caplog.at_level(logging.WARNING):
            done = CliRunner().invoke(app, words, prog_name="edgewise", env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    journal = Path("run/memory.journal")
    waiting = waiting_in(journal)
    said = f"{waiting} documents of this run are not in its memory yet; they wait in {journal}."
    assert waiting > 10
    assert said in done.stderr.splitlines()
    assert ".partial" not in done.stderr + caplog.text
    assert asyncio.run(drain_journal(journal, "shared.sqlite")).stored == waiting
    assert not journal.exists()
    decisions = asyncio.run(remembered(Path("shared.sqlite")))
    assert len({decision.slot for decision in decisions}) == 32
