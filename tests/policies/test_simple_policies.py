"""Random, average, local and full: each does what its name says."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from domain.constraints import check_macro_policy
from domain.decisions import OFF, Allocation, MacroPolicy
from domain.errors import InputError
from domain.large_model import CpuProfile
from domain.telemetry import Phase
from policies.average import AverageScheduler
from policies.full import FullDeployer
from policies.local import LocalScheduler
from policies.random import RandomDeployer, RandomPlanner, RandomScheduler
from policies.roles import PLANNER, generator
from policies.standard import catalogue, patterns
from tests.situations import (
    EPYC,
    SITUATIONS,
    bristol,
    cluster_of,
    decide,
    lm,
    node,
    situation,
    snapshot_of,
)

# Random


def test_random_targets_are_uniform_over_the_nodes_that_can_run_the_lm() -> None:
    cluster = bristol()
    scheduler, policy, snapshot = RandomScheduler(cluster), MacroPolicy.unrestricted(cluster), snapshot_of(cluster)
    plans = np.stack([scheduler.schedule(snapshot, policy, generator(1, slot)).targets for slot in range(1000)])
    for i, feasible in enumerate([6, 6, 5, 5]):
        counts = np.bincount(plans[:, :, i].ravel(), minlength=6)
        expected = 6000 / feasible
        assert (np.abs(counts[counts > 0] - expected) < 5 * np.sqrt(expected)).all()
        assert (counts > 0).sum() == feasible


def test_random_targets_keep_to_the_roles() -> None:
    cluster = bristol()
    policy = MacroPolicy.unrestricted(cluster)
    policy.roles[:, 0] = [False, False, True, False, True, False]
    plans = [RandomScheduler(cluster).schedule(snapshot_of(cluster), policy, generator(s)).targets for s in range(50)]
    assert set(np.stack(plans)[:, :, 0].ravel().tolist()) == {2, 4}


def test_a_random_deployment_is_uniform_over_the_allowed_patterns() -> None:
    cluster = bristol()
    deployer, policy, snapshot = RandomDeployer(cluster), MacroPolicy.unrestricted(cluster), snapshot_of(cluster)
    counts = Counter(deployer.deploy(snapshot, 1, policy, generator(2, slot)) for slot in range(4000))
    expected = 4000 / len(patterns(cluster, 1))
    assert len(counts) == len(patterns(cluster, 1))
    assert all(abs(count - expected) < 5 * math.sqrt(expected) for count in counts.values())


def test_the_random_planner_gives_every_lm_a_place_even_where_only_one_fits_on_a_node() -> None:
    lms = [lm(f"m{i}", 3.0, cpu_profiles={EPYC: CpuProfile(((4, 2.0),))}, gpu_profiles={}) for i in range(4)]
    cluster = cluster_of([node(f"n{k}", cores=4, ram=4.0) for k in range(4)], lms)
    seen = set()
    for seed in range(200):
        policy = RandomPlanner(cluster).plan(snapshot_of(cluster), [], generator(seed))
        assert not check_macro_policy(cluster, policy)
        seen.add(tuple(policy.roles.argmax(axis=1)))
    assert len(seen) == math.factorial(4)


def test_the_random_planner_undoes_a_dead_end() -> None:
    only_left = lm("left", 3.0, cpu_profiles={EPYC: CpuProfile(((8, 1.0),))}, gpu_profiles={})
    anywhere = lm("anywhere", 3.0, cpu_profiles={EPYC: CpuProfile(((4, 1.0),))}, gpu_profiles={})
    cluster = cluster_of([node("a", cores=8, ram=4.0), node("b", cores=4, ram=4.0)], [anywhere, only_left])
    for seed in range(20):
        policy = RandomPlanner(cluster).plan(snapshot_of(cluster), [], generator(seed))
        assert policy.roles.tolist() == [[False, True], [True, False]]


def test_random_shares_differ_from_epoch_to_epoch() -> None:
    cluster, planner = bristol(), RandomPlanner(bristol())
    drawn = [planner.plan(snapshot_of(cluster), [], generator(1, PLANNER, slot)) for slot in (0, 50)]
    assert not np.allclose(drawn[0].probabilities, drawn[1].probabilities)


def test_the_random_planner_says_that_no_macro_policy_is_sound() -> None:
    only = [lm(f"g{k}", 1.0, gpu_only=True) for k in range(2)]
    cluster = cluster_of([node("n", gpus=1, per_gpu=1)], only)
    with pytest.raises(InputError, match="Cluster small: its nodes together cannot have all of its LMs on at once"):
        RandomPlanner(cluster).plan(snapshot_of(cluster), [], generator(1))


# Average and local


def test_average_shares_are_exact_over_a_full_turn() -> None:
    cluster = bristol()
    scheduler, policy = AverageScheduler(cluster), MacroPolicy.unrestricted(cluster)
    for first in (0, 17):
        plans = [
            scheduler.schedule(snapshot_of(cluster, slot=slot), policy, generator(0)).targets
            for slot in range(first, first + 30)  # a whole turn of six and of five nodes
        ]
        for origin, i in itertools.product(range(6), range(4)):
            counts = Counter(int(plan[origin, i]) for plan in plans)
            assert counts == (dict.fromkeys(range(6), 5) if i < 2 else dict.fromkeys(range(1, 6), 6))


def test_average_shares_of_one_slot_differ_by_one_origin_at_most() -> None:
    cluster = bristol()
    plan = AverageScheduler(cluster).schedule(snapshot_of(cluster), MacroPolicy.unrestricted(cluster), generator(0))
    for i in range(4):
        counts = np.bincount(plan.targets[:, i], minlength=6)[cluster.feasible[:, i]]
        assert counts.max() - counts.min() <= 1


def test_local_requests_stay_at_home_also_where_they_cannot_run() -> None:
    cluster = bristol()
    plan = LocalScheduler(cluster).schedule(snapshot_of(cluster), MacroPolicy.unrestricted(cluster), generator(0))
    assert (plan.targets == np.arange(6)[:, None]).all()


# Full


def test_full_activation_at_bristol_puts_text_on_the_cpu_and_images_on_the_gpu() -> None:
    cluster = bristol()
    deployments = decide(
        "deployer", FullDeployer(cluster), snapshot_of(cluster), MacroPolicy.unrestricted(cluster), generator(0)
    )
    cpu_12, cpu_7, gpu = Allocation(cores=12), Allocation(cores=7), Allocation(vgpus=1)
    assert deployments[0].allocations == (cpu_12, cpu_12, OFF, OFF)
    assert all(d.allocations == (cpu_7, cpu_7, gpu, gpu) for d in deployments[1:])


@pytest.mark.parametrize("seed", SITUATIONS)
def test_no_allowed_pattern_has_more_lms_on_than_full_activation(seed: int) -> None:
    cluster = situation(seed)[0]
    deployer, policy = FullDeployer(cluster), MacroPolicy.unrestricted(cluster)
    for n, kind in enumerate(catalogue(cluster)):
        deployment = deployer.deploy(snapshot_of(cluster), n, policy, generator(0))
        assert deployment is not None
        assert sum(not a.is_off for a in deployment.allocations) == kind.active.sum(axis=1).max()


def test_full_activation_waits_while_a_pod_is_pending_and_then_goes_on() -> None:
    cluster = bristol()
    deployer, policy = FullDeployer(cluster), MacroPolicy.unrestricted(cluster)
    phase, cores = np.zeros((6, 4), dtype=np.int64), np.zeros((6, 4), dtype=np.int64)
    phase[1, 0], cores[1, 0] = Phase.PENDING, 7
    waiting = snapshot_of(cluster, phase=phase, cores=cores)
    assert deployer.deploy(waiting, 1, policy, generator(0)) is None
    running = snapshot_of(cluster, phase=np.where(phase, Phase.READY, 0), cores=cores)
    assert deployer.deploy(running, 1, policy, generator(0)) is not None
