"""Generated testbeds are like their base, in any size, and the same for the same seed."""

from __future__ import annotations

import importlib
import math
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InputError
from tests.testbed_files import SMALL, equal, write
from twin.testbeds import (
    generate,
    generate_testbed,
    load_builtin,
    load_testbed,
    read_testbed,
    write_testbed,
)
from twin.testbeds.build import to_cluster
from twin.testbeds.generate import DETOUR, FIBRE_S_PER_KM


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


def test_the_largest_testbed_that_can_be_generated_reads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("twin.testbeds.generate", "twin.testbeds.checks"):
        monkeypatch.setattr(importlib.import_module(module), "MOST_NODES", 12)
    testbed = generate(12, seed=1)
    assert [len(testbed.workers), len(testbed.nodes)] == [12, 13]
    write_testbed(tmp_path / "largest.yaml", testbed)
    assert read_testbed(tmp_path / "largest.yaml") == testbed
    with pytest.raises(InputError, match="must be from 1 to 12, not 13"):
        generate(13, seed=1)


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
