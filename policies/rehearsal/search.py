"""Search for placements: which choice of its menu each kind of node should run, by the fluid yardstick.

Nodes of one kind are interchangeable, so a placement is a table of how many nodes of a kind run which choice, and a
cluster of 600 nodes of three kinds is searched like one of three. Hill climbing from several starts: a move takes one,
half or all of the nodes of a group to another choice; the best move is taken until none helps. Then the best placement
is shaken and climbed from again (iterated local search) for as many evaluations as are left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.constraints import fits_together
from domain.decisions import MacroPolicy
from policies.batching import parts
from policies.rehearsal.fluid import evaluate
from policies.rehearsal.forecast import Traffic
from policies.rehearsal.menu import Menus

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Group = tuple[int, int]
"""Kind and choice."""
LEAST_DEMAND = 1e-3
"""Prompts per second that are assumed of an LM at least, so that it has a place when a request comes."""


@dataclass(frozen=True)
class Placement:
    """A placement by kinds and what it is predicted to come to."""

    groups: tuple[tuple[Group, int], ...]
    """((kind, choice), nodes), sorted."""
    objective: float
    """J by the fluid yardstick."""
    flow: FloatArray
    """[G, I] prompts per second on each node of a group."""


class Yardstick:
    """Evaluates placements of one cluster under one traffic: at the expected rates, and a swing below and above."""

    def __init__(self, cluster: Cluster, menus: Menus, traffic: Traffic) -> None:
        self._menus = menus
        demand = np.maximum(traffic.requests.sum(axis=0) * traffic.batch / cluster.slot_s, LEAST_DEMAND)
        low, high = np.maximum(1.0 - traffic.swing, 0.1), 1.0 + traffic.swing
        self._demands = [demand, demand * low, demand * high]
        self._batch, self._spread = traffic.batch, traffic.spread
        first = [int(np.argmax(menus.kind == kind)) for kind in range(len(menus.kinds))]
        self._parts = [parts(cluster, n, traffic.batch) for n in first]
        self._deadline_s, self._weight = cluster.deadline_s, cluster.latency_weight
        self.evaluations = 0

    def __call__(self, groups: dict[Group, int]) -> tuple[float, FloatArray]:
        """Return J and the flow of each group, groups in sorted order."""
        self.evaluations += 1
        keys = sorted(groups)
        kinds = self._menus.kinds
        count = np.array([groups[key] for key in keys], dtype=np.float64)
        fixed = np.array([kinds[k].fixed_s[c] for k, c in keys])
        compute = np.array([kinds[k].compute_s[c] for k, c in keys])
        gpu = np.array([kinds[k].gpu[c] for k, c in keys])
        in_batch = np.array(
            [np.where(kinds[k].vgpus[c] > 0, self._parts[k][:, 1], self._parts[k][:, 0]) for k, c in keys]
        )
        fixed, compute = fixed * in_batch, compute * in_batch
        value, flows = 0.0, [np.zeros(fixed.shape) for _ in self._demands]
        for demand, flow in zip(self._demands, flows, strict=True):
            value += evaluate(
                count,
                fixed,
                compute,
                gpu,
                demand,
                self._batch,
                self._spread,
                self._deadline_s,
                self._weight,
                flow,
            )
        return value / len(flows), flows[0]

    def placement(self, groups: dict[Group, int]) -> Placement:
        """Return the placement with its prediction."""
        value, flow = self(groups)
        return Placement(tuple(sorted(groups.items())), value, flow)


def fullest(menus: Menus, kind: int) -> int:
    """Return the choice with the most LMs on, fewest of them on vGPUs: where P1's full activation starts."""
    table = menus.kinds[kind]
    return int(np.lexsort((np.arange(len(table)), table.vgpus.sum(axis=1), -table.on.sum(axis=1)))[0])


def search(
    menus: Menus,
    nodes: IntArray,
    yardstick: Yardstick,
    starts: list[dict[Group, int]],
    evaluations: int,
    keep: int,
    rng: np.random.Generator,
) -> list[Placement]:
    """Return the best placements found, best first, `keep` of them at most.

    Args:
        menus: choices by kind.
        nodes: [kinds] usable nodes of each kind.
        yardstick: what they are measured by.
        starts: placements to climb from; the fullest one is added.
        evaluations: placements to look at, at most.
        keep: number of placements to return, which differ in more than the use of cores.
        rng: shakes.
    """
    found = dict[tuple[tuple[Group, int], ...], float]()
    full = {(k, fullest(menus, k)): int(m) for k, m in enumerate(nodes) if m}
    everything = [*starts, full]
    tops = list[dict[Group, int]]()
    for number, start in enumerate(everything):
        budget = (evaluations - yardstick.evaluations) // (len(everything) - number)
        tops.append(_climb(menus, dict(start), yardstick, yardstick.evaluations + budget, found))
    top = min(tops, key=lambda groups: found[_key(groups)])
    while yardstick.evaluations < evaluations:
        before = yardstick.evaluations
        other = _climb(menus, _shaken(menus, top, rng), yardstick, evaluations, found)
        if found[_key(other)] <= found[_key(top)]:
            top = other
        if yardstick.evaluations == before:
            break
    best, seen = list[dict[Group, int]](), set[tuple[tuple[bytes, int], ...]]()
    for groups in sorted(found, key=lambda groups: (found[groups], groups)):
        modes = _modes(menus, groups)
        if modes not in seen:
            seen.add(modes)
            best.append(dict(groups))
        if len(best) == keep:
            break
    return [yardstick.placement(groups) for groups in best]


def _modes(menus: Menus, groups: tuple[tuple[Group, int], ...]) -> tuple[tuple[bytes, int], ...]:
    """Return what tells placements apart beyond the use of cores: who is on vGPUs, and how often."""
    on_gpu: dict[bytes, int] = {}
    for (k, c), count in groups:
        key = bytes([k]) + menus.kinds[k].vgpus[c].astype(np.uint8).tobytes()
        on_gpu[key] = on_gpu.get(key, 0) + count
    return tuple(sorted(on_gpu.items()))


def _climb(
    menus: Menus,
    groups: dict[Group, int],
    yardstick: Yardstick,
    until: int,
    found: dict[tuple[tuple[Group, int], ...], float],
) -> dict[Group, int]:
    if _key(groups) not in found:
        found[_key(groups)] = yardstick(groups)[0]
    value = found[_key(groups)]
    step_up = True
    while step_up and yardstick.evaluations < until:
        step_up = False
        best, move = value, groups
        for kind, choice in sorted(groups):
            count = groups[kind, choice]
            for size in sorted({1, (count + 1) // 2, count}):
                for other in range(len(menus.kinds[kind])):
                    if other == choice or yardstick.evaluations >= until:
                        continue
                    trial = dict(groups)
                    trial[kind, choice] -= size
                    if not trial[kind, choice]:
                        del trial[kind, choice]
                    trial[kind, other] = trial.get((kind, other), 0) + size
                    key = _key(trial)
                    if key not in found:
                        found[key] = yardstick(trial)[0]
                    if found[key] < best - 1e-12:
                        best, move = found[key], trial
        if move is not groups:
            groups, value, step_up = move, best, True
    return groups


def _key(groups: dict[Group, int]) -> tuple[tuple[Group, int], ...]:
    return tuple(sorted(groups.items()))


def _shaken(menus: Menus, groups: dict[Group, int], rng: np.random.Generator) -> dict[Group, int]:
    """Return the placement with two or three groups, or parts of them, at random choices."""
    shaken = dict(groups)
    for _ in range(int(rng.integers(2, 4))):
        keys = sorted(shaken)
        kind, choice = keys[int(rng.integers(len(keys)))]
        size = int(rng.integers(1, shaken[kind, choice] + 1))
        other = int(rng.integers(len(menus.kinds[kind])))
        shaken[kind, choice] -= size
        if not shaken[kind, choice]:
            del shaken[kind, choice]
        shaken[kind, other] = shaken.get((kind, other), 0) + size
    return shaken


def present_groups(menus: Menus, cores: IntArray, vgpus: IntArray, usable: BoolArray) -> dict[Group, int]:
    """Return what runs now as groups; what the menu does not have counts as all off."""
    groups = dict[Group, int]()
    for n in np.flatnonzero(usable).tolist():
        choice = menus[n].find(cores[n], vgpus[n]) or 0
        key = (int(menus.kind[n]), choice)
        groups[key] = groups.get(key, 0) + 1
    return groups


def everywhere(menus: Menus, groups: dict[Group, int], i: int) -> dict[Group, int] | None:
    """Return the placement with LM i added on vGPUs wherever the rest stays as it is; None where there is no such node.

    The fluid yardstick takes sharing a GPU at its average price. Backlog-aware routing pays less: it sends each slot's
    requests to the GPU where they disturb least, so a pod in many places is often worth more than it seems.
    """
    wider, changed = dict[Group, int](), False
    for (kind, choice), count in groups.items():
        table, to = menus.kinds[kind], choice
        if not table.on[choice, i]:
            others = np.arange(table.cores.shape[1]) != i
            same = (table.vgpus == table.vgpus[choice])[:, others].all(axis=1) & (table.vgpus[:, i] > 0)
            same &= (table.on == table.on[choice])[:, others].all(axis=1)
            if same.any():
                away = np.abs(table.cores - table.cores[choice])[:, others].sum(axis=1)
                to, changed = int(np.flatnonzero(same)[np.argmin(away[same])]), True
        wider[kind, to] = wider.get((kind, to), 0) + count
    return wider if changed else None


def role_groups(menus: Menus, roles: BoolArray, usable: BoolArray) -> dict[Group, int]:
    """Return the fullest choices within roles [N, I] as groups."""
    groups = dict[Group, int]()
    for n in np.flatnonzero(usable).tolist():
        on = menus[n].on
        within = np.where((on & ~roles[n]).any(axis=1), -1, on.sum(axis=1))
        key = (int(menus.kind[n]), int(np.argmax(within)))
        groups[key] = groups.get(key, 0) + 1
    return groups


def spread_out(
    cluster: Cluster,
    menus: Menus,
    placement: Placement,
    cores: IntArray,
    vgpus: IntArray,
    backlog: IntArray,
    usable: BoolArray,
) -> MacroPolicy:
    """Return the macro-policy of a placement, on nodes such that as little as possible changes.

    Shares are the flows of the groups; roles are the LMs that are on, and those with a queue that must still be served.

    Args:
        cluster: the cluster.
        menus: choices by kind.
        placement: by kinds.
        cores: [N, I] what pods have now.
        vgpus: [N, I] what pods have now.
        backlog: [N, I] prompts that wait.
        usable: [N] nodes that can be read.
    """
    chosen = np.zeros(cluster.n_nodes, dtype=np.int64)
    row = np.full(cluster.n_nodes, -1, dtype=np.int64)
    for kind in range(len(menus.kinds)):
        left = {g: [choice, count] for g, ((k, choice), count) in enumerate(placement.groups) if k == kind and count}
        free: list[int] = np.flatnonzero((menus.kind == kind) & usable).tolist()
        table = menus.kinds[kind]
        for exact in (True, False):
            for n in list(free):
                likeness = {
                    g: int((((table.cores[c] == cores[n]) & (table.vgpus[c] == vgpus[n])) * (1 + table.on[c])).sum())
                    for g, (c, count) in left.items()
                    if count > 0
                }
                if not likeness:
                    continue
                g = max(likeness, key=lambda key: (likeness[key], -key))
                c = left[g][0]
                same = bool(((table.cores[c] == cores[n]) & (table.vgpus[c] == vgpus[n])).all())
                if exact and not same:
                    continue
                chosen[n], row[n] = c, g
                left[g][1] -= 1
                free.remove(n)
    roles = np.zeros((cluster.n_nodes, cluster.n_lms), dtype=np.bool_)
    shares = np.zeros((cluster.n_lms, cluster.n_nodes))
    for n in np.flatnonzero(row >= 0).tolist():
        flow = placement.flow[row[n]]
        roles[n] = menus[n].on[chosen[n]] & (flow > 0.0)
        shares[:, n] = np.where(roles[n], flow, 0.0)
    feasible = cluster.feasible
    total = shares.sum(axis=1)
    for i in np.flatnonzero(total <= 0.0).tolist():
        if feasible[:, i].any():
            home = _home(cluster, i, roles, feasible[:, i])
            roles[home, i], shares[i, home] = True, 1.0
    total = shares.sum(axis=1, keepdims=True)
    shares = np.divide(shares, total, out=np.zeros_like(shares), where=total > 0.0)
    return MacroPolicy(shares, roles | _draining(cluster, roles, (backlog > 0) & feasible))


def _home(cluster: Cluster, i: int, roles: BoolArray, feasible: BoolArray) -> int:
    """Return a node for an LM that the placement leaves out: of those where it fits, the one with the fewest roles."""
    candidates = np.flatnonzero(feasible)
    order: list[int] = candidates[np.argsort(roles[candidates].sum(axis=1), kind="stable")].tolist()
    return next((n for n in order if _fits(cluster, n, roles[n], i)), order[0])


def _draining(cluster: Cluster, roles: BoolArray, queued: BoolArray) -> BoolArray:
    """Return [N, I] the LMs with a queue on nodes where they and the node's roles can be on together."""
    extra = np.zeros_like(roles)
    for n, i in np.argwhere(queued & ~roles):
        extra[n, i] = _fits(cluster, int(n), roles[n] | extra[n], int(i))
    return extra


def _fits(cluster: Cluster, n: int, roles: BoolArray, i: int) -> bool:
    return fits_together(cluster, n, [*np.flatnonzero(roles).tolist(), i])
