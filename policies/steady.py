"""Steady deployer: each node runs what its share of the traffic needs, and changes that only where it pays.

A macro-policy says which LMs a node may host and which share of each LM's traffic is meant for it; this rule turns that
into modes and sizes. Of the choices that the node has, it takes the one with the least expected sum of latencies at the
rates that are forecast. What runs already is only given up for something that gains more than start-up, draining
and interrupted work cost.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.constraints import check_capacity
from domain.decisions import OFF, Allocation, Deployment, MacroPolicy
from domain.telemetry import Phase, Snapshot
from policies.batching import parts
from policies.rehearsal.fluid import FULL, MEETING
from policies.rehearsal.forecast import Forecast, Traffic
from policies.rehearsal.menu import Menu, Menus, admission, admitted_next, copies
from policies.sharing import delays

FloatArray = NDArray[np.float64]

LEAST_DEMAND = 1e-3
"""Prompts per second that are assumed of an LM with a share at least: a quiet slot turns nothing off."""
PAYS_BACK_IN = 20
"""Slots within which a change must have paid for itself, and what was left behind must have been served."""


class SteadyDeployer:
    """Runs on each node the choice of its menu that answers its share of the traffic best."""

    def __init__(self, cluster: Cluster, menus: Menus | None = None) -> None:
        self._cluster = cluster
        self.menus = menus or Menus.of(cluster)
        self.forecast = Forecast(cluster)
        self._stop_s = np.array([lm.stop_s for lm in cluster.lms])
        self._start_s = np.array([max(lm.start_cpu_s, lm.start_gpu_s) for lm in cluster.lms])

    def watch(self, snapshot: Snapshot) -> bool:
        """Learn from the slot that ended."""
        self.forecast.watch(snapshot)
        return False

    def deploy(self, snapshot: Snapshot, node: int, policy: MacroPolicy, rng: np.random.Generator) -> Deployment | None:
        """Return the next step towards the best choice; None where the node is as it should be or cannot be read."""
        if math.isnan(snapshot.age_s[node]):
            return None
        traffic = self.forecast.traffic()
        return self.step(snapshot, node, policy, self.choose(snapshot, node, policy, traffic))

    def costs(self, node: int, policy: MacroPolicy, traffic: Traffic, left_over: FloatArray) -> FloatArray:
        """Return [C] expected sum of latencies per second, for each choice of the node's menu; infinite off its roles.

        What a choice does not serve, or not in time, counts as the deadline. `left_over`, [I], are prompts per second
        besides the node's share of the traffic.
        """
        cluster, table = self._cluster, self.menus[node]
        demand = np.maximum(traffic.requests.sum(axis=0) * traffic.batch / cluster.slot_s, LEAST_DEMAND)
        loads = (policy.probabilities[:, node] * demand + left_over) * policy.roles[node]
        pods = np.maximum((policy.probabilities > 0.0).sum(axis=1), 1)
        part = parts(cluster, node, traffic.batch)
        in_batch = np.where(table.vgpus > 0, part[:, 1], part[:, 0])
        cost = choice_costs(table, in_batch, loads, traffic.batch, traffic.spread / pods, cluster.deadline_s)
        cost[table.on[:, ~policy.roles[node]].any(axis=1)] = math.inf
        return cost

    def choose(self, snapshot: Snapshot, node: int, policy: MacroPolicy, traffic: Traffic) -> int:
        """Return the number of the choice that the node should run, what it runs now if nothing else pays."""
        cluster, table = self._cluster, self.menus[node]
        on = is_up(snapshot, node)
        # A queue whose pod is gone, of an LM that gets no more: nobody else would ever serve it.
        stranded = ~on & (policy.probabilities[:, node] == 0.0)
        left_over = np.where(stranded, snapshot.backlog_prompts[node] / (PAYS_BACK_IN * cluster.slot_s), 0.0)
        cost = self.costs(node, policy, traffic, left_over)
        best = int(np.argmin(cost))
        present = table.find(np.where(on, snapshot.cores[node], 0), np.where(on, snapshot.vgpus[node], 0))
        if present is None or not on.any() or not math.isfinite(cost[present]):
            return best
        changed = ((table.cores[best] != table.cores[present]) | (table.vgpus[best] != table.vgpus[present])) & on
        away = np.where(changed, self._stop_s + self._start_s, 0.0)
        demand = traffic.requests.sum(axis=0) / cluster.slot_s * policy.probabilities[:, node]
        price = float((away * (snapshot.backlog_requests[node] + demand * away / 2.0)).sum())
        gain = float(cost[present] - cost[best]) * PAYS_BACK_IN * cluster.slot_s
        return best if gain > price else present

    def unsettled(self, snapshot: Snapshot, choices: list[int]) -> list[int]:
        """Return the nodes that can be read and do not run their choice."""
        menus = self.menus
        cores, vgpus = np.empty_like(snapshot.cores), np.empty_like(snapshot.vgpus)
        chosen = np.array(choices)
        for kind, table in enumerate(menus.kinds):
            own = menus.kind == kind
            cores[own], vgpus[own] = table.cores[chosen[own]], table.vgpus[chosen[own]]
        up = (snapshot.phase != Phase.OFF) & (snapshot.phase != Phase.TERMINATING)
        same = (np.where(up, snapshot.cores, 0) == cores) & (np.where(up, snapshot.vgpus, 0) == vgpus)
        return np.flatnonzero(~same.all(axis=1) & ~np.isnan(snapshot.age_s)).tolist()

    def step(self, snapshot: Snapshot, node: int, policy: MacroPolicy, choice: int) -> Deployment | None:
        """Return the deployment of this slot on the way to a choice; None where there is nothing to do.

        LMs that lost their share keep their pod until their queue is empty. Nothing new is asked for while a pod is
        Pending, nor what does not fit beside what stays. Pods on GPUs come in the order of `menu.admission`; on a node
        with several GPUs those that sit on the wrong one are stopped first, and what they hold is waited for, as is the
        memory for copies.
        """
        cluster, table = self._cluster, self.menus[node]
        goal, on = table.allocations(choice), is_up(snapshot, node)
        now = [snapshot.allocation(node, i) if on[i] else OFF for i in range(cluster.n_lms)]
        if all(a == b for a, b in zip(goal, now, strict=True)):
            return None
        then = list(now)
        for i, want in enumerate(goal):
            draining = want.is_off and snapshot.backlog_requests[node, i] > 0 and policy.roles[node, i]
            if on[i] and want != now[i] and (not draining or not self._runs(node, i, now[i])):
                then[i] = OFF
        wanted = {i: a.vgpus for i, a in enumerate(goal) if a.vgpus}
        first = set[int]()
        if cluster.nodes[node].gpus > 1:
            for i in self._misplaced(node, {i: a.vgpus for i, a in enumerate(now) if a.vgpus}, wanted):
                then[i] = OFF
        if cluster.nodes[node].gpus == 1 or not any(a.vgpus and b.is_off for a, b in zip(now, then, strict=True)):
            running = np.array([on[i] and goal[i] == now[i] for i in range(cluster.n_lms)])
            first.update(admitted_next(cluster, node, wanted, running))
            first -= self._without_memory(
                snapshot, node, goal, [a if b.is_off else OFF for a, b in zip(now, then, strict=True)]
            )
        if not snapshot.has_pending(node):
            for i, want in enumerate(goal):
                if then[i].is_off and not want.is_off and (not want.vgpus or i in first):
                    trial = [*then[:i], want, *then[i + 1 :]]
                    if not check_capacity(cluster, node, trial):
                        then = trial
        return None if then == now else Deployment(node, tuple(then))

    def _without_memory(
        self, snapshot: Snapshot, n: int, goal: tuple[Allocation, ...], stopping: list[Allocation]
    ) -> set[int]:
        """Return the LMs whose pods would hold one copy for good, for pods on the CPU that stop still have memory."""
        cluster, gone = self._cluster, snapshot.phase[n] == Phase.TERMINATING
        stop = {i for i, a in enumerate(stopping) if a.cores or (gone[i] and snapshot.cores[n, i])}
        if not cluster.serving.copies or not stop:
            return set()
        wanted = {i: a.vgpus for i, a in enumerate(goal) if a.vgpus}
        on_cpu = stop | {i for i, a in enumerate(goal) if a.cores}
        held = copies(cluster, n, admission(cluster, n, wanted), on_cpu)
        return {i for i, count in held.items() if count == 1 and wanted[i] > cluster.least_vgpus(n, i)}

    def _misplaced(self, n: int, running: dict[int, int], wanted: dict[int, int]) -> list[int]:
        """Return the LMs whose pods sit on another GPU than where they should be beside those that are to come."""
        now, then = admission(self._cluster, n, running), admission(self._cluster, n, wanted)
        return [i for i in running if i in then and now[i] != then[i]]

    def _runs(self, n: int, i: int, allocation: Allocation) -> bool:
        by_gpu = self._cluster.runs_on_gpu(n, i)
        return by_gpu if allocation.vgpus else math.isfinite(self._cluster.cpu_seconds(n, i, allocation.cores))


def is_up(snapshot: Snapshot, n: int) -> NDArray[np.bool_]:
    """Return [I] True where the pod on node n starts, runs or is Pending."""
    phase = snapshot.phase[n]
    return np.asarray((phase != Phase.OFF) & (phase != Phase.TERMINATING))


def choice_costs(
    table: Menu, in_batch: FloatArray, loads: FloatArray, batch: FloatArray, c: FloatArray, deadline_s: float
) -> FloatArray:
    """Return [C] the sum of latencies per second of every choice under these loads ([I] prompts per second).

    `in_batch`, [C, I], is the part of a prompt alone that a prompt takes in a batch.

    The same formulas as `fluid.evaluate`, for one node whose loads are given.
    """
    used = loads > 0.0
    fixed = np.where(np.isfinite(table.fixed_s), table.fixed_s, 0.0)
    fixed, compute = fixed * in_batch, table.compute_s * in_batch
    seconds = alone = fixed + compute
    beside = np.where(table.together, delays(fixed, compute), 0.0)
    for _ in range(4):
        busy = np.minimum(loads * seconds, 1.0) * table.on
        seconds = 0.5 * (seconds + alone + MEETING * (beside * busy[:, None, :]).sum(axis=2))
    rho = loads * seconds
    capped = np.minimum(rho, FULL)
    late = np.where(rho > 0.0, np.maximum(0.0, 1.0 - FULL / np.maximum(rho, 1e-300)), 0.0)
    one = np.minimum(batch * seconds * (1.0 + c * capped / (1.0 - capped)), deadline_s)
    one = one + late * deadline_s
    latency = np.where(table.on, one, 2.0 * deadline_s)
    cost: FloatArray = (np.where(used, loads / batch * latency, 0.0)).sum(axis=1)
    idle = (table.on & ~used).sum(axis=1)
    cost += 1e-6 * idle
    return cost
