"""Traces on the command line: what inspect says, what a run leaves out, and what the exit status is."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import runtime.runs.experiment
from tests.command_line import edgewise, refused

HOUSE = Path(__file__).parents[2]
HEADER = "time_s,node,lm,prompts\n"
pytestmark = pytest.mark.usefixtures("small_effort")


@pytest.fixture(scope="module", autouse=True)
def _no_figures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runtime.runs.experiment, "draw", lambda summary, folder: [])
        yield


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def played(rows: str, fields: str = "") -> str:
    """A workload file that plays a plain trace of these rows."""
    Path("requests.csv").write_text(HEADER + rows)
    Path("mine.yaml").write_text(f"streams:\n  - {{kind: trace, path: requests.csv{fields}}}\n")
    return "mine.yaml"


def one_line(text: str) -> str:
    return " ".join(text.split())


# trace inspect


def test_an_inspection_shows_requests_per_lm_and_origin_and_what_a_testbed_does_not_know() -> None:
    Path("requests.csv").write_text(HEADER + "0,VM3,LM1,1\n5,VM4,LM2,2\n9,VM3,LM1,1\n")
    result = edgewise("trace", "inspect", "requests.csv", "--testbed", "bristol")
    assert result.exit_code == 0, result.output
    assert "LM or model: LM1 2, LM2 1\n" in result.stdout
    assert "origin: VM3 2, VM4 1\n" in result.stdout
    assert "bristol has all LMs and origins that it names\n" in result.stdout
    Path("requests.csv").write_text(HEADER + "0,VM3,LM1,1\n5,Paris,LM7,2\n9,Rome,LM1,1\n")
    result = edgewise("trace", "inspect", "requests.csv", "-t", "bristol")
    assert result.exit_code == 2
    assert "requests.csv:3: node must be 'VM2'" in result.stdout
    assert "requests.csv:4: node must be 'VM2'" in result.stdout
    assert result.stderr.startswith("edgewise: requests.csv:3: lm must be 'LM1', 'LM2', 'LM3' or 'LM4', not 'LM7'")


def test_an_inspection_takes_the_names_of_columns_their_unit_and_the_form() -> None:
    Path("log.tsv").write_text("arrived at\tllm\n1000\tLM1\n2500\tLM4\n")
    columns = ["--columns", "time=arrived at,lm=llm", "--time-unit", "ms", "--format", "plain"]
    result = edgewise("trace", "inspect", "log.tsv", *columns)
    assert result.exit_code == 0, result.output
    assert "2 requests in 2 s, 1.33 per second" in result.stdout
    assert "no column prompts, so each request has one prompt" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--columns", "zeit=a"], "--columns: a role must be 'time', 'time_s', 'node', 'lm' or 'prompts', not 'zeit'."),
        (["--columns", "time"], "--columns must be pairs such as time=Timestamp,lm=Model, not 'time'."),
        (["--columns", "time=a,time=b"], "--columns names a column for time twice; name one."),
        (["--columns", "time=a"], "there is no column 'a' for time; it has time_s, node, lm, prompts."),
        (["--time-unit", "min"], "--time-unit must be 's', 'ms', 'us' or 'ns', not 'min'."),
        (["--format", "azur"], "--format must be 'azure',"),
        (["--testbed", "bristle"], "bristle"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_flag_of_an_inspection_is_answered_with_what_is_right(arguments: list[str], sentence: str) -> None:
    Path("requests.csv").write_text(HEADER + "0,VM3,LM1,1\n")
    assert sentence in refused("trace", "inspect", "requests.csv", *arguments)


# What a run leaves out


def test_a_trace_longer_than_the_run_is_said_with_the_flag_that_plays_it_all() -> None:
    workload = played("".join(f"{t},VM2,LM{1 + t // 30 % 4},1\n" for t in range(0, 3600, 10)))
    cut = edgewise("run", "-w", workload, "--family", "RF", "--slots", "20", "--out", "cut")
    sentence = (
        "requests.csv (plain) for the LMs that it names: 60 of 360 requests are played in 20 slots; they last 120 "
        "slots; --slots 120 plays all."
    )
    assert f"Warning: {sentence}" in one_line(cut.stdout)
    assert json.loads(Path("cut/summary.json").read_text())["warnings"] == [sentence]
    assert f"Warning: {sentence}" in one_line(edgewise("report", "cut").stdout)
    whole = edgewise("run", "-w", workload, "--family", "RF", "--slots", "120", "--out", "whole")
    assert "Warning" not in whole.stdout
    assert json.loads(Path("whole/summary.json").read_text())["warnings"] == []


def test_a_trace_is_played_to_its_end_where_nobody_says_how_long_the_run_is() -> None:
    workload = played("0,VM2,LM1,1\n" + "".join(f"{t},VM2,LM{1 + t % 4},1\n" for t in range(18_000, 18_040)))
    ran = edgewise("run", "-w", workload, "--family", "RF", "--out", "here")
    assert ran.exit_code == 0, ran.output
    assert "slots: 602\n" in Path("here/settings.yaml").read_text()
    assert "41 requests" in ran.stdout


def test_traces_of_one_name_in_two_folders_are_both_in_the_settings() -> None:
    for place, lm in (("a", "LM1"), ("b", "LM2")):
        Path(place).mkdir()
        Path(place, "log.csv").write_text(HEADER + f"0,VM2,{lm},1\n")
    Path("mine.yaml").write_text("streams: [{kind: trace, path: a/log.csv}, {kind: trace, path: b/log.csv}]")
    ran = edgewise("run", "-w", "mine.yaml", "--family", "RF", "--out", "here")
    assert ran.exit_code == 0, ran.output
    settings = Path("here/settings.yaml").read_text()
    assert "  a/log.csv: " in settings
    assert "  b/log.csv: " in settings


def test_filters_that_leave_out_most_and_malformed_rows_are_warned_of() -> None:
    rows = "".join(f"{t},VM2,LM{1 + t % 4},{1 + t % 8}\n" for t in range(200)) + "soon,VM2,LM1,1\n"
    workload = played(rows, ", where: [{column: prompts, min: 8}]")
    ran = one_line(edgewise("run", "-w", workload, "--family", "RF", "--out", "here").stdout)
    assert (
        "Warning: requests.csv: the workload takes 25 of 200 requests (12.5%); the others are left out by where" in ran
    )
    assert (
        "Warning: requests.csv: 1 of 201 rows are malformed and left out: line 202: time_s 'soon' is not a num" in ran
    )


def test_lms_without_requests_and_runs_of_one_lm_are_warned_of_beside_the_numbers() -> None:
    two = edgewise("run", "-w", played("0,VM2,LM1,1\n1,VM3,LM4,2\n"), "--family", "RF")
    assert "Warning: No request asks for LM2, LM3: F_norm and J are over the other LMs alone" in one_line(two.stdout)
    one = edgewise("run", "-w", played("0,VM2,LM1,1\n1,VM3,LM1,2\n"), "--family", "RF", "--out", "one")
    assert "Warning: All requests ask for LM1: F_norm is 1 once one is served" in one_line(one.stdout)
    what = edgewise("whatif", "one", "--family", "LL")
    assert what.exit_code == 0, what.output
    assert "Warning: All requests ask for LM1" in one_line(what.stdout)


def test_a_run_without_any_request_says_that_its_numbers_are_of_nothing() -> None:
    ran = edgewise(
        "run", "-w", played("0,VM2,LM1,1\n3000,VM2,LM1,1\n", ", start_s: 60"), "--family", "RF", "--slots", "9"
    )
    assert "Warning: No request came in 9 slots, so F_norm is 1 and J is 0 whoever decides" in one_line(ran.stdout)


def test_a_deadline_that_no_node_can_meet_is_warned_of_beside_the_numbers(tmp_path: Path) -> None:
    shown = edgewise("testbed", "show", "--generate", "6", "--out", "six.yaml")
    assert shown.exit_code == 0, shown.output
    text = Path("six.yaml").read_text()
    Path("six.yaml").write_text(re.sub(r"deadline_s: \{value: 900", "deadline_s: {value: 1", text, count=1))
    ran = edgewise("run", "-t", "six.yaml", "--family", "RF", "--slots", "3", "--out", "here")
    assert ran.exit_code == 0, ran.output
    assert "Warning: No node can serve LM4 within the deadline of 1 s" in one_line(ran.stdout)
    assert any("No node can serve LM4" in w for w in json.loads(Path("here/summary.json").read_text())["warnings"])


def test_a_unit_that_the_size_of_the_times_told_is_said_beside_the_numbers() -> None:
    workload = played("")
    Path("requests.csv").write_text("time,node,lm,prompts\n1715299200000,VM2,LM1,1\n1715299260000,VM3,LM1,1\n")
    ran = edgewise("run", "-w", workload, "--family", "RF")
    assert re.search("requests.csv: time is read as .*milliseconds, by the size of its numbers", one_line(ran.stdout))


def test_a_run_of_a_builtin_workload_warns_of_nothing_and_notes_what_a_round_takes() -> None:
    assert "Warning" not in edgewise("run", "--family", "RF", "--slots", "5").stdout
    ran = edgewise("run", "--workload", "real", "--family", "RF", "--slots", "5", "--out", "real")
    assert "Warning" not in ran.stdout
    words = "1 of 96 windows are played in 5 slots; a round of them takes 1,920 slots; --slots 1920 plays a whole round"
    assert words in one_line(ran.stdout)
    assert words in one_line(edgewise("report", "real").stdout)


@pytest.mark.parametrize("name", ["log.jsonl", "log.json", "log.csv.gz", "log.tsv"])
def test_a_trace_in_place_of_a_workload_is_refused_with_what_to_write(name: str) -> None:
    Path(name).write_text("")
    assert f"kind: trace, path: {name}" in refused("run", "--workload", name)


# Exit status


def test_a_full_disk_behind_the_output_is_status_1_and_one_sentence() -> None:
    Path("requests.csv").write_text(HEADER + "0,VM3,LM1,1\n")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "runner", "trace", "inspect", str(Path("requests.csv").absolute())],
            cwd=HOUSE,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "edgewise: reading or writing failed: No space left on device.\n")


@pytest.mark.parametrize("reason", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_status_1(reason: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(reason, os.strerror(reason), "x")

    monkeypatch.setattr("os.fsync", refuse)
    written, why = edgewise("testbed", "show", "--generate", "3", "--out", "three.yaml"), f"{os.strerror(reason)}."
    assert (written.exit_code, written.stderr) == (1, f"edgewise: three.yaml cannot be written: {why}\n")
    monkeypatch.undo()
    monkeypatch.setattr("runtime.results.run_folder.make_folder", refuse)
    ran = edgewise("run", "--family", "RF", "--slots", "2", "--out", "here")
    assert (ran.exit_code, ran.stderr.splitlines()[-1]) == (1, f"edgewise: . cannot hold the run folder: {why}")


def test_a_trace_that_the_machine_cannot_read_is_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("requests.csv").write_text(HEADER + "0,VM3,LM1,1\n")

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    result = edgewise("trace", "inspect", "requests.csv")
    assert (result.exit_code, result.stderr) == (1, "edgewise: requests.csv: Permission denied.\n")
