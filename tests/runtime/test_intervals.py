"""Intervals around a median of seeds: how sure they are, and what has none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime.report.seeds import notes, title_line
from runtime.results.intervals import enough, interval, interval_ranks


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


def test_seeds_without_a_value_count_for_nothing() -> None:
    found = interval([1.0, 2.0, 3.0, 4.0, None, None])
    assert found is not None
    assert (found.low, found.high, found.count, found.confidence) == (1.0, 4.0, 4, 0.875)


def test_six_seeds_are_enough() -> None:
    assert enough() == 6


@pytest.mark.parametrize("count", [2, 3, 5, 6, 10])
def test_intervals_hold_the_median_as_often_as_they_say(count: int) -> None:
    rng, held, trials = np.random.default_rng(count), 0, 4000
    for _ in range(trials):
        found = interval(rng.exponential(size=count).tolist())
        assert found is not None
        held += found.low <= math.log(2.0) <= found.high
    assert held / trials == pytest.approx(interval_ranks(count)[1], abs=0.02)


def test_the_note_says_the_confidence_of_those_that_have_a_value() -> None:
    told = list(
        notes(
            6,
            {
                ("mean s", "RR"): [1.0, 2.0, 3.0, 4.0, None, None],
                ("mean s", "RL"): [1.0, None, None, None, None, None],
                ("J", "RR"): [0.5] * 6,
                ("J", "RL"): [None] * 6,
            },
        )
    )
    assert told == [
        "Medians over 6 seeds; an interval below one holds the median with 96.9% confidence.",
        "mean s of RR: 4 of 6 seeds have a value; the interval is theirs, with 87.5% confidence.",
        "mean s of RL: 1 of 6 seeds has a value; one gives no interval.",
    ]
    assert list(notes(3, {})) == [
        "Medians over 3 seeds; an interval below one holds the median with 75.0% confidence and no more: 6 seeds "
        "give 95%."
    ]


def test_the_title_of_a_figure_says_the_confidence_of_what_it_shows() -> None:
    whole, part, alone = (interval(values) for values in ([1.0, 2.0, 3.0], [1.0, 2.0, None], [1.0, None, None]))
    assert title_line(3, [whole, None]) == "3 seeds: median and its 75% confidence interval"
    assert title_line(3, [whole, part, alone]) == "3 seeds: median and its 50 to 75% confidence interval"
    assert title_line(3, [alone, None]) == "3 seeds: median, which no interval can be put around"


def test_a_number_that_no_seed_has_has_no_interval() -> None:
    assert interval([None, None]) is None
