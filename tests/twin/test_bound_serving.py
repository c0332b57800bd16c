"""The bounds where requests are dispatched, batched and copied: by hand, against all dealings, and how they move."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.cluster import Cluster, Node
from domain.large_model import CpuProfile, GpuProfile, LargeModel
from domain.serving import BatchCurve, Batching, Dispatch, Serving
from tests.bounds import ON_GPU, READY_AT_ONCE, ROUNDING, SEARCHED, Asked, asked, bounded
from tests.dealings import Pod, least_mean_s
from tests.oracle.hand import LM, NODE, cluster, gpu_node
from twin.bound import Bound, bound

CURVE = BatchCurve(((1, 1.0), (2, 1.2), (4, 2.0)))
BATCHED = replace(
    READY_AT_ONCE,
    cpu_profiles={"cpu": CpuProfile(((1, 2.0), (2, 1.0)), CURVE)},
    gpu_profiles={"gpu": GpuProfile(0.5, 1.5, CURVE)},
)
SPLIT, ARRIVAL = Serving(Dispatch.SPLIT), Serving(Dispatch.ARRIVAL)


def serving(where: Cluster, how: Serving) -> Cluster:
    return replace(where, serving=how)


def near(*nodes: Node, lm: LargeModel = LM) -> Cluster:
    """Nodes between which nothing takes time."""
    where = cluster(*nodes, lm=lm)
    return replace(where, latency_s=0.0 * where.latency_s, seconds_per_byte=0.0 * where.seconds_per_byte)


# By hand


def test_a_request_that_may_be_split_takes_as_long_as_its_longest_part() -> None:
    # At home 1 s a prompt; elsewhere 1 s and half a second a prompt up, 1 s and 1 s a prompt down, and 1 s a prompt.
    where = serving(cluster(NODE, NODE), SPLIT)
    alone = [bounded(where, asked((0.0, 0, 0, k)), steps=0).solo_mean_s for k in range(1, 8)]
    # Back from home at 1, 2, 3, 4, 5, 6 …, from elsewhere at 4.5, 7 …: dealt in this order.
    assert alone == [1.0, 2.0, 3.0, 4.0, 4.5, 5.0, 6.0]
    assert bounded(where, asked((0.0, 0, 0, 7))).capacity_mean_s >= 6.0
    assert bounded(serving(where, ARRIVAL), asked((0.0, 0, 0, 7))).solo_mean_s == 7.0


def test_requests_that_may_be_split_still_share_all_pods() -> None:
    found = bounded(serving(near(NODE, NODE), SPLIT), asked(*[(0.0, 0, 0, 4)] * 3))
    assert found.solo_mean_s == 2.0
    assert found.capacity_mean_s <= (2.0 + 4.0 + 6.0) / 3 * ROUNDING
    assert found.capacity_mean_s > 3.4


def test_where_one_pod_is_all_there_is_a_request_that_may_be_split_is_one_that_is_not() -> None:
    requests = asked(*[(0.0, 0, 0, 3)] * 3)
    assert bounded(serving(cluster(NODE), SPLIT), requests).capacity_mean_s == pytest.approx(6.0, rel=0.01)


def test_a_request_takes_the_best_batches() -> None:
    where = cluster(NODE, lm=BATCHED)
    alone = {
        batching: [
            bounded(serving(where, Serving(batching=batching)), asked((0.0, 0, 0, k)), steps=0).solo_mean_s
            for k in range(1, 6)
        ]
        for batching in Batching
    }
    assert alone[Batching.NONE] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert alone[Batching.REQUEST] == alone[Batching.QUEUE] == pytest.approx([1.0, 1.2, 1.6, 2.0, 2.8])


def test_requests_share_a_batch_only_where_batches_come_from_the_queue() -> None:
    where = cluster(NODE, lm=BATCHED)
    requests = asked(*[(0.0, 0, 0, 1)] * 4)
    own, shared = (
        bounded(serving(where, Serving(batching=batching)), requests) for batching in (Batching.REQUEST, Batching.QUEUE)
    )
    assert own.capacity_mean_s == pytest.approx((1.0 + 2.0 + 3.0 + 4.0) / 4, rel=0.01)
    assert shared.capacity_mean_s <= 2.0 * ROUNDING  # all four in 2 units
    assert shared.capacity_mean_s > 1.2


def test_copies_are_as_many_pods() -> None:
    where = cluster(gpu_node(2, 1), lm=ON_GPU)
    requests = asked((0.0, 0, 0, 2), (0.0, 0, 0, 2))
    assert bounded(where, requests).capacity_mean_s == pytest.approx((4.0 + 8.0) / 2, rel=0.01)
    twice = bounded(serving(where, Serving(copies=True)), requests)
    assert twice.solo_mean_s == 2.0  # a prompt on each copy
    assert twice.capacity_mean_s <= (2.0 + 4.0) / 2 * ROUNDING
    assert twice.capacity_mean_s > 2.5


@pytest.mark.parametrize("lm", [replace(ON_GPU, vram_gb=5.0), replace(ON_GPU, ram_gb=5.0)], ids=["vRAM", "RAM"])
def test_an_lm_has_no_copies_where_memory_does_not_hold_two(lm: LargeModel) -> None:
    where = serving(cluster(gpu_node(2, 1), lm=lm), Serving(copies=True))
    assert bounded(where, asked((0.0, 0, 0, 2))).solo_mean_s == 4.0


def test_p1s_own_bound_can_be_asked_for_beside_that_of_the_setting() -> None:
    where, requests = cluster(NODE, NODE, lm=BATCHED), asked((0.0, 0, 0, 4), (0.0, 0, 0, 4))
    p1 = bound(where, requests)
    open_ = serving(where, Serving(Dispatch.SPLIT, batching=Batching.QUEUE))
    assert bound(open_, requests, serving=Serving()).capacity_mean_s == p1.capacity_mean_s
    assert bound(open_, requests).capacity_mean_s < p1.capacity_mean_s


# All dealings


TINY: dict[str, list[Asked]] = {
    "two at once": [(0.0, 0, 0, 3), (0.0, 0, 0, 2), (0.5, 1, 0, 1)],
    "one after the other": [(0.0, 0, 0, 3), (1.0, 1, 0, 3), (2.5, 0, 0, 2)],
    "a crowd": [(0.0, 0, 0, 2), (0.0, 0, 0, 1), (0.25, 0, 0, 3), (0.5, 0, 0, 1)],
}


@pytest.mark.parametrize("requests", TINY.values(), ids=TINY.keys())
@pytest.mark.parametrize("batching", Batching)
@pytest.mark.parametrize("dispatch", [Dispatch.ARRIVAL, Dispatch.SPLIT])
@pytest.mark.parametrize("copies", [(1, 1), (2, 2), (1, 2)])
def test_no_dealing_of_requests_over_pods_beats_the_bound(
    requests: list[Asked], batching: Batching, dispatch: Dispatch, copies: tuple[int, ...]
) -> None:
    nodes = [NODE if number == 1 else gpu_node(2, 1) for number in copies]
    lm = replace(BATCHED, gpu_only=copies == (2, 2))
    pods = [Pod(float(number), number, CURVE) for number in copies]  # 1 s on two cores, 2 s on a GPU
    for place in (near, cluster):
        where = serving(place(*nodes, lm=lm), Serving(dispatch, batching=batching, copies=True))
        least_s = least_mean_s(where, pods, requests, dispatch is Dispatch.SPLIT)
        found = bounded(where, asked(*requests), steps=24)
        assert found.full_service
        assert found.solo_mean_s <= found.capacity_mean_s <= least_s * ROUNDING
        if place is near and nodes[0] == nodes[1]:  # it does not see who is far from whom, and deploys as it likes
            assert least_s < 1.5 * found.capacity_mean_s


# What must move which way

REQUESTS = st.lists(
    st.tuples(st.integers(0, 40).map(lambda t: t / 2), st.integers(0, 1), st.integers(0, 1), st.integers(1, 4)),
    min_size=1,
    max_size=10,
)
FEW = settings(max_examples=4, deadline=None, derandomize=True, database=None)
PAIR = cluster(gpu_node(2, 2), NODE, lms=2, lm=BATCHED, tau=60.0)


def quick(how: Serving, requests: list[Asked]) -> Bound:
    return bounded(serving(PAIR, how), asked(*requests), steps=24)


@FEW
@given(REQUESTS, st.sampled_from(Batching), st.booleans())
def test_origins_that_choose_change_no_limit_and_those_that_split_raise_none(
    requests: list[Asked], batching: Batching, copies: bool
) -> None:
    fixed, arrival, split = (quick(Serving(d, batching=batching, copies=copies), requests) for d in Dispatch)
    assert arrival.capacity_mean_s == fixed.capacity_mean_s
    assert (split.max_success >= fixed.max_success).all()
    assert split.solo_at(fixed.max_success) <= fixed.solo_mean_s * ROUNDING
    assert split.at_service(fixed.max_success) <= fixed.capacity_mean_s * SEARCHED


@FEW
@given(REQUESTS, st.sampled_from(Dispatch), st.booleans())
def test_batches_and_copies_raise_no_limit(requests: list[Asked], dispatch: Dispatch, copies: bool) -> None:
    none, own, queue = (quick(Serving(dispatch, batching=b, copies=copies), requests) for b in Batching)
    single = none if not copies else quick(Serving(dispatch), requests)
    for more, less in ((single, none), (none, own), (own, queue)):
        assert (less.max_success >= more.max_success).all()
        assert less.solo_at(more.max_success) <= more.solo_mean_s * ROUNDING
        assert less.at_service(more.max_success) <= more.capacity_mean_s * SEARCHED


def test_settings_that_change_nothing_leave_the_bound_as_it_is() -> None:
    where, requests = cluster(NODE, NODE, lm=LM), asked((0.0, 0, 0, 4), (0.5, 0, 0, 1), (0.5, 1, 0, 2))
    same = Serving(batching=Batching.QUEUE, copies=True)  # no profile of batches, no node with several GPUs
    assert bounded(serving(where, same), requests).capacity_mean_s == bounded(where, requests).capacity_mean_s
