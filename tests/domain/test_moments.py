"""Moments are compared on a clock of whole nanoseconds, whatever the digits of doubles (docs/twin.md, Time)."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.moments import FINE_S, last_before, nanoseconds, slots_at, slots_until, verge
from domain.workload import Arrivals

LENGTHS = st.decimals(min_value="0.01", max_value="100", places=2)


@given(LENGTHS, st.integers(0, 20_000))
def test_the_start_of_a_slot_is_the_decimal_that_people_would_write(length: Decimal, slot: int) -> None:
    exact = length * slot
    assert nanoseconds(slot * float(length)) == int(exact * 10**9)
    assert nanoseconds(float(exact)) == int(exact * 10**9)


@given(LENGTHS, st.integers(0, 10_000_000))
def test_far_from_the_start_it_still_is_to_the_microsecond(length: Decimal, slot: int) -> None:
    exact = length * (slot + int(FINE_S / float(length)) + 1)
    assert nanoseconds(float(exact)) == float(int(exact * 10**6)) * 1e3


@given(LENGTHS, st.integers(0, 20_000), st.integers(-3, 3))
def test_a_moment_lies_in_the_slot_that_begins_with_it(length: Decimal, slot: int, away_ns: int) -> None:
    slot_s, at = float(length), float(length * slot)
    at += away_ns * 1e-9
    if at >= 0.0:
        expected = slot if away_ns >= 0 else slot - 1
        assert slots_at(at, slot_s) == expected
        assert (at >= verge(slot * slot_s)) == (away_ns >= 0)


@given(LENGTHS, st.integers(1, 10_000_000))
def test_the_last_moment_of_a_slot_is_in_it(length: Decimal, slot: int) -> None:
    slot_s = float(length)
    assert slots_at(last_before(slot * slot_s), slot_s) == slot - 1
    assert last_before(slot * slot_s) < verge(slot * slot_s)


@pytest.mark.parametrize(("end_s", "slots"), [(0.0, 0), (0.1, 1), (0.3, 3), (0.31, 4), (0.30000000000000004, 3)])
def test_slots_begin_before_a_moment_not_at_it(end_s: float, slots: int) -> None:
    assert slots_until(end_s, 0.1) == slots


def test_a_request_at_a_border_of_slots_is_in_the_later_one_and_in_no_other() -> None:
    for slot_s, slot, at in ((7.3, 13, 94.9), (0.1, 3, 0.3), (12.1, 36, 435.6), (30.0, 4, 120.0)):
        arrivals = Arrivals.of([at], [0], [0], [1])
        counts = [len(arrivals.between(t * slot_s, (t + 1) * slot_s)) for t in range(slot + 2)]
        assert np.flatnonzero(counts).tolist() == [slot]
