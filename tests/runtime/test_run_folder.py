import errno
import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console

import runtime.runs.bounds
import runtime.runs.experiment
from domain.errors import InputError
from runtime.cli.commands.experiments import prepare
from runtime.cli.commands.requests import Request
from runtime.results import durable
from runtime.results.run_folder import RunFolder
from runtime.results.slots import SlotResult
from runtime.results.summary import load_summary
from runtime.runs.experiment import Experiment
from runtime.runs.loop import run_slots
from runtime.runs.progress import RunProgress
from runtime.runs.settings import choose_slots, parse_seeds

SLOTS = 3


def experiment(families: str = "RR,LL", seeds: str = "1") -> Experiment:
    asked = prepare(Request(families=[families], seeds=seeds, slots=SLOTS))
    return replace(asked, versions="{}\n")  # the code may change under the tests


def run(folder: RunFolder, asked: Experiment) -> Path:
    with folder:
        asked.run(folder, RunProgress(Console(stderr=True), "test", asked.total_slots))
        return folder.publish()


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than everything else in a small run."""
    monkeypatch.setattr(runtime.runs.experiment, "draw", lambda summary, folder: [])


def without_figures(digests: dict[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in digests.items() if not name.startswith("figures/")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(RunFolder.named(tmp_path_factory.mktemp("runs") / "first"), experiment())


def killed_in(family_number: int) -> Callable[..., Iterator[SlotResult]]:
    """A slot loop that dies in the middle of its n-th run."""
    calls = 0

    def dying(*args: Any) -> Iterator[SlotResult]:
        nonlocal calls
        calls += 1
        for result in run_slots(*args):
            if calls == family_number and result.slot == SLOTS:
                raise KeyboardInterrupt
            yield result

    return dying


def test_the_same_settings_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    again = run(RunFolder.named(tmp_path / "again"), experiment())
    assert digests(again) == digests(finished)
    assert set(digests(finished)) == {
        "settings.yaml",
        "testbed.yaml",
        "versions.json",
        "records.parquet",
        "slots.parquet",
        "placements.parquet",
        "routes.parquet",
        "summary.json",
        *(f"figures/{name}.{form}" for name in ("latency-fairness", "per-lm") for form in ("png", "svg")),
    }


@pytest.mark.usefixtures("no_figures")
def test_a_bound_that_is_worked_out_aside_is_the_same(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.runs.bounds, "ASIDE_SLOTS", 0)
    aside = run(RunFolder.named(tmp_path / "aside"), experiment())
    assert digests(aside) == without_figures(digests(finished))


@pytest.mark.usefixtures("no_figures")
def test_another_seed_gives_other_bytes(finished: Path, tmp_path: Path) -> None:
    other = run(RunFolder.named(tmp_path / "other"), experiment(seeds="2"))
    assert digests(other)["records.parquet"] != digests(finished)["records.parquet"]


def test_a_run_folder_names_no_machine_and_no_path(finished: Path) -> None:
    for path in finished.rglob("*.[jy]*"):
        text = path.read_text()
        assert str(finished.parent) not in text
        assert str(Path.cwd()) not in text
        assert socket.gethostname() not in text


def test_records_have_a_row_for_every_request_of_every_family(finished: Path) -> None:
    records = pq.read_table(finished / "records.parquet").to_pylist()
    summary = load_summary(finished)
    for family in ("RR", "LL"):
        mine = [row for row in records if row["family"] == family]
        assert sorted(row["request"] for row in mine) == list(range(len(mine)))
        told = summary.of(family)[0].telemetry
        assert len(mine) == sum(told.arrived.values())
        assert sum(row["outcome"] == "success" for row in mine) == sum(told.succeeded.values())
        for row in mine:
            parts = row["uplink_s"] + row["queue_s"] + row["inference_s"] + row["downlink_s"]
            assert parts == pytest.approx(row["latency_s"])
            assert family != "LL" or row["target"] == row["origin"]


def test_slots_add_up_to_the_requests(finished: Path) -> None:
    table = pq.read_table(finished / "slots.parquet")
    records = pq.read_table(finished / "records.parquet")
    rows = table.to_pylist()
    assert [row["slot"] for row in rows if row["family"] == "LL"] == list(range(SLOTS + 30))
    assert sum(row["arrived_requests"] for row in rows) == records.num_rows
    assert sum(row["ended_requests"] for row in rows) == records.num_rows
    assert rows[-1]["backlog_prompts_LM1"] == 0
    computed = sum(row["pods_computing"] for row in rows) * 30.0
    assert computed == pytest.approx(sum(records["inference_s"].to_pylist()))


def test_the_settings_say_everything_that_was_asked(finished: Path) -> None:
    settings = yaml.safe_load((finished / "settings.yaml").read_text())
    assert settings["families"] == ["RR", "LL"]
    assert (settings["slots"], settings["drain_slots"], settings["seeds"]) == (SLOTS, 30, [1])
    assert (settings["testbed"], settings["workload"], settings["latency_weight"]) == ("bristol", "p1", 0.5)


def test_the_summary_names_who_decided_and_what_no_decisions_can_beat(finished: Path) -> None:
    summary = load_summary(finished)
    random = summary.of("RR")[0]
    assert random.decided_by == {"scheduler": {"random": 33}, "deployer": {"random": 198}}
    for family in summary.families:
        ratio = summary.ratio(summary.of(family)[0])
        assert ratio is not None
        assert ratio >= 1.0


@pytest.mark.usefixtures("no_figures")
def test_a_killed_run_publishes_nothing_and_goes_on_where_it_stopped(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runtime.runs.experiment, "run_slots", killed_in(2))
    with pytest.raises(KeyboardInterrupt):
        run(RunFolder.named(tmp_path / "run"), experiment())
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(runtime.runs.experiment, "run_slots", killed_in(9))
    capsys.readouterr()
    taken_up = run(RunFolder.named(tmp_path / "run"), experiment())
    assert digests(taken_up) == without_figures(digests(finished))
    assert "RR kept from the interrupted run" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.usefixtures("no_figures")
def test_a_killed_run_of_other_settings_is_set_aside_and_can_be_gone_on_with(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(runtime.runs.experiment, "run_slots", killed_in(2))
        with pytest.raises(KeyboardInterrupt):
            run(RunFolder.named(tmp_path / "run"), experiment(seeds="1"))
    other = run(RunFolder.named(tmp_path / "run"), experiment(seeds="2"))
    aside = tmp_path / "run-interrupted"
    told = capsys.readouterr().err
    assert "an interrupted run is kept, which is another one: seeds was 1, is 2 now." in told
    assert f"To go on with that one: edgewise run --resume {aside}" in told
    assert load_summary(other).seeds == [2]
    taken_up = run(RunFolder.named(aside), experiment(seeds="1"))
    assert "RR kept from the interrupted run" in capsys.readouterr().err
    assert digests(taken_up) == without_figures(digests(finished))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-interrupted"]


def test_a_folder_that_is_being_written_belongs_to_its_writer(tmp_path: Path) -> None:
    with RunFolder.named(tmp_path / "run"):
        with pytest.raises(InputError, match="is being written by another run"):
            RunFolder.named(tmp_path / "run")
        with RunFolder.numbered(tmp_path, "run", {}) as second:
            second.begin({})
            assert second.publish() == tmp_path / "run-2"
    with RunFolder.named(tmp_path / "run"):
        pass


def test_numbered_folders_count_up(tmp_path: Path) -> None:
    for name in ("run", "run-2", "run-3"):
        with RunFolder.numbered(tmp_path, "run", {}) as folder:
            folder.begin({})
            assert folder.publish() == tmp_path / name


def test_an_empty_folder_may_be_filled_and_a_full_one_not(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with RunFolder.named(tmp_path / "run") as folder:
        folder.begin({"settings.yaml": "a: 1\n"})
        folder.publish()
    with pytest.raises(InputError, match="already exists; choose another --out"):
        RunFolder.named(tmp_path / "run")


def test_a_folder_that_came_into_being_meanwhile_is_left_alone(tmp_path: Path) -> None:
    with RunFolder.named(tmp_path / "run") as folder:
        folder.begin({})
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "mine").write_text("")
        with pytest.raises(InputError, match="came into being"):
            folder.publish()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine"]


def test_a_damaged_summary_is_a_sentence(finished: Path, tmp_path: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    del summary["slots"]
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match="summary.json: slots is not what a run writes"):
        load_summary(tmp_path)


@pytest.mark.parametrize(("text", "seeds"), [("7", (7,)), ("1,2,5", (1, 2, 5)), ("1-3, 9", (1, 2, 3, 9))])
def test_seeds_are_a_list_or_a_range(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "-1", "1,,2", "3-1", "1,1", "1-3,2"])
def test_seeds_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--seeds"):
        parse_seeds(text)


@pytest.mark.parametrize("text", ["9223372036854775808", "1-99999999999999999999", "1" * 5000])
def test_a_seed_that_no_run_folder_holds_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="at most 9,223,372,036,854,775,807"):
        parse_seeds(text)


def test_ranges_beyond_all_memory_are_refused() -> None:
    with pytest.raises(InputError, match="at most 10,000 seeds"):
        parse_seeds("1-9999999999")
    with pytest.raises(InputError, match="at most 10,000,000 slots with new requests, not 99,999,999,999"):
        choose_slots(experiment().cluster, None, None, 99_999_999_999)


def test_two_traces_of_one_name_in_two_folders_are_both_part_of_what_a_run_is(tmp_path: Path) -> None:
    traces = [tmp_path / "a" / "own.csv", tmp_path / "b" / "own.csv"]
    for lm, trace in enumerate(traces, start=1):
        trace.parent.mkdir()
        trace.write_text(f"time_s,lm,origin,prompts\n1,LM{lm},VM1,1\n")
    streams = "".join(f"  - {{kind: trace, path: {trace}}}\n" for trace in traces)
    (tmp_path / "both.yaml").write_text(f"streams:\n{streams}")
    digests = prepare(Request(workload=str(tmp_path / "both.yaml"))).settings.workload_files
    assert list(digests) == ["both.yaml", "own.csv", "own.csv (2)"]
    assert len(set(digests.values())) == 3


def test_a_workload_that_ends_is_not_run_beyond_its_end() -> None:
    cluster = experiment().cluster
    assert choose_slots(cluster, None, None, None) == 500
    assert choose_slots(cluster, 120, None, None) == 120
    assert choose_slots(cluster, 120, 2, None) == 100
    with pytest.raises(InputError, match="covers 120 slots and 150 were asked for"):
        choose_slots(cluster, 120, 3, None)


def test_a_name_is_locked_whatever_becomes_of_the_folder(tmp_path: Path) -> None:
    with RunFolder.named(tmp_path / "run") as folder:
        durable.remove(folder.path)  # as when it is set aside, or on another machine that sees it later
        with pytest.raises(InputError, match="is being written by another run"):
            RunFolder.named(tmp_path / "run")
        with RunFolder.named(tmp_path / "other"):
            pass
    with RunFolder.named(tmp_path / "run"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.partial", ".run.partial"]


def test_a_place_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*lock: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(InputError, match="run.lock cannot be locked: No locks available. Choose a folder on a local"):
        RunFolder.named(tmp_path / "run")
