"""Commands that meet a stopped run: the same one, --resume from elsewhere, and one that asks for something else."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import runtime.cli.commands.experiments
import runtime.runs.experiment
from domain.serving import Dispatch, Serving
from domain.telemetry import Records
from runtime.cli.program import app
from runtime.results import versions
from runtime.runs.books import BookedTwin
from runtime.runs.graph_families import GraphFamilies, place_of
from tests.testbed_files import SMALL
from twin.testbeds import load_testbed

pytestmark = pytest.mark.usefixtures("small_effort")
SHORT = "slot_s: 30\nepoch_slots: 2\ndeadline_s: 30\n"


def edgewise(*words: str) -> Result:
    return CliRunner().invoke(app, words, prog_name="edgewise", env={"COLUMNS": "100", "MONGODB_URI": ""})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small testbed, on a machine whose code does not change."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "small.yaml").write_text(SMALL + SHORT)
    monkeypatch.chdir(home)
    monkeypatch.setattr(runtime.runs.experiment, "draw", lambda summary, folder: [])
    monkeypatch.setattr(runtime.cli.commands.experiments, "versions", lambda: '{"commit": "a", "code_sha256": "1"}\n')
    return home


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Give a command that is interrupted in its third slot."""

    def give(*words: str) -> Result:
        advance = BookedTwin.advance

        async def stops(testbed: BookedTwin) -> Records:
            if testbed._twin.slot == 2:
                raise KeyboardInterrupt
            return await advance(testbed)

        with monkeypatch.context() as patched:
            patched.setattr(BookedTwin, "advance", stops)
            done = edgewise("run", "--testbed", "small.yaml", "--via-graph", "--slots", "3", *words)
        assert done.exit_code == 130, done.output
        assert "the same command goes on where it stopped" in done.stderr
        return done

    return give


def records(run: Path) -> bytes:
    return (run / "records.parquet").read_bytes()


def whole(*words: str) -> bytes:
    done = edgewise("run", "--testbed", "small.yaml", "--via-graph", "--slots", "3", "--out", "whole", *words)
    assert done.exit_code == 0, done.output
    return records(Path("whole"))


def test_a_run_with_a_memory_of_its_own_place_is_resumed_from_any_folder(
    home: Path, interrupted: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted("--family", "RL", "--memory", "m.sqlite", "--out", "run")
    expected = whole("--family", "RL")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = edgewise("run", "--resume", str(home / "run"))
    assert done.exit_code == 0, done.output
    assert records(home / "run") == expected
    assert not list((tmp_path / "elsewhere").iterdir()), "no memory of the same relative name"


def test_what_cannot_be_resumed_is_refused_before_a_model_server_is_asked_or_waited_for(
    home: Path, interrupted: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(*_: object) -> None:
        raise AssertionError("a server was asked")

    with monkeypatch.context() as patched:
        patched.setattr(GraphFamilies, "preflight", lambda *_: None)
        patched.setattr("graph.models.calling.FIRST_WAIT_S", 0.001)
        model = ("--base-url", "http://127.0.0.1:9/v1", "--model", "m", "--patience", "0", "--rehearse", "off")
        interrupted("--family", "MA", *model, "--out", "run")
    monkeypatch.setattr("runtime.runs.graph_families.preflight", asked)
    assert str(edgewise("run", "--resume", "run").exception) == "a server was asked"
    (home / "small.yaml").write_text((home / "small.yaml").read_text().replace("deadline_s: 30", "deadline_s: 31"))
    refused = edgewise("run", "--resume", "run")
    assert refused.exit_code == 2, refused.output
    assert "run cannot be resumed as it was begun: " in refused.stderr
    assert "deadline_s was 30.0, is 31.0 now" in refused.stderr


def test_another_memory_is_another_run(home: Path, interrupted: Callable[..., Result]) -> None:
    interrupted("--family", "RL", "--memory", "m.sqlite", "--out", "run")
    place = str((home / "m.sqlite").resolve())[-60:]
    refused = edgewise("run", "--resume", "run", "--memory", "other.sqlite")
    assert refused.exit_code == 2
    assert "--memory was " in refused.stderr
    assert f"{place}, is " in refused.stderr
    assert "home/other.sqlite now" in refused.stderr
    without = edgewise("run", "-t", "small.yaml", "--via-graph", "--slots", "3", "-f", "RL", "--out", "run")
    assert without.exit_code == 0
    assert f"{place}, is in the run folder now. This one starts afresh." in without.stderr
    assert "To go on with that one: edgewise run --resume run-interrupted\n" in without.stderr
    done = edgewise("run", "--resume", "run-interrupted")
    assert done.exit_code == 0, done.output
    assert records(home / "run-interrupted") == records(home / "run")


def test_one_changed_option_keeps_the_old_run_and_offers_both_ways(
    home: Path, interrupted: Callable[..., Result]
) -> None:
    interrupted("--family", "RH", "--slot-seconds", "30", "--out", "run")
    changed = ("run", "-t", "small.yaml", "--via-graph", "--slots", "3", "-f", "RH", "--out", "run")
    done = edgewise(*changed, "--slot-seconds", "29")
    assert done.exit_code == 0, done.output
    assert "agents.slot_budget.seconds was 30.0, is 29.0 now" in done.stderr
    assert edgewise("run", "--resume", "run-interrupted").exit_code == 0
    assert records(home / "run-interrupted") == records(home / "run")


def test_a_run_that_is_served_otherwise_is_another_run_and_goes_on_as_it_was_served(
    home: Path, interrupted: Callable[..., Result]
) -> None:
    interrupted("--family", "RL", "--dispatch", "split", "--news", "2", "--out", "run")
    done = edgewise("run", "-t", "small.yaml", "--via-graph", "--slots", "3", "-f", "RL", "--out", "run")
    assert done.exit_code == 0, done.output
    assert (
        "an interrupted run is kept, which is another one: serving.dispatch was split, is fixed now; "
        "serving.news_s was 2.0, is 0.0 now. This one starts afresh." in done.stderr
    )
    assert edgewise("run", "--resume", "run-interrupted").exit_code == 0
    assert load_testbed(home / "run-interrupted" / "testbed.yaml").serving == Serving(Dispatch.SPLIT, 2.0)
    assert load_testbed(home / "run" / "testbed.yaml").serving == Serving()


def test_after_a_change_of_the_code_a_run_goes_on_where_it_is_told_to(
    home: Path, interrupted: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted("--family", "RL", "--out", "run")
    monkeypatch.setattr(runtime.cli.commands.experiments, "versions", lambda: '{"commit": "b", "code_sha256": "2"}\n')
    refused = edgewise("run", "--resume", "run")
    assert refused.exit_code == 2
    assert "commit was a, is b now. Go back to that code, or give --other-code" in refused.stderr
    same = edgewise("run", "-t", "small.yaml", "--via-graph", "--slots", "3", "-f", "RL", "--out", "run")
    assert "edgewise run --resume run-interrupted --other-code\n" in same.stderr
    assert edgewise("run", "--resume", "run-interrupted", "--other-code").exit_code == 0
    assert records(home / "run-interrupted") == records(home / "run")
    assert '"commit": "a"' in (home / "run-interrupted" / "versions.json").read_text()
    alone = edgewise("run", "--other-code")
    assert alone.exit_code == 2
    assert "name it with --resume" in alone.stderr


def test_default_names_hold_what_was_asked_and_a_stopped_run_keeps_its_place(
    home: Path, interrupted: Callable[..., Result]
) -> None:
    interrupted("--family", "RL")
    command = ("run", "-t", "small.yaml", "--via-graph", "--slots", "3", "-f", "RL")
    assert edgewise(*command, "--load", "2", "--lambda", "0.8").exit_code == 0
    other = edgewise(*command, "--memory", "m.sqlite")
    assert "To go on with that one: edgewise run --resume runs/small-p1-RL-3slots-seed1\n" in other.stderr
    assert edgewise(*command).exit_code == 0
    assert sorted(path.name for path in (home / "runs").iterdir()) == [
        "small-p1-RL-3slots-seed1",
        "small-p1-RL-3slots-seed1-2",
        "small-p1-x2-RL-lambda0.8-3slots-seed1",
    ]


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("mongodb://me:secret@B:27017,a/runs?tls=true&w=1", "mongodb://a:27017,b:27017/runs"),
        ("mongodb://a", "mongodb://a:27017/edgewise"),
        ("mongodb://[::1]/x", "mongodb://[::1]:27017/x"),
        ("mongodb+srv://me:se@cret@cluster.example/?retryWrites=true", "mongodb+srv://cluster.example/edgewise"),
    ],
)
def test_the_place_of_a_memory_is_the_same_however_it_is_written_and_holds_no_secret(uri: str, place: str) -> None:
    assert place_of(uri) == place


# What the code is


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the file that says where the code is, and a module."""
    house = tmp_path / "house"
    for name in ("runtime/results/versions.py", "domain/module.py", "prompts/planner.md"):
        (house / name).parent.mkdir(parents=True)
        (house / name).write_text(f"{name}\n")
    git = ["git", "-C", str(house), "-c", "user.name=n", "-c", "user.email=e@x"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "All"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(versions, "HOUSE", house)
    return house


@pytest.mark.parametrize("name", ["domain/.module.py.swp", "domain/module.py~", "domain/#module.py#", "domain/4913"])
def test_what_an_editor_leaves_beside_the_code_is_no_code(name: str, checkout: Path) -> None:
    before = versions.versions()
    (checkout / name).write_text("half a line")
    assert versions.versions() == before


@pytest.mark.parametrize("name", ["domain/module.py", "prompts/planner.md", "domain/another.py"])
def test_what_git_tracks_and_modules_beside_it_are_the_code(name: str, checkout: Path) -> None:
    before = versions.versions()
    (checkout / name).write_text("other\n")
    assert versions.versions() != before


def test_without_git_all_files_are_the_code(checkout: Path) -> None:
    (checkout / ".git").rename(checkout / "nothing")
    before = versions.versions()
    assert '"commit": null' in before
    (checkout / "domain" / "module.py").write_text("other\n")
    assert versions.versions() != before
