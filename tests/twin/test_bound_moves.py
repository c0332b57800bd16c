"""How the bounds of docs/bound.md move with what is asked, and what they come to on P1's testbed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.cluster import Cluster, Node
from domain.large_model import CpuProfile, GpuProfile, LargeModel
from domain.workload import Arrivals
from tests.bounds import COLUMNS, ROUNDING, SEARCHED, Asked, asked, bounded
from tests.oracle.hand import NODE, cluster, gpu_node
from twin.bound import Bound, bound, nonanticipating_mean_s
from twin.bound.menu import classes, menu
from twin.bound.service import most_served
from twin.testbeds import load_builtin
from twin.twin import Twin, run_schedule
from twin.workloads import load_workload

# What must move which way

REQUESTS = st.lists(
    st.tuples(st.integers(0, 90).map(lambda t: t / 2), st.integers(0, 1), st.integers(0, 1), st.integers(1, 4)),
    min_size=1,
    max_size=12,
)
FEW = settings(max_examples=4, deadline=None, derandomize=True, database=None)
PAIR = cluster(gpu_node(1, 2), NODE, lms=2, tau=50.0)


def quick(where: Cluster, *requests: Asked) -> Bound:
    return bounded(where, asked(*requests), steps=40)


def total(found: Bound) -> float:
    return found.capacity_mean_s * float(found.max_success.sum())


@FEW
@given(REQUESTS, st.tuples(st.just(20.0), st.integers(0, 1), st.integers(0, 1), st.integers(1, 4)))
def test_one_request_more_lowers_no_limit(requests: list[Asked], extra: Asked) -> None:
    before, after = quick(PAIR, *requests), quick(PAIR, *requests, extra)
    assert (after.max_success >= before.max_success).all()
    if before.full_service and after.full_service:
        more = after.max_success.sum() * after.solo_mean_s - before.max_success.sum() * before.solo_mean_s
        assert more > 0.0
        assert total(after) * SEARCHED >= total(before)


@FEW
@given(REQUESTS, st.sampled_from([NODE, gpu_node(1, 2), gpu_node(2, 2)]))
def test_one_node_more_raises_no_limit(requests: list[Asked], extra: Node) -> None:
    fewer = quick(PAIR, *requests)
    more = quick(cluster(*PAIR.nodes, extra, lms=2, tau=50.0), *requests)
    assert (more.max_success >= fewer.max_success).all()
    assert more.solo_at(fewer.max_success) <= fewer.solo_mean_s * ROUNDING
    assert more.at_service(fewer.max_success) <= fewer.capacity_mean_s * SEARCHED


@FEW
@given(REQUESTS)
def test_seconds_of_twice_the_length_double_the_bound(requests: list[Asked]) -> None:
    once = quick(PAIR, *requests)
    twice = quick(stretched(PAIR, 2.0), *((2.0 * t, o, i, k) for t, o, i, k in requests))
    assert (once.max_success == twice.max_success).all()
    assert twice.solo_mean_s == pytest.approx(2.0 * once.solo_mean_s)
    assert twice.capacity_mean_s == pytest.approx(2.0 * once.capacity_mean_s, rel=1e-6)


def stretched(where: Cluster, factor: float) -> Cluster:
    """All that takes time takes `factor` times as long."""

    def lm(old: LargeModel) -> LargeModel:
        return replace(
            old,
            start_cpu_s=factor * old.start_cpu_s,
            start_gpu_s=factor * old.start_gpu_s,
            stop_s=factor * old.stop_s,
            cpu_profiles={
                k: CpuProfile(tuple((c, factor * s) for c, s in p.points)) for k, p in old.cpu_profiles.items()
            },
            gpu_profiles={k: GpuProfile(factor * p.fixed_s, factor * p.compute_s) for k, p in old.gpu_profiles.items()},
        )

    return replace(
        where,
        lms=tuple(map(lm, where.lms)),
        latency_s=factor * where.latency_s,
        seconds_per_byte=factor * where.seconds_per_byte,
        slot_s=factor * where.slot_s,
        deadline_s=factor * where.deadline_s,
    )


# P1's testbed


def test_on_p1s_testbed_contention_adds_to_the_bound_and_full_service_is_not_ruled_out() -> None:
    bristol = load_builtin("bristol")
    workload = load_workload("p1", bristol, seed=1)
    found = bound(bristol, Arrivals.concatenate([workload.arrivals(t) for t in range(30)]))
    assert found.full_service
    assert 1.05 * found.solo_mean_s < found.capacity_mean_s < 2.0 * found.solo_mean_s
    assert found.objective_full == pytest.approx(0.5 * found.capacity_mean_s / 900.0)
    fewer = found.max_success - np.array([0, 0, 0, 20])
    assert found.solo_at(fewer) <= found.at_service(fewer)
    assert found.at_service(fewer) < found.capacity_mean_s
    assert found.objective_at(fewer) > found.objective_any


def test_one_lm_on_p1s_gpus_comes_close_to_the_bound() -> None:
    bristol, slots = load_builtin("bristol"), 100
    lms = tuple(replace(lm, start_gpu_s=0.0) for lm in bristol.lms)
    where = replace(bristol, lms=lms)
    workload = load_workload("p1", where, seed=1)
    arrivals = Arrivals.concatenate([workload.arrivals(t) for t in range(slots)])
    arrivals = asked(*[q for q in zip(*(getattr(arrivals, c).tolist() for c in COLUMNS), strict=True) if q[2] == 3])
    shape = (slots + 30, where.n_nodes, where.n_lms)
    targets, vgpus, decided = (np.zeros(s, dtype=np.int64) for s in (shape, shape, shape[:2]))
    vgpus[0, 1:, 3], decided[0] = 1, 1
    free = np.full(where.n_nodes, -np.inf)
    free[0] = np.inf  # VM2 has no GPU
    for t, origin, _, prompts in zip(*(getattr(arrivals, c).tolist() for c in COLUMNS), strict=True):
        target = int(np.argmin(free))
        free[target] = max(free[target], t) + prompts * 5.6
        targets[int(t // where.slot_s), origin, 3] = target
    records = run_schedule(Twin(where), arrivals, targets, np.zeros_like(vgpus), vgpus, decided)
    found = bound(where, arrivals)
    assert records.success.all()
    mean = float(records.latency_s.mean())
    assert mean > 1.2 * found.solo_mean_s  # it is the queues that the bound has to see
    assert found.capacity_mean_s <= mean * ROUNDING
    assert mean < 1.15 * found.capacity_mean_s
    assert nonanticipating_mean_s(where, arrivals) == pytest.approx(
        mean, rel=1e-3
    )  # no router without foresight is better


def test_twice_p1s_load_is_more_than_its_gpus_can_serve() -> None:
    bristol = load_builtin("bristol")
    workload = load_workload("p1", bristol, seed=1, load=2.0)
    arrivals = Arrivals.concatenate([workload.arrivals(t) for t in range(200)])
    served_at_most, everything = most_served(bristol, menu(bristol), arrivals)
    rates = served_at_most / np.bincount(arrivals.lm)
    assert not everything
    assert (rates[:3] == 1.0).all()
    assert 0.5 < rates[3] < 0.9  # five pods of LM4 at 5.6 s a prompt


def test_nodes_of_the_same_hardware_are_one_class() -> None:
    assert [len(group) for group in classes(load_builtin("bristol"))] == [1, 4, 1]
