"""How fast pods compute: the section Speed of docs/twin.md, with sixty digits where there are fractions.

Exact fractions would be the same, but their digits double with every busy neighbour.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from functools import cache, lru_cache

from domain.cluster import Cluster
from domain.decisions import Allocation
from domain.serving import BatchCurve, Batching
from tests.oracle.clock import exact, whole

HOST_GROWTH = Decimal("0.12")
MOST_EXACT, ROUNDS, DIGITS = 10, 50, 60
HALF, CLOSE = Decimal("0.5"), Decimal("0.001")
"""What is so close to a half is a half, so that halves do not depend on how the law is computed."""

COARSE = 10**12
"""From here on paces beside others are whole microseconds."""

Customer = tuple[int, int, tuple[tuple[int, int], ...]]
"""A busy pod, or a busy copy: fixed and compute part in nanoseconds, (GPU, vGPUs) of what it has."""


def alone(cluster: Cluster, n: int, i: int, allocation: Allocation) -> int:
    """What a prompt takes with no busy neighbour."""
    if not allocation.vgpus:
        return max(1, whole(exact(cluster.cpu_seconds(n, i, allocation.cores))))
    return sum(gpu_parts(cluster, n, i))


def gpu_parts(cluster: Cluster, n: int, i: int) -> tuple[int, int]:
    """Return the fixed and the compute part of a prompt."""
    profile = cluster.lms[i].gpu_profiles[cluster.nodes[n].gpu_model or ""]
    return whole(exact(profile.fixed_s)), max(1, whole(exact(profile.compute_s)))


def curve(cluster: Cluster, n: int, i: int, allocation: Allocation) -> BatchCurve:
    """What batches take of the LM on the node."""
    if cluster.serving.batching is Batching.NONE:
        return BatchCurve()
    lm, node = cluster.lms[i], cluster.nodes[n]
    return lm.gpu_profiles[node.gpu_model or ""].batch if allocation.vgpus else lm.cpu_profiles[node.cpu_model].batch


def networks(pods: Sequence[Customer]) -> list[list[int]]:
    """Indices of pods that have GPUs in common, be it through others."""
    groups: list[list[int]] = []
    for i in range(len(pods)):
        met = [group for group in groups if any(_meet(pods[i], pods[j]) for j in group)]
        groups = [group for group in groups if group not in met]
        groups.append(sorted([i, *(j for group in met for j in group)]))
    return groups


@lru_cache(maxsize=10_000)
def by_demand(pods: tuple[Customer, ...]) -> Sequence[int]:
    """What a prompt takes of each of those that are busy on a node: mean value analysis."""
    takes = [0] * len(pods)
    with localcontext() as context:
        context.prec = DIGITS
        for group in networks(pods):
            members = [pods[i] for i in group]
            times = _exact(members) if len(group) <= MOST_EXACT else _schweitzer(members)
            for i, time in zip(group, times, strict=True):
                takes[i] = nearest(time) if len(group) > 1 else sum(pods[i][:2])
    return takes


def nearest(time: Decimal) -> int:
    """Round to nanoseconds, from 1,000 s on to microseconds; halves to even."""
    grid = 1 if time < COARSE else 1000
    return grid * _whole(time / grid)


def _whole(time: Decimal) -> int:
    below = int(time)
    if abs(time - below - HALF) <= CLOSE:
        return below + below % 2
    return int(time + HALF)


def _meet(a: Customer, b: Customer) -> bool:
    return not {p for p, _ in a[2]}.isdisjoint(p for p, _ in b[2])


def _exact(pods: Sequence[Customer]) -> list[Decimal]:
    @cache
    def network(busy: frozenset[int]) -> tuple[dict[int, Decimal], Counter[int]]:
        """R of each pod of the set, Q of each GPU."""
        takes: dict[int, Decimal] = {}
        there: Counter[int] = Counter()
        for i in sorted(busy):
            takes[i], customers = _pass(pods, i, busy, network(busy - {i})[1])
            there.update(customers)
        return takes, there

    takes, _ = network(frozenset(range(len(pods))))
    return [takes[i] for i in range(len(pods))]


def _schweitzer(pods: Sequence[Customer]) -> list[Decimal]:
    everybody = range(len(pods))
    passes = [_pass(pods, i, [i], {}) for i in everybody]
    for _ in range(ROUNDS):
        there: Counter[int] = Counter()
        for _, customers in passes:
            there.update(customers)
        others = [{p: there[p] - q for p, q in customers.items()} for _, customers in passes]
        passes = [_pass(pods, i, everybody, others[i]) for i in everybody]
    return [time for time, _ in passes]


def _pass(
    pods: Sequence[Customer], i: int, busy: Sequence[int] | frozenset[int], ahead: Mapping[int, Decimal | int]
) -> tuple[Decimal, dict[int, Decimal]]:
    """R and q of pod i among those that are busy, where so many others are at each GPU on average."""
    fixed, compute, on_gpu = pods[i]
    vgpus = sum(h for _, h in on_gpu)
    at = {p: Decimal(compute * h) / vgpus * (1 + ahead.get(p, 0)) for p, h in on_gpu}
    neighbours = sum(_meet(pods[i], pods[j]) for j in busy if j != i)
    takes = fixed * (1 + HOST_GROWTH * neighbours) + sum(at.values())
    return takes, {p: time / takes for p, time in at.items()}
