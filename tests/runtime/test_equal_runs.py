"""Equal settings give equal bytes, in all files but those that the documentation names."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.cli.program import app

pytestmark = pytest.mark.usefixtures("little_time")


def run(out: Path, *arguments: str) -> dict[str, bytes]:
    """Run and return the files of the folder."""
    done = CliRunner().invoke(app, ["run", "--family", "AL", "--slots", "2", "--out", str(out), *arguments])
    assert done.exit_code == 0, done.output
    return {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}


def differing(tmp_path: Path, *arguments: str) -> set[str]:
    one, two = (run(tmp_path / name, *arguments) for name in ("one", "two"))
    assert one.keys() == two.keys()
    return {name for name in one if one[name] != two[name]}


def documents(store: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of a memory, table by table."""
    with closing(sqlite3.connect(store)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in tables}


def test_a_run_of_rules_writes_the_same_bytes_again(tmp_path: Path) -> None:
    assert differing(tmp_path) == set()


def test_through_the_graph_only_checkpoints_and_traces_differ(tmp_path: Path) -> None:
    modes = ("--via-graph", "--trace", "--dry-run", "--shadow", "RF")
    assert differing(tmp_path, *modes) - {"memory.sqlite"} == {"checkpoints.sqlite", "trace.jsonl"}
    assert documents(tmp_path / "one" / "memory.sqlite") == documents(tmp_path / "two" / "memory.sqlite")


def test_in_a_shared_memory_runs_have_names_of_their_own(tmp_path: Path) -> None:
    shared = ("--via-graph", "--memory", str(tmp_path / "shared.sqlite"))
    assert differing(tmp_path, *shared) == {"checkpoints.sqlite", "run-id"}
