import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.gpu_sharing import shared_seconds

PODS = st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.01, 5.0)), min_size=1, max_size=5)


def brute_force(host: list[float], gpu: list[float]) -> list[float]:
    """Seconds per prompt from the stationary law of the network: pods at the GPU have the weight k! of their number."""
    pods = range(len(host))
    weight = {}
    for there in itertools.product([False, True], repeat=len(host)):
        product = float(np.prod([gpu[j] if there[j] else host[j] for j in pods]))
        weight[there] = product * float(np.prod(range(1, sum(there) + 1)))
    total = sum(weight.values())
    at_host = [sum(w for there, w in weight.items() if not there[j]) / total for j in pods]
    return [host[j] / at_host[j] if host[j] else float("nan") for j in pods]


@given(PODS)
def test_a_pod_alone_takes_what_its_profile_says(pods: list[tuple[float, float]]) -> None:
    host, gpu = pods[0]
    assert shared_seconds([host], [[gpu]]) == pytest.approx((host + gpu,))


@given(st.lists(st.tuples(st.floats(0.05, 5.0), st.floats(0.05, 5.0)), min_size=1, max_size=4))
def test_without_contention_it_is_the_stationary_network(pods: list[tuple[float, float]]) -> None:
    host, gpu = [p[0] for p in pods], [p[1] for p in pods]
    seconds = shared_seconds(host, [[g] for g in gpu], contention=0.0)
    assert seconds == pytest.approx(brute_force(host, gpu), rel=1e-9)


@given(PODS)
def test_nobody_is_faster_beside_others_than_alone(pods: list[tuple[float, float]]) -> None:
    seconds = shared_seconds([p[0] for p in pods], [[p[1]] for p in pods])
    assert all(s >= (host + gpu) * (1 - 1e-9) for s, (host, gpu) in zip(seconds, pods, strict=True))


def test_a_third_pod_may_help_the_first_where_it_holds_the_second_up() -> None:
    host, gpu = [0.0, 1.0, 2.0], [[1.0], [1.0], [1 / 32]]
    assert shared_seconds(host, gpu)[0] < shared_seconds(host[:2], gpu[:2])[0]


def test_pods_that_only_compute_share_the_gpu_evenly() -> None:
    assert shared_seconds([0.0, 0.0, 0.0], [[1.0], [2.0], [3.0]]) == pytest.approx((3.0, 6.0, 9.0))


def test_pods_on_different_gpus_do_not_meet() -> None:
    assert shared_seconds([1.0, 2.0], [[1.0, 0.0], [0.0, 2.0]]) == pytest.approx((2.0, 4.0))


def test_a_pod_over_two_gpus_meets_its_neighbour_on_one_of_them() -> None:
    alone, _ = shared_seconds([1.0, 1.0], [[1.0, 0.0], [1.0, 0.0]])
    spread, _ = shared_seconds([1.0, 1.0], [[0.5, 0.5], [1.0, 0.0]])
    assert 2.0 < spread < alone
