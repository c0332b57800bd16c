"""What the bounds assume of GPUs that are shared: no busy pods get more done than docs/bound.md's claim 3 allows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from domain.gpu_sharing import HOST_CONTENTION, shared_seconds
from twin.bound.sharing import gpu_seconds_per_second


def used(host: list[float], compute: list[float], vgpus: list[tuple[int, ...]]) -> float:
    """GPU seconds a second of pods that are all busy, with so many vGPUs on each GPU."""
    demand = [[c * h / sum(row) for h in row] for c, row in zip(compute, vgpus, strict=True)]
    return sum(c / r for c, r in zip(compute, shared_seconds(host, demand), strict=True))


def drawn(rng: np.random.Generator, gpus: int, per_gpu: int, pods: int) -> list[tuple[int, ...]]:
    """Some pods' vGPUs on each GPU, at least one for each pod, and no more than there are."""
    slots = rng.permutation(np.repeat(np.arange(gpus), per_gpu))
    held = np.zeros((pods, gpus), dtype=np.int64)
    held[np.arange(pods), slots[:pods]] = 1
    for gpu in slots[pods:]:
        if rng.random() < 0.7:
            held[rng.integers(pods), gpu] += 1
    return [tuple(row) for row in held.tolist()]


@pytest.mark.parametrize(("gpus", "per_gpu"), [(1, 2), (1, 6), (2, 1), (2, 2), (2, 3), (3, 2)])
def test_no_pods_that_share_gpus_get_more_done_than_the_bound_allows(gpus: int, per_gpu: int) -> None:
    rng, most = np.random.default_rng(gpus * 10 + per_gpu), 0.0
    for _ in range(200):
        pods = int(rng.integers(1, min(6, gpus * per_gpu) + 1))
        host = (np.exp(rng.normal(-1.0, 3.0, pods)) * (rng.random(pods) < 0.7)).tolist()
        share = used(host, np.exp(rng.normal(0.0, 2.0, pods)).tolist(), drawn(rng, gpus, per_gpu, pods))
        assert share <= gpu_seconds_per_second(gpus, gpus * per_gpu, pods) * (1.0 + 1e-12)
        most = max(most, share)
    assert most > 0.99 * gpus


def test_pods_that_span_gpus_can_get_a_little_more_done_on_one_than_a_second_a_second() -> None:
    # Where the last pod is not alone on the first GPU its host part grows, so the two that span wait less for it there.
    demand = [(0.0, 1.0), (5.0, 5.0), (5.0, 5.0), (1.0, 0.0)]
    seconds = shared_seconds([0.0, 0.0, 0.0, 1.0], demand)
    assert 1.0005 < sum(second / s for (_, second), s in zip(demand, seconds, strict=True)) < 1.001


def test_a_gpu_that_no_two_pods_share_is_worth_a_second_a_second() -> None:
    assert [gpu_seconds_per_second(3, 3, customers) for customers in (1, 2, 3, 9)] == [1.0, 2.0, 3.0, 3.0]


def approximated(host: NDArray[np.float64], compute: NDArray[np.float64]) -> float:
    """GPU seconds a second of more than ten pods on one GPU, by twin.md's fifty iterations."""
    grown, queue = host * (1.0 + HOST_CONTENTION * (len(host) - 1)), compute / (host + compute)
    for _ in range(50):
        here = compute * (1.0 + queue.sum() - queue)
        seconds = grown + here
        queue = here / seconds
    return float((compute / seconds).sum())


def test_many_pods_on_one_gpu_may_get_more_done_by_as_much_as_the_approximation_is_off() -> None:
    assert gpu_seconds_per_second(1, 10, 10) == 1.0
    assert 1.0 < gpu_seconds_per_second(1, 11, 11) < 1.03 < gpu_seconds_per_second(1, 64, 40) < 40.0
    rng, most = np.random.default_rng(0), 0.0
    for _ in range(300):
        pods = int(rng.integers(11, 41))
        host = np.exp(rng.normal(2.0, rng.uniform(0.0, 4.0), pods))
        share = approximated(host, np.exp(rng.normal(0.0, rng.uniform(0.0, 3.0), pods)))
        assert share <= gpu_seconds_per_second(1, 64, pods)
        most = max(most, share)
    assert most > 0.99
