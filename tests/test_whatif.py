"""What if: recorded requests again, exactly; other rules and testbeds beside them; intervals that hold the truth."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

import runtime.commands.whatif
import runtime.experiment
import runtime.whatif.difference
import runtime.whatif.replay
from domain.cluster import Cluster
from domain.objective import summarise
from domain.telemetry import Records
from domain.workload import Arrivals
from policies.families import make
from runtime.cli import app
from runtime.loop import SlotResult, run_slots
from runtime.whatif.answer import Change, WhatIf
from runtime.whatif.difference import block_slots, differences, figure_names, sums
from runtime.whatif.edits import Edits, edited, moved, moves
from runtime.whatif.recording import open_recording
from runtime.whatif.report import verdict
from tests.agent_server import decides, serving, sound_answers
from twin.testbeds import load_builtin, read_testbed, to_yaml
from twin.testbeds.build import to_cluster
from twin.twin import Twin
from twin.workloads import load_workload

BRISTOL = load_builtin("bristol")
pytestmark = pytest.mark.usefixtures("small_effort")
DRAW = runtime.commands.whatif._draw


def edgewise(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, prog_name="edgewise", env={"COLUMNS": "80", "MONGODB_URI": ""})


def refused(*arguments: str) -> str:
    result = edgewise("whatif", *arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    sentence = result.stderr.strip()
    assert re.fullmatch(r"edgewise: [^\n]+[.?]", sentence), sentence
    return sentence


@pytest.fixture(scope="module", autouse=True)
def _in_little_time() -> Iterator[None]:
    """Drawing takes longer than everything else in a small run; a few resamples tell what many do."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runtime.experiment, "draw", lambda summary, folder: [])
        patched.setattr(runtime.commands.whatif, "_draw", lambda answer, folder: None)
        patched.setattr(runtime.whatif.difference, "RESAMPLES", 300)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folders of every way to make one: plain, several, through the graph, agents, stand-ins, a dry run."""
    home = tmp_path_factory.mktemp("runs")

    def ran(*arguments: str) -> None:
        done = edgewise(*arguments)
        assert done.exit_code == 0, done.output

    short = home / "short.yaml"
    short.write_text("deadline_s: 120\n" + re.sub(r"\bdeadline_s: .*", "", to_yaml(read_testbed("bristol"))))
    ran("run", "--family", "RL", "--slots", "12", "--lambda", "0.7", "--out", str(home / "plain"))
    ran("compare", "--family", "RR,LL", "--slots", "8", "--seeds", "1,2", "--out", str(home / "several"))
    brief = ("--testbed", str(short), "--slots", "3")
    ran("run", "--family", "RL", *brief, "--shadow", "RF", "--out", str(home / "graph"))
    ran("run", "--family", "MA", *brief, "--out", str(home / "stand-ins"))
    ran("run", "--family", "RL", *brief, "--dry-run", "--out", str(home / "dry"))
    with serving(decides(sound_answers(BRISTOL))) as server:
        model = ("--base-url", server.base_url, "--model", "scripted")
        ran("run", "--family", "MA", *brief, *model, "--out", str(home / "agents"))
        shared = ("--memory", str(home / "shared.sqlite"))
        ran("run", "--family", "MAL", *brief, *model, *shared, "--rehearse", "off", "--out", str(home / "elsewhere"))
    return home


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def asked(run: Path, out: Path, *arguments: str) -> WhatIf:
    """What a what-if came to; the run folder stays as it was."""
    before = digests(run)
    result = edgewise("whatif", str(run), *arguments, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert digests(run) == before
    return WhatIf.model_validate_json((out / "whatif.json").read_bytes())


def of(answer: WhatIf, figure: str, replay: int = 0) -> Change:
    return next(change for change in answer.replays[replay].changes if change.figure == figure)


# What was recorded


@pytest.mark.parametrize(("run", "family", "seed"), [("plain", "RL", 1), ("several", "RR", 2), ("agents", "MA", 1)])
def test_the_requests_of_a_run_are_read_back_exactly(runs: Path, run: str, family: str, seed: int) -> None:
    recording = open_recording(runs / run)
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
    runs: Path, tmp_path: Path, run: str, family: str, how: str
) -> None:
    answer = asked(runs / run, tmp_path / "out", "--recorded", family, "--family", "RF")
    assert answer.check is not None
    assert (answer.check.how, answer.check.exact) == (how, True)
    assert answer.error == {}
    assert answer.check.figures == answer.recorded_figures


def test_the_same_rules_give_the_bytes_of_the_run_again(runs: Path, tmp_path: Path) -> None:
    answer = asked(runs / "plain", tmp_path / "rules", "--family", "RL")
    assert (tmp_path / "rules/records.parquet").read_bytes() == (runs / "plain/records.parquet").read_bytes()
    assert (tmp_path / "rules/slots.parquet").read_bytes() == (runs / "plain/slots.parquet").read_bytes()
    assert all(change.difference == change.low == change.high == 0.0 for change in answer.replays[0].changes)
    graph = asked(runs / "graph", tmp_path / "graph", "--family", "RL")
    assert (tmp_path / "graph/records.parquet").read_bytes() == (runs / "graph/records.parquet").read_bytes()
    assert of(graph, "J").difference == 0.0
    asked(runs / "stand-ins", tmp_path / "ma", "--family", "MA")
    assert (tmp_path / "ma/records.parquet").read_bytes() == (runs / "stand-ins/records.parquet").read_bytes()


def test_other_rules_come_to_what_a_run_of_theirs_on_the_same_seed_comes_to(runs: Path, tmp_path: Path) -> None:
    answer = asked(runs / "several", tmp_path / "out", "--recorded", "RR", "--family", "LL")
    told = open_recording(runs / "several").summary.of("LL")
    assert answer.replays[0].telemetry == [run.telemetry for run in told]
    means = {name: np.mean([getattr(run.telemetry, name) for run in told]) for name in ("objective", "fairness")}
    assert of(answer, "J").other == pytest.approx(means["objective"])
    assert of(answer, "F_norm").other == pytest.approx(means["fairness"])


def test_a_twin_that_is_off_is_said_to_be_and_differences_are_taken_within_it(runs: Path, tmp_path: Path) -> None:
    """The recording is of a testbed that is slower than the testbed file says, as a live one may be."""
    run = tmp_path / "run"
    shutil.copytree(runs / "agents", run)
    faster = re.sub(r"compute_s: \{value: 5\.6,", "compute_s: {value: 5.0,", (run / "testbed.yaml").read_text())
    (run / "testbed.yaml").write_text(faster)
    answer = asked(run, tmp_path / "out", "--family", "RL")
    assert answer.check is not None
    assert not answer.check.exact
    assert answer.error["mean s"] < 0.0
    change, told = of(answer, "mean s"), answer.recorded_figures["mean s"]
    assert change.base == answer.check.figures["mean s"] != told
    assert change.difference == pytest.approx((change.other or 0) - (change.base or 0))
    text = " ".join(edgewise("whatif", str(run), "--family", "RL").stdout.split())
    assert f"the twin is not exact: mean s {told:.1f} recorded, {change.base:.1f} in the twin" in text


def test_decisions_that_are_kept_elsewhere_are_asked_for_and_found(runs: Path, tmp_path: Path) -> None:
    blind = asked(runs / "elsewhere", tmp_path / "blind", "--family", "RL")
    assert blind.check is None
    assert "--memory says where" in (blind.unchecked or "")
    assert of(blind, "J").base == pytest.approx(blind.recorded_figures["J"])
    seeing = asked(runs / "elsewhere", tmp_path / "seeing", "--family", "RL", "--memory", str(runs / "shared.sqlite"))
    assert seeing.check is not None
    assert seeing.check.exact


def test_a_ledger_with_a_hole_is_not_carried_out(runs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs / "agents", run)
    (run / "memory.sqlite").unlink()
    shutil.copy(runs / "stand-ins" / "memory.sqlite", run / "run-id")  # a name that no memory knows
    (run / "run-id").write_text("0000")
    answer = asked(run, tmp_path / "out", "--family", "RL", "--memory", str(runs / "shared.sqlite"))
    assert answer.check is None
    assert answer.unchecked == "its ledger does not hold every decision of slot 0 of 7"


def test_a_dry_run_is_not_checked_and_its_requests_are_played(runs: Path, tmp_path: Path) -> None:
    answer = asked(runs / "dry", tmp_path / "out", "--family", "RF")
    assert "dry run" in (answer.unchecked or "")
    assert answer.recorded_figures["served"] == 0.0
    assert (of(answer, "served").other or 0.0) > 0.5
    assert answer.notes[0].startswith("Dry run")


def test_requests_without_a_record_are_counted_and_the_others_are_played(runs: Path, tmp_path: Path) -> None:
    """As a live run leaves them that was stopped: some had not ended."""
    run = tmp_path / "run"
    shutil.copytree(runs / "plain", run)
    table = pq.read_table(run / "records.parquet")
    pq.write_table(table.slice(0, table.num_rows - 7), run / "records.parquet")
    summary = json.loads((run / "summary.json").read_text())
    summary["results"][0]["telemetry"]["arrived"]["LM1"] -= 7
    (run / "summary.json").write_text(json.dumps(summary))
    answer = asked(run, tmp_path / "out", "--family", "RF")
    assert (answer.missing, answer.requests) == (7, table.num_rows - 7)
    text = " ".join(edgewise("whatif", str(run), "--family", "RF").stdout.split())
    assert f"7 of {table.num_rows} requests have no record" in text


# Another testbed


def test_a_node_more_a_node_less_and_another_split_are_what_the_testbed_says(runs: Path, tmp_path: Path) -> None:
    edits = ("--add-node", "VM4", "--add-node", "gpu=VM7", "--remove-node", "VM3", "--split", "3")
    answer = asked(runs / "plain", tmp_path / "out", "--family", "RF", *edits)
    cluster = to_cluster(read_testbed(tmp_path / "out/testbed.yaml"))
    assert [node.name for node in cluster.nodes] == ["VM2", "VM4", "VM5", "VM6", "VM7", "VM4-2", "gpu"]
    assert [node.vgpus for node in cluster.nodes] == [0, 3, 3, 3, 6, 3, 6]
    four, more = (cluster.nodes[cluster.node_index[name]] for name in ("VM4", "VM4-2"))
    assert dataclasses.replace(more, name="VM4") == four
    assert answer.edits == ["one more VM4", "one more VM7", "no VM3", "3 vGPUs per GPU"]
    assert answer.moves == {"VM3": ["VM2"]}
    targets = pq.read_table(tmp_path / "out/records.parquet").column("target").to_pylist()
    assert "VM3" not in targets
    assert "gpu" in targets


def test_without_rules_those_of_the_run_decide_on_the_other_testbed(runs: Path, tmp_path: Path) -> None:
    answer = asked(runs / "plain", tmp_path / "out", "--add-node", "VM7")
    assert [replay.family for replay in answer.replays] == ["RL"]
    assert answer.check is not None
    assert answer.check.exact
    assert of(answer, "J").difference != 0.0


def test_another_testbed_of_the_same_hardware_changes_nothing(runs: Path, tmp_path: Path) -> None:
    other = read_testbed("bristol").model_copy(update={"name": "twin-of-bristol"})
    file = tmp_path / "other.yaml"
    file.write_text(to_yaml(other))
    answer = asked(runs / "plain", tmp_path / "out", "--testbed", str(file))
    assert of(answer, "J").difference == 0.0, "lambda is that of the run, 0.7"
    assert answer.latency_weight == 0.7


def test_requests_of_a_node_that_is_gone_come_in_near_it() -> None:
    def without(*names: str) -> Cluster:
        return to_cluster(edited(read_testbed("bristol"), Edits(remove=names)))

    assert moves(BRISTOL, without("VM2")) == {"VM2": ["VM3"]}, "at its site"
    apart = moves(BRISTOL, without("VM2", "VM3"))
    assert apart == {name: ["VM4", "VM5", "VM6", "VM7"] for name in ("VM2", "VM3")}, "all as near: in turn"
    came = Arrivals.of(np.arange(8.0), [0] * 8, [1] * 8, [2] * 8)
    found = moved(came, BRISTOL, without("VM2", "VM3"))
    assert found.origin.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert found.lm.tolist() == [1] * 8


def test_lms_are_found_by_name_whatever_their_order() -> None:
    testbed = read_testbed("bristol")
    other = to_cluster(testbed.model_copy(update={"lms": testbed.lms[::-1]}))
    came = Arrivals.of([0.0, 1.0], [0, 1], [0, 3], [1, 1])
    assert moved(came, BRISTOL, other).lm.tolist() == [3, 0]


def test_links_of_a_node_are_those_of_one_more_like_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    text = to_yaml(read_testbed("bristol")).replace(
        "links:\n", "links:\n- nodes: [VM4, VM2]\n  latency_s: 0.5\n  gbit_per_s: 1\n"
    )
    file.write_text(text)
    cluster = to_cluster(edited(read_testbed(file), Edits(add=("far=VM4",))))
    far, vm2, vm4 = (cluster.node_index[name] for name in ("far", "VM2", "VM4"))
    assert cluster.latency_s[far, vm2] == cluster.latency_s[vm2, far] == 0.5
    assert cluster.latency_s[far, vm4] == 0.0001, "within their site"


# What is refused


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
def test_what_cannot_be_asked_is_one_sentence(runs: Path, arguments: list[str], sentence: str) -> None:
    assert re.search(sentence, refused(str(runs / "plain"), *arguments))


@pytest.mark.parametrize(
    ("pattern", "replacement", "sentence"),
    [
        ("name: LM3", "name: LM9", "has other LMs than the recording: they differ in LM3, LM9"),
        ("deadline_s: .*", "deadline_s: 600", "has deadline_s 600 and the recording 900"),
        ("slot_s: .*", "slot_s: 10", "has slot_s 10 and the recording 30"),
    ],
)
def test_a_testbed_that_cannot_be_compared_is_one_sentence(
    runs: Path, tmp_path: Path, pattern: str, replacement: str, sentence: str
) -> None:
    text, count = re.subn(rf"\b{pattern}", replacement, to_yaml(read_testbed("bristol")), count=1)
    file = tmp_path / "other.yaml"
    file.write_text(text if count else f"{replacement}\n{text}")
    assert sentence in refused(str(runs / "plain"), "--testbed", str(file))


def test_a_testbed_without_the_nodes_and_sites_of_the_requests_is_one_sentence(runs: Path, tmp_path: Path) -> None:
    file = tmp_path / "ten.yaml"
    assert edgewise("testbed", "show", "--generate", "10", "--out", str(file)).exit_code == 0
    assert "Requests were recorded at VM2, and testbed bristol-10-1 has neither" in refused(
        str(runs / "plain"), "--testbed", str(file)
    )


def test_agents_that_decided_are_not_asked_again(runs: Path) -> None:
    assert "MA asks models" in refused(str(runs / "agents"), "--split", "3")


@pytest.mark.parametrize("name", ["records.parquet", "slots.parquet", "testbed.yaml", "settings.yaml", "summary.json"])
def test_a_folder_that_lacks_a_file_or_holds_half_of_it_is_one_sentence(runs: Path, tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs / "plain", run)
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
        ("lm", [None], "holds a request without lm"),
    ],
)
def test_damaged_records_are_one_sentence(
    runs: Path, tmp_path: Path, column: str, values: list[object], sentence: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs / "plain", run)
    pq.write_table(_spoilt(pq.read_table(run / "records.parquet"), column, values), run / "records.parquet")
    said = refused(str(run), "--family", "RF")
    assert sentence in said
    assert said.endswith("the run folder is damaged.")


def test_records_that_do_not_agree_with_the_summary_are_one_sentence(runs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs / "plain", run)
    shutil.copy(runs / "graph" / "records.parquet", run / "records.parquet")
    assert re.search(r"holds \d+ requests of RL, and summary.json counts", refused(str(run), "--family", "RF"))


# Output


def test_the_answer_fits_80_columns_and_names_the_next_command(runs: Path) -> None:
    for run, option in (("plain", "--split"), ("agents", "--family")):
        value = "3" if option == "--split" else "none+random+lyapunov"
        result = edgewise("whatif", str(runs / run), option, value)
        assert result.exit_code == 0, result.output
        *lines, following = result.stdout.rstrip().splitlines()
        assert max(len(line.rstrip()) for line in lines) <= 80
        assert "…" not in result.stdout
        assert re.fullmatch(r"Next: \S+( -m runner)? whatif \S+ --family RH.*", following)


def test_nothing_is_left_where_there_is_no_out(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = edgewise("whatif", str(runs / "plain"), "--family", "RF")
    assert result.exit_code == 0
    assert list(tmp_path.iterdir()) == []
    assert re.fullmatch(r"plain: RL again, 42 slots in .* s\nplain: RF, 42 slots in .* s\n", result.stderr)


def test_the_folder_holds_numbers_records_and_a_figure_the_same_each_time(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.commands.whatif, "_draw", DRAW)
    for name in ("a", "b"):
        asked(runs / "plain", tmp_path / name, "--family", "RF,LL")
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
    assert "already exists" in refused(str(runs / "plain"), "--family", "RF", "--out", str(tmp_path / "a"))


def test_an_interrupted_what_if_goes_on_where_there_is_an_out(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> Iterator[SlotResult]:
        for result in run_slots(*args):
            if args[1].code == "LL":
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(runtime.versions, "_code", lambda: "the same")
    command = ["whatif", str(runs / "plain"), "--family", "RF,LL"]
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


# How sure a difference is


def slot_sums(cluster: Cluster, code: str, seed: int, slots: int) -> np.ndarray:
    run = run_slots(Twin(cluster), make(code, cluster), load_workload("p1", cluster, seed), slots, seed)
    records = Records.concatenate([result.records for result in run])
    slot = (records.arrival_s // cluster.slot_s).astype(np.int64)
    return sums(records.lm, slot, records.success, records.latency_s, slots, cluster.n_lms)


def test_figures_are_those_of_the_objective() -> None:
    run = run_slots(Twin(BRISTOL), make("RR", BRISTOL), load_workload("p1", BRISTOL, 4), 20, 4)
    records = Records.concatenate([result.records for result in run])
    told = summarise(records, BRISTOL.n_lms, BRISTOL.deadline_s, BRISTOL.latency_weight)
    table = slot_sums(BRISTOL, "RR", 4, 20)
    found = differences([table], [table], BRISTOL)
    assert [d.figure for d in found] == figure_names([lm.name for lm in BRISTOL.lms])
    expected = [told.objective, told.global_mean_latency_s, told.fairness, *told.success_ratio]
    assert [d.base for d in found[:-1]] == pytest.approx(expected)
    assert all(d.value == d.low == d.high == 0.0 for d in found)


def paired(n: int, slots: int, rng: np.random.Generator, shift: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Runs of one LM whose latencies go up and down together, slowly, and differ by `shift` and noise of 10 s."""
    base, other = list[np.ndarray](), list[np.ndarray]()
    for _ in range(n):
        wave = np.convolve(rng.normal(size=slots + 9), np.ones(10), "valid") * 30.0
        noise = np.convolve(rng.normal(size=slots + 4), np.ones(5), "valid") * 10.0 / np.sqrt(5.0)
        counts = np.ones(slots)
        base.append(np.column_stack([counts, counts, 300.0 + wave]))
        other.append(np.column_stack([counts, counts, 300.0 + wave + shift + noise]))
    return base, other


@pytest.mark.parametrize("seeds", [1, 3])
def test_an_interval_holds_the_true_difference_about_as_often_as_it_says(seeds: int) -> None:
    cluster = dataclasses.replace(BRISTOL, lms=BRISTOL.lms[:1], deadline_s=450.0)
    rng, held, widths = np.random.default_rng(5), 0, list[float]()
    for _ in range(60):
        found = differences(*paired(seeds, 120, rng, -4.0), cluster)[1]
        assert found.low is not None
        assert found.high is not None
        held += found.low <= -4.0 <= found.high
        widths.append(found.high - found.low)
    assert 0.88 <= held / 60 <= 1.0
    assert np.mean(widths) < 0.1 * 300.0, "the wave that both runs share does not widen it"


def test_the_same_runs_give_the_same_interval_and_a_longer_run_a_narrower_one() -> None:
    cluster = dataclasses.replace(BRISTOL, lms=BRISTOL.lms[:1])
    short, again = (differences(*paired(1, 100, np.random.default_rng(3), 5.0), cluster)[1] for _ in range(2))
    assert short == again
    longer = differences(*paired(1, 1600, np.random.default_rng(3), 5.0), cluster)[1]
    assert (longer.high or 0) - (longer.low or 0) < 0.5 * ((short.high or 0) - (short.low or 0))


def test_what_has_no_value_has_no_difference() -> None:
    served, nobody = slot_sums(BRISTOL, "RF", 1, 4), slot_sums(BRISTOL, "RF", 1, 4)
    nobody[:, BRISTOL.n_lms :] = 0.0
    found = {d.figure: d for d in differences([nobody], [served], BRISTOL)}
    assert (found["mean s"].base, found["mean s"].value, found["mean s"].low) == (None, None, None)
    assert found["J"].base == 1.0
    assert found["served"].value == 1.0


def test_blocks_are_as_long_as_a_request_may_live_where_there_are_slots_enough() -> None:
    assert [block_slots(BRISTOL, slots) for slots in (1, 9, 50, 150, 5000)] == [1, 1, 10, 30, 30]


def test_a_difference_within_the_twins_error_is_not_called_better() -> None:
    change = Change(figure="J", base=0.2, other=0.1, difference=-0.1, low=-0.15, high=-0.05)
    assert verdict(change, 0.0) == "better"
    assert verdict(change, 0.11) == "unsure"
    assert verdict(change.model_copy(update={"figure": "served LM1"}), 0.0) == "worse"
    assert verdict(change.model_copy(update={"high": 0.01}), 0.0) == "unsure"
