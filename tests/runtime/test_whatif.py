"""What if: recorded requests again, exactly; other rules beside them; what is printed and kept."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import runtime.cli.commands.whatif
import runtime.results.versions
import runtime.runs.experiment
import runtime.whatif.difference
import runtime.whatif.replay
from domain.workload import Arrivals
from runtime.results.recording import open_recording
from runtime.results.slots import SlotResult
from runtime.runs.loop import run_slots
from tests.recordings import BRISTOL, DRAW, asked, digests, edgewise, of, refused
from twin.workloads import load_workload

pytestmark = pytest.mark.usefixtures("little_time")

# What was recorded


@pytest.mark.parametrize(("run", "family", "seed"), [("plain", "RL", 1), ("several", "RR", 2), ("agents", "MA", 1)])
def test_the_requests_of_a_run_are_read_back_exactly(recorded_runs: Path, run: str, family: str, seed: int) -> None:
    recording = open_recording(recorded_runs / run)
    workload, slots = load_workload("p1", BRISTOL, seed), recording.summary.slots
    came = Arrivals.concatenate([workload.arrivals(slot) for slot in range(slots)])
    found = recording.read(family, seed)
    assert found.missing == 0
    for column in ("time_s", "origin", "lm", "prompts"):
        assert np.array_equal(getattr(found.arrivals, column), getattr(came, column))


@pytest.mark.parametrize(
    ("run", "family", "how"),
    [
        ("plain", "RL", "rules"),
        ("several", "RR", "rules"),
        ("several", "LL", "rules"),
        ("graph", "RL", "decisions"),
        ("stand-ins", "MA", "decisions"),
        ("agents", "MA", "decisions"),
    ],
)
def test_what_was_decided_gives_every_record_again_bit_for_bit(
    recorded_runs: Path, tmp_path: Path, run: str, family: str, how: str
) -> None:
    answer = asked(recorded_runs / run, tmp_path / "out", "--recorded", family, "--family", "RF")
    assert answer.check is not None
    assert (answer.check.how, answer.check.exact) == (how, True)
    assert answer.error == {}
    assert answer.check.figures == answer.recorded_figures


def test_the_same_rules_give_the_bytes_of_the_run_again(recorded_runs: Path, tmp_path: Path) -> None:
    answer = asked(recorded_runs / "plain", tmp_path / "rules", "--family", "RL")
    assert (tmp_path / "rules/records.parquet").read_bytes() == (recorded_runs / "plain/records.parquet").read_bytes()
    assert (tmp_path / "rules/slots.parquet").read_bytes() == (recorded_runs / "plain/slots.parquet").read_bytes()
    assert all((c.difference, c.low, c.high) == (0.0, None, None) for c in answer.replays[0].changes)
    graph = asked(recorded_runs / "graph", tmp_path / "graph", "--family", "RL")
    assert (tmp_path / "graph/records.parquet").read_bytes() == (recorded_runs / "graph/records.parquet").read_bytes()
    assert of(graph, "J").difference == 0.0
    asked(recorded_runs / "stand-ins", tmp_path / "ma", "--family", "MA")
    assert (tmp_path / "ma/records.parquet").read_bytes() == (recorded_runs / "stand-ins/records.parquet").read_bytes()


def test_decisions_that_are_still_in_the_memorys_log_are_carried_out_again(recorded_runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(recorded_runs / "graph", tmp_path / "run"))
    with closing(sqlite3.connect(run / "memory.sqlite")) as another:
        another.execute("PRAGMA wal_autocheckpoint=0")
        another.execute("CREATE TEMP TABLE kept AS SELECT * FROM decisions")
        another.execute("DELETE FROM decisions")
        another.commit()
        another.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        another.execute("INSERT INTO decisions SELECT * FROM kept")
        another.commit()
        done = edgewise("whatif", str(run), "--recorded", "RL", "--family", "RF")
    assert done.exit_code == 0, done.output
    assert "Checked: under the recorded decisions the twin gives every recorded request again" in " ".join(
        done.stdout.split()
    )


def test_other_rules_come_to_what_a_run_of_theirs_on_the_same_seed_comes_to(
    recorded_runs: Path, tmp_path: Path
) -> None:
    answer = asked(recorded_runs / "several", tmp_path / "out", "--recorded", "RR", "--family", "LL")
    told = open_recording(recorded_runs / "several").summary.of("LL")
    assert answer.replays[0].telemetry == [run.telemetry for run in told]
    means = {name: np.mean([getattr(run.telemetry, name) for run in told]) for name in ("objective", "fairness")}
    assert of(answer, "J").other == pytest.approx(means["objective"])
    assert of(answer, "F_norm").other == pytest.approx(means["fairness"])


def test_a_twin_that_is_off_is_said_to_be_and_differences_are_taken_within_it(
    recorded_runs: Path, tmp_path: Path
) -> None:
    """The recording is of a testbed that is slower than the testbed file says, as a live one may be."""
    run = tmp_path / "run"
    shutil.copytree(recorded_runs / "agents", run)
    faster = re.sub(r"compute_s: \{value: 5\.6,", "compute_s: {value: 5.0,", (run / "testbed.yaml").read_text())
    (run / "testbed.yaml").write_text(faster)
    answer = asked(run, tmp_path / "out", "--family", "RL")
    assert answer.check is not None
    assert not answer.check.exact
    assert answer.error["served LM4"] >= 0.0  # the mean may rise all the same: it counts who is served
    change, told = of(answer, "mean s"), answer.recorded_figures["mean s"]
    assert change.base == answer.check.figures["mean s"] != told
    assert answer.error["mean s"] == pytest.approx((change.base or 0) - (told or 0))
    assert change.difference == pytest.approx((change.other or 0) - (change.base or 0))
    text = " ".join(edgewise("whatif", str(run), "--family", "RL").stdout.split())
    assert f"the twin is not exact: mean s {told:.1f} recorded, {change.base:.1f} in the twin" in text


def test_decisions_that_are_kept_elsewhere_are_asked_for_and_found(recorded_runs: Path, tmp_path: Path) -> None:
    blind = asked(recorded_runs / "elsewhere", tmp_path / "blind", "--family", "RL")
    assert blind.check is None
    assert "--memory says where" in (blind.unchecked or "")
    assert of(blind, "J").base == pytest.approx(blind.recorded_figures["J"])
    seeing = asked(
        recorded_runs / "elsewhere",
        tmp_path / "seeing",
        "--family",
        "RL",
        "--memory",
        str(recorded_runs / "shared.sqlite"),
    )
    assert seeing.check is not None
    assert seeing.check.exact


def test_a_ledger_with_a_hole_is_not_carried_out(recorded_runs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(recorded_runs / "agents", run)
    (run / "memory.sqlite").unlink()
    shutil.copy(recorded_runs / "stand-ins" / "memory.sqlite", run / "run-id")  # a name that no memory knows
    (run / "run-id").write_text("0000")
    answer = asked(run, tmp_path / "out", "--family", "RL", "--memory", str(recorded_runs / "shared.sqlite"))
    assert answer.check is None
    assert answer.unchecked == "its ledger does not hold every decision: slot 0 has no routing plans"


def test_a_dry_run_is_not_checked_and_its_requests_are_played(recorded_runs: Path, tmp_path: Path) -> None:
    answer = asked(recorded_runs / "dry", tmp_path / "out", "--family", "RF")
    assert "dry run" in (answer.unchecked or "")
    assert answer.recorded_figures["served"] == 0.0
    assert (of(answer, "served").other or 0.0) > 0.5
    assert answer.notes[0].startswith("Dry run")


def test_requests_without_a_record_are_counted_and_the_others_are_played(recorded_runs: Path, tmp_path: Path) -> None:
    """As a live run leaves them that was stopped: some had not ended."""
    run = tmp_path / "run"
    shutil.copytree(recorded_runs / "plain", run)
    table = pq.read_table(run / "records.parquet")
    pq.write_table(table.slice(0, table.num_rows - 7), run / "records.parquet")
    summary = json.loads((run / "summary.json").read_text())
    summary["results"][0]["telemetry"]["arrived"]["LM1"] -= 7
    (run / "summary.json").write_text(json.dumps(summary))
    answer = asked(run, tmp_path / "out", "--family", "RF")
    assert (answer.missing, answer.requests) == (7, table.num_rows - 7)
    text = " ".join(edgewise("whatif", str(run), "--family", "RF").stdout.split())
    assert f"7 of {table.num_rows} requests have no record" in text


# Output


def test_the_answer_fits_80_columns_and_names_the_next_command(recorded_runs: Path) -> None:
    for run, option in (("plain", "--split"), ("agents", "--family")):
        value = "3" if option == "--split" else "none+random+lyapunov"
        result = edgewise("whatif", str(recorded_runs / run), option, value)
        assert result.exit_code == 0, result.output
        *lines, following = result.stdout.rstrip().splitlines()
        assert max(len(line.rstrip()) for line in lines) <= 80
        assert "…" not in result.stdout
        assert re.fullmatch(r"Next: \S+( -m runner)? whatif \S+ --family RH.*", following)


def test_nothing_is_left_where_there_is_no_out(
    recorded_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = edgewise("whatif", str(recorded_runs / "plain"), "--family", "RF")
    assert result.exit_code == 0
    assert list(tmp_path.iterdir()) == []
    assert re.fullmatch(r"plain: RL again, 42 slots in .* s\nplain: RF, 42 slots in .* s\n", result.stderr)


def test_the_folder_holds_numbers_records_and_a_figure_the_same_each_time(
    recorded_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.cli.commands.whatif, "_draw", DRAW)
    for name in ("a", "b"):
        asked(recorded_runs / "plain", tmp_path / name, "--family", "RF,LL")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert set(digests(tmp_path / "a")) == {
        "asked.yaml",
        "testbed.yaml",
        "versions.json",
        "whatif.json",
        "records.parquet",
        "slots.parquet",
        "figures/differences.png",
        "figures/differences.svg",
    }
    assert "already exists" in refused(str(recorded_runs / "plain"), "--family", "RF", "--out", str(tmp_path / "a"))


def test_an_interrupted_what_if_goes_on_where_there_is_an_out(
    recorded_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> Iterator[SlotResult]:
        for result in run_slots(*args):
            if args[1].code == "LL":
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(runtime.results.versions, "_code", lambda: "the same")
    command = ["whatif", str(recorded_runs / "plain"), "--family", "RF,LL"]
    with monkeypatch.context() as patched:
        patched.setattr(runtime.whatif.replay, "run_slots", interrupted)
        nowhere = edgewise(*command)
        first = edgewise(*command, "--out", str(tmp_path / "out"))
    assert nowhere.exit_code == first.exit_code == 130
    assert nowhere.stderr.endswith("edgewise: interrupted.\n")
    assert first.stderr.endswith("edgewise: interrupted; the same command goes on where it stopped.\n")
    second = edgewise(*command, "--out", str(tmp_path / "out"))
    assert second.exit_code == 0, second.output
    assert "RF kept from the interrupted run" in second.stderr
