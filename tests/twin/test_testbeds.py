"""Testbed files become clusters: nodes, links, sources, and speeds between the points."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.testbed_files import SMALL, write
from twin.files import Document
from twin.testbeds import (
    load_testbed,
    read_testbed,
    sources,
    to_yaml,
)
from twin.testbeds.build import to_cluster
from twin.testbeds.schema import TestbedFile

# Reading


def test_a_small_file_becomes_a_cluster(tmp_path: Path) -> None:
    cluster = load_testbed(write(tmp_path, SMALL))
    assert [node.name for node in cluster.nodes] == ["a", "b", "c"]
    assert [node.name for node in cluster.control_nodes] == ["head"]
    assert cluster.latency_s.tolist() == [[0, 0.001, 0.002], [0.001, 0, 0.002], [0.002, 0.002, 0]]
    assert cluster.seconds_per_byte.tolist() == [[0, 1e-9, 2e-9], [1e-9, 0, 2e-9], [2e-9, 2e-9, 0]]
    assert (cluster.slot_s, cluster.epoch_slots, cluster.deadline_s) == (30.0, 50, 900.0)
    lm = cluster.lms[0]
    assert (lm.gpu_only, lm.host_cores, lm.uplink_bytes, lm.stop_s) == (False, 1, 1000.0, 3.0)
    assert cluster.cpu_seconds(2, 0, 2) == pytest.approx(2 + 2 / 3)


def test_a_link_between_two_nodes_overrides_that_of_their_sites_one_way_or_both(tmp_path: Path) -> None:
    links = (
        "  - {nodes: [a, b], latency_s: 0.5, gbit_per_s: 8, one_way: true}\n"
        "  - {nodes: [c, a], latency_s: 0.7, gbit_per_s: 8}\n"
    )
    cluster = load_testbed(write(tmp_path, SMALL.replace("nodes:\n", links + "nodes:\n", 1)))
    assert cluster.latency_s.tolist() == [[0, 0.5, 0.7], [0.001, 0, 0.002], [0.7, 0.002, 0]]


def test_sites_can_differ_by_direction(tmp_path: Path) -> None:
    text = SMALL.replace(
        "  - {sites: [left, right], latency_s: 0.002, gbit_per_s: 4}\n",
        "  - {sites: [left, right], latency_s: 0.002, gbit_per_s: 4, one_way: true}\n"
        "  - {sites: [right, left], latency_s: 0.009, gbit_per_s: 4, one_way: true}\n",
    )
    cluster = load_testbed(write(tmp_path, text))
    assert cluster.latency_s[:, 2].tolist() == [0.002, 0.002, 0]
    assert cluster.latency_s[2].tolist() == [0.009, 0.009, 0]


def test_a_number_can_carry_its_source_or_take_that_of_its_entry(tmp_path: Path) -> None:
    text = SMALL.replace("ram_gb: 3\n", "source: memo\n    ram_gb: {value: 3, kind: measured, source: We looked.}\n")
    path = write(tmp_path, text.replace("sites:", "sources: {memo: A note of ours.}\nsites:", 1))
    by_field = {row.field: row for row in sources(path)}
    assert by_field["chat.ram_gb"].kind == "measured"
    assert by_field["chat.ram_gb"].source == "We looked."
    assert (by_field["chat.vram_gb"].kind, by_field["chat.vram_gb"].source) == ("stated", "A note of ours.")
    assert by_field["a.ram_gb"].source == ""
    assert "slot_s" not in by_field


def test_an_empty_cpu_table_says_that_the_lm_does_not_run_there(tmp_path: Path) -> None:
    text = SMALL.replace("{C: {1: 4, 4: 2}}", "{C: {1: 4, 4: 2}, D: {}}").replace(
        "cpu_model: C, cpu_cores: 8, ram_gb: 16, gpu", "cpu_model: D, cpu_cores: 8, ram_gb: 16, gpu"
    )
    cluster = load_testbed(write(tmp_path, text))
    assert math.isinf(cluster.cpu_seconds(1, 0, 8))
    assert cluster.feasible.all()


def test_a_testbed_without_gpus_needs_no_word_about_them(tmp_path: Path) -> None:
    text = SMALL.replace(", gpu_model: G, gpus: 1, vram_gb: 8}", "}")
    for line in ("    vram_gb: 1\n", "    start_gpu_s: 9\n", "    gpu_profiles: {G: {fixed_s: 0.5, compute_s: 0.1}}\n"):
        text = text.replace(line, "")
    cluster = load_testbed(write(tmp_path, text))
    assert (cluster.lms[0].vram_gb, cluster.lms[0].start_gpu_s) == (0.0, 0.0)
    assert [cluster.runs_on_gpu(n, 0) for n in range(3)] == [False] * 3
    assert cluster.feasible.all()


def test_an_lm_for_gpus_alone_needs_no_word_about_the_cpu(tmp_path: Path) -> None:
    draw = SMALL[SMALL.index("  - name: chat") :].replace("name: chat", "name: draw")
    draw = draw.replace("    start_cpu_s: 8\n", "").replace(
        "    cpu_profiles: {C: {1: 4, 4: 2}}\n", "    gpu_only: true\n"
    )
    assert load_testbed(write(tmp_path, SMALL + draw)).feasible[:, 1].tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("given", "whole", "spare"),
    [("4", 4, 0.0), ("3920m", 3, 0.92), ("3.92", 3, 0.92), ("2000m", 2, 0.0), ("'2.5'", 2, 0.5), ("1e0", 1, 0)],
)
def test_cores_are_read_as_kubernetes_writes_them_and_whole_ones_are_given(
    given: str, whole: int, spare: float, tmp_path: Path
) -> None:
    path = write(tmp_path, SMALL.replace("cpu_cores: 4", f"cpu_cores: {given}"))
    node = load_testbed(path).nodes[2]
    assert (node.cpu_cores, node.spare_cores) == (whole, spare)
    testbed = read_testbed(path)
    assert Document(path, to_yaml(testbed)).validate(TestbedFile) == testbed


def test_a_worker_with_less_than_a_core_is_a_place_where_prompts_come_from(tmp_path: Path) -> None:
    cluster = load_testbed(write(tmp_path, SMALL.replace("cpu_cores: 4", "cpu_cores: 0.5")))
    assert (cluster.nodes[2].cpu_cores, cluster.nodes[2].spare_cores) == (0, 0.5)
    assert cluster.feasible[:, 0].tolist() == [True, True, False]


def test_unified_memory_is_one_store(tmp_path: Path) -> None:
    text = SMALL.replace("gpus: 1, vram_gb: 8", "gpus: 1, unified_memory: true")
    cluster = load_testbed(write(tmp_path, text.replace("vram_gb: 1\n", "vram_gb: 1\n    unified_gb: 3.5\n")))
    node = cluster.nodes[1]
    assert (node.unified_memory, node.ram_gb, node.vram_gb) == (True, 16.0, 0.0)
    assert [cluster.ram_gb(n, 0, True) for n in (0, 1)] == [3.0, 3.5]
    assert load_testbed(write(tmp_path, text)).ram_gb(1, 0, True) == 4.0


def test_an_lm_can_take_several_modalities(tmp_path: Path) -> None:
    text = SMALL.replace("modality_in: text", "modality_in: [audio, image]")
    lm = load_testbed(write(tmp_path, text)).lms[0]
    assert (lm.modality_in, lm.modalities, lm.is_image) == (("audio", "image"), "audio and image to text", True)
    testbed = read_testbed(write(tmp_path, text))
    assert "modality_in: [audio, image]" in to_yaml(testbed)
    heard = load_testbed(write(tmp_path, SMALL.replace("modality_out: text", "modality_out: audio"))).lms[0]
    assert (heard.modality_in, heard.modality_out, heard.is_image) == (("text",), "audio", False)


def test_the_example_of_the_documentation_is_a_testbed(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "testbeds.md").read_text("utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    cluster = load_testbed(write(tmp_path, example))
    assert cluster.feasible.tolist() == [[True], [True]]
    assert cluster.cpu_seconds(0, 0, 6) == pytest.approx(1.9)


# Speeds between the points


@st.composite
def profiles(draw: st.DrawFn) -> dict[int, float]:
    cores = sorted(draw(st.sets(st.integers(1, 64), min_size=1, max_size=6)))
    seconds = sorted(draw(st.lists(st.floats(0.01, 2000), min_size=len(cores), max_size=len(cores))), reverse=True)
    return dict(zip(cores, seconds, strict=True))


@settings(deadline=None, max_examples=40)
@given(profiles())
def test_speed_is_exact_at_the_points_and_never_falls_with_more_cores(points: dict[int, float]) -> None:
    text = SMALL.replace("{C: {1: 4, 4: 2}}", f"{{C: {points}}}").replace("cpu_cores: 4", "cpu_cores: 64")
    cluster = to_cluster(Document(Path("small.yaml"), text).validate(TestbedFile))
    seconds = [cluster.cpu_seconds(2, 0, cores) for cores in range(70)]
    first, last = min(points), max(points)
    assert all(seconds[cores] == pytest.approx(exact, rel=1e-12) for cores, exact in points.items())
    assert all(math.isinf(s) for s in seconds[:first])
    assert seconds[last:] == [points[last]] * (70 - last)
    assert all(more <= less * (1 + 1e-12) for less, more in itertools.pairwise(seconds[first:]))
