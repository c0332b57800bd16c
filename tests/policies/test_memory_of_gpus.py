"""Rules choose only what the memory of each GPU allows, and get it when they ask for it."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings

from domain.cluster import Cluster
from domain.constraints import check_deployment, check_macro_policy
from domain.decisions import OFF, Allocation, Deployment, MacroPolicy
from domain.telemetry import Phase
from domain.workload import Arrivals
from policies.families import FAMILIES, make
from policies.rehearsal.menu import Menus, menu
from policies.roles import DEPLOYER, PLANNER, SCHEDULER, generator
from policies.standard import patterns
from policies.steady import SteadyDeployer
from tests.memory_nodes import box, crowded, lm
from twin.twin import Twin


@settings(deadline=None, max_examples=100)
@given(crowded())
def test_the_patterns_of_a_node_are_all_that_the_rules_allow(cluster: Cluster) -> None:
    found = patterns(cluster, 0)
    modes = [
        [OFF, *[Allocation(cores=c)] * (c > 0), *[Allocation(vgpus=g)] * (g > 0)]
        for c, g in zip(found.cores.tolist(), found.vgpus.tolist(), strict=True)
    ]
    sound = [row for row in itertools.product(*modes) if not check_deployment(cluster, Deployment(0, row))]
    assert [found.deployment(0, p).allocations for p in range(len(found))] == sound


@settings(deadline=None, max_examples=20)
@given(crowded())
def test_the_steady_deployer_gets_every_choice_of_its_menu_on_the_gpus_that_it_counts_with(cluster: Cluster) -> None:
    table, policy = menu(cluster, 0), MacroPolicy.unrestricted(cluster)
    deployer = SteadyDeployer(cluster, Menus((table,), np.zeros(1, np.int64)))
    for choice in range(len(table)):
        twin = Twin(cluster)
        for _ in range(2 * cluster.n_lms):
            step = deployer.step(twin.observe(), 0, policy, choice)
            if step is not None:
                assert check_deployment(cluster, step) == []
                twin.deploy(step)
            twin.advance(Arrivals.empty())
        seen = twin.observe()
        assert (seen.phase[0] == np.where(table.on[choice], Phase.READY, Phase.OFF)).all()
        assert (seen.vgpus[0] == table.vgpus[choice]).all()
        on_gpu = (twin.copy()._state.on_gpu[0] > 0) @ (1 << np.arange(twin._state.on_gpu.shape[2]))
        assert (on_gpu == table.gpu[choice]).all()


@pytest.mark.live
@settings(deadline=None, max_examples=200)
@given(crowded())
def test_the_steady_deployer_gets_every_choice_on_many_clusters(cluster: Cluster) -> None:
    every_choice = test_the_steady_deployer_gets_every_choice_of_its_menu_on_the_gpus_that_it_counts_with
    every_choice.hypothesis.inner_test(cluster)  # type: ignore[attr-defined]  # Hypothesis adds the attribute


@pytest.mark.usefixtures("small_effort")
@pytest.mark.parametrize("code", FAMILIES)
def test_every_family_serves_an_lm_that_is_larger_than_a_gpu(code: str) -> None:
    large, small = lm("large", 18.0, gpu_only=True, start_gpu_s=9.0), lm("small", 5.0)
    between = np.array([[0.0, 0.001], [0.001, 0.0]])
    nodes = (box(4, 8.0, vgpus_per_gpu=1), dataclasses.replace(box(2, 10.0), name="pair"))
    cluster = Cluster("two", nodes, (large, small), between, between * 1e-6)
    family, twin, served = make(code, cluster), Twin(cluster), np.zeros(2, dtype=np.int64)
    policy = MacroPolicy.unrestricted(cluster)
    for slot in range(40):
        snapshot = twin.observe()
        if family.planner is not None and slot % 10 == 0:
            policy = family.planner.plan(snapshot, [], generator(1, PLANNER, slot))
            assert check_macro_policy(cluster, policy) == []
        twin.route(family.scheduler.schedule(snapshot, policy, generator(1, SCHEDULER, slot)))
        for n in range(2):
            deployment = family.deployer.deploy(snapshot, n, policy, generator(1, DEPLOYER, slot, n))
            if deployment is not None:
                assert check_deployment(cluster, deployment) == []
                twin.deploy(deployment)
        records = twin.advance(Arrivals.of([30.0 * slot] * 4, [0, 0, 1, 1], [0, 1, 0, 1], [2, 2, 2, 2]))
        served += np.bincount(records.lm[records.success], minlength=2)
    assert (served > 0).all()
