from dataclasses import replace

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.constraints import check_routing
from domain.decisions import Allocation, Deployment, MacroPolicy
from domain.telemetry import Phase, Snapshot
from domain.workload import Arrivals
from policies.backlog import BacklogScheduler
from policies.rehearsal.forecast import Traffic
from twin.testbeds import load_builtin
from twin.twin import Twin

LM1, LM2, LM3, LM4 = range(4)
GPU_NODES = [1, 2, 3, 4, 5]


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return load_builtin("bristol")


def traffic(cluster: Cluster, requests: float = 0.9, batch: float = 4.5) -> Traffic:
    ones = np.ones(cluster.n_lms)
    even = np.full((cluster.n_nodes, cluster.n_lms), requests)
    return Traffic(even, batch * ones, 5.0 * ones, ones, 50.0, 0.0 * ones, even.sum(axis=0) * batch)


@pytest.fixture(scope="module")
def ready(cluster: Cluster) -> Snapshot:
    """LM4 and LM3 on vGPUs of every node with a GPU, LM2 on every CPU; everything is ready, nothing waits."""
    twin = Twin(cluster)
    for n in range(6):
        gpu = Allocation(vgpus=1) if n in GPU_NODES else Allocation()
        twin.deploy(Deployment(n, (Allocation(), Allocation(cores=12), gpu, gpu)))
    for _ in range(3):
        twin.advance(Arrivals.empty())
    return twin.observe()


def with_backlog(snapshot: Snapshot, n: int, i: int, prompts: int) -> Snapshot:
    waiting, requests = snapshot.backlog_prompts.copy(), snapshot.backlog_requests.copy()
    waiting[n, i], requests[n, i] = prompts, max(1, prompts // 4)
    return replace(snapshot, backlog_prompts=waiting, backlog_requests=requests)


def targets(cluster: Cluster, snapshot: Snapshot, i: int, policy: MacroPolicy | None = None) -> list[int]:
    policy = policy or MacroPolicy.unrestricted(cluster)
    plan = BacklogScheduler(cluster).route(snapshot, policy, traffic(cluster))
    assert not check_routing(cluster, plan, policy.roles)
    return [int(n) for n in plan.targets[:, i]]


def test_origins_do_not_all_run_to_the_same_idle_pod(cluster: Cluster, ready: Snapshot) -> None:
    assert set(targets(cluster, ready, LM4)) == set(GPU_NODES)


def test_a_long_queue_is_left_alone(cluster: Cluster, ready: Snapshot) -> None:
    assert 3 not in targets(cluster, with_backlog(ready, 3, LM4, 30), LM4)


def test_a_fast_pod_is_spared_for_those_who_come_later(cluster: Cluster) -> None:
    """Its own requests would be answered first on the GPU, by a hair; whoever comes after them would wait for them."""
    twin, slow, fast = Twin(cluster), 0, 5
    twin.deploy(Deployment(slow, (Allocation(), Allocation(cores=24), Allocation(), Allocation())))
    twin.deploy(Deployment(fast, (Allocation(), Allocation(vgpus=1), Allocation(), Allocation())))
    for _ in range(3):
        twin.advance(Arrivals.empty())
    sent, batch, waiting = 0.5 * 4.5, 4.5, 8
    queue = with_backlog(twin.observe(), fast, LM2, waiting)
    on_gpu, on_cpu = cluster.gpu_seconds(fast, LM2), cluster.cpu_seconds(slow, LM2, 24)
    assert 0.98 < (waiting + sent + batch) * on_gpu / ((sent + batch) * on_cpu) < 1.0
    plan = BacklogScheduler(cluster).route(queue, MacroPolicy.unrestricted(cluster), traffic(cluster, requests=0.5))
    first = np.roll(np.arange(cluster.n_nodes), queue.slot)[0]  # equals take turns
    assert plan.targets[first, LM2] == slow


def test_a_pod_that_still_starts_gets_less(cluster: Cluster, ready: Snapshot) -> None:
    phase, left = ready.phase.copy(), ready.phase_left_s.copy()
    phase[2, LM4], left[2, LM4] = Phase.STARTING, 60.0
    assert 2 not in targets(cluster, replace(ready, phase=phase, phase_left_s=left), LM4)


def test_the_light_lm_goes_where_it_disturbs_the_heavy_one_least(cluster: Cluster, ready: Snapshot) -> None:
    snapshot = ready
    for n in (1, 2, 3, 4):
        snapshot = with_backlog(snapshot, n, LM4, 40)
    roles = MacroPolicy.unrestricted(cluster).roles.copy()
    roles[5, LM4] = False
    shares = roles.T / roles.T.sum(axis=1, keepdims=True)
    assert set(targets(cluster, snapshot, LM3, MacroPolicy(shares, roles))) == {5}


def test_nodes_without_the_role_a_share_or_a_reading_get_nothing(cluster: Cluster, ready: Snapshot) -> None:
    policy = MacroPolicy.unrestricted(cluster)
    roles, shares, age = policy.roles.copy(), policy.probabilities.copy(), ready.age_s.copy()
    roles[1, LM4], shares[LM4, 1], shares[LM4, 2], age[3] = False, 0.0, 0.0, np.nan
    got = targets(cluster, replace(ready, age_s=age), LM4, MacroPolicy(shares, roles))
    assert set(got) == {4, 5}


def test_before_any_pod_is_there_the_shares_are_filled(cluster: Cluster) -> None:
    policy = MacroPolicy.unrestricted(cluster)
    shares = policy.probabilities.copy()
    shares[LM4] = [0.0, 0.5, 0.5, 0.0, 0.0, 0.0]
    got = targets(cluster, Twin(cluster).observe(), LM4, MacroPolicy(shares, policy.roles))
    assert sorted(got) == [1, 1, 1, 2, 2, 2]


def test_what_cannot_be_served_in_time_goes_to_the_longest_queue(cluster: Cluster, ready: Snapshot) -> None:
    snapshot = ready
    for n, prompts in zip(GPU_NODES, (100, 110, 150, 120, 105), strict=True):
        snapshot = with_backlog(snapshot, n, LM4, prompts)
    assert set(targets(cluster, snapshot, LM4)) == {3}


def test_the_same_snapshot_gives_the_same_plan(cluster: Cluster, ready: Snapshot) -> None:
    scheduler, policy = BacklogScheduler(cluster), MacroPolicy.unrestricted(cluster)
    first = scheduler.route(ready, policy, traffic(cluster)).targets
    assert (scheduler.route(ready, policy, traffic(cluster)).targets == first).all()
