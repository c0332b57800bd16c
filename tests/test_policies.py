"""The rules that need no model: what they choose from, and that whatever they decide is sound."""

import dataclasses
import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from domain.cluster import Cluster, Node
from domain.constraints import Rule, check_deployment, check_macro_policy, check_routing
from domain.decisions import NOWHERE, OFF, Allocation, Deployment, MacroPolicy
from domain.errors import InputError
from domain.large_model import CpuProfile, GpuProfile, LargeModel
from domain.telemetry import Phase, Snapshot
from domain.workload import Arrivals
from policies.average import AverageScheduler
from policies.families import DEPLOYERS, FAMILIES, PLANNERS, SCHEDULERS, make
from policies.full import FullDeployer
from policies.local import LocalScheduler
from policies.lyapunov import LyapunovDeployer
from policies.random import RandomDeployer, RandomPlanner, RandomScheduler
from policies.roles import DEPLOYER, PLANNER, SCHEDULER, generator
from policies.standard import MOST_PATTERNS, Mode, catalogue, patterns, standard_cores
from twin.twin import Twin

EPYC, A5000 = "AMD EPYC 7453", "NVIDIA A5000"
pytestmark = pytest.mark.usefixtures("small_effort")


def lm(name: str, ram: float, vram: float = 4.0, gpu_only: bool = False, **changes: Any) -> LargeModel:
    profile = CpuProfile(tuple((k, 1.0 + 8.0 / k) for k in (1, 2, 4, 8, 16)))
    made = LargeModel(
        name=name, model=name, modality_in="text", modality_out="text", ram_gb=ram, vram_gb=vram, gpu_only=gpu_only,
        host_cores=1, image_gb=10.0, uplink_bytes=1e3, downlink_bytes=1e3, start_cpu_s=6.0,
        start_gpu_s=12.0, stop_s=4.0,
        cpu_profiles={} if gpu_only else {EPYC: profile}, gpu_profiles={A5000: GpuProfile(0.2, 1.0)},
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def cluster_of(nodes: list[Node], lms: list[LargeModel]) -> Cluster:
    n = len(nodes)
    return Cluster("small", tuple(nodes), tuple(lms), np.full((n, n), 1e-3) * (1 - np.eye(n)), np.zeros((n, n)))


def node(name: str, cores: int = 16, ram: float = 24.0, gpus: int = 0, per_gpu: int = 2) -> Node:
    return Node(name, "site", EPYC, cores, ram, A5000 if gpus else None, gpus, per_gpu, 24.0 * gpus)


def bristol() -> Cluster:
    """P1's table II and section V-B: VM2 has no GPU, VM3 to VM6 have one, VM7 has two, each split into two vGPUs."""
    nodes = [node("vm2", cores=24, ram=32.0), *(node(f"vm{k}", gpus=1) for k in range(3, 7)), node("vm7", gpus=2)]
    lms = [
        lm("LM1", ram=3.0), lm("LM2", ram=9.0), lm("LM3", ram=2.5, gpu_only=True, modality_in="image"),
        lm("LM4", ram=3.5, gpu_only=True, modality_out="image"),
    ]  # fmt: skip
    return cluster_of(nodes, lms)


def random_cluster(seed: int) -> Cluster:
    rng = np.random.default_rng(seed)
    nodes = []
    for k in range(rng.integers(1, 6)):
        gpus, per_gpu = int(rng.integers(0, 3)), int(rng.integers(1, 4))
        nodes.append(node(f"n{k}", int(rng.integers(2, 25)), float(rng.uniform(4, 32)), gpus, per_gpu))
    lms = []
    for i in range(rng.integers(1, 5)):
        points = tuple((int(k), 9.0 / k + 0.5) for k in np.unique(rng.integers(1, 20, size=3)))
        lms.append(
            lm(
                f"m{i}",
                float(rng.uniform(0.5, 14)),
                float(rng.uniform(1, 20)),
                bool(rng.random() < 0.3),
                host_cores=int(rng.integers(0, 4)),
                cpu_profiles={EPYC: CpuProfile(points)},
                gpu_profiles={A5000: GpuProfile(0.1, 1.0)} if rng.random() < 0.8 else {},
            )  # fmt: skip
        )
    return cluster_of(nodes, lms)


def snapshot_of(cluster: Cluster, **columns: Any) -> Snapshot:
    """Nothing waits and nothing runs, but for the columns given; every array is read-only, as rules must leave it."""
    shape = (cluster.n_nodes, cluster.n_lms)
    counts = ("backlog_prompts", "backlog_requests", "phase", "cores", "vgpus", "arrived_requests", "arrived_prompts")
    seconds = ("oldest_wait_s", "phase_left_s", "busy_s")
    values: dict[str, Any] = {name: np.zeros(shape, dtype=np.int64) for name in counts}
    values |= {name: np.zeros(shape) for name in seconds}
    values |= {
        "slot": 0, "time_s": 0.0, "age_s": np.zeros(cluster.n_nodes),
        "free_cores": np.array([n.cpu_cores for n in cluster.nodes]),
        "free_ram_gb": np.array([n.ram_gb for n in cluster.nodes]),
        "free_vgpus": np.array([n.vgpus for n in cluster.nodes]),
        "free_vram_gb": np.array([n.vram_gb for n in cluster.nodes]),
    }  # fmt: skip
    values |= columns
    for value in values.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return Snapshot(**values)


def random_snapshot(cluster: Cluster, rng: np.random.Generator) -> Snapshot:
    """Pods of the standard sizes and of others, in all phases; what they hold is not free."""
    shape = (cluster.n_nodes, cluster.n_lms)
    phase = rng.choice(5, p=[0.3, 0.1, 0.4, 0.15, 0.05], size=shape)
    prompts = rng.integers(0, 40, size=shape) * (rng.random(shape) < 0.7)
    cores, vgpus = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    free: dict[str, list[float]] = {"free_cores": [], "free_ram_gb": [], "free_vgpus": [], "free_vram_gb": []}
    for n, kind in enumerate(catalogue(cluster)):
        pattern = kind.deployment(n, int(rng.integers(len(kind)))).allocations
        used = np.zeros(4)
        for i, a in enumerate(pattern):
            phase[n, i] = Phase.OFF if a.is_off else max(phase[n, i], Phase.STARTING)
            cores[n, i] = a.cores + (a.cores > 1 and rng.random() < 0.2) * -1  # now and then another size
            vgpus[n, i] = a.vgpus
            if phase[n, i] in (Phase.STARTING, Phase.READY, Phase.TERMINATING):
                model = cluster.lms[i]
                used += [a.demand_cores(model), model.ram_gb, a.vgpus, model.vram_gb * a.vgpus]
        which = cluster.nodes[n]
        for name, total, held in zip(
            free, (which.cpu_cores, which.ram_gb, which.vgpus, which.vram_gb), used, strict=True
        ):
            free[name].append(total - held)
    slot = int(rng.integers(0, 1000))
    columns = {name: np.array(values) for name, values in free.items()}
    return snapshot_of(
        cluster, slot=slot, phase=phase, cores=cores, vgpus=vgpus, backlog_prompts=prompts,
        backlog_requests=(prompts + 3) // 4, **columns,
    )  # fmt: skip


def sound_policies(cluster: Cluster, rng: np.random.Generator) -> list[MacroPolicy]:
    policies = [MacroPolicy.unrestricted(cluster)]
    try:
        policies.append(RandomPlanner(cluster).plan(snapshot_of(cluster), [], rng))
    except InputError:  # not every random cluster can have all of its LMs on at once
        return policies
    return policies


SITUATIONS = range(40)


def situation(seed: int) -> tuple[Cluster, Snapshot, list[MacroPolicy]]:
    cluster = bristol() if seed % 4 == 0 else random_cluster(seed)
    rng = np.random.default_rng(seed)
    return cluster, random_snapshot(cluster, rng), sound_policies(cluster, rng)


# The contract of every rule


@pytest.mark.parametrize("seed", SITUATIONS)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_routing_plan_of_a_rule_is_sound(name: str, seed: int) -> None:
    cluster, snapshot, policies = situation(seed)
    scheduler = SCHEDULERS[name](cluster)
    for policy in policies:
        plan = scheduler.schedule(snapshot, policy, generator(seed, SCHEDULER, snapshot.slot))
        assert not check_routing(cluster, plan, policy.roles, local=name == "local")


@pytest.mark.parametrize("seed", SITUATIONS)
@pytest.mark.parametrize("name", DEPLOYERS)
def test_every_deployment_of_a_rule_is_sound_and_respects_pending_pods(name: str, seed: int) -> None:
    cluster, snapshot, policies = situation(seed)
    deployer = DEPLOYERS[name](cluster)
    for policy, n in itertools.product(policies, range(cluster.n_nodes)):
        deployment = deployer.deploy(snapshot, n, policy, generator(seed, DEPLOYER, snapshot.slot, n))
        if deployment is not None:
            roles = None if name == "lyapunov" else policy.roles[n]  # P1's controller knows no roles
            assert deployment.node == n
            assert not check_deployment(cluster, deployment, roles, snapshot)


@pytest.mark.parametrize("seed", SITUATIONS)
@pytest.mark.parametrize("name", PLANNERS)
def test_every_macro_policy_of_a_rule_is_sound(name: str, seed: int) -> None:
    cluster, snapshot, policies = situation(seed)
    if len(policies) > 1:
        policy = PLANNERS[name](cluster).plan(snapshot, [], generator(seed, PLANNER, 0))
        assert not check_macro_policy(cluster, policy)


def test_a_lyapunov_controller_that_follows_roles_keeps_to_them() -> None:
    for seed in SITUATIONS:
        cluster, snapshot, policies = situation(seed)
        deployer = LyapunovDeployer(cluster, follow_roles=True)
        for n in range(cluster.n_nodes):
            deployment = deployer.deploy(snapshot, n, policies[-1], generator(seed, DEPLOYER))
            assert deployment is not None
            assert not check_deployment(cluster, deployment, policies[-1].roles[n], snapshot)


def decide(role: str, rule: Any, snapshot: Snapshot, policy: MacroPolicy, rng: np.random.Generator) -> Any:
    """The decision as something that compares."""
    if role == "planner":
        made = rule.plan(snapshot, [], rng)
        return made.probabilities.tolist(), made.roles.tolist()
    if role == "scheduler":
        return rule.schedule(snapshot, policy, rng).targets.tolist()
    return [rule.deploy(snapshot, n, policy, rng) for n in range(snapshot.phase.shape[0])]


RULES = [
    *(("planner", name) for name in PLANNERS),
    *(("scheduler", name) for name in SCHEDULERS),
    *(("deployer", name) for name in DEPLOYERS),
]
TABLES: dict[str, Any] = {"planner": PLANNERS, "scheduler": SCHEDULERS, "deployer": DEPLOYERS}


@pytest.mark.parametrize(("role", "name"), RULES)
def test_a_rule_remembers_nothing(role: str, name: str) -> None:
    cluster, snapshot, (policy, *_) = situation(0)
    fresh, used = TABLES[role][name](cluster), TABLES[role][name](cluster)
    for seed in (4, 8, 12):
        decide(role, used, situation(seed)[1], policy, generator(seed))
    expected = decide(role, fresh, snapshot, policy, generator(5))
    assert decide(role, used, snapshot, policy, generator(5)) == expected
    assert decide(role, fresh, snapshot, policy, generator(5)) == expected


@pytest.mark.parametrize(("role", "name"), [rule for rule in RULES if rule[1] not in ("random", "rehearsal")])
def test_a_rule_without_chance_draws_nothing(role: str, name: str) -> None:
    cluster, snapshot, (policy, *_) = situation(0)
    rng = generator(5)
    before = rng.bit_generator.state
    decide(role, TABLES[role][name](cluster), snapshot, policy, rng)
    assert rng.bit_generator.state == before


@pytest.mark.parametrize("name", DEPLOYERS)
def test_a_node_that_could_not_be_read_is_left_as_it_is(name: str) -> None:
    cluster = bristol()
    snapshot = snapshot_of(cluster, age_s=np.array([0.0, math.nan, 0.0, 0.0, 0.0, 0.0]))
    decisions = decide("deployer", DEPLOYERS[name](cluster), snapshot, MacroPolicy.unrestricted(cluster), generator(1))
    assert [d is None for d in decisions] == [False, True, False, False, False, False]


def test_a_gpu_only_lm_is_never_sent_to_a_node_without_a_gpu() -> None:
    cluster = bristol()
    for name, slot in itertools.product(("random", "average"), range(100)):
        policy, rng = MacroPolicy.unrestricted(cluster), generator(7, slot)
        plan = SCHEDULERS[name](cluster).schedule(snapshot_of(cluster, slot=slot), policy, rng)
        assert (plan.targets[:, 2:] != 0).all()
        assert (plan.targets[:, :2] >= 0).all()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_an_lm_that_no_node_can_run_goes_nowhere_unless_it_stays_at_home(name: str) -> None:
    cluster = cluster_of([node("a"), node("b")], [lm("small", 1.0), lm("huge", 999.0)])
    scheduler = SCHEDULERS[name](cluster)
    plan = scheduler.schedule(snapshot_of(cluster), MacroPolicy.unrestricted(cluster), generator(1))
    assert plan.targets[:, 1].tolist() == ([0, 1] if name == "local" else [NOWHERE, NOWHERE])


@pytest.mark.timeout(300)  # the first run on a machine compiles the twin
@pytest.mark.parametrize("code", FAMILIES)
def test_a_family_that_is_stopped_and_started_again_goes_on_as_if_it_never_was(code: str) -> None:
    cluster = bristol()
    policy = MacroPolicy.unrestricted(cluster)

    def run(twin: Twin, first: int, last: int) -> list[Any]:
        family, ended = make(code, cluster), []
        for slot in range(first, last):
            snapshot = twin.observe()
            plan = family.scheduler.schedule(snapshot, policy, generator(3, SCHEDULER, slot))
            assert not check_routing(cluster, plan, policy.roles, local=family.local)
            twin.route(plan)
            for n in range(cluster.n_nodes):
                deployment = family.deployer.deploy(snapshot, n, policy, generator(3, DEPLOYER, slot, n))
                if deployment is not None:
                    assert not check_deployment(cluster, deployment, policy.roles[n], snapshot)
                    twin.deploy(deployment)
            rng = np.random.default_rng([11, slot])
            origins, lms = np.indices((6, 4)).reshape(2, -1)
            times = slot * 30.0 + rng.uniform(0, 30, 24)
            ended.append(twin.advance(Arrivals.of(times, origins, lms, rng.integers(0, 9, 24))).latency_s.tolist())
        return ended

    whole = run(Twin(cluster), 0, 20)
    stopped = Twin(cluster)
    start = run(stopped, 0, 9)
    assert start + run(Twin.restore(cluster, stopped.save()), 9, 20) == whole
    assert sum(len(slot) for slot in whole) > 100


# Patterns and the standard allocation


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


# Families


def test_the_families_are_those_of_the_paper_and_ours() -> None:
    cluster = bristol()
    filled = {code: tuple(make(code, cluster).decided_by.values()) for code in FAMILIES}
    assert filled == {
        "RR": ("none", "random", "random"),
        "RL": ("none", "random", "lyapunov"),
        "AL": ("none", "average", "lyapunov"),
        "RF": ("none", "random", "full"),
        "LL": ("none", "local", "lyapunov"),
        "RH": ("rehearsal", "backlog", "steady"),
    }
    assert [code for code in FAMILIES if make(code, cluster).local] == ["LL"]


def test_an_unknown_family_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no policy family 'XX'; choose one of RR \(Random.*LL \(Local processing"):
        make("XX", bristol())


def test_a_new_family_is_one_line() -> None:
    mixed = dataclasses.replace(FAMILIES["RR"], title="Planned at random", planner="random", scheduler="average")
    family = make("PA", bristol(), {**FAMILIES, "PA": mixed})
    assert isinstance(family.planner, RandomPlanner)
    assert isinstance(family.scheduler, AverageScheduler)
