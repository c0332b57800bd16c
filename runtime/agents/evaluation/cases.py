"""The decision cases: read from `cases.yaml`, each played up to the moment of its decision."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import Field

from domain.cluster import Cluster
from domain.decisions import MacroPolicy
from domain.ledger import Case, Role
from domain.objective import summarise
from domain.telemetry import Records
from domain.workload import Workload
from graph.slot.kinds import traffic_by_name
from policies.families import make
from policies.random import RandomPlanner
from policies.roles import DEPLOYER, PLANNER, SCHEDULER, generator, watch
from twin.files import FileModel, load_yaml
from twin.testbeds import generate, load_builtin
from twin.testbeds.build import to_cluster
from twin.twin import Twin
from twin.workloads import load_workload

FILE = "cases.yaml"


class DecisionCase(FileModel):
    """One decision to be made."""

    name: str
    role: Role
    testbed: str
    """Built in, or `generated-NODES-SEED`."""
    workload: str
    family: str
    """Rules that decide before."""
    seed: int
    slots: Annotated[int, Field(ge=0)]
    """That pass before."""
    node: str | None = None
    """Of a deployer: its name, or `#` and its number."""


class CaseFile(FileModel):
    """All of them."""

    version: int
    cases: list[DecisionCase]


@dataclass(frozen=True, slots=True)
class Situation:
    """A case at the moment of its decision."""

    case: DecisionCase
    twin: Twin
    workload: Workload
    policy: MacroPolicy | None
    """In force for scheduler and deployers; None for the planner."""
    traffic: list[list[int]]
    """[N][I] prompts of the last epoch; empty where none has passed."""
    last: Case | None
    """The last epoch as a case; None where none has passed."""

    @property
    def node(self) -> int:
        """Index of the deployer's node."""
        cluster, name = self.twin.cluster, self.case.node or "#0"
        return int(name[1:]) if name.startswith("#") else cluster.node_index[name]


def load_cases() -> CaseFile:
    """Return the cases that come with Edgewise."""
    with resources.as_file(resources.files(__package__) / FILE) as path:
        return load_yaml(Path(path), CaseFile)


@cache
def cluster_of(testbed: str) -> Cluster:
    """Return a built-in testbed, or a generated one."""
    made = re.fullmatch(r"generated-(\d+)-(\d+)", testbed)
    return load_builtin(testbed) if made is None else to_cluster(generate(int(made[1]), int(made[2])))


def situation(case: DecisionCase) -> Situation:
    """Play a case up to its decision, under rules and, but for a planner, under a random macro-policy."""
    cluster = cluster_of(case.testbed)
    twin, workload = Twin(cluster), load_workload(case.workload, cluster, case.seed)
    family = make(case.family, cluster)
    drawn = RandomPlanner(cluster).plan(twin.observe(), (), generator(case.seed, PLANNER))
    policy = MacroPolicy.unrestricted(cluster) if case.role is Role.PLANNER else drawn
    parts, traffic = list[Records](), 0 * twin.observe().arrived_prompts
    for slot in range(case.slots):
        snapshot = twin.observe()
        watch((family.scheduler, family.deployer), snapshot)
        twin.route(family.scheduler.schedule(snapshot, policy, generator(case.seed, SCHEDULER, slot)))
        for n in range(cluster.n_nodes):
            deployment = family.deployer.deploy(snapshot, n, policy, generator(case.seed, DEPLOYER, slot, n))
            if deployment is not None:
                twin.deploy(deployment)
        parts.append(twin.advance(workload.arrivals(slot)))
        if slot >= case.slots - cluster.epoch_slots:
            traffic = traffic + twin.observe().arrived_prompts
    drawn_or_free = None if case.role is Role.PLANNER else drawn
    if case.slots < cluster.epoch_slots:
        return Situation(case, twin, workload, drawn_or_free, [], None)
    last = _last_case(case, cluster, policy, Records.concatenate(parts[-cluster.epoch_slots :]), traffic.tolist())
    return Situation(case, twin, workload, drawn_or_free, traffic.tolist(), last)


def _last_case(
    case: DecisionCase, cluster: Cluster, policy: MacroPolicy, records: Records, traffic: list[list[int]]
) -> Case:
    found = summarise(records, cluster.n_lms, cluster.deadline_s, cluster.latency_weight)
    named = [
        {lm.name: None if math.isnan(x) else float(x) for lm, x in zip(cluster.lms, values, strict=True)}
        for values in (found.success_ratio, found.mean_latency_s)
    ]
    routed = records.target >= 0
    off_role = ~policy.roles[records.target[routed], records.lm[routed]]
    return Case(
        run=case.name,
        epoch=case.slots // cluster.epoch_slots - 1,
        testbed=cluster.name,
        family=case.family,
        decided_by="random",
        traffic=traffic_by_name(cluster, traffic, cluster.epoch_slots),
        macro_policy=policy.to_json(cluster),
        success_ratio=named[0],
        mean_latency_s=named[1],
        global_mean_latency_s=None if math.isnan(found.global_mean_latency_s) else found.global_mean_latency_s,
        fairness=found.fairness,
        latency_norm=found.latency_norm,
        objective=found.objective,
        off_role_ratio=float(off_role.mean()) if off_role.size else 0.0,
        ended=len(records),
    )
