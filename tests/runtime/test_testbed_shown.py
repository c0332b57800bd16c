"""`edgewise testbed show` prints what a testbed is, and what in it is hardly meant."""

from pathlib import Path

import pytest

from runtime.cli.commands.looks import show_testbed
from tests.testbed_files import SMALL, write


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def shown(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    show_testbed(str(write(folder, text)), None, 0, None, False)
    return capsys.readouterr().out


def test_a_deadline_that_no_node_can_meet_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(tmp_path, SMALL.replace("sites:", "deadline_s: 0.5\nsites:", 1), capsys)
    assert "Warning: No node can serve chat within the deadline of 0.5 s: the fastest, b, takes 0.6 s" in text
    assert "Warning" not in shown(tmp_path, SMALL, capsys)


def test_cores_that_are_lost_and_memory_by_gpu_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SMALL.replace("cpu_cores: 4", "cpu_cores: 3920m").replace("gpus: 1, vram_gb: 8", "gpus: 2, vram_gb: 8")
    lines = shown(tmp_path, text, capsys)
    assert "Warning: LMs get whole cores: of the 3.92 cores of c 0.92 stay unused." in lines
    assert [line.split()[3:6] for line in lines.splitlines() if line.startswith(" c ")] == [["3", "of", "3.92"]]
    assert next(line for line in lines.splitlines() if line.startswith(" b ")).rstrip().endswith("2 x 4")
    unified = shown(tmp_path, SMALL.replace("vram_gb: 8", "unified_memory: true"), capsys)
    assert next(line for line in unified.splitlines() if line.startswith(" b ")).rstrip().endswith("in RAM")


def test_an_lm_that_runs_on_cpus_alone_is_shown_without_figures_of_gpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SMALL.replace(", gpu_model: G, gpus: 1, vram_gb: 8}", "}").replace("    vram_gb: 1\n", "")
    text = text.replace("    gpu_profiles: {G: {fixed_s: 0.5, compute_s: 0.1}}\n", "").replace(
        "    start_gpu_s: 9\n", ""
    )
    [line] = [
        line for line in shown(tmp_path, text, capsys).splitlines() if line.startswith(" chat") and "GPT-2" in line
    ]
    assert line.split() == ["chat", "GPT-2", "text", "->", "text", "3", "–", "CPU", "8", "–", "3"]


def test_how_requests_are_served_and_what_batches_take_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = shown(tmp_path, SMALL, capsys)
    assert "Served (P1's): dispatch fixed, batching none, no copies" in plain
    assert "What a batch takes" not in plain
    text = SMALL.replace("sites:", "serving: {dispatch: split, news_s: 1, batching: queue, copies: true}\nsites:", 1)
    text = text.replace("gpus: 1, vram_gb: 8", "gpus: 2, vram_gb: 16").replace(
        "compute_s: 0.1}", "compute_s: 0.1, batch: {1: 1, 8: 1.3}}"
    )
    text = text.replace("    gpu_profiles", "    cpu_batch: {C: {1: 1, 4: 2}}\n    gpu_profiles")
    lines = shown(tmp_path, text, capsys)
    assert "Served: dispatch split, news of other nodes 1 s old, batching queue, a copy on each GPU of a pod" in lines
    curves = [line.split() for line in lines.split("What a batch takes")[1].splitlines() if line.startswith(" chat")]
    assert curves == [["chat", "C", "1:", "1,", "4:", "2"], ["chat", "G", "1:", "1,", "8:", "1.3"]]
    sliced = shown(tmp_path, SMALL.replace("gpus: 1, vram_gb: 8", "gpus: 1, vram_gb: 8, mig: true"), capsys)
    assert "1 x G, MIG" in sliced
