"""Which cases are recalled: against a search that looks at everything at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.recall import Key, Picker, Picks, Traffic, distances, policy_hash, traffic_vector

A: Traffic = {"chat": {"hub": 6.0, "edge": 2.0}}


class Row(NamedTuple):
    epoch: int
    objective: float
    policy: int
    traffic: Traffic

    @property
    def key(self) -> Key:
        return ("r", self.epoch)


def pick(rows: list[Row], best: int, worst: int, nearest: int, traffic: Traffic | None = A, chunk: int = 3) -> Picks:
    picker = Picker(traffic, best, worst, nearest)
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        picker.add([("r", row.epoch, row.objective, row.policy, traffic_vector(row.traffic)) for row in part])
    return picker.picks()


def plain(objectives: list[float]) -> list[Row]:
    """One case for each J, every one with a policy of its own."""
    return [Row(n, j, n, A) for n, j in enumerate(objectives)]


def distance(a: Traffic, b: Traffic) -> float:
    return float(distances(traffic_vector(a), [traffic_vector(b)])[0])


def test_the_same_traffic_is_at_distance_zero_whatever_the_order_of_names() -> None:
    assert distance(A, {"draw": {"hub": 0.0}, "chat": {"edge": 2.0, "hub": 6.0}}) == 0.0


def test_traffic_with_nothing_in_common_is_at_distance_one() -> None:
    assert distance(A, {"draw": {"hub": 6.0, "edge": 2.0}}) == distance(A, {}) == distance({}, A) == 1.0


def test_no_traffic_is_like_no_traffic() -> None:
    assert distance({}, {}) == 0.0


def test_distance_is_the_difference_over_the_sum() -> None:
    # |6-3| + |2-4| + |0-1| = 6 of 8 + 8
    assert distance(A, {"chat": {"hub": 3.0, "edge": 4.0}, "draw": {"hub": 1.0}}) == 6 / 16


def test_distance_heeds_the_volume_as_well_as_the_mix() -> None:
    assert distance(A, {"chat": {"hub": 12.0, "edge": 4.0}}) == pytest.approx(1 / 3)


def test_a_name_is_not_confused_with_another_split_of_the_same_letters() -> None:
    assert distance({"ab": {"c": 1.0}}, {"a": {"bc": 1.0}}) == 1.0


def test_policies_are_told_apart_by_what_they_say_and_not_by_the_order_of_names() -> None:
    assert policy_hash({"a": 1, "b": {"c": 2, "d": 3}}) == policy_hash({"b": {"d": 3, "c": 2}, "a": 1})
    assert policy_hash({"a": 1}) != policy_hash({"a": 2})


def test_best_come_lowest_first_and_worst_highest_first() -> None:
    picks = pick(plain([0.5, 0.1, 0.9, 0.2, 0.8, 0.6]), 2, 2, 0)
    assert [key[1] for key in picks.best] == [1, 3]
    assert [key[1] for key in picks.worst] == [2, 4]


def test_a_case_is_shown_once_even_where_it_is_the_best_and_the_nearest() -> None:
    picks = pick(plain([0.5, 0.1]), 1, 1, 5)
    assert (picks.best, picks.worst, picks.nearest) == ((("r", 1),), (("r", 0),), ())


def test_a_short_memory_is_shared_out_between_best_and_worst() -> None:
    sizes = [len(pick(plain([0.1 * n for n in range(count)]), 3, 2, 0).best) for count in (1, 2, 3, 4, 5, 6)]
    assert sizes == [1, 1, 2, 2, 3, 3]
    assert len(pick(plain([0.1, 0.2, 0.3, 0.4]), 3, 2, 0).worst) == 2


def test_cases_no_worse_than_the_best_are_no_negative_precedents() -> None:
    assert pick(plain([0.4, 0.4, 0.4]), 1, 2, 0).worst == ()


def test_of_equal_cases_the_earlier_is_chosen() -> None:
    picks = pick(plain([0.4] * 9), 2, 0, 2)
    assert picks.best == (("r", 0), ("r", 1))
    assert picks.nearest == (("r", 2), ("r", 3))


def test_of_equally_near_cases_the_one_with_the_lower_objective_comes_first() -> None:
    assert pick(plain([0.4, 0.2, 0.3]), 0, 0, 3).nearest == (("r", 1), ("r", 2), ("r", 0))


def test_a_policy_that_was_kept_for_many_epochs_is_shown_once_in_a_list() -> None:
    kept = [Row(n, 0.1 + 0.01 * n, 7, A) for n in range(10)]
    picks = pick([*kept, Row(10, 0.5, 8, A)], 3, 2, 0)
    assert (picks.best, picks.worst) == ((("r", 0),), (("r", 10), ("r", 9)))


def test_the_good_and_the_bad_day_of_one_policy_are_both_shown() -> None:
    picks = pick([Row(0, 0.1, 7, A), Row(1, 0.9, 7, A), Row(2, 0.5, 7, A)], 3, 2, 0)
    assert (picks.best, picks.worst) == ((("r", 0),), (("r", 1),))


def test_without_traffic_nothing_is_near() -> None:
    assert pick(plain([0.1, 0.2]), 0, 0, 2, traffic=None).nearest == ()


def test_asking_for_nothing_gives_nothing() -> None:
    assert pick(plain([0.1, 0.2]), 0, 0, 0) == Picks((), (), (), ())


TRAFFICS: list[Traffic] = [A, {}, {"chat": {"hub": 1.0}}, {"draw": {"edge": 4.0}}, {"chat": {"hub": 6.0, "edge": 3.0}}]
ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5), st.sampled_from(TRAFFICS)), max_size=40)


@given(ROWS, st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.integers(1, 50))
def test_chunks_make_no_difference_and_the_lists_are_what_a_full_search_finds(
    cases: list[tuple[int, int, Traffic]], best: int, worst: int, nearest: int, chunk: int
) -> None:
    rows = [Row(n, j / 8, policy, traffic) for n, (j, policy, traffic) in enumerate(cases)]
    picks = pick(rows, best, worst, nearest, chunk=chunk)
    shown = [*picks.best, *picks.worst, *picks.nearest]
    assert len(set(shown)) == len(shown)
    row_of = {row.key: row for row in rows}
    for keys in (picks.best, picks.worst, picks.nearest):
        assert len({row_of[key].policy for key in keys}) == len(keys)

    def firsts(order: list[Row]) -> list[Row]:
        by_policy: dict[int, Row] = {}
        for row in order:
            by_policy.setdefault(row.policy, row)
        return list(by_policy.values())

    low = firsts(sorted(rows, key=lambda r: r.objective))
    assert list(picks.best) == [r.key for r in low[: len(picks.best)]]
    high = [r.key for r in firsts(sorted(rows, key=lambda r: -r.objective))]
    assert [key for key in high if key in picks.worst] == list(picks.worst)
    if picks.best and picks.worst:
        assert max(row_of[k].objective for k in picks.best) < min(row_of[k].objective for k in picks.worst)
    near = firsts(sorted(rows, key=lambda r: (distance(A, r.traffic), r.objective)))
    expected = [r for r in near if r.key not in {*picks.best, *picks.worst}][:nearest]
    assert list(picks.nearest) == [r.key for r in expected]
    assert np.allclose(picks.distances, [distance(A, r.traffic) for r in expected])
