"""Scenarios in which requests are served in all the ways that there are beside P1's: by choice, in batches, by copies.

They are those of tests.oracle.scenarios and tests.oracle.decimals, with settings, batch curves and open plans besides.
News are as old as something else lasts, so that they end where something begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from domain.cluster import Cluster
from domain.decisions import Allocation, Deployment, RoutingPlan
from domain.large_model import LargeModel
from domain.serving import BatchCurve, Batching, Dispatch, Serving
from tests.oracle.decimals import decimal, far
from tests.oracle.scenarios import Scenario, tied, ugly

OTHERS = 1_000_000
"""Added to seeds, so that the scenarios are others than those without these settings."""
DYADIC = (
    BatchCurve(((1, 1.0), (2, 1.5), (4, 2.0))),
    BatchCurve(((1, 1.0), (4, 1.0))),
    BatchCurve(((1, 1.0), (2, 2.0), (3, 2.0))),
    BatchCurve(((1, 1.0), (8, 4.5))),
)
Draw = Callable[[np.random.Generator], BatchCurve]


def served_ugly(seed: int) -> Scenario:
    """Return a scenario without ties."""

    def curve(rng: np.random.Generator) -> BatchCurve:
        first, second = 2, int(rng.integers(3, 9))
        units = float(rng.uniform(1.0, 2.0))
        return BatchCurve(((1, 1.0), (first, units), (second, float(rng.uniform(units, second)))))

    return _served(ugly(seed + OTHERS), np.random.default_rng([seed, 5]), curve, (1.0, 1.0, 0.3, 2.7))


def served_tied(seed: int) -> Scenario:
    """Return a scenario in which most things happen at whole seconds."""
    rng = np.random.default_rng([seed, 6])
    return _served(tied(seed + OTHERS, most_vgpus=2), rng, _dyadic, (1.0, 1.0, 1.0, 2.0, 0.5))


def served_decimal(seed: int) -> Scenario:
    """Return a scenario whose moments all lie on a grid of decimals, until pods share GPUs or batches end."""
    return _served(decimal(seed + OTHERS), np.random.default_rng([seed, 7]), _decimals, (1.0, 1.0, 1.0, 0.1, 0.7))


def served_far(seed: int) -> Scenario:
    """Return such a scenario that lasts for 46 days."""
    return _served(far(seed + OTHERS), np.random.default_rng([seed, 8]), _decimals, (1.0, 1.0, 1.0, 0.1, 0.7))


def _dyadic(rng: np.random.Generator) -> BatchCurve:
    return DYADIC[int(rng.integers(len(DYADIC)))]


def _decimals(rng: np.random.Generator) -> BatchCurve:
    units = [round(float(rng.uniform(1.0, 2.0)), 1), round(float(rng.uniform(2.0, 3.0)), 1)]
    return BatchCurve(((1, 1.0), (2, units[0]), (int(rng.integers(3, 9)), units[1])))


def _served(s: Scenario, rng: np.random.Generator, curve: Draw, weights: tuple[float, ...]) -> Scenario:
    serving = Serving(
        dispatch=Dispatch(rng.choice(["fixed", "arrival", "arrival", "split", "split"])),
        news_s=_news(s.cluster, rng),
        batching=Batching(rng.choice(["none", "none", "request", "queue", "queue"])),
        copies=bool(rng.random() < 0.6),
    )
    if rng.random() < 0.6:
        s = _crowded(s, rng)
    if rng.random() < 0.4:
        s = _alike(s, rng)
    lms = tuple(_with_curves(lm, rng, curve) for lm in s.cluster.lms)
    deadline_s = min(s.cluster.deadline_s, 2.0 * s.cluster.slot_s) if rng.random() < 0.3 else s.cluster.deadline_s
    plans = s.plans
    if serving.dispatch is not Dispatch.FIXED:
        plans = [
            plan if plan is None or rng.random() < 0.15 else _open(s, t, rng, weights) for t, plan in enumerate(s.plans)
        ]
    return replace(s, cluster=replace(s.cluster, lms=lms, serving=serving, deadline_s=deadline_s), plans=plans)


def _crowded(s: Scenario, rng: np.random.Generator) -> Scenario:
    """Put most pods of a scenario on vGPUs, of which there are enough."""
    plenty = float(rng.choice([1.0, 3.0]))
    nodes = tuple(
        replace(n, vgpus_per_gpu=max(4, n.vgpus_per_gpu), vram_gb=plenty * n.vram_gb, ram_gb=plenty * n.ram_gb)
        for n in s.cluster.nodes
    )
    cluster, most = replace(s.cluster, nodes=nodes), int(rng.choice([1, 3]))
    vgpus = rng.integers(1, most + 1, (s.cluster.n_nodes, s.cluster.n_lms)).tolist()

    def moved(n: int, i: int, allocation: Allocation) -> Allocation:
        able = nodes[n].gpus > 0 and np.isfinite(cluster.gpu_seconds(n, i)) and not allocation.is_off
        return Allocation(vgpus=vgpus[n][i]) if able and rng.random() < 0.8 else allocation

    deployments = [
        [Deployment(d.node, tuple(moved(d.node, i, a) for i, a in enumerate(d.allocations))) for d in given]
        for given in s.deployments
    ]
    return replace(s, cluster=cluster, deployments=deployments)


def _alike(s: Scenario, rng: np.random.Generator) -> Scenario:
    """Make all nodes those of one kind, as far from each other, and with the same pods."""
    n = s.cluster.n_nodes
    apart, best = ~np.eye(n, dtype=np.bool_), max(range(n), key=lambda k: s.cluster.nodes[k].gpus)
    latency, per_byte = (
        float(table[0, n - 1]) * (rng.random() < 0.5) for table in (s.cluster.latency_s, s.cluster.seconds_per_byte)
    )
    cluster = replace(
        s.cluster,
        nodes=tuple(replace(s.cluster.nodes[best], name=node.name) for node in s.cluster.nodes),
        latency_s=np.where(apart, latency, 0.0),
        seconds_per_byte=np.where(apart, per_byte, 0.0),
    )
    of_best = [[d.allocations for d in given if d.node == best][-1:] for given in s.deployments]
    deployments = [[Deployment(k, a) for k in range(n) for a in given] for given in of_best]
    return replace(s, cluster=cluster, deployments=deployments)


def _news(cluster: Cluster, rng: np.random.Generator) -> float:
    """Draw an age: none, that of a prompt or of a start, or a slot."""
    lm = cluster.lms[int(rng.integers(cluster.n_lms))]
    prompts = [profile.points[0][1] for profile in lm.cpu_profiles.values()]
    ages = [0.0, 0.0, lm.start_cpu_s, cluster.slot_s, *prompts]
    return min(ages[int(rng.integers(len(ages)))], cluster.slot_s)


def _with_curves(lm: LargeModel, rng: np.random.Generator, curve: Draw) -> LargeModel:
    """Give most profiles of an LM a curve."""

    def drawn() -> BatchCurve:
        return curve(rng) if rng.random() < 0.8 else BatchCurve()

    return replace(
        lm,
        cpu_profiles={name: replace(profile, batch=drawn()) for name, profile in lm.cpu_profiles.items()},
        gpu_profiles={name: replace(profile, batch=drawn()) for name, profile in lm.gpu_profiles.items()},
    )


def _open(s: Scenario, slot: int, rng: np.random.Generator, weights: tuple[float, ...]) -> RoutingPlan:
    """Draw an open plan that mostly allows nodes where a deployment of the slot wants the LM."""
    n, i = s.cluster.n_nodes, s.cluster.n_lms
    wanted = np.zeros((i, n), dtype=np.bool_)
    for deployment in s.deployments[slot]:
        wanted[:, deployment.node] = [not allocation.is_off for allocation in deployment.allocations]
    shape = (n if rng.random() < 0.5 else 1, i, n)
    allowed = rng.random(shape) < np.where(wanted, 0.85, 0.5)
    return RoutingPlan.open(np.where(allowed, rng.choice(weights, shape), 0.0))
