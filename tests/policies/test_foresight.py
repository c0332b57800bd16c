"""Predictions are held against exactly the requests that they were made for."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from domain.serving import Dispatch, Serving
from domain.telemetry import Outcome, Records, Snapshot
from policies.rehearsal.foresight import MOST, Expectation, Figures, Foresight
from policies.rehearsal.profile import Profile
from tests.clusters import quiet, tiny

CLUSTER = tiny()
SLOT_S = CLUSTER.slot_s


def ended(*requests: tuple[float, float, int]) -> Records:
    """Requests as (arrival, latency, LM), all of them served."""
    n = len(requests)
    arrival, latency, lm = (np.array(column) for column in zip(*requests, strict=True)) if n else 3 * (np.empty(0),)
    ints, zeros = np.zeros(n, dtype=np.int64), np.zeros(n)
    return Records(
        request=ints, lm=lm.astype(np.int64), origin=ints, target=ints, prompts=ints + 1,
        outcome=ints + int(Outcome.SUCCESS), interruptions=ints, arrival_s=arrival.astype(np.float64), uplink_s=zeros,
        queue_s=latency.astype(np.float64), inference_s=zeros, downlink_s=zeros,
    )  # fmt: skip


def after(slot: int, arrived: int) -> Snapshot:
    counts = np.zeros((2, 2), dtype=np.int64)
    counts[0, 0] = arrived
    return replace(quiet(CLUSTER, slot), arrived_requests=counts)


def expected(latency_s: float, slots: int = 3, assumed: bool = False) -> Expectation:
    """Two requests of each LM in every slot, all served after so many seconds."""
    counts = np.full((slots + 1, 2), 2, dtype=np.int64)
    profile = Profile(counts, counts, np.full(slots + 1, 4 * latency_s))
    return Expectation(Figures(0.1, latency_s, 1.0), profile, assumed)


def follow(foresight: Foresight, latency_s: float, slots: int, first: int = 0) -> None:
    """Let a request arrive and end in each slot."""
    for slot in range(first, first + slots):
        foresight.passed(ended(((slot + 0.5) * SLOT_S, latency_s, 0)), after(slot + 1, 1))


def test_a_plan_is_compared_when_the_last_of_its_requests_has_ended() -> None:
    foresight = Foresight(CLUSTER)
    foresight.expect(quiet(CLUSTER), expected(10.0))
    follow(foresight, 12.0, 2)
    foresight.passed(ended(), after(3, 1))
    assert foresight.take() == []
    late = (2.5 * SLOT_S, 24.0, 1)
    foresight.passed(ended(late, (3.5 * SLOT_S, 99.0, 0)), after(4, 1))  # the second arrived after the horizon
    (done,) = foresight.take()
    assert (done.slot, done.slots, done.requests) == (0, 3, 3)
    assert done.predicted.mean_latency_s == pytest.approx(10.0)
    assert done.came_out.mean_latency_s == pytest.approx(16.0)
    assert done.came_out.objective == pytest.approx(CLUSTER.latency_weight * 16.0 / CLUSTER.deadline_s)
    assert foresight.totals.plans == 1
    assert foresight.totals.latency_error_s == pytest.approx(6.0)


def test_a_plan_that_is_replaced_answers_for_its_own_time_alone() -> None:
    foresight = Foresight(CLUSTER)
    foresight.expect(quiet(CLUSTER), expected(10.0))
    follow(foresight, 20.0, 1)
    foresight.expect(quiet(CLUSTER, 1), expected(30.0))
    follow(foresight, 40.0, 3, first=1)
    first, second = foresight.take()
    assert (first.slot, first.slots, first.came_out.mean_latency_s) == (0, 1, 20.0)
    assert (second.slot, second.slots, second.came_out.mean_latency_s) == (1, 3, 40.0)


def test_the_correction_follows_what_was_missed_within_bounds() -> None:
    foresight = Foresight(CLUSTER)
    for k in range(40):
        foresight.expect(quiet(CLUSTER, 3 * k), expected(1.0))
        follow(foresight, 100.0, 3, first=3 * k)
    assert 1.9 < foresight.totals.factor <= MOST
    figures = Figures(0.1, 10.0, 1.0).corrected(1.5, CLUSTER)
    assert figures.mean_latency_s == 15.0
    assert figures.objective == pytest.approx(0.1 + CLUSTER.latency_weight * 5.0 / CLUSTER.deadline_s)


def test_a_plan_for_traffic_that_was_assumed_is_listed_and_not_counted() -> None:
    foresight = Foresight(CLUSTER)
    foresight.expect(quiet(CLUSTER), expected(10.0, assumed=True))
    follow(foresight, 20.0, 3)
    assert [done.assumed for done in foresight.take()] == [True]
    assert (foresight.totals.plans, foresight.totals.factor) == (0, 1.0)


def test_what_is_saved_goes_on_alike_and_a_plan_without_a_prediction_is_not_followed() -> None:
    one, other = Foresight(CLUSTER), Foresight(CLUSTER)
    one.expect(quiet(CLUSTER), expected(10.0))
    follow(one, 12.0, 3)
    one.expect(quiet(CLUSTER, 3), expected(8.0))
    follow(one, 9.0, 1, first=3)
    other.load(json.loads(json.dumps(one.save())))
    for foresight in (one, other):
        follow(foresight, 11.0, 2, first=4)
    assert one.save() == other.save()
    assert one.totals.plans == 2
    one.forget(6)
    follow(one, 11.0, 3, first=6)
    assert one.expected is None
    assert one.totals.plans == 2


def test_nobody_is_blamed_where_nothing_arrived() -> None:
    foresight = Foresight(CLUSTER)
    foresight.expect(quiet(CLUSTER), expected(10.0))
    for slot in range(40):
        foresight.passed(ended(), after(slot + 1, 0))
    assert foresight.idle


def test_parts_of_requests_that_wait_count_as_one_request() -> None:
    foresight = Foresight(replace(CLUSTER, serving=Serving(Dispatch.SPLIT)))
    foresight.passed(ended(), after(1, 1))
    parts = np.zeros((2, 2), dtype=np.int64)
    parts[:, 0] = 1
    foresight.expect(replace(quiet(CLUSTER, 1), backlog_requests=parts), expected(10.0, slots=1))
    again = Foresight(replace(CLUSTER, serving=Serving(Dispatch.SPLIT)))
    again.load(json.loads(json.dumps(foresight.save())))
    for one in (foresight, again):
        one.passed(ended((0.5 * SLOT_S, 12.0, 0), (1.5 * SLOT_S, 12.0, 0)), after(2, 1))
        assert [done.requests for done in one.take()] == [2]


def test_what_waits_in_parts_is_kept_before_a_plan_is_followed() -> None:
    foresight = Foresight(replace(CLUSTER, serving=Serving(Dispatch.SPLIT)))
    foresight.passed(ended(), after(1, 3))
    assert not foresight.idle
    assert foresight.save()["waiting"] == 3
