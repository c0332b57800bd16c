"""The twin returns, loses nothing and hands out plain numbers, whatever the figures that a testbed file may hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.decisions import OFF, Allocation, Deployment, RoutingPlan
from domain.large_model import CpuProfile, GpuProfile, LargeModel
from domain.telemetry import Outcome, Records, Snapshot
from domain.workload import Arrivals
from tests.oracle.hand import LM, VGPU, cluster, gpu_node
from tests.oracle.worlds import run_twin
from twin.twin import Twin

DURATIONS = [1e-12, 1e-9, 1e-6, 1e-3, 0.1, 1.0, 30.0, 1e3, 1e6, 1e9, 1e12]
"""What the testbed file allows for durations, 0 besides for starts, stops and fixed parts; slots last 1e-3 at least."""


def wild(seed: int) -> tuple[Cluster, np.random.Generator]:
    """Draw a cluster whose durations have nothing to do with each other."""
    rng = np.random.default_rng([seed, 5])

    def some(*also: float) -> float:
        return float(rng.choice([*DURATIONS, *also]))

    def lm(k: int) -> LargeModel:
        seconds = sorted((some(), some()), reverse=True)
        return replace(
            LM,
            name=f"lm{k}",
            start_cpu_s=some(0.0),
            start_gpu_s=some(0.0),
            stop_s=some(0.0),
            uplink_bytes=some(0.0),
            downlink_bytes=some(0.0),
            cpu_profiles={"cpu": CpuProfile(((1, seconds[0]), (4, seconds[1])))},
            gpu_profiles={"gpu": GpuProfile(some(0.0), some())},
        )

    apart = 1.0 - np.eye(2)
    return (
        Cluster(
            name=f"wild-{seed}",
            nodes=(gpu_node(2, 2), gpu_node(1, 4)),
            lms=tuple(lm(k) for k in range(3)),
            latency_s=some(0.0) * apart,
            seconds_per_byte=float(rng.choice([0.0, 8e-15, 8e-9, 8e-3])) * apart,
            slot_s=float(rng.choice(DURATIONS[3:])),
            deadline_s=some(),
            pending_timeout_s=some(),
        ),
        rng,
    )


@pytest.mark.parametrize("block", range(6))
def test_every_run_returns_and_loses_nothing(block: int) -> None:
    for seed in range(50 * block, 50 * (block + 1)):
        where, rng = wild(seed)
        slots, count = 10, 60
        times = rng.random(count) * slots * where.slot_s
        prompts = rng.choice([1, 3, 8, 1_000_000], count)
        arrivals = Arrivals.of(times, rng.integers(0, 2, count), rng.integers(0, 3, count), prompts)
        wishes = [OFF, VGPU, Allocation(vgpus=2), Allocation(1), Allocation(2)]
        deployments = [
            [Deployment(n, tuple(wishes[int(rng.integers(5))] for _ in range(3))) for n in range(2)]
            if rng.random() < 0.4
            else []
            for _ in range(slots)
        ]
        plans = [RoutingPlan(rng.integers(0, 2, (2, 3))) for _ in range(slots)]
        history = run_twin(where, arrivals, plans, deployments, slots)
        records = Records.concatenate(history.records)
        for name in ("arrival_s", "uplink_s", "queue_s", "inference_s", "downlink_s"):
            column = getattr(records, name)
            assert ((column >= 0.0) & np.isfinite(column)).all(), f"{name} of {seed}: {column}"
        for name in Snapshot.__slots__:
            assert np.isfinite(getattr(history.snapshots[-1], name)).all(), f"{name} of {seed}"


@pytest.mark.parametrize("slot_s", [1e9, 1e10, 1e12])
def test_two_busy_pods_on_one_gpu_go_on_after_decades(slot_s: float) -> None:
    where = replace(cluster(gpu_node(1, 2), lms=2, tau=1e12), slot_s=slot_s)
    twin = Twin(where)
    twin.route(RoutingPlan(np.zeros((1, 2), dtype=np.int64)))
    twin.deploy(Deployment(0, (VGPU, VGPU)))
    twin.advance(Arrivals.empty())
    for t in (1, 2):
        times = t * slot_s + np.array([0.0, 0.3, 0.7, 1.1])
        records = twin.advance(Arrivals.of(times, [0] * 4, [0, 1, 0, 1], [3] * 4))
        assert records.outcome.tolist() == [Outcome.SUCCESS] * 4
