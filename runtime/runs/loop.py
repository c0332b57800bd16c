"""The slot loop (P1 section V-E, figure 4): observe, plan, schedule, deploy, let the slot pass, take the records.

One loop serves every policy family, so that families differ in their decisions and in nothing else: the requests come
from the workload alone, and each decision draws its random numbers from a stream of its own, named by (seed, role,
slot, node). A family that draws more than another shifts nobody's numbers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from domain.cluster import Cluster
from domain.decisions import MacroPolicy
from domain.objective import summarise
from domain.telemetry import EpochTelemetry, Records, Snapshot
from domain.workload import Arrivals, Workload
from policies.families import Family
from policies.rehearsal.foresight import Expectation, Figures, Foresight
from policies.rehearsal.planner import RehearsalPlanner
from policies.roles import DEPLOYER, PLANNER, SCHEDULER, generator, watch
from runtime.results.slots import Decider, SlotResult
from twin.twin import Twin


class LostRequests(RuntimeError):
    """The twin broke conservation: what arrived is not what ended. A bug, never the user's doing."""


def drain_slots(cluster: Cluster) -> int:
    """Slots after the last arrivals until the deadline of every request has passed."""
    return math.ceil(cluster.deadline_s / cluster.slot_s)


def total_slots(cluster: Cluster, slots: int) -> int:
    """Slots that a run over `slots` slots of arrivals takes, the ones without new arrivals at its end included."""
    return slots + drain_slots(cluster)


def run_slots(twin: Twin, family: Family, workload: Workload, slots: int, seed: int) -> Iterator[SlotResult]:
    """Run `family` over `slots` slots of the workload and on until the fate of every request is known.

    Holds the records of one epoch at most, whatever the number of slots.

    Raises:
        LostRequests: at the end, unless arrived = succeeded + failed with nothing left waiting.
    """
    cluster, last = twin.cluster, total_slots(twin.cluster, slots) - 1
    policy, history = MacroPolicy.unrestricted(cluster), list[EpochTelemetry]()
    ended, arrived, done, foresight = list[Records](), 0, 0, Foresight(cluster)
    snapshot = twin.observe()
    for slot in range(last + 1):
        decided_by: Counter[Decider] = Counter()
        planned = None
        changed = watch((family.planner, family.scheduler, family.deployer), snapshot)
        if family.planner is not None and (slot % cluster.epoch_slots == 0 or changed):
            policy = planned = family.planner.plan(snapshot, history, generator(seed, PLANNER, slot))
            decided_by["planner", family.planner_name] += 1
            if isinstance(family.planner, RehearsalPlanner):
                _expect(foresight, family.planner, snapshot)
        plan = family.scheduler.schedule(snapshot, policy, generator(seed, SCHEDULER, slot))
        twin.route(plan)
        decided_by["scheduler", family.scheduler_name] += 1
        for n in range(cluster.n_nodes):
            deployment = family.deployer.deploy(snapshot, n, policy, generator(seed, DEPLOYER, slot, n))
            if deployment is not None:
                twin.deploy(deployment)
        decided_by["deployer", family.deployer_name] += cluster.n_nodes

        arrivals = workload.arrivals(slot) if slot < slots else Arrivals.empty()
        records = twin.advance(arrivals)
        snapshot = twin.observe()
        foresight.passed(records, snapshot)
        arrived, done = arrived + len(arrivals), done + len(records)
        ended.append(records)
        epoch = None
        if (slot + 1) % cluster.epoch_slots == 0 or slot == last:
            epoch = summarise(Records.concatenate(ended), cluster.n_lms, cluster.deadline_s, cluster.latency_weight)
            history.append(epoch)
            ended.clear()
        compared = tuple(foresight.take())
        yield SlotResult(
            slot, arrivals, records, snapshot, plan.targets, decided_by, epoch, compared, plan.weights, planned
        )
    waiting = int(snapshot.backlog_requests.sum())
    if arrived != done or waiting:
        raise LostRequests(f"{arrived} requests arrived, {done} ended and {waiting} wait after every deadline passed.")


def _expect(foresight: Foresight, planner: RehearsalPlanner, snapshot: Snapshot) -> None:
    """Follow the plan that was just made."""
    if planner.stage is not None:
        predicted, assumed = planner.rehearsed[0].prediction, not planner.forecast.traffic().slots
        foresight.expect(snapshot, Expectation(Figures.of(predicted), predicted.profile, assumed))
