"""The rules that need no model: whatever they decide is sound, and nothing that they remember is lost."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest

from domain.constraints import check_deployment, check_macro_policy, check_routing
from domain.decisions import NOWHERE, MacroPolicy
from domain.errors import InputError
from domain.workload import Arrivals
from policies.average import AverageScheduler
from policies.families import DEPLOYERS, FAMILIES, PLANNERS, SCHEDULERS, make
from policies.lyapunov import LyapunovDeployer
from policies.random import RandomPlanner
from policies.roles import DEPLOYER, PLANNER, SCHEDULER, generator
from tests.situations import (
    SITUATIONS,
    bristol,
    cluster_of,
    decide,
    lm,
    node,
    situation,
    snapshot_of,
)
from twin.twin import Twin

pytestmark = pytest.mark.usefixtures("small_effort")

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
