"""A run whose memory stayed away says where its journal is, under the name that the folder has in the end."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import runtime.runs.experiment
from domain.ledger import Decision
from memory import drain_journal, open_memory, waiting_in
from runtime.cli.program import app
from tests.testbed_files import SMALL, write

pytestmark = pytest.mark.usefixtures("small_effort")


def edgewise(*words: str) -> Result:
    return CliRunner().invoke(app, words, prog_name="edgewise", env={"COLUMNS": "100", "MONGODB_URI": ""})


async def remembered(path: Path) -> list[Decision]:
    async with open_memory(path) as memory:
        (run,) = await memory.runs()
        return await memory.decisions(run)


def test_a_run_whose_memory_stayed_away_names_the_journal_that_it_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime.runs.experiment, "draw", lambda summary, folder: [])
    # What locks the store here never gives way, so it need not be waited for as long as usual.
    monkeypatch.setattr("runtime.runs.graph_families.open_memory", partial(open_memory, limit_s=0.05))
    monkeypatch.setattr("memory.drain_journal", partial(drain_journal, limit_s=0.05))
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
            done = edgewise(*words)
            away = edgewise("memory", "store", "run", "--memory", "shared.sqlite")
    assert away.exit_code == 1
    assert f"{waiting_in(Path('run/memory.journal'))} documents still wait in run/memory.journal" in away.stderr
    assert done.exit_code == 0, done.output
    journal = Path("run/memory.journal")
    waiting = waiting_in(journal)
    said = (
        f"{waiting} documents of this run are not in its memory yet; they wait in {journal}. To store them, with "
        "--memory as the run was given it: edgewise memory store run"
    )
    assert waiting > 10
    assert said in done.stderr.splitlines()
    assert ".partial" not in done.stderr + caplog.text
    again = edgewise("run", "--resume", "run")
    assert (again.exit_code, again.stderr) == (2, f"edgewise: run is finished: there is nothing to resume. {said}\n")
    assert said in edgewise("whatif", "run", "--family", "RF", "--memory", "shared.sqlite").stderr.splitlines()
    nowhere = edgewise("memory", "store", "run")
    assert nowhere.exit_code == 2
    assert "name it with --memory or MONGODB_URI" in nowhere.stderr
    stored = edgewise("memory", "store", "run", "--memory", "shared.sqlite")
    assert (stored.exit_code, stored.stdout) == (0, f"Stored {waiting} documents of run.\n")
    assert not journal.exists()
    more = edgewise("memory", "store", "run", "--memory", "shared.sqlite")
    assert (more.exit_code, more.stdout) == (0, "Nothing of run waits: it has no journal.\n")
    decisions = asyncio.run(remembered(Path("shared.sqlite")))
    assert len({decision.slot for decision in decisions}) == 32


def test_there_is_nothing_to_store_of_a_run_that_never_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = edgewise("memory", "store", "run", "--memory", "shared.sqlite")
    assert (done.exit_code, done.stderr) == (
        2,
        "edgewise: run: there is no run of this name, neither finished nor stopped.\n",
    )
