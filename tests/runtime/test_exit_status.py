"""What the machine cannot do ends with status 1, what a user got wrong with 2, and both in one sentence."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from memory import open_memory
from runtime.cli.program import app
from runtime.replay.import_thread import command as import_thread
from runtime.runs.progress import RunProgress
from tests.agent_server import decides, serving, sound_answers
from tests.recordings import BRISTOL
from tests.small_disks import disk, fill, read_only

pytestmark = pytest.mark.usefixtures("little_time")
IMPORTER = typer.Typer()
IMPORTER.command()(import_thread)
RUN = ("run", "--family", "RL", "--slots", "1")


def edgewise(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(
        app, arguments, prog_name="edgewise", env={"COLUMNS": "100", "MONGODB_URI": "", **environ}
    )


def sentence(result: Result, status: int, command: str = "edgewise") -> str:
    """The one sentence with which a command ends, after what it may have said of its progress."""
    assert result.exit_code == status, f"{result.output}\n{result.exception!r}"
    said = [line for line in result.stderr.splitlines() if line.startswith(f"{command}: ")]
    assert len(said) == 1, result.stderr
    assert result.stderr.strip().endswith(said[0])
    assert said[0].endswith((".", "?"))
    assert "Traceback" not in result.output
    return said[0]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that cannot be written to."""
    (tmp_path / "closed").mkdir()
    with read_only(tmp_path / "closed") as folder:
        yield folder


@pytest.fixture(scope="module")
def model() -> Iterator[tuple[str, ...]]:
    """Options that let a model decide."""
    with serving(decides(sound_answers(BRISTOL))) as server:
        yield ("--base-url", server.base_url, "--model", "m")


WRITERS = {
    "run": (*RUN, "--out", "closed/run"),
    "run, memory": (*RUN, "--via-graph", "--memory", "closed/m.sqlite", "--out", "out"),
    "compare": ("compare", "--family", "RR", "--slots", "1", "--out", "closed/run"),
    "testbed show": ("testbed", "show", "--generate", "3", "--out", "closed/t.yaml"),
    "compile": ("compile", "--cache", "closed/cache"),
}


READERS = (
    ("families",),
    ("report", "graph"),
    ("show", "graph", "--no-figures"),
    ("testbed", "show"),
    ("trace", "inspect", "requests.csv"),
)
BY_THEMSELVES = {"evaluate-model", "memory store", "whatif"}
"""Commands that have a test of their own here."""


def names(group: Any) -> Iterator[str]:
    """Of all commands in a group, with those of the groups in it."""
    for name, command in group.commands.items():
        yield from (f"{name} {inner}" for inner in names(command)) if hasattr(command, "commands") else [name]


def test_every_command_is_tried_here() -> None:
    tried = [" ".join(command) for command in (*READERS, *WRITERS.values())]
    every = set(names(typer.main.get_command(app)))
    assert {name for name in every if any(f"{one} ".startswith(f"{name} ") for one in tried)} | BY_THEMSELVES == every


@pytest.mark.parametrize("command", WRITERS.values(), ids=WRITERS)
def test_a_folder_that_cannot_be_written_to_is_the_machines_fault(command: tuple[str, ...], closed: Path) -> None:
    assert "closed" in sentence(edgewise(*command), 1)
    assert list(closed.iterdir()) == []


@pytest.mark.parametrize("command", [RUN, ("compare", "--family", "RR", "--slots", "1"), ()], ids=" ".join)
def test_a_current_folder_that_cannot_be_written_to_is_too(
    command: tuple[str, ...], closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(closed)
    assert "cannot hold the run folder" in sentence(edgewise(*command), 1)


def test_so_is_one_for_what_models_are_asked(closed: Path, model: tuple[str, ...]) -> None:
    asked = ("run", "--family", "MA", "--slots", "1", *model, "--out", "out")
    assert "closed/t.tape: the tape cannot be written" in sentence(edgewise(*asked, "--tape", "closed/t.tape"), 1)
    assert "closed cannot hold the trials" in sentence(edgewise("evaluate-model", *model, "--out", "closed/e.json"), 1)


def test_so_is_one_for_a_what_if(closed: Path, recorded_runs: Path) -> None:
    asked = ("whatif", str(recorded_runs / "plain"), "--family", "RF")
    assert "closed" in sentence(edgewise(*asked, "--out", "closed/whatif"), 1)


def test_so_is_one_for_what_waits_in_a_journal(closed: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "memory.journal").write_text('{"kind": "runs", "body": {"schema_version": 1, "run": "r"}}\n')
    assert "closed/m.sqlite" in sentence(edgewise("memory", "store", "run", "--memory", "closed/m.sqlite"), 1)


def test_whatever_only_reads_works_where_nothing_can_be_written(
    recorded_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    shutil.copytree(recorded_runs / "graph", place / "graph")
    (place / "requests.csv").write_text("time,node,lm,prompts\n0.5,VM2,LM1,1\n")
    with read_only(place), monkeypatch.context() as there:
        there.chdir(place)
        with pytest.raises(OSError, match="ermission|ead-only"):
            Path("new").write_text("")
        for command in READERS:
            result = edgewise(*command)
            assert result.exit_code == 0, result.output
        assert "Figures cannot be written to graph/figures" in sentence(edgewise("show", "graph"), 1)


def test_a_what_if_reads_a_run_that_cannot_be_written(recorded_runs: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded_runs / "graph", tmp_path / "runs" / "graph")
    with read_only(tmp_path / "runs"):
        done = edgewise("whatif", "runs/graph", "--recorded", "RL", "--family", "RF", "--out", "out")
        assert done.exit_code == 0, done.output
        assert "under the recorded decisions the twin gives every recorded request again" in done.stdout


@pytest.mark.parametrize("source", ["graph", "graph/checkpoints.sqlite", "graph/memory.sqlite"])
@pytest.mark.parametrize("closed_cleanly", [True, False])
def test_a_run_that_cannot_be_written_can_be_imported(
    source: str, closed_cleanly: bool, recorded_runs: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(recorded_runs / "graph", runs / "graph")
    if not closed_cleanly:
        for name in ("memory.sqlite", "checkpoints.sqlite"):
            _left_in_its_log(runs / "graph" / name)
    with read_only(runs):
        done = CliRunner().invoke(IMPORTER, [f"runs/{source}", "--run", "RL-seed1", "--url", "http://127.0.0.1:9"])
    assert "There is no LangGraph server at" in sentence(done, 2, "import_thread")


def _left_in_its_log(store: Path) -> None:
    """Leave a store as a kill does: with a write-ahead log beside it."""
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("CREATE TABLE of_another (n)")
        connection.commit()
        for ending in ("", "-wal"):
            shutil.copy(f"{store}{ending}", f"{store}{ending}.kept")
    for ending in ("", "-wal"):
        Path(f"{store}{ending}.kept").replace(f"{store}{ending}")


# A full disk

FULL = {
    "run": RUN,
    "run through the graph": (*RUN, "--via-graph"),
    "compare": ("compare", "--family", "RR,LL", "--slots", "1"),
}


@pytest.mark.parametrize("command", FULL.values(), ids=FULL)
def test_a_run_ends_in_one_sentence_wherever_the_disk_is_full_and_goes_on_when_it_is_not(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    whole = edgewise(*command, "--out", "elsewhere")
    assert whole.exit_code == 0, whole.output
    with disk(tmp_path / "disk", 4096) as full:
        room, refused = 0, 0
        while room < 4096:
            ballast = fill(full, room * 1024)
            result = edgewise(*command, "--out", "disk/run")
            ballast.unlink()
            if result.exit_code == 0:
                break
            assert "disk" in sentence(result, 1)
            refused += 1
            room = max(4, 2 * room)
        assert refused > 3
        assert (full / "run" / "records.parquet").read_bytes() == Path("elsewhere/records.parquet").read_bytes()


def test_a_tape_and_trials_and_a_testbed_on_a_full_disk_are_one_sentence_each(
    tmp_path: Path, model: tuple[str, ...], recorded_runs: Path
) -> None:
    with disk(tmp_path / "disk", 64) as full:
        fill(full, 0)
        asked = ("run", "--family", "MA", "--slots", "1", *model, "--out", "out")
        for command in (
            (*asked, "--tape", "disk/t.tape"),
            ("evaluate-model", *model, "--out", "disk/e.json"),
            ("testbed", "show", "--generate", "3", "--out", "disk/t.yaml"),
            ("whatif", str(recorded_runs / "plain"), "--family", "RF", "--out", "disk/whatif"),
        ):
            assert "disk" in sentence(edgewise(*command), 1)


# What a user got wrong


@pytest.mark.parametrize("out", [".", "..", "/", "file/run", "x" * 300])
def test_a_folder_that_cannot_be_one_is_the_users_mistake(out: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sentence(edgewise(*RUN, "--out", out), 2)


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hidden folder of a run through the graph that was stopped in its fifth slot."""
    passed, slot = list[int](), RunProgress.slot

    def stop(progress: RunProgress) -> None:
        passed.append(1)
        if len(passed) == 5:
            raise KeyboardInterrupt
        slot(progress)

    with monkeypatch.context() as patched:
        patched.setattr(RunProgress, "slot", stop)
        assert edgewise(*RUN, "--via-graph", "--out", "run").exit_code == 130
    return tmp_path / ".run.partial"


def test_a_run_that_was_stopped_goes_on(stopped: Path) -> None:
    done = edgewise(*RUN, "--via-graph", "--out", "run")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("name", ["checkpoints.sqlite", "memory.sqlite"])
def test_damaged_files_of_a_run_that_goes_on_are_one_sentence(name: str, stopped: Path) -> None:
    size = (stopped / name).stat().st_size
    (stopped / name).write_bytes(b"no database" * (size // 11))
    said = sentence(edgewise(*RUN, "--via-graph", "--out", "run"), 2)
    assert name in said
    assert "damaged" in said


def test_a_checkpoint_that_is_none_is_one_sentence(stopped: Path) -> None:
    with closing(sqlite3.connect(stopped / "checkpoints.sqlite")) as connection, connection:
        connection.execute("UPDATE checkpoints SET checkpoint = x'c1c1c1'")
    said = sentence(edgewise(*RUN, "--via-graph", "--out", "run"), 2)
    assert "checkpoints.sqlite is damaged or not Edgewise's: A checkpoint is damaged" in said


@pytest.mark.parametrize("name", ["checkpoints.sqlite", "memory.sqlite"])
def test_a_lost_file_of_a_run_that_goes_on_is_one_sentence_or_no_loss(name: str, stopped: Path) -> None:
    (stopped / name).unlink()
    result = edgewise(*RUN, "--via-graph", "--out", "run")
    if result.exit_code:
        sentence(result, 2)


@pytest.mark.parametrize("name", ["checkpoints.sqlite", "memory.sqlite"])
def test_a_database_that_another_process_has_locked_is_one_sentence(
    name: str, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.slot.checkpoints.BUSY_S", 0.01)
    monkeypatch.setattr("runtime.runs.graph_families.open_memory", partial(open_memory, limit_s=0.5))
    with closing(sqlite3.connect(stopped / name)) as another:
        another.execute("BEGIN EXCLUSIVE")
        said = sentence(edgewise(*RUN, "--via-graph", "--out", "run"), 1)
    assert name in said
    assert "another process is writing to it" in said


def test_an_empty_request_is_one_sentence(stopped: Path) -> None:
    (stopped / "parts" / ".request.json").write_text("")
    assert "run" in sentence(edgewise("run", "--resume", "run"), 2)
