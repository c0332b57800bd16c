"""Intervals around a median of seeds: how sure they are, and what has none."""

from __future__ import annotations

from runtime.results.intervals import interval, interval_ranks


def test_an_interval_of_the_median_says_how_sure_it_is() -> None:
    assert interval_ranks(1) == (1, 0.0)
    assert interval_ranks(5) == (1, 0.9375)
    assert interval_ranks(6) == (1, 0.96875)
    # Binomial(20, 1/2): P(B <= 5) = 0.0207, so ranks 6 and 15 enclose the median with 95.9 %.
    rank, confidence = interval_ranks(20)
    assert (rank, round(confidence, 3)) == (6, 0.959)
    middle = interval([float(v) for v in range(1, 21)])
    assert middle is not None
    assert (middle.low, middle.median, middle.high) == (6.0, 10.5, 15.0)


def test_a_number_that_no_seed_has_has_no_interval() -> None:
    assert interval([None, None]) is None
