"""The rules of RH where origins choose, pods take batches, or hold copies of their LM."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.constraints import check_routing
from domain.decisions import OFF, Allocation, Deployment, MacroPolicy
from domain.serving import Batching, Dispatch, Serving
from domain.telemetry import Phase, Records, Snapshot
from domain.workload import Arrivals
from policies.backlog import BacklogScheduler
from policies.batching import parts
from policies.rehearsal.forecast import Traffic
from policies.rehearsal.menu import MOST_SETS, menu
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

LM1, LM2, LM3, LM4 = range(4)
VM2, VM3, VM7 = 0, 1, 5
OPEN = pytest.mark.parametrize("dispatch", [Dispatch.ARRIVAL, Dispatch.SPLIT])


def served(dispatch: Dispatch = Dispatch.SPLIT, batching: Batching = Batching.NONE, copies: bool = False) -> Cluster:
    return replace(load_builtin("bristol"), serving=Serving(dispatch, 0.0, batching, copies))


def traffic(cluster: Cluster) -> Traffic:
    ones, even = np.ones(cluster.n_lms), np.full((cluster.n_nodes, cluster.n_lms), 0.9)
    return Traffic(even, 4.5 * ones, 5.0 * ones, ones, 50.0, 0.0 * ones, even.sum(axis=0) * 4.5)


def running(cluster: Cluster) -> Snapshot:
    """LM3 and LM4 on a vGPU of every node with a GPU, LM2 on every CPU, LM1 nowhere; nothing waits."""
    twin = Twin(cluster)
    for n in range(6):
        gpu = Allocation(vgpus=1) if n != VM2 else Allocation()
        twin.deploy(Deployment(n, (Allocation(), Allocation(cores=12), gpu, gpu)))
    for _ in range(3):
        twin.advance(Arrivals.empty())
    return twin.observe()


@OPEN
def test_origins_may_choose_every_pod_that_is_there(dispatch: Dispatch) -> None:
    cluster = served(dispatch)
    policy, snapshot = MacroPolicy.unrestricted(cluster), running(cluster)
    plan = BacklogScheduler(cluster).route(snapshot, policy, traffic(cluster))
    assert plan.weights is not None
    assert (plan.weights[:, LM4] > 0).all(axis=0).tolist() == [False, True, True, True, True, True]
    assert (plan.weights[:, LM2] > 0).all()
    assert not check_routing(cluster, plan, policy.roles)


@OPEN
def test_where_no_pod_is_there_requests_are_spread_by_share_as_in_p1(dispatch: Dispatch) -> None:
    cluster = served(dispatch)
    policy, snapshot = MacroPolicy.unrestricted(cluster), running(cluster)
    plan = BacklogScheduler(cluster).route(snapshot, policy, traffic(cluster))
    assert plan.weights is not None
    assert (plan.weights[:, LM1] > 0).sum(axis=1).tolist() == [1] * 6
    assert len(set(plan.targets[:, LM1].tolist())) == 6


def test_a_node_that_must_not_host_an_lm_is_not_allowed_for_it() -> None:
    cluster = served()
    policy, snapshot = MacroPolicy.unrestricted(cluster), running(cluster)
    policy.roles[VM3, LM4] = False
    plan = BacklogScheduler(cluster).route(snapshot, policy, traffic(cluster))
    assert plan.weights is not None
    assert plan.weights[0, LM4].tolist() == [0, 0, 1, 1, 1, 1]


def test_of_an_lm_that_is_overloaded_all_go_to_the_longest_queue() -> None:
    cluster = served()
    snapshot = running(cluster)
    waiting = snapshot.backlog_prompts.copy()
    waiting[1:, LM4] = [120, 120, 130, 120, 120]  # of 5.6 s each
    late = replace(snapshot, backlog_prompts=waiting)
    policy = MacroPolicy.unrestricted(cluster)
    plan = BacklogScheduler(cluster).route(late, policy, traffic(cluster))
    assert plan.weights is not None
    assert plan.weights[0, LM4].tolist() == [0, 0, 0, 1, 0, 0]
    assert (plan.weights[0, LM2] > 0).all()
    waiting[1, LM4] = 60  # one of them is soon empty
    early = replace(snapshot, backlog_prompts=waiting)
    soon = BacklogScheduler(cluster).route(early, policy, traffic(cluster))
    assert soon.weights is not None
    assert soon.weights[0, LM4].tolist() == [0, 1, 1, 1, 1, 1]


def test_menus_offer_copies_over_the_gpus_of_a_node_where_pods_may_hold_them() -> None:
    plain, copied = menu(served(), VM7), menu(served(copies=True), VM7)
    assert plain.vgpus.max() == 1
    alone = (copied.vgpus > 0).sum(axis=1) == 1
    two = np.flatnonzero(alone & (copied.vgpus[:, LM4] == 2))
    one = np.flatnonzero(alone & (copied.vgpus[:, LM4] == 1))
    assert copied.compute_s[two[0], LM4] == copied.compute_s[one[0], LM4] / 2
    assert copied.gpu[two[0], LM4] == 0b11
    assert menu(served(copies=True), VM3).vgpus.max() == 1


def test_menus_of_nodes_with_many_gpus_offer_fewer_sizes_not_fewer_lms() -> None:
    cluster = served(copies=True)
    most = int(menu(cluster, VM7).on.sum(axis=1).max())
    for gpus in (8, 64):
        nodes = list(cluster.nodes)
        nodes[VM7] = replace(nodes[VM7], gpus=gpus, ram_gb=1e4, vram_gb=24.0 * gpus, cpu_cores=64)
        table = menu(replace(cluster, nodes=tuple(nodes)), VM7)
        assert int(table.on.sum(axis=1).max()) >= most
        assert gpus in table.vgpus[:, LM4]
        assert len(table) < 10 * MOST_SETS


def test_menus_offer_no_copies_that_memory_does_not_hold() -> None:
    cluster = served(copies=True)
    lms = list(cluster.lms)
    lms[LM4] = replace(lms[LM4], ram_gb=20.0)  # VM7 has 24 GB of RAM or so
    assert menu(replace(cluster, lms=tuple(lms)), VM7).vgpus[:, LM4].max() == 1


def test_a_prompt_takes_its_part_of_a_batch() -> None:
    batch = np.full(4, 4.4)
    assert np.array_equal(parts(served(), VM3, batch), np.ones((4, 2)))
    found = parts(served(batching=Batching.REQUEST), VM3, batch)
    lm2 = served().lms[LM2]
    assert found[LM2, 1] == pytest.approx(lm2.gpu_profiles["NVIDIA A5000"].batch.units(4) / 4)
    assert (found <= 1.0).all()
    assert (found > 0.0).all()


def mean_latency_s(cluster: Cluster, vgpus: int = 1) -> float:
    """Under P1's workload, with LM1 and LM2 on CPUs, LM3 and LM4 on GPUs, LM4 of VM7 with so many vGPUs."""
    twin, rule, policy = Twin(cluster), BacklogScheduler(cluster), MacroPolicy.unrestricted(cluster)
    workload, found = load_workload("p1", cluster, 5), list[Records]()
    one = Allocation(vgpus=1)
    for slot in range(60):
        snapshot = twin.observe()
        rule.watch(snapshot)
        twin.route(rule.schedule(snapshot, policy, np.random.default_rng(slot)))
        for n in range(6) if slot == 0 else ():
            gpus = (one, Allocation(vgpus=vgpus if n == VM7 else 1)) if n != VM2 else (OFF, OFF)
            twin.deploy(Deployment(n, (Allocation(cores=4), Allocation(cores=10), *gpus)))
        found.append(twin.advance(workload.arrivals(slot)))
    records = Records.concatenate(found)
    return float(records.latency_s[records.success].mean())


def test_choosing_and_dealing_answer_sooner_than_fixed_routes() -> None:
    fixed, arrival, split = (mean_latency_s(served(dispatch)) for dispatch in Dispatch)
    assert arrival < 0.95 * fixed
    assert split < 0.6 * arrival


def test_copies_and_batches_answer_sooner_still() -> None:
    batches = mean_latency_s(served(batching=Batching.REQUEST))
    assert batches < 0.9 * mean_latency_s(served())
    assert mean_latency_s(served(batching=Batching.REQUEST, copies=True), 2) < 0.9 * batches


@OPEN
def test_pods_that_start_count_from_when_they_are_ready(dispatch: Dispatch) -> None:
    cluster = served(dispatch)
    snapshot = running(cluster)
    phase, left = snapshot.phase.copy(), snapshot.phase_left_s.copy()
    phase[VM3, LM4], left[VM3, LM4] = int(Phase.STARTING), 20.0
    starting = replace(snapshot, phase=phase, phase_left_s=left)
    plan = BacklogScheduler(cluster).route(starting, MacroPolicy.unrestricted(cluster), traffic(cluster))
    assert plan.weights is not None
    assert plan.weights[0, LM4, VM3] == 1.0
