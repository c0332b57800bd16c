"""Testbeds: bristol is the published one, bad files are refused in one sentence, generated ones are like their base."""

import itertools
import math
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.cluster import Cluster
from domain.errors import InputError
from twin.files import Document
from twin.testbeds import (
    builtin_names,
    generate,
    generate_testbed,
    load_builtin,
    load_testbed,
    read_testbed,
    sources,
    to_yaml,
    write_testbed,
)
from twin.testbeds.build import to_cluster
from twin.testbeds.generate import DETOUR, FIBRE_S_PER_KM
from twin.testbeds.schema import TestbedFile

SMALL = """\
name: small
sites: [left, right]
links:
  - {sites: [left, left], latency_s: 0.001, gbit_per_s: 8}
  - {sites: [left, right], latency_s: 0.002, gbit_per_s: 4}
nodes:
  - {name: a, site: left, cpu_model: C, cpu_cores: 8, ram_gb: 16}
  - {name: b, site: left, cpu_model: C, cpu_cores: 8, ram_gb: 16, gpu_model: G, gpus: 1, vram_gb: 8}
  - {name: c, site: right, cpu_model: C, cpu_cores: 4, ram_gb: 8}
  - {name: head, site: left, role: control, cpu_model: any, cpu_cores: 2, ram_gb: 2}
lms:
  - name: chat
    model: GPT-2
    modality_in: text
    modality_out: text
    ram_gb: 3
    vram_gb: 1
    image_gb: 7.5
    uplink_bytes: 1000
    downlink_bytes: 2000
    start_cpu_s: 8
    start_gpu_s: 9
    stop_s: 3
    cpu_profiles: {C: {1: 4, 4: 2}}
    gpu_profiles: {G: {fixed_s: 0.5, compute_s: 0.1}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "small.yaml"
    path.write_text(text)
    return path


def equal(one: Cluster, two: Cluster) -> bool:
    return all(np.array_equal(getattr(one, f.name), getattr(two, f.name)) for f in fields(Cluster))


# The published testbed


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
        ("LM1", "GPT-2", "text", "text", 3.0, 7.5),
        ("LM2", "GPT-2 large", "text", "text", 9.0, 13.0),
        ("LM3", "BLIP", "image", "text", 2.5, 10.0),
        ("LM4", "Stable Diffusion", "text", "image", 3.5, 17.5),
    ]
    assert (cluster.slot_s, cluster.epoch_slots, cluster.deadline_s, cluster.latency_weight) == (30, 50, 900, 0.5)


def test_bristol_never_runs_blip_or_stable_diffusion_without_a_gpu() -> None:
    cluster = load_builtin("bristol")
    assert cluster.feasible.all(axis=1).tolist() == [False, True, True, True, True, True]
    assert cluster.feasible[0].tolist() == [True, True, False, False]


def test_bristols_speeds_meet_the_points_that_they_were_fitted_to() -> None:
    cluster = load_builtin("bristol")
    speeds = [[cluster.gpu_seconds(1, i, share) for share in (1.0, 0.5)] for i in range(4)]
    assert np.allclose(speeds, [[0.6, 0.7], [1.9, 2.2], [0.25, 0.3], [5.6, 11.2]])
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
    assert sum(row.field.startswith("LM") for row in table) == 4 * 8 + 21 + 8
    measured = [row for row in table if row.kind == "measured"]
    assert len(measured) == 5
    assert all("Measured on" in row.source for row in measured)


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


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # Ranges
        ("cpu_cores: 4", "cpu_cores: -4", "9: nodes[2].cpu_cores must be greater than or equal to 1, not -4."),
        (
            "cores: 4, ram_gb: 8",
            "cores: 4, ram_gb: 0",
            "9: nodes[2].ram_gb must be more than 0 and at most 1e12, not 0.",
        ),
        ("cores: 4, ram_gb: 8", "cores: 4, ram_gb: .nan", "9: nodes[2].ram_gb must be a finite number, not .nan."),
        ("cores: 4, ram_gb: 8", "cores: 4, ram_gb: lots", "9: nodes[2].ram_gb must be a number, not 'lots'."),
        (
            "cores: 4, ram_gb: 8",
            "cores: 4, ram_gb: {value: -1}",
            "9: nodes[2].ram_gb must be more than 0 and at most 1e12, not -1.",
        ),
        ("latency_s: 0.002", "latency_s: -1", "5: links[1].latency_s must be from 0 to 1e12, not -1."),
        ("gbit_per_s: 4", "gbit_per_s: 0", "5: links[1].gbit_per_s must be from 1e-6 to 1e6, not 0."),
        ("sites:", "latency_weight: 1.5\nsites:", "2: latency_weight must be from 0 to 1, not 1.5."),
        ("sites:", "slot_s: 0\nsites:", "2: slot_s must be more than 0 and at most 1e12, not 0."),
        ("sites:", "epoch_slots: 0\nsites:", "2: epoch_slots must be greater than or equal to 1, not 0."),
        (
            "name: small",
            "name: ../small",
            "1: name must be 1 to 63 letters, digits, '.', '_', '-' or spaces, "
            "the first a letter or digit, not '../small'.",
        ),
        ("model: GPT-2", "model: ' '", "13: lms[0].model must be one line of text, not ' '."),
        # Profiles
        (
            "{1: 4, 4: 2}",
            "{4: 2, 1: 4}",
            "24: lms[0].cpu_profiles.C must list its cores in rising order, not 1 after 4.",
        ),
        (
            "{1: 4, 4: 2}",
            "{1: 4, 4: 5}",
            "24: lms[0].cpu_profiles.C must not get slower with more cores, as from 4 s with 1 to 5 s with 4.",
        ),
        ("{1: 4, 4: 2}", "{1: 0}", "24: lms[0].cpu_profiles.C must give more than 0 seconds with 1 cores, not 0."),
        ("{1: 4, 4: 2}", "{0: 4}", "24: lms[0].cpu_profiles.C.0 must be greater than or equal to 1, not '0'."),
        (
            "compute_s: 0.1",
            "compute_s: 0",
            "25: lms[0].gpu_profiles.G.compute_s must be more than 0 and at most 1e12, not 0.",
        ),
        # Sources
        (
            "stop_s: 3",
            "stop_s: {value: 3, kind: guessed, source: so}",
            "23: lms[0].stop_s.kind must be 'measured', 'published' or 'estimated', not 'guessed'.",
        ),
        (
            "stop_s: 3",
            "stop_s: {value: 3, kind: measured}",
            "23: lms[0].stop_s must have both 'kind' and 'source', or neither.",
        ),
        (
            "stop_s: 3",
            "source: nots\n    stop_s: 3",
            "23: lms[0].source must be a sentence or the name of an entry of 'sources', not 'nots'.",
        ),
        # Names
        ("name: b,", "name: a,", "8: nodes[1].name must be a name of its own, but nodes[0] is 'a' too."),
        (
            "[left, right]\nlinks",
            "[left, left]\nlinks",
            "2: sites[1] must be a name of its own, but sites[0] is 'left' too.",
        ),
        (
            "name: c, site: right",
            "name: c, site: rigt",
            "9: nodes[2].site must be 'left' or 'right', not 'rigt'; did you mean 'right'?",
        ),
        ("cpu_cores: 4", "cpu_core: 4", "9: nodes[2] has an unknown field 'cpu_core'; did you mean 'cpu_cores'?"),
        # Links
        (
            "[left, right], latency_s: 0.002",
            "[left, rigth], latency_s: 0.002",
            "5: links[1].sites must be 'left' or 'right', not 'rigth'; did you mean 'right'?",
        ),
        (
            "[left, right], latency_s: 0.002",
            "[left, left], latency_s: 0.002",
            "5: links[1].sites must not be given twice: links[0] is from 'left' to 'left' too.",
        ),
        (
            "sites: [left, right], latency",
            "nodes: [c, c], latency",
            "5: links[1].nodes must be two different workers, not 'c' twice.",
        ),
        (
            "sites: [left, right], latency",
            "nodes: [c, head], latency",
            "5: links[1].nodes must be 'a', 'b' or 'c', not 'head'.",
        ),
        (
            "sites: [left, right], latency",
            "nodes: [c, a], latency",
            "3: links must have an entry with sites [left, right], since workers stand there.",
        ),
        (
            "4}\nnodes",
            "4, one_way: true}\nnodes",
            "3: links must have an entry with sites [right, left], since workers stand there.",
        ),
        ("sites: [left, left], l", "l", "4: links[0] must have either 'sites' or 'nodes', two names each."),
        # GPUs
        (
            "cpu_cores: 4, ram_gb: 8",
            "cpu_cores: 4, ram_gb: 8, vgpus_per_gpu: 2",
            "9: nodes[2].vgpus_per_gpu must be left out, since the node has no GPUs (gpus is 0).",
        ),
        (
            "cpu_cores: 4, ram_gb: 8",
            "cpu_cores: 4, ram_gb: 8, vram_gb: 2",
            "9: nodes[2].vram_gb must be left out, since the node has no GPUs (gpus is 0).",
        ),
        ("gpus: 1, vram_gb: 8", "gpus: 2", "8: nodes[1].vram_gb must be given, since the node has GPUs (gpus is 2)."),
        ("gpu_model: G, ", "", "8: nodes[1].gpu_model must be given, since the node has GPUs (gpus is 1)."),
        (
            "gpu_model: G,",
            "gpu_model: NVIDIA G,",
            "8: nodes[1].gpu_model has no entry in any LM's gpu_profiles; it must be 'G', not 'NVIDIA G'.",
        ),
        (
            "right, cpu_model: C",
            "right, cpu_model: D",
            "9: nodes[2].cpu_model has no entry in any LM's cpu_profiles; it must be 'C', not 'D'.",
        ),
        # What fits
        (
            "  - {name: c, site: right, cpu_model: C, cpu_cores: 4, ram_gb: 8}",
            "  - {name: c, site: right, cpu_model: C, cpu_cores: 4, ram_gb: 2}",
            "9: nodes[2] can run none of the LMs; make it larger, or give it the role 'control'.",
        ),
        (
            "ram_gb: 3\n",
            "ram_gb: 30\n",
            "16: lms[0].ram_gb must be at most 16, the RAM of the largest worker (a), not 30; no worker can hold chat.",
        ),
        (
            "{C: {1: 4, 4: 2}}",
            "{C: {64: 4}, E: {1: 1}}\n    host_cores: 9",
            "25: lms[0].host_cores must be at most 8, the cores of the largest worker with a GPU, not 9; "
            "chat fits on no worker.",
        ),
        (
            "vram_gb: 1\n",
            "vram_gb: 9\n    gpu_only: true\n",
            "17: lms[0].vram_gb must be at most 8, the vRAM of the "
            "largest worker with a GPU (b), not 9; chat fits on no worker.",
        ),
    ],
)
def test_a_bad_testbed_is_refused_with_one_sentence_at_its_line(
    old: str, new: str, expected: str, tmp_path: Path
) -> None:
    assert SMALL.count(old) >= 1
    path = write(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_testbed(path)
    assert str(caught.value) == f"{path}:{expected}"


def without_gpus(text: str) -> str:
    return text.replace(", gpu_model: G, gpus: 1, vram_gb: 8}", "}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            without_gpus(SMALL).replace("vram_gb: 1\n", "vram_gb: 1\n    gpu_only: true\n"),
            "18: lms[0].gpu_only must be false, or some worker must have a GPU; none has one, so chat runs nowhere.",
        ),
        (
            SMALL.replace("role: control, ", "")
            .replace("name: head", "name: d")
            .replace("cpu_model: any", "cpu_model: C"),
            "10: nodes[3] can run none of the LMs; make it larger, or give it the role 'control'.",
        ),
        (
            SMALL.replace("cpu_model: C", "role: control, cpu_model: C"),
            "6: nodes must have at least one worker, but every node has the role 'control'.",
        ),
        (
            without_gpus(SMALL).replace("    cpu_profiles: {C: {1: 4, 4: 2}}\n", ""),
            "12: lms[0].cpu_profiles must have the CPU model of some worker; without it chat runs nowhere.",
        ),
        (
            without_gpus(SMALL).replace("{C: {1: 4, 4: 2}}", "{C: {64: 4}}"),
            "24: lms[0].cpu_profiles must begin at 8 cores or fewer, all that the largest worker (a) has; "
            "chat fits on no worker.",
        ),
        (
            SMALL.replace("cpu_cores: 8, ram_gb: 16, gpu_model", "cpu_cores: 8, ram_gb: 2, gpu_model").replace(
                "vram_gb: 1\n", "vram_gb: 1\n    gpu_only: true\n"
            ),
            "12: lms[0].name must be an LM that fits on some worker; no single one has all that chat needs.",
        ),
    ],
)
def test_an_lm_that_fits_nowhere_says_why(text: str, expected: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_testbed(path)
    assert str(caught.value) == f"{path}:{expected}"


def test_an_empty_cpu_table_says_that_the_lm_does_not_run_there(tmp_path: Path) -> None:
    text = SMALL.replace("{C: {1: 4, 4: 2}}", "{C: {1: 4, 4: 2}, D: {}}").replace(
        "cpu_model: C, cpu_cores: 8, ram_gb: 16, gpu", "cpu_model: D, cpu_cores: 8, ram_gb: 16, gpu"
    )
    cluster = load_testbed(write(tmp_path, text))
    assert math.isinf(cluster.cpu_seconds(1, 0, 8))
    assert cluster.feasible.all()


def test_an_unknown_built_in_testbed_names_those_there_are() -> None:
    assert builtin_names() == ["bristol"]
    with pytest.raises(InputError) as caught:
        load_builtin("brstol")
    assert str(caught.value) == (
        "The testbed, where it is no path that ends in .yaml, must be 'bristol', not 'brstol'; did you mean 'bristol'?"
    )
    with pytest.raises(InputError, match=r"nowhere\.yaml: there is no such file"):
        read_testbed("nowhere.yaml")


def test_the_example_of_the_documentation_is_a_testbed(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "testbeds.md").read_text("utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    cluster = load_testbed(write(tmp_path, example))
    assert cluster.feasible.tolist() == [[True], [True]]
    assert cluster.cpu_seconds(0, 0, 6) == pytest.approx(1.9)


# Generating


@pytest.mark.parametrize("nodes", [6, 60, 600])
def test_a_generated_testbed_mixes_bristols_hardware_in_its_proportions(nodes: int) -> None:
    cluster = generate_testbed(nodes, seed=7)
    assert cluster.n_nodes == nodes
    assert Counter(node.gpus for node in cluster.nodes) == {0: nodes // 6, 1: nodes * 4 // 6, 2: nodes // 6}
    assert cluster.lms == load_builtin("bristol").lms
    assert [node.name for node in cluster.control_nodes] == ["control-1"]
    per_site = Counter(node.site for node in cluster.nodes)
    assert len(per_site) == round(math.sqrt(1.5 * nodes))
    assert max(per_site.values()) - min(per_site.values()) <= 1


def test_the_same_seed_gives_the_same_testbed_and_another_one_another() -> None:
    assert equal(generate_testbed(40, seed=3), generate_testbed(40, seed=3))
    assert not equal(generate_testbed(40, seed=3), generate_testbed(40, seed=4))


def test_generated_delays_are_bristols_within_a_site_and_grow_with_distance_between_sites() -> None:
    cluster = generate_testbed(100, seed=1)
    site = np.array([node.site for node in cluster.nodes])
    same = site[:, None] == site[None, :]
    np.fill_diagonal(same, False)
    other = site[:, None] != site[None, :]
    assert set(cluster.latency_s[same]) == {0.0001}
    assert (cluster.latency_s.diagonal() == 0).all()
    assert (cluster.latency_s == cluster.latency_s.T).all()
    km = (cluster.latency_s[other] - 0.0002) / (DETOUR * FIBRE_S_PER_KM)
    # Sites of a town are a few kilometres apart, towns up to the diagonal of the region and a bit.
    assert km.min() < 10 < km.max() < 100 * math.sqrt(2) + 10
    assert set(cluster.seconds_per_byte[other]) == {8e-10}


@settings(max_examples=8, deadline=None)
@given(nodes=st.integers(1, 40), seed=st.integers(0, 2**63 - 1))
def test_a_generated_testbed_reads_back_as_the_same_cluster(
    nodes: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "generated.yaml"
    testbed = generate(nodes, seed)
    write_testbed(path, testbed)
    assert read_testbed(path) == testbed
    assert equal(load_testbed(path), to_cluster(testbed))


def test_a_testbed_can_be_generated_from_a_file_of_ones_own(tmp_path: Path) -> None:
    base = read_testbed(write(tmp_path, SMALL))
    cluster = generate_testbed(9, seed=0, base=base)
    assert Counter((node.cpu_cores, node.gpus) for node in cluster.nodes) == {(8, 0): 3, (8, 1): 3, (4, 0): 3}
    assert cluster.name == "small-9-0"
    grandchild = generate_testbed(5, seed=0, base=generate(9, seed=0, base=base))
    assert grandchild.n_nodes == 5


@pytest.mark.parametrize(
    ("nodes", "seed", "expected"),
    [
        (0, 0, "The number of nodes must be from 1 to 5000, not 0."),
        (5001, 0, "The number of nodes must be from 1 to 5000, not 5001."),
        (6, -1, r"The seed must be from 0 to 2\*\*63 - 1, not -1."),
    ],
)
def test_a_size_or_a_seed_out_of_range_is_refused(nodes: int, seed: int, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        generate(nodes, seed)


def test_too_few_nodes_for_an_lm_of_the_base_are_refused(tmp_path: Path) -> None:
    chat = SMALL[SMALL.index("  - name: chat") :]
    draw = chat.replace("name: chat", "name: draw").replace("vram_gb: 1", "vram_gb: 1\n    gpu_only: true")
    base = read_testbed(write(tmp_path, SMALL + draw))
    with pytest.raises(InputError, match=r"A testbed of 1 nodes like small does not work: lms\[1\]\.gpu_only must"):
        generate(1, 0, base)


def test_a_testbed_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent/x\.yaml cannot be written: No such file or directory\."):
        write_testbed(tmp_path / "absent" / "x.yaml", read_testbed("bristol"))
    assert os.listdir(tmp_path) == []


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
