"""What menus say that copies hold is what a node comes to hold: memory is counted as at their admission."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.decisions import OFF, Allocation, Deployment, MacroPolicy
from domain.serving import Serving
from domain.telemetry import Phase
from domain.workload import Arrivals
from policies.speeds import Gpus
from policies.steady import SteadyDeployer
from twin.testbeds import load_builtin
from twin.twin import Twin

LM1, LM4, VM7 = 0, 3, 5
SLOTS = 8
"""Within which all pods of a node are ready that ever are."""


def one_node(ram_gb: float, vram_gb: float) -> Cluster:
    """VM7 alone, with other memory, and pods that start and stop soon."""
    cluster = load_builtin("bristol")
    lms = tuple(replace(lm, start_cpu_s=1.0, start_gpu_s=1.0, stop_s=1.0) for lm in cluster.lms)
    return replace(
        cluster,
        nodes=(replace(cluster.nodes[VM7], ram_gb=ram_gb, vram_gb=vram_gb),),
        lms=lms,
        latency_s=np.zeros((1, 1)),
        seconds_per_byte=np.zeros((1, 1)),
        serving=Serving(copies=True),
    )


def go_to(twin: Twin, deployer: SteadyDeployer, choice: int) -> None:
    """Take all steps to a choice."""
    for _ in range(SLOTS):
        deployment = deployer.step(twin.observe(), 0, MacroPolicy.unrestricted(twin.cluster), choice)
        if deployment is not None:
            twin.deploy(deployment)
        twin.advance(Arrivals.empty())


@pytest.mark.parametrize(("ram_gb", "vram_gb"), [(1000.0, 1000.0), (16.0, 1000.0), (1000.0, 14.0), (24.0, 48.0)])
def test_a_node_comes_to_hold_each_choice_with_its_copies(ram_gb: float, vram_gb: float) -> None:
    cluster = one_node(ram_gb, vram_gb)
    deployer = SteadyDeployer(cluster)
    table, gpus, node = deployer.menus[0], Gpus(cluster), cluster.nodes[0]
    for choice in np.flatnonzero(table.vgpus.any(axis=1)).tolist():
        twin = Twin(cluster)
        go_to(twin, deployer, choice)
        snapshot, told = twin.observe(), (table.cores[choice].tolist(), table.vgpus[choice].tolist())
        assert (snapshot.phase[0] == np.where(table.on[choice], Phase.READY, Phase.OFF)).all(), told
        fixed, compute, _ = gpus.speeds(snapshot.cores, snapshot.vgpus)
        on = table.vgpus[choice] > 0
        assert np.allclose(fixed[0, on] + compute[0, on], (table.fixed_s + table.compute_s)[choice, on]), told
        copies = np.ones(cluster.n_lms)
        for i in np.flatnonzero(on):
            alone = cluster.lms[i].gpu_profiles[node.gpu_model or ""].seconds_per_prompt
            copies[i] = round(alone / (table.fixed_s + table.compute_s)[choice, i])
        held_gb = sum(copies[i] * cluster.lms[i].vram_gb for i in np.flatnonzero(on))
        assert snapshot.free_vram_gb[0] == pytest.approx(vram_gb - held_gb), told


def test_copies_wait_for_the_memory_of_a_pod_on_the_cpu_that_stops() -> None:
    cluster = one_node(8.0, 1000.0)
    lm1, lm4 = cluster.lms[LM1], cluster.lms[LM4]
    assert lm1.ram_gb + lm4.ram_gb < 8.0 < lm1.ram_gb + 2 * lm4.ram_gb
    deployer, twin = SteadyDeployer(cluster), Twin(cluster)
    table = deployer.menus[0]
    alone = table.on.sum(axis=1) == 1
    twin.deploy(Deployment(0, (Allocation(cores=4), OFF, OFF, OFF)))
    twin.advance(Arrivals.empty())
    go_to(twin, deployer, int(np.flatnonzero(alone & (table.vgpus[:, LM4] == 2))[0]))
    assert twin.observe().free_ram_gb[0] == pytest.approx(8.0 - 2 * lm4.ram_gb)
