"""Compiled: the cheapest course of every request under given prices, the time that it takes of whom, and a price step.

Prices are piecewise constant on a grid of bins of `width` seconds, so that their integrals are piecewise linear and a
request costs least where its work begins at its arrival, begins or ends at an edge of a bin, or ends as early as it
could: exact in continuous time, nothing is rounded to the grid (docs/bound.md, claim 7).
"""

from __future__ import annotations

from twin.bound.menu import BoolArray, FloatArray, IntArray
from twin.compiled import compiled, compiled_alone

LATE = -1
"""Course of a request that costs least when it takes longer than its patience."""


@compiled
def _paid(paid: FloatArray, course: int, time_s: float, width: float) -> float:
    """The integral of the course's prices from 0 to time_s; nothing is paid after the grid."""
    place = time_s / width
    bin_ = int(place)
    last = paid.shape[1] - 1
    if bin_ >= last:
        return float(paid[course, last])
    return float(paid[course, bin_] + (place - bin_) * (paid[course, bin_ + 1] - paid[course, bin_]))


@compiled
def _cheapest(
    ready: float,
    after: float,
    least: float,
    length: float,
    fixed: float,
    pieces: int,
    course: int,
    paid: FloatArray,
    width: float,
    limit: float,
) -> tuple[float, float]:
    """Return what a course costs at least, and its start; more than `limit` need not be exact.

    From a start s on it costs max(s + after, least) + fixed, and `pieces` times what is paid from s to s + length.
    """
    last = paid.shape[1] - 1
    best, best_start = limit, ready
    turn = least - after  # from here on, who begins later is done later
    if turn > ready:
        total = least + fixed
        total += pieces * (_paid(paid, course, turn + length, width) - _paid(paid, course, turn, width))
        if total < best:
            best, best_start = total, turn
    edge = int(ready / width)
    begin = ready
    while max(begin + after, least) + fixed < best:
        at_end = (int((begin + length) / width) + 1) * width - length
        for start in (begin, at_end):
            if start > begin and start >= (edge + 1) * width:
                continue
            total = max(start + after, least) + fixed
            total += pieces * (_paid(paid, course, start + length, width) - _paid(paid, course, start, width))
            if total < best:
                best, best_start = total, start
        edge += 1
        begin = edge * width
        if edge > last:
            break
    return best, best_start


@compiled_alone
def choose(
    ready_s: FloatArray,
    prompts: IntArray,
    least_s: FloatArray,
    lm: IntArray,
    late: FloatArray,
    period: IntArray,
    first: IntArray,
    apart: BoolArray,
    interrupted: BoolArray,
    units: FloatArray,
    whole_s: FloatArray,
    lag_s: FloatArray,
    seconds: FloatArray,
    pause_s: FloatArray,
    rate: FloatArray,
    paid: FloatArray,
    width: float,
    cost: FloatArray,
    start_s: FloatArray,
    course: IntArray,
) -> None:
    """Find the cheapest course and start of each request of K prompts; only one of several can be interrupted.

    In one piece, course g from s on takes s - ready + pause[g], and units[g, K] cost rate[g, period] each, seconds
    included. Apart, each prompt costs the same, and the last is done `least_s`, `whole_s` or s - ready + units[g, K]
    seconds[g] after it was ready; or, if that is more, `lag_s` after the mean end. What is paid comes on top. `late` is
    the most that a request costs. Writes `cost`, `start_s`, `course`, all [R].
    """
    for q in range(ready_s.shape[0]):
        ready, k, i = ready_s[q], prompts[q], lm[q]
        best, best_start, best_course = late[q], ready, LATE
        for g in range(first[i], first[i + 1]):
            if k == 1 and interrupted[g]:
                continue
            length = pause_s[g] + units[g, k] * seconds[g]
            fixed = units[g, k] * rate[g, period[q]]
            if apart[g]:
                fixed *= k
                after, least = length - ready, max(least_s[q], whole_s[g, k])
                total, start = _cheapest(ready, after, least, length, fixed, k, g, paid, width, best)
                if lag_s[g, k] > 0.0 and total < best:
                    after += lag_s[g, k]
                    other, begun = _cheapest(ready, after, 0.0, length, fixed, k, g, paid, width, best)
                    if other > total:
                        total, start = other, begun
            else:
                total, start = _cheapest(ready, pause_s[g] - ready, 0.0, length, fixed, 1, g, paid, width, best)
            if total < best:
                best, best_start, best_course = total, start, g
        cost[q], start_s[q], course[q] = best, best_start, best_course


@compiled_alone
def occupy(
    served: BoolArray,
    prompts: IntArray,
    start_s: FloatArray,
    course: IntArray,
    apart: BoolArray,
    units: FloatArray,
    seconds: FloatArray,
    pause_s: FloatArray,
    width: float,
    busy: FloatArray,
) -> None:
    """Add up, into `busy` [G, B], the seconds of each bin that the served requests spend in each course."""
    busy[:] = 0.0
    bins = busy.shape[1]
    for q in range(served.shape[0]):
        g = course[q]
        if not served[q] or g == LATE:
            continue
        start = start_s[q]
        end = start + pause_s[g] + units[g, prompts[q]] * seconds[g]
        pieces = prompts[q] if apart[g] else 1
        for b in range(int(start / width), bins):
            if b * width >= end:
                break
            busy[g, b] += pieces * max(0.0, min(end, (b + 1) * width) - max(start, b * width))


@compiled_alone
def steepness(prices: FloatArray, slope: FloatArray, step: FloatArray) -> float:
    """Clear the slope of prices that are 0 and would fall; return the squared length of the rest, weighted by step."""
    total = 0.0
    for j in range(prices.shape[0]):
        if prices[j] <= 0.0 and slope[j] < 0.0:
            slope[j] = 0.0
        total += step[j] * slope[j] * slope[j]
    return total


@compiled_alone
def move(prices: FloatArray, push: FloatArray, slope: FloatArray, step: FloatArray, keep: float, gain: float) -> None:
    """Turn the push towards the slope and move the prices along it, never below 0; all in place."""
    for j in range(prices.shape[0]):
        push[j] = keep * push[j] + step[j] * slope[j]
        prices[j] = max(0.0, prices[j] + gain * push[j])
