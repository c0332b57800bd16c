"""Without foresight: ideal queues by hand, against every router there is, and below what policies come to."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.slot_ahead import Problem, least_wait_s
from domain.large_model import CpuProfile
from domain.objective import summarise
from domain.serving import BatchCurve, Batching, Dispatch, Serving
from tests.bounds import ON_GPU, READY_AT_ONCE, asked
from tests.oracle.hand import LM, NODE, cluster, gpu_node
from twin.bound import bound, nonanticipating_mean_s
from twin.bound.nonanticipating import central_waits
from twin.twin import Twin, run_schedule


def test_the_head_of_the_queue_takes_the_pod_that_is_free_first() -> None:
    waits = central_waits(np.array([0.0, 0.0, 1.0, 1.0]), np.array([5.0, 2.0, 4.0, 1.0]), 2)
    assert waits.tolist() == [0.0, 0.0, 1.0, 4.0]


def test_one_pod_that_serves_in_order_reaches_the_bound() -> None:
    where = cluster(NODE, lm=READY_AT_ONCE)
    requests = asked((0.0, 0, 0, 3), (1.0, 0, 0, 1), (1.5, 0, 0, 2))
    twin = Twin(where)
    both = np.full((2, 1, 1), 2), np.zeros((2, 1, 1), dtype=np.int64)
    records = run_schedule(twin, requests, np.zeros((2, 1, 1), dtype=np.int64), *both, np.ones((2, 1), dtype=np.bool_))
    told = summarise(records, 1, where.deadline_s, where.latency_weight)
    assert told.global_mean_latency_s == nonanticipating_mean_s(where, requests) == (3.0 + 3.0 + 4.5) / 3


def test_who_knows_nothing_waits_longer_than_who_knows_all() -> None:
    where = cluster(NODE)
    requests = asked((0.0, 0, 0, 3), (0.5, 0, 0, 1))
    assert nonanticipating_mean_s(where, requests) == (3.0 + 3.5) / 2 > bound(where, requests).capacity_mean_s


def test_a_short_request_of_the_same_moment_may_overtake_a_long_one() -> None:
    requests = asked((0.0, 0, 0, 3), (0.0, 0, 0, 1))
    assert nonanticipating_mean_s(cluster(NODE), requests) == (1.0 + 4.0) / 2


def test_an_lm_that_runs_nowhere_is_never_served() -> None:
    assert math.isinf(nonanticipating_mean_s(cluster(NODE, lm=ON_GPU), asked((0.0, 0, 0, 1))))
    assert nonanticipating_mean_s(cluster(NODE, gpu_node(1, 2), lm=ON_GPU), asked((0.0, 1, 0, 1))) == 2.0


def test_a_request_occupies_a_pod_for_its_best_batches() -> None:
    curve = BatchCurve(((1, 1.0), (3, 1.5)))
    lm = replace(LM, cpu_profiles={"cpu": CpuProfile(((1, 2.0), (2, 1.0)), curve)})
    where = replace(cluster(NODE, lm=lm), serving=Serving(batching=Batching.REQUEST))
    assert nonanticipating_mean_s(where, asked((0.0, 0, 0, 3), (1.0, 0, 0, 4))) == (1.5 + 0.5 + 2.5) / 2


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (Serving(Dispatch.ARRIVAL), "fixed dispatch alone"),
        (Serving(Dispatch.SPLIT), "fixed dispatch alone"),
        (Serving(copies=True), "one request in hand"),
    ],
)
def test_ideal_queues_bound_neither_origins_that_choose_nor_pods_with_several_requests_in_hand(
    how: Serving, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        nonanticipating_mean_s(replace(cluster(gpu_node(2, 1)), serving=how), asked((0.0, 0, 0, 1)))


def least_expected_wait_s(times: list[int], sizes: list[float], pods: int, knows_own_size: bool) -> float:
    """The least expected sum of waits of all routers; each request is of any size, one as likely as the other."""

    @cache
    def best(request: int, free: tuple[float, ...]) -> float:
        if request == len(times):
            return 0.0
        at = float(times[request])

        def after(pod: int, size: float) -> float:
            start = max(at, free[pod])
            return start - at + best(request + 1, tuple(sorted((*free[:pod], *free[pod + 1 :], start + size))))

        if knows_own_size:
            return float(np.mean([min(after(pod, size) for pod in range(pods)) for size in sizes]))
        return min(float(np.mean([after(pod, size) for size in sizes])) for pod in range(pods))

    return best(0, (0.0,) * pods)


def ideal_wait_s(times: list[int], sizes: list[float], pods: int) -> float:
    """The expected sum of waits of the ideal queue."""
    every = itertools.product(sizes, repeat=len(times))
    return float(np.mean([central_waits(np.array(times, float), np.array(drawn), pods).sum() for drawn in every]))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=5).map(sorted),
    st.lists(st.sampled_from([1.0, 2.0, 7.0]), min_size=2, max_size=2, unique=True),
    st.integers(2, 3),
)
def test_no_router_that_learns_each_size_after_its_choice_waits_less(
    times: list[int], sizes: list[float], pods: int
) -> None:
    assert least_expected_wait_s(times, sizes, pods, False) == pytest.approx(ideal_wait_s(times, sizes, pods))


def test_who_knows_the_size_of_the_request_at_hand_can_wait_less_than_the_ideal_queue() -> None:
    times, sizes = [0, 0, 1, 1, 2], [1.0, 7.0]
    knowing = least_expected_wait_s(times, sizes, 2, True)
    assert knowing < 0.95 * ideal_wait_s(times, sizes, 2)


def simulated_wait_s(problem: Problem, slots: int, runs: int) -> float:
    """Mean wait where each origin in turn goes to the pod that is expected to be free first; all runs at once."""
    rng, waited, requests, run = np.random.default_rng(0), 0.0, 0, np.arange(runs)
    left = np.zeros((runs, problem.pods))
    for _ in range(slots):
        expected, targets = left.copy(), np.empty((runs, problem.origins), dtype=np.int64)
        for origin in range(problem.origins):
            targets[:, origin] = expected.argmin(axis=1)
            expected[run, targets[:, origin]] += 4.0 * problem.seconds
        times = rng.random(targets.shape) * problem.slot_s
        prompts = rng.integers(0, 9, targets.shape)
        for origin in np.argsort(times, axis=1).T:
            pod, count, time = targets[run, origin], prompts[run, origin], times[run, origin]
            start = np.maximum(left[run, pod], time)
            waited, requests = waited + float((start - time)[count > 0].sum()), requests + int((count > 0).sum())
            left[run, pod] = np.where(count > 0, start + count * problem.seconds, left[run, pod])
        left = np.maximum(left - problem.slot_s, 0.0)
    return waited / requests


def test_with_one_pod_there_is_nothing_to_decide_and_rounding_is_all_that_is_lost() -> None:
    problem = Problem(pods=1, origins=2, seconds=3.0, slot_s=30.0)
    least = least_wait_s(problem, np.arange(0.0, 200.0, 0.5), slots=40, samples=10_000)
    assert least == pytest.approx(simulated_wait_s(problem, 40, 5_000), rel=0.05)


def test_finer_levels_of_work_raise_the_bound_and_never_above_what_a_router_reaches() -> None:
    problem = Problem(pods=2, origins=3, seconds=4.0, slot_s=30.0)
    coarse, fine = (least_wait_s(problem, np.arange(0.0, 90.0, step), 40, 5_000) for step in (6.0, 2.0))
    reached = simulated_wait_s(problem, 40, 5_000)
    assert 0.7 * reached < coarse < fine < reached
