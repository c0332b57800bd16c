import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import runtime.cli.commands.experiments
import runtime.results.versions
import runtime.runs.experiment
from runtime.results.slots import SlotResult
from runtime.results.versions import ROOMS
from runtime.runs.loop import run_slots
from tests.command_line import edgewise, refused
from twin.testbeds import read_testbed, to_yaml

COMMANDS = [
    ["run"],
    ["compare"],
    ["whatif"],
    ["evaluate-model"],
    ["families"],
    ["report"],
    ["show"],
    ["trace", "inspect"],
    ["testbed", "show"],
    ["memory", "store"],
    ["compile"],
]
HOUSE = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("small_effort")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module", autouse=True)
def _no_figures() -> Iterator[None]:
    """Drawing takes longer than everything else in a small run; tests/test_run_folder.py looks at figures."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runtime.runs.experiment, "draw", lambda summary, folder: [])
        yield


@pytest.fixture
def bristol(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(read_testbed("bristol")))
    return path


def spoil(path: Path, pattern: str, replacement: str) -> str:
    text, count = re.subn(pattern, replacement, path.read_text(), count=1)
    assert count, pattern
    path.write_text(text)
    return str(path)


def trace(rows: str) -> str:
    """A workload file that plays a plain trace of these rows."""
    Path("requests.csv").write_text(rows)
    Path("mine.workload.yaml").write_text("streams:\n  - {kind: trace, path: requests.csv}\n")
    return "mine.workload.yaml"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_gives_an_example_of_each_command(command: list[str]) -> None:
    result = edgewise(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: edgewise {' '.join(command)}" in result.stdout


def test_help_without_a_command_names_every_command() -> None:
    text = edgewise("--help").stdout
    for command in COMMANDS:
        assert command[0] in text


def test_help_does_not_wait_for_compilers_and_plotters() -> None:
    heavy = ["numba", "matplotlib", "scipy", "pyarrow", "langgraph", "numpy"]
    code = f"import runtime.cli.program, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=HOUSE, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_a_command_families_are_compared_on_both_workloads(monkeypatch: pytest.MonkeyPatch) -> None:
    families = {"p1": ("RR", "LL", "RF:split"), "real": ("RR", "LL")}
    monkeypatch.setattr(runtime.cli.commands.experiments, "DEMO", families)
    monkeypatch.setattr(runtime.cli.commands.experiments, "DEMO_EPOCHS", 1)
    result = edgewise()
    assert result.exit_code == 0, result.output
    for workload, names in (("p1", "RR-LL-RF_split"), ("real", "RR-LL")):
        assert f"bristol, workload {workload}: " in result.stdout
        assert (Path("runs") / f"bristol-{workload}-{names}-1epochs-seed1" / "summary.json").is_file()
    for family in ("RR", "LL"):
        assert len(re.findall(rf"^ *{family} +\d", result.stdout, re.MULTILINE)) == 2
    assert len(re.findall(r"^ *RF split +\d", result.stdout, re.MULTILINE)) == 1
    assert "report runs/bristol-p1-RR-LL-RF_split-1epochs-seed1" in result.stdout


@pytest.mark.bench
@pytest.mark.timeout(400)
def test_the_demo_takes_less_than_a_minute_once_its_code_is_compiled() -> None:
    cold = Path("cold")
    for room in ROOMS:
        shutil.copytree(HOUSE / room, cold / room, ignore=shutil.ignore_patterns("__pycache__"))
    seconds, used = list[float](), list[float]()
    for words in (["compile"], []):
        began, before = time.monotonic(), _used_s()
        subprocess.run(
            [sys.executable, "-c", "import runtime.cli.program; runtime.cli.program.main()", *words],
            check=True,
            capture_output=True,
            env=os.environ | {"PYTHONPATH": str(cold.resolve()), "EDGEWISE_CACHE": str(cold.resolve() / "cache")},
        )
        seconds.append(time.monotonic() - began)
        used.append(_used_s() - before)
    told = zip(("compiling", "the demo then"), seconds, used, strict=True)
    print("\n" + "\n".join(f"{what}: {s:.1f} s, {u:.1f} s of one core" for what, s, u in told))
    assert Path("runs/bristol-real-4epochs-seed1").is_dir()
    assert seconds[1] < 60


def _used_s() -> float:
    """Seconds of the processor that processes have taken which were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_run_of_one_family_can_be_reported_again() -> None:
    ran = edgewise("run", "--family", "ll", "--slots", "3", "--out", "here")
    assert ran.exit_code == 0, ran.output
    again = edgewise("report", "here")
    assert again.exit_code == 0
    assert again.stdout.strip()
    assert ran.stdout.startswith(again.stdout.rstrip())


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Runs of all families, by their number of seeds."""
    folders = {}
    for seeds in (1, 3):
        folders[seeds] = tmp_path_factory.mktemp("runs") / "run"
        result = edgewise(
            "compare", "-f", "RR,RL,AL,RF,LL", "--seeds", f"1-{seeds}", "--slots", "2", "--out", str(folders[seeds])
        )
        assert result.exit_code == 0, result.output
    return folders


def test_several_seeds_give_medians_with_intervals(compared: dict[int, Path]) -> None:
    text = edgewise("report", str(compared[3])).stdout
    assert len(re.findall(r"^ *[\d.]+–[\d.]+ +[\d.]+–[\d.]+ ", text, re.MULTILINE)) == 5
    assert "holds the median with 75.0% confidence" in text


def test_families_can_be_named_in_lists_and_one_by_one() -> None:
    result = edgewise("compare", "--family", "rr,LL", "--family", "RF", "--slots", "1")
    assert result.exit_code == 0, result.output
    assert re.findall(r"^ (R[A-Z]|[AL]L) ", result.stdout, re.MULTILINE) == ["RR", "LL", "RF"]
    assert Path("runs/bristol-p1-RR-LL-RF-1slots-seed1/summary.json").is_file()


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("command", ["report 1", "report 3", "families", "testbed show --sources"])
def test_output_fits_the_terminal_whole_and_without_control_characters(
    command: str, columns: int, compared: dict[int, Path]
) -> None:
    arguments = [str(compared[int(word)]) if word.isdecimal() else word for word in command.split()]
    result = edgewise(*arguments, columns=columns)
    assert result.exit_code == 0, result.output
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", result.stdout)
    assert max(len(line.rstrip()) for line in result.stdout.splitlines()) <= columns
    assert "…" not in result.stdout


def test_progress_goes_to_the_error_stream() -> None:
    result = edgewise("run", "--family", "RF", "--slots", "2")
    assert re.fullmatch(r"bristol, p1: RF, 32 slots in \d+\.\d s\n", result.stderr)


def test_interrupting_exits_130_and_the_same_command_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any) -> Iterator[SlotResult]:
        for result in run_slots(*args):
            if args[1].code == "LL" and result.slot == 1:
                raise KeyboardInterrupt
            yield result

    command = ["compare", "--family", "RF,LL", "--slots", "2"]
    monkeypatch.setattr(runtime.results.versions, "_code", lambda: "the same")
    with monkeypatch.context() as patched:
        patched.setattr(runtime.runs.experiment, "run_slots", interrupted)
        first = edgewise(*command)
    assert first.exit_code == 130
    assert "interrupted; the same command goes on where it stopped" in first.stderr
    assert [path.name for path in Path("runs").iterdir()] == [".bristol-p1-RF-LL-2slots-seed1.partial"]
    second = edgewise(*command)
    assert second.exit_code == 0, second.output
    assert "RF kept from the interrupted run" in second.stderr
    assert [path.name for path in Path("runs").iterdir()] == ["bristol-p1-RF-LL-2slots-seed1"]


def test_a_folder_that_exists_is_not_overwritten() -> None:
    Path("here").mkdir()
    Path("here/mine").write_text("keep")
    assert "here already exists" in refused("run", "--slots", "2", "--out", "here")
    assert Path("here/mine").read_text() == "keep"


def test_a_generated_testbed_can_be_written_and_run() -> None:
    shown = edgewise("testbed", "show", "--generate", "30", "--seed", "3", "--out", "thirty.yaml")
    assert shown.exit_code == 0, shown.output
    assert "30 nodes" in shown.stdout
    assert edgewise("testbed", "show", "thirty.yaml").exit_code == 0
    ran = edgewise("run", "--testbed", "thirty.yaml", "--family", "RF", "--slots", "2")
    assert ran.exit_code == 0, ran.output


def test_a_workload_file_and_its_traces_are_in_the_settings() -> None:
    rows = "time_s,node,lm,prompts\n" + "".join(f"{t},VM{2 + t % 6},LM1,2\n" for t in range(60))
    ran = edgewise("run", "--workload", trace(rows), "--family", "RF", "--out", "here")
    assert ran.exit_code == 0, ran.output
    settings = Path("here/settings.yaml").read_text()
    assert "requests.csv: " in settings
    assert "mine.workload.yaml: " in settings
    assert "slots: 2\n" in settings


def test_a_trace_can_be_looked_at() -> None:
    Path("requests.csv").write_text("time_s,node,lm,prompts\n0,VM2,LM1,2\n5,VM3,LM2,1\n")
    result = edgewise("trace", "inspect", "requests.csv")
    assert result.exit_code == 0, result.output
    assert "2 requests in 5 s" in result.stdout


@pytest.mark.parametrize("count", ["0", "-3"])
@pytest.mark.parametrize("flag", ["--epochs", "--slots"])
def test_a_run_of_no_length_is_refused(flag: str, count: str) -> None:
    assert refused("run", flag, count) == f"edgewise: {flag} must be 1 or more, not {count}."


def test_two_lengths_are_refused() -> None:
    assert "give one of them" in refused("run", "--slots", "3", "--epochs", "1")


@pytest.mark.parametrize("weight", ["1.5", "-0.1", "nan"])
def test_a_lambda_that_is_no_weight_is_refused(weight: str) -> None:
    assert "--lambda must be from 0" in refused("run", "--lambda", weight)


@pytest.mark.parametrize("load", ["0", "-1", "nan", "inf"])
def test_a_load_that_is_no_factor_is_refused(load: str) -> None:
    assert "--load must be a number above 0" in refused("run", "--load", load)


def test_an_unknown_family_is_refused_with_those_that_exist() -> None:
    sentence = refused("compare", "--family", "RL,XX")
    assert "'XX'" in sentence
    assert "RR, RL, AL, RF, LL" in sentence


def test_a_family_that_is_named_twice_is_refused() -> None:
    assert "RL twice" in refused("compare", "--family", "RL", "--family", "rl")


def test_an_unknown_testbed_is_refused() -> None:
    assert "'bristol'" in refused("run", "--testbed", "bristl")


@pytest.mark.parametrize("file", ["missing.yaml", "missing.csv"])
def test_a_missing_workload_is_refused(file: str) -> None:
    assert "missing" in refused("run", "--workload", file)


def test_an_unknown_workload_is_refused() -> None:
    assert "p1" in refused("run", "--workload", "p2")


def test_a_trace_as_a_workload_is_refused_with_what_to_write() -> None:
    trace("time_s,node,lm,prompts\n0,VM2,LM1,2\n")
    assert "kind: trace, path: requests.csv" in refused("run", "--workload", "requests.csv")


def test_negative_cores_are_refused(bristol: Path) -> None:
    sentence = refused("run", "--testbed", spoil(bristol, r"cpu_cores: 24", "cpu_cores: -24"))
    assert re.search(r"mine\.yaml:\d+: .*cpu_cores", sentence)
    assert "-24" in sentence


def test_an_lm_that_fits_nowhere_is_refused(bristol: Path) -> None:
    sentence = refused("run", "--testbed", spoil(bristol, r"ram_gb: \{value: 9,", "ram_gb: {value: 999,"))
    assert "LM2" in sentence


def test_nan_in_a_testbed_is_refused(bristol: Path) -> None:
    sentence = refused("run", "--testbed", spoil(bristol, r"ram_gb: \{value: 9,", "ram_gb: {value: .nan,"))
    assert re.search(r"mine\.yaml:\d+: .*ram_gb.* not '?\.nan", sentence)


def test_an_unknown_lm_in_a_trace_is_refused() -> None:
    sentence = refused("run", "--workload", trace("time_s,node,lm,prompts\n0,VM2,LM1,2\n1,VM2,LM9,2\n"))
    assert "requests.csv:3: lm must be 'LM1'" in sentence
    assert "'LM9'" in sentence


def test_an_empty_trace_is_refused() -> None:
    for rows in ("", "time_s,node,lm,prompts\n"):
        assert "requests.csv" in refused("run", "--workload", trace(rows))
        assert "requests.csv" in refused("trace", "inspect", "requests.csv")


def test_nan_in_a_trace_is_refused() -> None:
    assert "requests.csv" in refused("run", "--workload", trace("time_s,node,lm,prompts\nnan,VM2,LM1,2\n"))


@pytest.mark.parametrize("command", ["trace inspect none.csv", "report none", "testbed show none.yaml"])
def test_a_missing_file_is_refused(command: str) -> None:
    assert "none" in refused(*command.split())


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    assert "not the folder of a finished run" in refused("report", str(tmp_path))


def test_sources_of_a_generated_testbed_need_its_file() -> None:
    assert "--out" in refused("testbed", "show", "--generate", "5", "--sources")


@pytest.mark.parametrize("arguments", [["--no-such-flag"], ["run", "--seed", "x"], ["no-such-command"], ["report"]])
def test_what_is_no_command_line_exits_2(arguments: list[str]) -> None:
    result = edgewise(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_place_that_cannot_be_written_is_a_sentence() -> None:
    Path("file").write_text("")
    assert "cannot hold the run folder" in refused("run", "--slots", "2", "--out", "file/run")


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "runner", "--version"], cwd=HOUSE, capture_output=True, text=True,
                          check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})  # fmt: skip
    assert done.stdout.startswith("edgewise ")
