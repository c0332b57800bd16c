"""Bristol is the paper's testbed: its hardware, LMs, clock and speeds, each with its source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.testbed_files import write
from twin.testbeds import (
    load_builtin,
    load_testbed,
    read_testbed,
    sources,
    to_yaml,
)


def test_bristol_has_the_hardware_of_the_papers_table_ii() -> None:
    cluster = load_builtin("bristol")
    table = {
        node.name: (node.cpu_model, node.cpu_cores, node.ram_gb, node.gpu_model, node.gpus, node.vram_gb)
        for node in (*cluster.control_nodes, *cluster.nodes)
    }
    one_gpu = ("AMD EPYC 7453", 16, 24.0, "NVIDIA A5000", 1, 24.0)
    assert table == {
        "VM1": ("Intel Xeon Icelake", 8, 16.0, None, 0, 0.0),
        "VM2": ("AMD EPYC 7453", 24, 32.0, None, 0, 0.0),
        "VM3": one_gpu,
        "VM4": one_gpu,
        "VM5": one_gpu,
        "VM6": one_gpu,
        "VM7": ("AMD EPYC 7453", 16, 24.0, "NVIDIA A5000", 2, 48.0),
    }
    assert [node.name for node in cluster.control_nodes] == ["VM1"]
    assert [node.vgpus for node in cluster.nodes] == [0, 2, 2, 2, 2, 4]
    assert {node.site for node in cluster.nodes} == {"university", "we-the-curious", "m-shed"}


def test_bristol_has_the_lms_and_the_clock_of_the_papers_section_v() -> None:
    cluster = load_builtin("bristol")
    assert [(lm.name, lm.model, lm.modality_in, lm.modality_out, lm.ram_gb, lm.image_gb) for lm in cluster.lms] == [
        ("LM1", "GPT-2", ("text",), "text", 3.0, 7.5),
        ("LM2", "GPT-2 large", ("text",), "text", 9.0, 13.0),
        ("LM3", "BLIP", ("image",), "text", 2.5, 10.0),
        ("LM4", "Stable Diffusion", ("text",), "image", 3.5, 17.5),
    ]
    assert (cluster.slot_s, cluster.epoch_slots, cluster.deadline_s, cluster.latency_weight) == (30, 50, 900, 0.5)


def test_bristol_never_runs_blip_or_stable_diffusion_without_a_gpu() -> None:
    cluster = load_builtin("bristol")
    assert cluster.feasible.all(axis=1).tolist() == [False, True, True, True, True, True]
    assert cluster.feasible[0].tolist() == [True, True, False, False]


def test_bristols_speeds_meet_the_points_that_they_were_fitted_to() -> None:
    cluster = load_builtin("bristol")
    speeds = [cluster.gpu_seconds(1, i) for i in range(4)]
    assert np.allclose(speeds, [0.6, 1.9, 0.25, 5.6])
    one_core = [lm.cpu_profiles["AMD EPYC 7453"].seconds_per_prompt(1) for lm in cluster.lms]
    assert one_core == [3.9, 20.5, 2.55, 1162.0]


@pytest.mark.parametrize(
    ("lm", "rule", "first"),
    [
        (0, lambda k: 1.5 + 2.4 / k, 1),
        (1, lambda k: 3.5 + 17 / k, 1),
        (2, lambda k: 1.1 + 1.45 / k, 1),
        (3, lambda k: 1162 / (0.85 * k), 4),
    ],
)
def test_bristols_estimated_cpu_speeds_follow_the_rule_that_their_source_states(
    lm: int, rule: Callable[[float], float], first: int
) -> None:
    cluster = load_builtin("bristol")
    for cores in range(first, 25):
        assert cluster.cpu_seconds(0, lm, cores) == pytest.approx(rule(cores), rel=0.006), cores


def test_stable_diffusion_on_a_cpu_needs_no_more_than_its_flag(tmp_path: Path) -> None:
    text = to_yaml(read_testbed("bristol")).replace("gpu_only: true", "gpu_only: false")
    cluster = load_testbed(write(tmp_path, text))
    assert cluster.feasible.all()
    assert cluster.cpu_seconds(0, 3, 16) == 85


def test_every_service_number_of_bristol_has_a_source() -> None:
    table = sources("bristol")
    assert {row.kind for row in table} == {"measured", "published", "estimated"}
    assert all(" " in row.source for row in table), "a name that was not resolved"
    by_field = {row.field: row for row in table}
    first = by_field["LM1.cpu_profiles[AMD EPYC 7453][1]"]
    assert (first.value, first.unit, first.kind) == (3.9, "s/prompt", "measured")
    assert "2-core AMD EPYC Zen 4 VM" in first.source
    assert by_field["LM4.vram_gb"].kind == "published"
    assert by_field["university - m-shed.gbit_per_s"].unit == "Gbit/s"
    assert by_field["deadline_s"].unit == "s"
    assert sum(row.field.startswith("LM") for row in table) == 4 * 8 + 21 + 8 + 12
    measured = [row for row in table if row.kind == "measured"]
    assert len(measured) == 7
    assert all("Measured on" in row.source for row in measured)
