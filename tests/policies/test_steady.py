import numpy as np
import pytest

from domain.cluster import Cluster
from domain.constraints import check_deployment
from domain.decisions import NOWHERE, Allocation, Deployment, MacroPolicy, RoutingPlan
from domain.telemetry import Phase
from domain.workload import Arrivals
from policies.rehearsal.forecast import Traffic
from policies.rehearsal.menu import Menus, admission
from policies.steady import SteadyDeployer
from twin.testbeds import load_builtin
from twin.twin import Twin

LM1, LM2, LM3, LM4 = range(4)
VM2, VM3, VM7 = 0, 1, 5


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return load_builtin("bristol")


@pytest.fixture(scope="module")
def menus(cluster: Cluster) -> Menus:
    return Menus.of(cluster)


def traffic(cluster: Cluster, factors: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)) -> Traffic:
    ones = np.ones(cluster.n_lms)
    even = np.full((cluster.n_nodes, cluster.n_lms), 0.9) * np.array(factors)
    return Traffic(even, 4.5 * ones, 5.0 * ones, ones, 50.0, 0.0 * ones, 4.5 * even.sum(axis=0))


def macro(cluster: Cluster, shares: dict[int, list[float]]) -> MacroPolicy:
    """Shares by LM, in the order of nodes; roles where a share is above zero."""
    probabilities = np.array([shares.get(i, [0.0] * 6) for i in range(4)])
    return MacroPolicy(probabilities, probabilities.T > 0.0)


def run(twin: Twin, deployer: SteadyDeployer, n: int, policy: MacroPolicy, now: Traffic, slots: int) -> list[bool]:
    """Deploy node n slot by slot; return in which slots something was asked for."""
    asked = []
    for _ in range(slots):
        snapshot = twin.observe()
        deployment = deployer.step(snapshot, n, policy, deployer.choose(snapshot, n, policy, now))
        asked.append(deployment is not None)
        if deployment is not None:
            assert not check_deployment(twin.cluster, deployment, policy.roles[n], snapshot)
            twin.deploy(deployment)
        twin.advance(Arrivals.empty())
    return asked


def test_a_node_runs_the_lms_that_have_a_share_there_and_is_then_left_alone(cluster: Cluster, menus: Menus) -> None:
    twin, policy = Twin(cluster), macro(cluster, {LM2: [0, 0.2, 0, 0, 0, 0], LM4: [0, 0.2, 0, 0, 0, 0]})
    asked = run(twin, SteadyDeployer(cluster, menus), VM3, policy, traffic(cluster), 6)
    after = twin.observe()
    assert (after.phase[VM3] == Phase.READY).tolist() == [False, True, False, True]
    assert after.cores[VM3, LM2] == 15  # all that LM4's host core leaves
    assert asked[0]
    assert not any(asked[1:])


def test_the_heaviest_lm_shares_its_gpu_with_the_lightest(cluster: Cluster, menus: Menus) -> None:
    half = [0, 0, 0, 0, 0, 0.5]
    twin, policy = Twin(cluster), macro(cluster, {LM1: half, LM2: half, LM3: half, LM4: half})
    table = menus[VM7]
    choice = table.find(np.zeros(4, np.int64), np.ones(4, np.int64))
    assert choice is not None
    deployer = SteadyDeployer(cluster, menus)
    for _ in range(4):
        step = deployer.step(twin.observe(), VM7, policy, choice)
        if step is not None:
            twin.deploy(step)
        twin.advance(Arrivals.empty())
    on_gpu = twin.copy()._state.on_gpu[VM7].argmax(axis=1)
    assert twin.observe().vgpus[VM7].tolist() == [1, 1, 1, 1]
    assert on_gpu[LM4] == on_gpu[LM3]
    assert on_gpu[LM1] == on_gpu[LM2] != on_gpu[LM4]
    assert admission(cluster, VM7, dict.fromkeys([LM1, LM2, LM3, LM4], 1)) == {i: 1 << p for i, p in enumerate(on_gpu)}


def test_a_small_gain_is_not_worth_a_restart_and_a_large_one_is(cluster: Cluster, menus: Menus) -> None:
    deployer = SteadyDeployer(cluster, menus)
    policy = macro(cluster, {LM1: [0.2, 0, 0, 0, 0, 0], LM2: [0.2, 0, 0, 0, 0, 0]})
    twin = Twin(cluster)
    run(twin, deployer, VM2, policy, traffic(cluster), 3)
    before = twin.observe().cores[VM2].tolist()
    assert not any(run(twin, deployer, VM2, policy, traffic(cluster, (1.1, 0.95, 1.0, 1.0)), 3))
    assert any(run(twin, deployer, VM2, policy, traffic(cluster, (0.05, 3.5, 1.0, 1.0)), 3))
    assert twin.observe().cores[VM2, LM2] > before[LM2]


def test_an_lm_that_lost_its_share_is_kept_until_its_queue_is_empty(cluster: Cluster, menus: Menus) -> None:
    twin, deployer = Twin(cluster), SteadyDeployer(cluster, menus)
    twin.deploy(Deployment(VM3, (Allocation(cores=8), Allocation(), Allocation(), Allocation())))
    plan = np.full((6, 4), NOWHERE, dtype=np.int64)
    plan[:, LM1] = VM3
    twin.route(RoutingPlan(plan))
    twin.advance(Arrivals.of([1.0, 2.0], [0, 1], [LM1, LM1], [8, 8]))
    roles = np.zeros((6, 4), dtype=np.bool_)
    roles[VM3] = [True, False, False, True]
    policy = MacroPolicy(np.array([[0.0] * 6] * 3 + [[0, 1.0, 0, 0, 0, 0]]), roles)
    run(twin, deployer, VM3, policy, traffic(cluster), 1)
    assert twin.observe().phase[VM3, LM1] == Phase.READY
    run(twin, deployer, VM3, policy, traffic(cluster), 3)
    assert twin.waiting == 0
    assert twin.observe().phase[VM3].tolist() == [Phase.OFF, Phase.OFF, Phase.OFF, Phase.READY]


def test_a_queue_that_a_plan_left_behind_is_served_though_its_pod_is_gone(cluster: Cluster, menus: Menus) -> None:
    twin, deployer = Twin(cluster), SteadyDeployer(cluster, menus)
    plan = np.full((6, 4), NOWHERE, dtype=np.int64)
    plan[:, LM3] = VM7
    twin.route(RoutingPlan(plan))
    twin.advance(Arrivals.of([1.0, 2.0], [0, 1], [LM3, LM3], [8, 8]))  # no pod, and the plan below sends no more
    roles = np.zeros((6, 4), dtype=np.bool_)
    roles[VM7] = True
    policy = MacroPolicy(np.array([[0, 0, 0, 0, 0, 0 if i == LM3 else 1.0] for i in range(4)]), roles)
    run(twin, deployer, VM7, policy, traffic(cluster), 4)
    assert twin.waiting == 0
    run(twin, deployer, VM7, policy, traffic(cluster), 4)
    assert twin.observe().phase[VM7, LM3] == Phase.OFF


def test_every_choice_of_a_menu_meets_the_budgets_and_none_is_there_twice(cluster: Cluster, menus: Menus) -> None:
    for n in range(6):
        table = menus[n]
        rows = [table.allocations(c) for c in range(len(table))]
        assert len(set(rows)) == len(rows)
        assert all(not check_deployment(cluster, Deployment(n, row)) for row in rows)
        assert all(a.is_off for a in rows[0])
