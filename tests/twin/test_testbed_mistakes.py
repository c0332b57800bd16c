"""Mistakes in testbed files: one sentence each, with the line where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.errors import InputError
from tests.testbed_files import SMALL, write
from twin.testbeds import (
    builtin_names,
    load_builtin,
    load_testbed,
    read_testbed,
)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # Ranges
        ("cpu_cores: 4", "cpu_cores: -4", "9: nodes[2].cpu_cores must be from 0.001 to 1024, not -4."),
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
        ("sites:", "slot_s: 0\nsites:", "2: slot_s must be from 0.001 to 1e12, not 0."),
        (
            "sites:",
            "slot_s: 0.5\ndeadline_s: 1e9\nsites:",
            "3: deadline_s must be at most 1,000,000 slots, 500000 s, not 1e+09; "
            "a run goes on until the last deadline.",
        ),
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
            "24: lms[0].cpu_profiles.C.1 must stand before 4, so that cores rise.",
        ),
        (
            "{1: 4, 4: 2}",
            "{1: 4, 4: 5}",
            "24: lms[0].cpu_profiles.C.4 must be at most 4, the seconds with 1, not 5: more cores make nothing slower.",
        ),
        ("{1: 4, 4: 2}", "{1: 0}", "24: lms[0].cpu_profiles.C.1 must be more than 0 and at most 1e12, not 0."),
        ("{1: 4, 4: 2}", "{0: 4}", "24: lms[0].cpu_profiles.C.0 must be greater than or equal to 1, not '0'."),
        (
            "compute_s: 0.1",
            "compute_s: 0",
            "25: lms[0].gpu_profiles.G.compute_s must be more than 0 and at most 1e12, not 0.",
        ),
        (
            "{C: {1: 4, 4: 2}}",
            "\n      C:\n        1: 4\n        4: 2\n        8: 3",
            "28: lms[0].cpu_profiles.C.8 must be at most 2, the seconds with 4, not 3: more cores make nothing slower.",
        ),
        (
            "{C: {1: 4, 4: 2}}",
            "\n      C:\n        1: 4\n        4: .5\n        4.0: 2",
            "28: lms[0].cpu_profiles.C['4.0'] must be a whole number, not '4.0'.",
        ),
        (
            "{1: 4, 4: 2}",
            "{1: 4, 2000: 2}",
            "24: lms[0].cpu_profiles.C.2000 must be less than or equal to 1024, not '2000'.",
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
        (
            "gpus: 1, vram_gb: 8",
            "gpus: 2",
            "8: nodes[1].vram_gb must be given, since the node has GPUs (gpus is 2); "
            "where they use the memory of the CPU, write unified_memory: true.",
        ),
        (
            "gpus: 1, vram_gb: 8",
            "gpus: 1, vram_gb: 8, unified_memory: true",
            "8: nodes[1].vram_gb must be left out, since CPU and GPUs use one memory (unified_memory is true), "
            "which is ram_gb.",
        ),
        (
            "cpu_cores: 4, ram_gb: 8",
            "cpu_cores: 4, ram_gb: 8, unified_memory: true",
            "9: nodes[2].unified_memory must be left out, since the node has no GPUs (gpus is 0).",
        ),
        ("    vram_gb: 1\n", "", "12: lms[0].vram_gb must be given, since the LM has gpu_profiles."),
        ("    start_gpu_s: 9\n", "", "12: lms[0].start_gpu_s must be given, since the LM has gpu_profiles."),
        ("    start_cpu_s: 8\n", "", "12: lms[0].start_cpu_s must be given, since the LM has cpu_profiles."),
        ("vram_gb: 1\n", "vram_gb: -1\n", "17: lms[0].vram_gb must be from 0 to 1e12, not -1."),
        # Cores
        (
            "cpu_cores: 4",
            "cpu_cores: four",
            "9: nodes[2].cpu_cores must be a number of cores, such as 4, 3.92 or 3920m, not 'four'.",
        ),
        ("cpu_cores: 4", "cpu_cores: 0m", "9: nodes[2].cpu_cores must be from 0.001 to 1024, not 0."),
        (
            "cpu_cores: 4",
            "cpu_cores: 1.5m",
            "9: nodes[2].cpu_cores must be a number of cores, such as 4, 3.92 or 3920m, not '1.5m'.",
        ),
        (
            "cpu_cores: 4",
            "cpu_cores: 3.9205",
            "9: nodes[2].cpu_cores must be whole thousandths of a core, as Kubernetes has them, not 3.9205.",
        ),
        ("cpu_cores: 4", "cpu_cores: true", "9: nodes[2].cpu_cores must be a number, not true."),
        # Modalities
        (
            "modality_in: text",
            "modality_in: smell",
            "14: lms[0].modality_in must be 'text', 'image' or 'audio', not 'smell'.",
        ),
        (
            "modality_in: text",
            "modality_in: [text, smell]",
            "14: lms[0].modality_in[1] must be 'text', 'image' or 'audio', not 'smell'.",
        ),
        ("modality_in: text", "modality_in: []", "14: lms[0].modality_in must have at least 1 entry, not 0."),
        ("modality_in: text", "modality_in: [text, text]", "14: lms[0].modality_in must name each modality once."),
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


def test_memory_that_cpu_and_gpus_share_is_named_where_it_is_too_small(tmp_path: Path) -> None:
    one = SMALL.replace("gpus: 1, vram_gb: 8", "gpus: 1, unified_memory: true").replace("ram_gb: 3", "ram_gb: 9")
    one = one.replace("    vram_gb: 1\n", "    vram_gb: 8\n    gpu_only: true\n")
    sentence = "must be at most 16, the memory that CPU and GPUs of the largest worker with a GPU (b) share, not"
    for text, line, needs in (
        (one, 12, "17 (ram_gb and vram_gb in sum)"),
        (one.replace("    gpu_only", "    unified_gb: 16.5\n    gpu_only"), 18, "16.5"),
    ):
        with pytest.raises(InputError) as caught:
            load_testbed(write(tmp_path, text))
        assert str(caught.value).endswith(f":{line}: lms[0].unified_gb {sentence} {needs}; chat fits on no worker.")


CHAT = SMALL[SMALL.index("  - name: chat") :]


def nodes(workers: int, control: int = 1, cores: int = 8) -> str:
    rows = [f"  - {{name: n{k}, site: left, cpu_model: C, cpu_cores: {cores}, ram_gb: 8}}" for k in range(workers)]
    rows += [
        f"  - {{name: c{k}, site: left, role: control, cpu_model: C, cpu_cores: 1, ram_gb: 8}}" for k in range(control)
    ]
    start, end = SMALL.index("  - {name: a"), SMALL.index("lms:")
    text = SMALL[:start] + "\n".join(rows) + "\n" + SMALL[end:]
    return text.replace("[left, right]", "[left]", 1).replace(
        "  - {sites: [left, right], latency_s: 0.002, gbit_per_s: 4}\n", ""
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (nodes(5001), "5: nodes must have at most 5000 workers, not 5001."),
        (nodes(3, control=101), "5: nodes must have at most 100 nodes with the role 'control', not 101."),
        (
            nodes(5000, cores=1000) + "".join(CHAT.replace("name: chat", f"name: lm{k}") for k in range(11)),
            "5: nodes must be fewer, or have fewer cores: 5000 workers, 12 LMs and up to 1000 cores make "
            "60000000 speeds, and 50000000 are the most that are kept.",
        ),
    ],
    ids=["workers", "control", "speeds"],
)
def test_the_size_of_a_testbed_is_bounded_and_the_bound_is_named(text: str, expected: str, tmp_path: Path) -> None:
    path = write(tmp_path, text.replace("    gpu_profiles: {G: {fixed_s: 0.5, compute_s: 0.1}}\n", ""))
    with pytest.raises(InputError) as caught:
        read_testbed(path)
    assert str(caught.value) == f"{path}:{expected}"


def test_an_unknown_built_in_testbed_names_those_there_are() -> None:
    assert builtin_names() == ["bristol"]
    with pytest.raises(InputError) as caught:
        load_builtin("brstol")
    assert str(caught.value) == (
        "The testbed, where it is no path that ends in .yaml, must be 'bristol', not 'brstol'; did you mean 'bristol'?"
    )
    with pytest.raises(InputError, match=r"nowhere\.yaml: there is no such file"):
        read_testbed("nowhere.yaml")
