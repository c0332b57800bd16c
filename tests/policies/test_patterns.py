"""What a deployer chooses from: the patterns of a node, and the standard size of each pod."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from domain.constraints import Rule, check_deployment
from domain.decisions import OFF, Allocation, Deployment
from domain.errors import InputError
from domain.large_model import CpuProfile
from domain.telemetry import Phase
from policies.standard import MOST_PATTERNS, Mode, catalogue, patterns, standard_cores
from tests.situations import (
    EPYC,
    SITUATIONS,
    bristol,
    cluster_of,
    lm,
    node,
    situation,
    snapshot_of,
)


@pytest.mark.parametrize("seed", SITUATIONS)
def test_the_patterns_of_a_node_are_all_those_that_meet_the_budgets(seed: int) -> None:
    cluster = situation(seed)[0]
    for n, kind in enumerate(catalogue(cluster)):
        cores = standard_cores(cluster, n)
        modes = [[OFF, *([Allocation(cores=int(c))] if c else []), Allocation(vgpus=1)] for c in cores]
        every = [Deployment(n, chosen) for chosen in itertools.product(*modes)]
        sound = [d for d in every if not check_deployment(cluster, d)]
        assert [kind.deployment(n, p) for p in range(len(kind))] == sound


def test_a_share_of_the_cpu_leaves_the_gpu_only_lms_their_host_cores() -> None:
    cluster = bristol()
    assert standard_cores(cluster, 0).tolist() == [12, 12, 0, 0]  # 24 cores, no GPU
    assert standard_cores(cluster, 1).tolist() == [7, 7, 0, 0]  # 16 cores less one each for LM3 and LM4
    assert standard_cores(cluster, 5).tolist() == [7, 7, 0, 0]


def test_no_more_host_cores_are_kept_free_than_vgpus_can_use() -> None:
    only = [lm(f"g{k}", 0.1, vram=0.1, gpu_only=True, host_cores=k) for k in range(1, 6)]
    cluster = cluster_of([node("a", cores=16, gpus=1)], [lm("t", 1.0), *only])
    assert standard_cores(cluster, 0)[0] == 16 - 5 - 4


def test_a_share_is_never_below_what_runs_nor_beyond_what_helps() -> None:
    needs_six = CpuProfile(((6, 9.0), (8, 8.0)))
    helps_to_two = CpuProfile(((1, 5.0), (2, 3.0), (16, 3.0)))
    lms = [lm(name, 1.0, cpu_profiles={EPYC: p}) for name, p in (("a", needs_six), ("b", helps_to_two))]
    assert standard_cores(cluster_of([node("n", cores=8)], lms), 0).tolist() == [6, 2]
    assert standard_cores(cluster_of([node("n", cores=64)], lms), 0).tolist() == [8, 2]


def test_nodes_of_the_same_hardware_share_their_patterns() -> None:
    kinds = catalogue(bristol())
    assert kinds[1] is kinds[2] is kinds[4]
    assert len({id(kind) for kind in kinds}) == 3


def test_many_lms_that_do_not_fit_together_are_enumerated_by_what_fits() -> None:
    cluster = cluster_of([node("n", ram=6.5)], [lm(f"m{i}", 2.0) for i in range(30)])
    assert len(patterns(cluster, 0)) == sum(math.comb(30, k) for k in range(4))


def test_too_many_patterns_are_refused_in_one_sentence() -> None:
    cluster = cluster_of([node("big", cores=64, ram=999.0)], [lm(f"m{i}", 0.1) for i in range(24)])
    with pytest.raises(
        InputError, match=f"Cluster small: node big has more than {MOST_PATTERNS} patterns of its 24 LMs"
    ):
        patterns(cluster, 0)


def test_a_pod_that_shuts_down_counts_as_off_and_another_size_as_no_mode() -> None:
    cluster = bristol()
    phase = np.zeros((6, 4), dtype=np.int64)
    cores, vgpus = phase.copy(), phase.copy()
    phase[1] = [Phase.READY, Phase.READY, Phase.TERMINATING, Phase.PENDING]
    cores[1] = [7, 5, 0, 0]
    vgpus[1] = [0, 0, 1, 1]
    snapshot = snapshot_of(cluster, phase=phase, cores=cores, vgpus=vgpus)
    assert patterns(cluster, 1).present(snapshot, 1).tolist() == [Mode.CPU, -1, Mode.OFF, Mode.GPU]


def test_a_pending_pod_allows_exactly_what_the_rules_allow() -> None:
    for seed in SITUATIONS:
        cluster, snapshot, _ = situation(seed)
        for n, kind in enumerate(catalogue(cluster)):
            checked = [
                not any(
                    v.rule is Rule.PENDING for v in check_deployment(cluster, kind.deployment(n, p), None, snapshot)
                )
                for p in range(len(kind))
            ]
            assert kind.allowed(snapshot, n).tolist() == checked
