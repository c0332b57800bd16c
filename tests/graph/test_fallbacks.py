"""Fallbacks: whatever state the cluster is in, one decides, keeps to every rule, and the run goes on."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.cluster import Cluster
from domain.decisions import NOWHERE, OFF, Allocation, Deployment, MacroPolicy, RoutingPlan
from domain.errors import InputError
from domain.ledger import Attempt, Outcome, Reason, Role
from domain.telemetry import Phase, Snapshot
from domain.testbed import Testbed
from domain.workload import Arrivals
from graph.gate.passage import Draft, fall_back, settled_by_rule
from graph.slot.deps import Deps, Fallbacks, Filling
from graph.slot.kinds import DeploymentKind, MacroPolicyKind, RoutingKind, keep
from memory import Memory
from policies.random import RandomPlanner
from policies.rehearsal.planner import Effort, RehearsalPlanner
from policies.roles import generator
from runtime.agents.settings import FALLBACKS, AgentSettings
from tests.clusters import quiet, tiny
from twin.testbed import TwinTestbed
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

BRISTOL = load_builtin("bristol")
DRAFT = Draft(attempts=(Attempt((), "{}"),), reason=Reason.SCHEMA)


def deps_on(cluster: Cluster, twin: Twin, fallbacks: Fallbacks, agents: bool = True) -> Deps:
    """A run in which agents fill the roles, or rules."""
    who = Filling[Any]("model", asker=cast("Any", lambda slot, node: None)) if agents else Filling[Any]("rule")
    return Deps(
        testbed=TwinTestbed(twin, load_workload("p1", cluster, 1)),
        memory=cast("Memory", None),
        run="r",
        family="MA",
        seed=1,
        planner=who,
        scheduler=who,
        deployer=who,
        fallbacks=fallbacks,
    )


@cache
def configured(name: str) -> list[Fallbacks]:
    """Every fallback that a run on a cluster can be given, and those that come by themselves."""
    cluster = CLUSTERS[name]
    small = RehearsalPlanner(cluster, Effort(evaluations=60, candidates=2, samples=1, horizon_slots=8))
    names = ["+".join(names) for names in product(*(FALLBACKS[role] for role in Role))]
    made = [AgentSettings(models=None, fallback=name).fallbacks(cluster, rehearsed=False) for name in names]
    made = [replace(own, planner=small) if own.planner_name == "rehearsal" else own for own in made]
    assert {own.deployer_name for own in made} == set(FALLBACKS[Role.DEPLOYER])
    return made


def anything(cluster: Cluster, n: int, rng: np.random.Generator) -> Deployment:
    """A deployment that a pod could run with, one by one: together they may ask for more than the node has."""
    node, cells = cluster.nodes[n], []
    for i, lm in enumerate(cluster.lms):
        choices = [OFF, OFF]
        if cluster.runs_on_gpu(n, i):
            choices += [Allocation(vgpus=1), Allocation(vgpus=node.vgpus)]
        if cluster.runs_on_cpu(n, i) and not lm.gpu_only:
            choices += [Allocation(cores=c) for c in range(1, node.cpu_cores + 1) if cluster.cpu_seconds(n, i, c) < 1e9]
        cells.append(choices[rng.integers(len(choices))])
    return Deployment(n, tuple(cells))


CLUSTERS = {
    "tiny": tiny(),
    "tiny, pods that stop slowly": tiny(lms=tuple(replace(lm, stop_s=45.0) for lm in tiny().lms)),
    "bristol, slots of 5 s": replace(BRISTOL, slot_s=5.0, epoch_slots=6),
    "bristol, pods that stop slowly": replace(
        BRISTOL, lms=tuple(replace(lm, stop_s=40.0) for lm in BRISTOL.lms), epoch_slots=6
    ),
}


@pytest.mark.parametrize("name", CLUSTERS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_in_any_state_that_a_cluster_can_come_to_every_fallback_decides_what_every_rule_allows(
    name: str, seed: int
) -> None:
    cluster, rng = CLUSTERS[name], np.random.default_rng(seed)
    twin, workload = Twin(cluster), load_workload("p1", cluster, seed % 1000)
    made = [own for own in configured(name) if own.planner_name == "random"]
    draws = generator(seed, 5)
    plan = MacroPolicy.unrestricted(cluster)
    for slot in range(8):
        snapshot = twin.observe()
        if rng.random() < 0.5:  # roles that the pods do not know
            plan = RandomPlanner(cluster).plan(snapshot, (), draws)
        if rng.random() < 0.2:  # a node is lost from sight, for a routing plan
            snapshot = replace(snapshot, age_s=np.where(rng.random(cluster.n_nodes) < 0.3, np.nan, snapshot.age_s))
        macro = plan.to_json(cluster)
        own = made[rng.integers(len(made))]
        for agents in (True, False):
            _falls_back_soundly(deps_on(cluster, twin, own, agents), snapshot, macro, twin.copy())
        for n in range(cluster.n_nodes):
            if rng.random() < 0.6:
                twin.deploy(anything(cluster, n, rng))
        targets = rng.integers(cluster.n_nodes, size=(cluster.n_nodes, cluster.n_lms))
        twin.route(RoutingPlan(targets))
        twin.advance(workload.arrivals(slot))


def _falls_back_soundly(deps: Deps, snapshot: Snapshot, macro: dict[str, Any], twin: Twin) -> None:
    cluster = deps.testbed.cluster
    routes = RoutingKind(deps, snapshot, macro)
    draft = fall_back(routes, DRAFT)
    assert draft.outcome is Outcome.FALLBACK
    assert draft.decision
    assert not routes.rules(routes.from_json(draft.decision))
    twin.route(routes.from_json(draft.decision))
    for n in range(cluster.n_nodes):
        if np.isnan(snapshot.age_s[n]):
            continue  # nobody is asked there
        kind = DeploymentKind(deps, snapshot, n, macro)
        draft = fall_back(kind, DRAFT)
        assert draft.outcome is Outcome.FALLBACK
        assert draft.decision
        assert not kind.rules(kind.from_json(draft.decision))
        assert draft.decided_by in (f"fallback:{deps.fallbacks.deployer_name}", "fallback:keep")
        twin.deploy(kind.from_json(draft.decision))
    twin.advance(Arrivals.empty())


@pytest.mark.parametrize("planner", FALLBACKS[Role.PLANNER])
@pytest.mark.parametrize("name", ["tiny", "bristol, slots of 5 s"])
def test_every_fallback_of_the_planner_plans_soundly(name: str, planner: str) -> None:
    cluster = CLUSTERS[name]
    twin = Twin(cluster)
    for own in (made for made in configured(name) if made.planner_name == planner):
        kind = MacroPolicyKind(deps_on(cluster, twin, own), twin.observe(), {}, None, None)
        draft = fall_back(kind, DRAFT)
        assert draft.decided_by == f"fallback:{planner}"
        assert not kind.rules(kind.from_json(draft.decision or {}))


class Broken:
    """A rule that fails in every role, or decides what no rule allows."""

    def __init__(self, cluster: Cluster, fails: bool) -> None:
        self.cluster, self.fails = cluster, fails

    def plan(self, snapshot: Any, history: Any, rng: Any) -> MacroPolicy:
        if self.fails:
            raise InputError("no macro-policy is sound")
        open_ = MacroPolicy.unrestricted(self.cluster)
        return MacroPolicy(open_.probabilities * 2.0, open_.roles)

    def schedule(self, snapshot: Any, policy: Any, rng: Any) -> RoutingPlan:
        if self.fails:
            raise ZeroDivisionError
        return RoutingPlan(np.full((self.cluster.n_nodes, self.cluster.n_lms), NOWHERE))

    def deploy(self, snapshot: Any, node: int, policy: Any, rng: Any) -> Deployment:
        if self.fails:
            raise IndexError
        return Deployment(node, tuple(Allocation(vgpus=9) for _ in self.cluster.lms))


@pytest.mark.parametrize("fails", [True, False])
def test_a_fallback_that_fails_or_breaks_a_rule_is_named_and_the_next_one_decides(fails: bool) -> None:
    cluster = tiny()
    rule = Broken(cluster, fails)
    deps = deps_on(cluster, Twin(cluster), Fallbacks(rule, rule, rule, "bad", "bad", "bad"))
    snapshot = quiet(cluster, 1)
    macro = MacroPolicy.unrestricted(cluster).to_json(cluster)
    kinds: list[tuple[Any, str]] = [
        (MacroPolicyKind(deps, snapshot, {}, None, None), "fallback:open"),
        (RoutingKind(deps, snapshot, macro), "fallback:nearest"),
        (DeploymentKind(deps, snapshot, 1, macro), "fallback:keep"),
    ]
    for kind, by in kinds:
        draft = fall_back(kind, DRAFT)
        assert (draft.decided_by, draft.outcome, draft.reason) == (by, Outcome.FALLBACK, Reason.SCHEMA)
        assert draft.attempts[0] == DRAFT.attempts[0]
        why = draft.attempts[1]
        assert not why.messages
        assert (why.error or "").startswith("internal: bad: ") if fails else why.violations[0] == "bad breaks rules."


def test_where_no_macro_policy_is_sound_nobody_plans_and_the_ledger_says_so() -> None:
    cluster = tiny()
    south = replace(cluster.nodes[1], ram_gb=5.0)  # draw fits there beside nothing, and chat needs it, too
    cluster = replace(cluster, nodes=(replace(cluster.nodes[0], ram_gb=2.0), south))
    deps = deps_on(
        cluster,
        Twin(cluster),
        Fallbacks.random(cast("Testbed", TwinTestbed(Twin(cluster), load_workload("p1", cluster, 1)))),
    )
    draft = fall_back(MacroPolicyKind(deps, quiet(cluster, 0), {}, None, None), DRAFT)
    assert (draft.decided_by, draft.decision) == ("fallback:none", {})
    assert any("no macro-policy is sound" in (attempt.error or "") for attempt in draft.attempts)
    assert deps.policy(draft.decision).roles.tolist() == cluster.feasible.tolist()


def test_a_rule_that_breaks_a_rule_in_its_own_role_falls_back_too() -> None:
    cluster = tiny()
    deps = deps_on(
        cluster, Twin(cluster), Fallbacks.random(TwinTestbed(Twin(cluster), load_workload("p1", cluster, 1)))
    )
    kind = RoutingKind(deps, quiet(cluster, 0), None)
    draft = settled_by_rule(kind, RoutingPlan(np.full((2, 2), NOWHERE)), "bad")
    assert (draft.decided_by, draft.outcome, draft.reason) == ("fallback:random", Outcome.FALLBACK, Reason.VIOLATION)


def test_keeping_a_pod_that_shuts_down_is_letting_it_go() -> None:
    cluster = tiny(lms=tuple(replace(lm, stop_s=45.0) for lm in tiny().lms))
    twin = Twin(cluster)
    twin.deploy(Deployment(1, (OFF, Allocation(vgpus=1))))
    for _ in range(2):
        twin.advance(Arrivals.empty())
    twin.deploy(Deployment(1, (OFF, OFF)))
    twin.advance(Arrivals.empty())
    snapshot = twin.observe()
    assert snapshot.phase[1, 1] == Phase.TERMINATING
    assert keep(snapshot, 1) == Deployment(1, (OFF, OFF))
    alone = twin.copy()
    twin.deploy(keep(snapshot, 1))
    for world in (twin, alone):
        for _ in range(3):
            world.advance(Arrivals.empty())
    assert twin.observe().phase.tolist() == alone.observe().phase.tolist()
    assert (twin.observe().phase[1] == Phase.OFF).all()


@pytest.mark.parametrize("roles", [[], ["chat"], ["draw"], ["chat", "draw"]])
@pytest.mark.parametrize("agents", [True, False])
def test_whatever_a_node_runs_the_fallback_keeps_what_may_stay(roles: list[str], agents: bool) -> None:
    cluster = CLUSTERS["tiny"]
    has = np.array([[True, False], [lm.name in roles for lm in cluster.lms]])
    deps = deps_on(cluster, Twin(cluster), configured("tiny")[-1], agents)
    macro = MacroPolicy(np.zeros((2, 2)), has).to_json(cluster)
    deps._read = macro, MacroPolicy.from_json(cluster, macro["routing"], macro["roles"])  # sound or not: roles count
    sizes = [(1, 0), (4, 0), (0, 1), (0, 2)]
    for phases, a, b in product(product(range(5), repeat=2), sizes, sizes[2:]):
        given = [size if phase else (0, 0) for phase, size in zip(phases, (a, b), strict=True)]
        phase, cores, vgpus = (np.zeros((2, 2), dtype=np.int64) for _ in range(3))
        phase[1], cores[1], vgpus[1] = phases, [c for c, _ in given], [g for _, g in given]
        kind = DeploymentKind(deps, quiet(cluster, 3, phase=phase, cores=cores, vgpus=vgpus), 1, macro)
        draft = fall_back(kind, DRAFT)
        decided = kind.from_json(draft.decision or {})
        assert not kind.rules(decided)
        if Phase.PENDING in phases:
            down = [i for i in range(2) if phases[i] == Phase.TERMINATING]
            assert not agents or all(decided.allocations[i] == OFF for i in down)
