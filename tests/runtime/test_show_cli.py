"""`edgewise show` on run folders of every kind: rules, the graph, agents, and folders of before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import runtime.show.drawing
from runtime.results.changes import PLACEMENTS, ROUTES
from tests.command_line import edgewise, refused
from tests.recordings import digests


def shown(*arguments: str) -> str:
    result = edgewise("show", *arguments, columns=80)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines if not line.startswith(("Figures", "bristol")))
    return result.stdout


@pytest.mark.parametrize("run", ["plain", "several", "graph", "stand-ins", "agents", "elsewhere"])
def test_every_kind_of_run_is_shown_from_its_folder_and_left_as_it_was(recorded_runs: Path, run: str) -> None:
    before = digests(recorded_runs / run)
    text = shown(str(recorded_runs / run), "--no-figures")
    assert "What each node kept" in text
    assert "Where prompts went" in text
    slot = shown(str(recorded_runs / run), "--slot", "1", "--no-figures")
    assert "Slot 1, from 30 s to 60 s, epoch 0" in slot
    assert "{}" not in slot
    assert digests(recorded_runs / run) == before


def test_agents_are_shown_with_their_model_and_their_reasons(recorded_runs: Path) -> None:
    text = shown(str(recorded_runs / "agents"), "--slot", "1")
    assert "Planner: " in text
    assert ", in slot 0, still in force" in text
    assert "answer, why: roles" in text
    assert "rehearsal steady (overruled)" in text
    assert "it was LM1 " in " ".join(text.split())
    elsewhere = " ".join(shown(str(recorded_runs / "elsewhere"), "--slot", "1").split())
    assert "is in the memory that the run was given, not in its folder" in elsewhere
    assert "Deployers: rule lyapunov" in elsewhere


def test_a_folder_of_before_says_what_it_lacks_and_shows_what_it_has(recorded_runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(recorded_runs / "plain", tmp_path / "run"))
    for name in (PLACEMENTS, ROUTES):
        (run / name).unlink()
    text = " ".join(shown(str(run), "--no-figures").split())
    assert "does not hold what its nodes kept, slot by slot: it is older than placements.parquet" in text
    assert "Where prompts went" in text
    slot = " ".join(shown(str(run), "--slot", "0").split())
    assert "does not hold the routes of a slot" in slot
    assert "Scheduler: rule random" in slot


def test_what_is_asked_for_wrongly_is_refused_in_a_sentence(recorded_runs: Path, tmp_path: Path) -> None:
    plain, several = str(recorded_runs / "plain"), str(recorded_runs / "several")
    assert "nowhere is not the folder of a finished run" in refused("show", str(tmp_path / "nowhere"))
    assert "there is no slot 42" in refused("show", plain, "--slot", "42")
    assert "there is no slot -1" in refused("show", plain, "--slot", "-1")
    assert "holds no run of RH; --family must be one of RL." in refused("show", plain, "--family", "RH")
    assert "There is no policy family 'XX'" in refused("show", plain, "--family", "XX")
    assert "holds no run on seed 9; --seed must be one of 1, 2." in refused("show", several, "--seed", "9")
    assert "There is no node 'VM9'" in refused("show", plain, "--node", "VM9")
    assert "There is no node 'VM9'" in refused("show", plain, "--slot", "1", "--node", "VM9")
    assert "--diff compares whole runs" in refused("show", several, "--diff", "RR", "--slot", "1")
    assert "names 3 families" in refused("show", several, "--diff", "RR,LL,RL")
    assert "compares RR with itself" in refused("show", several, "--diff", "RR,RR")
    assert "not the folder of a finished run" in refused("show", several, "--diff", str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("name", "column", "value", "sentence"),
    [
        (PLACEMENTS, "slot", 99, "holds a slot of RL outside of the 42 slots of the run"),
        (ROUTES, "slot", -1, "holds a slot of RL outside of the 42 slots of the run"),
        (PLACEMENTS, "node", "VM99", "names 'VM99' as node, which testbed.yaml has not"),
        (ROUTES, "target", "VM99", "names 'VM99' as target, which testbed.yaml has not"),
        (PLACEMENTS, "phase", "asleep", "names 'asleep' as phase"),
    ],
)
def test_a_damaged_file_is_named(
    recorded_runs: Path, tmp_path: Path, name: str, column: str, value: object, sentence: str
) -> None:
    run = Path(shutil.copytree(recorded_runs / "plain", tmp_path / "run"))
    table = pq.read_table(run / name)
    values = [value, *table.column(column).to_pylist()[1:]]
    changed = pa.array(values)
    if pa.types.is_string(changed.type):
        changed = changed.dictionary_encode()
    pq.write_table(table.set_column(table.column_names.index(column), column, changed), run / name)
    assert sentence in refused("show", str(run))


def test_families_of_a_run_and_two_runs_are_compared(recorded_runs: Path) -> None:
    several = str(recorded_runs / "several")
    families = shown(several, "--diff", "RR,LL")
    assert "RR: ready" in families
    assert "Of the same requests, " in families
    assert shown(several, "--family", "RR", "--diff", "LL") == families
    runs = shown(str(recorded_runs / "plain"), "--diff", several)
    assert "RL: to" in runs


def test_figures_are_drawn_into_the_folder_with_the_same_bytes(recorded_runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(recorded_runs / "plain", tmp_path / "run"))
    text = shown(str(run))
    names = {f"{name}-RL.{form}" for name in ("placement", "flows") for form in ("png", "svg")}
    drawn = {path.name: path.read_bytes() for path in (run / "figures").iterdir()}
    assert names <= set(drawn)
    assert "placement-RL.png" in text
    shown(str(run))
    assert {path.name: path.read_bytes() for path in (run / "figures").iterdir()} == drawn
    assert all(not path.name.startswith(".") for path in (run / "figures").iterdir())


def test_figures_of_one_of_several_seeds_say_which(
    recorded_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(folder: Path, name: str, figure: object) -> list[Path]:
        (folder / f"{name}.png").touch()
        return [folder / f"{name}.png"]

    run = Path(shutil.copytree(recorded_runs / "several", tmp_path / "several"))
    monkeypatch.setattr(runtime.show.drawing, "save", save)
    assert "placement-LL-seed2.png" in shown(str(run), "--family", "LL", "--seed", "2")
    (run / "figures" / "placement-LL-seed2.png").unlink()
    (run / "figures" / "flows-LL-seed2.png").unlink()
    (run / "figures").rmdir()
    (run / "figures").touch()
    result = edgewise("show", str(run), columns=80)
    assert result.exit_code == 2
    assert "Figures cannot be written to " in result.stderr
    assert "--no-figures leaves them out" in result.stderr


def test_a_run_ends_with_what_was_decided_and_how_to_see_more(tmp_path: Path, little_time: None) -> None:
    out = tmp_path / "out"
    result = edgewise("compare", "--family", "RR,RF", "--slots", "3", "--out", str(out), columns=80)
    assert result.exit_code == 0, result.output
    assert "What RF decided" in result.stdout or "What RR decided" in result.stdout
    assert f"show {out}" in " ".join(result.stdout.split())
