"""MIG slices: GPUs of their own, of which a pod has one at most."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.constraints import Rule, check_deployment
from domain.decisions import OFF, Allocation, Deployment
from domain.errors import InputError
from policies.rehearsal.menu import menu
from policies.standard import catalogue
from tests.testbed_files import SMALL, write
from twin.testbeds import load_testbed

SLICED = SMALL.replace("gpus: 1, vram_gb: 8", "gpus: 3, vram_gb: 24, mig: true")
DRAW = SMALL[SMALL.index("  - name: chat") :].replace("name: chat", "name: draw").replace("vram_gb: 1", "vram_gb: 9")


def test_a_pod_has_one_slice_at_most(tmp_path: Path) -> None:
    cluster = load_testbed(write(tmp_path, SLICED))
    node = cluster.nodes[1]
    assert (node.mig, node.vgpus, node.most_vgpus, node.gpu_vram_gb) == (True, 3, 1, 8.0)
    assert not check_deployment(cluster, Deployment(1, (Allocation(vgpus=1),)))
    found = check_deployment(cluster, Deployment(1, (Allocation(vgpus=2),)))
    assert [(violation.rule, violation.amount) for violation in found] == [(Rule.VGPUS, 1.0)]
    assert found[0].sentence == (
        "The vGPUs of b are MIG slices, and a pod can have one of them; give chat 1 vGPU there, not 2."
    )
    whole = load_testbed(write(tmp_path, SLICED.replace(", mig: true", "")))
    assert not check_deployment(whole, Deployment(1, (Allocation(vgpus=2),)))
    assert whole.nodes[1].hardware != node.hardware


def test_an_lm_that_is_larger_than_a_slice_does_not_run_on_several(tmp_path: Path) -> None:
    cluster = load_testbed(write(tmp_path, SLICED + DRAW))
    assert [cluster.least_vgpus(1, i) for i in (0, 1)] == [1, 0]
    assert check_deployment(cluster, Deployment(1, (OFF, Allocation(vgpus=2))))[0].rule is Rule.FEASIBLE
    assert load_testbed(write(tmp_path, SLICED.replace(", mig: true", "") + DRAW)).least_vgpus(1, 1) == 2
    alone = SLICED + DRAW.replace("    cpu_profiles: {C: {1: 4, 4: 2}}\n", "    gpu_only: true\n")
    path = write(tmp_path, alone)
    with pytest.raises(InputError) as caught:
        load_testbed(path)
    assert str(caught.value).endswith(
        "lms[1].vram_gb must be at most 8, the vRAM of a slice of the largest worker with a GPU (b), not 9; "
        "draw fits on no worker."
    )


def test_what_policies_choose_from_keeps_to_one_slice_a_pod(tmp_path: Path) -> None:
    cluster = load_testbed(write(tmp_path, SLICED + DRAW))
    choices = menu(cluster, 1)
    assert choices.vgpus.max() == 1
    patterns = catalogue(cluster)[1]
    assert max(a.vgpus for k in range(len(patterns)) for a in patterns.deployment(1, k).allocations) == 1
