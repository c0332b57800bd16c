"""What cannot be asked of a run, and run folders that are damaged: one sentence each."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.recordings import edgewise, refused
from twin.testbeds import read_testbed, to_yaml

pytestmark = pytest.mark.usefixtures("little_time")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "What if what. Name other rules with --family"),
        (["--family", "XX"], "There is no policy family 'XX'"),
        (["--family", "RL,rl"], "--family names RL twice"),
        (["--family", "MA"], "MA asks models, and a what-if asks none"),
        (["--family", "none+agent+full"], "asks models"),
        (["--recorded", "LL", "--split", "3"], "holds no run of LL; --recorded must be one of RL"),
        (["--add-node", "VM9"], "--add-node: the node must be 'VM2'"),
        (["--add-node", "VM5=VM4"], "there is a node 'VM5' already"),
        (["--add-node", "/=VM4"], "'/' is no name for a node"),
        (["--remove-node", "VM1"], "--remove-node: the node must be 'VM2'"),
        (["--split", "0"], "--split must be from 1 to 64 vGPUs per GPU, not 0"),
        (["--testbed", "bristl"], "did you mean 'bristol'"),
        ([f for n in "34567" for f in ("--remove-node", f"VM{n}")], "it fits nowhere|runs nowhere|fits on no worker"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(recorded_runs: Path, arguments: list[str], sentence: str) -> None:
    assert re.search(sentence, refused(str(recorded_runs / "plain"), *arguments))


@pytest.mark.parametrize(
    ("pattern", "replacement", "sentence"),
    [
        ("name: LM3", "name: LM9", "has other LMs than the recording: they differ in LM3, LM9"),
        ("deadline_s: .*", "deadline_s: 600", "has deadline_s 600 and the recording 900"),
        ("slot_s: .*", "slot_s: 10", "has slot_s 10 and the recording 30"),
    ],
)
def test_a_testbed_that_cannot_be_compared_is_one_sentence(
    recorded_runs: Path, tmp_path: Path, pattern: str, replacement: str, sentence: str
) -> None:
    text, count = re.subn(rf"\b{pattern}", replacement, to_yaml(read_testbed("bristol")), count=1)
    file = tmp_path / "other.yaml"
    file.write_text(text if count else f"{replacement}\n{text}")
    assert sentence in refused(str(recorded_runs / "plain"), "--testbed", str(file))


def test_a_testbed_without_the_nodes_and_sites_of_the_requests_is_one_sentence(
    recorded_runs: Path, tmp_path: Path
) -> None:
    file = tmp_path / "ten.yaml"
    assert edgewise("testbed", "show", "--generate", "10", "--out", str(file)).exit_code == 0
    assert "Requests were recorded at VM2, and testbed bristol-10-1 has neither" in refused(
        str(recorded_runs / "plain"), "--testbed", str(file)
    )


def test_agents_that_decided_are_not_asked_again(recorded_runs: Path) -> None:
    assert "MA asks models" in refused(str(recorded_runs / "agents"), "--split", "3")


@pytest.mark.parametrize("name", ["records.parquet", "slots.parquet", "testbed.yaml", "settings.yaml", "summary.json"])
def test_a_folder_that_lacks_a_file_or_holds_half_of_it_is_one_sentence(
    recorded_runs: Path, tmp_path: Path, name: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(recorded_runs / "plain", run)
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2])
    if name != "settings.yaml":  # half of it is a whole mapping
        assert name in refused(str(run), "--family", "RF")
    (run / name).unlink()
    assert name in refused(str(run), "--family", "RF")


def _spoilt(table: pa.Table, column: str, values: list[object]) -> pa.Table:
    place = table.column_names.index(column)
    head = pa.array(values, table.schema.field(column).type if column != "lm" else pa.string())
    rest = table.column(column).slice(len(values))
    if column == "lm":
        rest = rest.cast(pa.string())
    return table.set_column(place, column, pa.chunked_array([head, *rest.chunks]))


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        ("arrival_s", [float("nan")], "that came outside of the 360 s of the run"),
        ("arrival_s", [360.0], "that came outside of the 360 s of the run"),
        ("prompts", [0], "without prompts"),
        ("request", [5, 5], "holds a request of RL twice"),
        ("lm", ["LM7"], "names 'LM7' as lm, which testbed.yaml has not"),
        ("lm", [None], "holds a row without lm"),
    ],
)
def test_damaged_records_are_one_sentence(
    recorded_runs: Path, tmp_path: Path, column: str, values: list[object], sentence: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(recorded_runs / "plain", run)
    pq.write_table(_spoilt(pq.read_table(run / "records.parquet"), column, values), run / "records.parquet")
    said = refused(str(run), "--family", "RF")
    assert sentence in said
    assert said.endswith("the run folder is damaged.")


def test_records_that_do_not_agree_with_the_summary_are_one_sentence(recorded_runs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(recorded_runs / "plain", run)
    shutil.copy(recorded_runs / "graph" / "records.parquet", run / "records.parquet")
    assert re.search(r"holds \d+ requests of RL, and summary.json counts", refused(str(run), "--family", "RF"))
