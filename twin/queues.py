"""Compiled: requests in FIFO queues, from dispatch to the record of how they ended (docs/twin.md, A request)."""

from __future__ import annotations

import numpy as np

from domain.decisions import NOWHERE
from domain.moments import NS_PER_S, nanoseconds
from domain.telemetry import Outcome
from twin.compiled import compiled, compiled_call
from twin.layout import (
    ARRIVAL,
    ARRIVED,
    ARRIVED_PROMPTS,
    ARRIVED_REQUESTS,
    BATCH,
    ENDED,
    FREE,
    FREE_WHOLE,
    FRESH,
    FRESH_WHOLE,
    HEAD,
    INFERENCE,
    INTERRUPTIONS,
    JOIN,
    LEFT,
    LONGEST,
    NEXT,
    ORIGIN,
    PLACES,
    PREVIOUS,
    PROMPTS,
    R_ARRIVAL,
    R_DOWNLINK,
    R_INFERENCE,
    R_INTERRUPTIONS,
    R_LM,
    R_ORIGIN,
    R_OUTCOME,
    R_PROMPTS,
    R_QUEUE,
    R_REQUEST,
    R_TARGET,
    R_UPLINK,
    REQUEST,
    REQUESTS,
    SERVING,
    TAIL,
    TAKEN,
    W_DOWNLINK,
    W_EXPIRED,
    W_INFERENCE,
    W_INTERRUPTIONS,
    W_LAST,
    W_NEXT,
    W_PARTS,
    W_PROMPTS,
    W_QUEUE,
    W_TARGET,
    W_UPLINK,
    W_WORKED,
    WAITING,
    WHOLE,
    WHOLES,
    Output,
    State,
)
from twin.tables import L_DOWNLINK, L_UPLINK, Tables

moment = compiled(nanoseconds)
SUCCESS, LATE, EXPIRED_WAITING, EXPIRED_RUNNING, UNROUTABLE = (int(outcome) for outcome in Outcome)


@compiled
def arrive(state: State, origin: int, i: int, prompts: int) -> int:
    """Count a request; return its number."""
    request = state.counters[ARRIVED]
    state.counters[ARRIVED] = request + 1
    arrived = state.pod_i[origin, i]
    arrived[ARRIVED_REQUESTS] += 1
    arrived[ARRIVED_PROMPTS] += prompts
    return int(request)


@compiled
def refuse(state: State, out: Output, request: int, at_s: float, origin: int, i: int, prompts: int) -> None:
    """Write the record of a request that no route leads anywhere."""
    row = state.counters[ENDED]
    state.counters[ENDED] += 1
    out.record_i[R_REQUEST, row], out.record_i[R_LM, row], out.record_i[R_ORIGIN, row] = request, i, origin
    out.record_i[R_TARGET, row], out.record_i[R_PROMPTS, row] = NOWHERE, prompts
    out.record_i[R_OUTCOME, row], out.record_i[R_INTERRUPTIONS, row] = UNROUTABLE, 0
    out.record_f[:, row] = 0.0
    out.record_f[R_ARRIVAL, row] = at_s


@compiled
def uplink_ns(tables: Tables, origin: int, target: int, i: int, prompts: int) -> float:
    """Return how long so many prompts travel to a node."""
    if target == origin:
        return 0.0
    link = tables.network[origin, target]
    return float(np.rint((link[0] + prompts * tables.lm_f[i, L_UPLINK] * link[1]) * NS_PER_S))


@compiled
def downlink_ns(tables: Tables, origin: int, target: int, i: int, prompts: int) -> float:
    """Return how long so many answers travel back."""
    if target == origin:
        return 0.0
    link = tables.network[target, origin]
    return float(np.rint((link[0] + prompts * tables.lm_f[i, L_DOWNLINK] * link[1]) * NS_PER_S))


@compiled
def send(
    tables: Tables,
    state: State,
    request: int,
    at_s: float,
    origin: int,
    i: int,
    prompts: int,
    target: int,
    whole: int,
) -> None:
    """Put a request, or a part of the one at `whole`, into a queue, in order of the moment at which it gets there."""
    pool_i, pool_f, counters = state.pool_i, state.pool_f, state.counters
    join = moment(at_s)
    if target != origin:
        uplink = uplink_ns(tables, origin, target, i, prompts)
        state.counters[LONGEST] = max(state.counters[LONGEST], uplink)
        join += uplink
    place = counters[FREE]
    if place >= 0:
        counters[FREE] = pool_i[place, NEXT]
    else:
        place = counters[FRESH]
        counters[FRESH] = place + 1
    counters[PLACES] += 1
    pod = state.pod_i[target, i]
    before = pod[TAIL]
    while before >= 0 and pool_f[before, JOIN] > join:
        before = pool_i[before, PREVIOUS]
    after = pod[HEAD] if before < 0 else pool_i[before, NEXT]
    new_i, new_f = pool_i[place], pool_f[place]
    new_i[REQUEST], new_i[ORIGIN], new_i[BATCH], new_i[INTERRUPTIONS] = request, origin, prompts, 0
    new_i[PREVIOUS], new_i[NEXT], new_i[WHOLE] = before, after, whole
    new_f[ARRIVAL], new_f[JOIN], new_f[LEFT], new_f[INFERENCE] = at_s, join, prompts, 0.0
    state.pool_i[place, TAKEN:] = 0
    if before < 0:
        pod[HEAD] = place
    else:
        pool_i[before, NEXT] = place
    if after < 0:
        pod[TAIL] = place
    else:
        pool_i[after, PREVIOUS] = place
    pod[REQUESTS] += 1
    pod[PROMPTS] += prompts


def take_out(
    tables: Tables, state: State, out: Output, n: int, i: int, place: int, due: float, finish: float, finished: bool
) -> None:
    """Take a request, or a part, out of its queue; write the record of the request where it has ended with that.

    `finish` is when inference ended, or the deadline `due`.
    """
    pool_i, counters = state.pool_i, state.counters
    pod, ints, floats = state.pod_i[n, i], pool_i[place], state.pool_f[place]
    origin, prompts, at = ints[ORIGIN], ints[BATCH], moment(floats[ARRIVAL])
    join, inference = floats[JOIN], floats[INFERENCE]
    downlink = 0.0
    if finished:
        downlink = downlink_ns(tables, origin, n, i, prompts)
        outcome = SUCCESS if finish + downlink <= due else LATE
    else:
        outcome = EXPIRED_RUNNING if inference > 0.0 else EXPIRED_WAITING
        join = min(join, finish)
    interruptions, target = ints[INTERRUPTIONS], n
    uplink, queue = join - at, finish - join - inference
    last = True
    if ints[WHOLE] >= 0:
        whole_i, whole_f = state.whole_i[ints[WHOLE]], state.whole_f[ints[WHOLE]]
        told = inference
        if finished:
            told = finish + downlink
        elif whole_i[W_EXPIRED] == 0:
            whole_i[W_EXPIRED], whole_f[W_LAST] = 1, -1.0
        better = told > whole_f[W_LAST] or (told == whole_f[W_LAST] and n < whole_i[W_TARGET])
        if better and (not finished or whole_i[W_EXPIRED] == 0):
            whole_i[W_TARGET], whole_f[W_LAST], whole_f[W_UPLINK], whole_f[W_QUEUE] = n, told, uplink, queue
            whole_f[W_INFERENCE], whole_f[W_DOWNLINK] = inference, downlink
        whole_i[W_PARTS] -= 1
        whole_i[W_INTERRUPTIONS] += interruptions
        if inference > 0.0:
            whole_i[W_WORKED] = 1
        last = whole_i[W_PARTS] == 0
        if last:
            target, interruptions, prompts = whole_i[W_TARGET], whole_i[W_INTERRUPTIONS], whole_i[W_PROMPTS]
            uplink, queue = whole_f[W_UPLINK], whole_f[W_QUEUE]
            inference, downlink = whole_f[W_INFERENCE], whole_f[W_DOWNLINK]
            if whole_i[W_EXPIRED] == 0:
                outcome = SUCCESS if whole_f[W_LAST] <= due else LATE
            else:
                outcome = EXPIRED_RUNNING if whole_i[W_WORKED] == 1 else EXPIRED_WAITING
            whole_i[W_NEXT] = counters[FREE_WHOLE]
            counters[FREE_WHOLE] = ints[WHOLE]
            counters[WHOLES] -= 1
    if last:
        record_i, record_f, row = out.record_i, out.record_f, counters[ENDED]
        counters[ENDED] = row + 1
        counters[WAITING] -= 1
        record_i[R_REQUEST, row], record_i[R_LM, row], record_i[R_ORIGIN, row] = ints[REQUEST], i, origin
        record_i[R_TARGET, row], record_i[R_PROMPTS, row], record_i[R_OUTCOME, row] = target, prompts, outcome
        record_i[R_INTERRUPTIONS, row] = interruptions
        record_f[R_ARRIVAL, row], record_f[R_UPLINK, row] = floats[ARRIVAL], uplink / NS_PER_S
        record_f[R_QUEUE, row], record_f[R_INFERENCE, row] = queue / NS_PER_S, inference / NS_PER_S
        record_f[R_DOWNLINK, row] = downlink / NS_PER_S
    before, after = ints[PREVIOUS], ints[NEXT]
    if before < 0:
        pod[HEAD] = after
        pod[SERVING] = 0
    else:
        pool_i[before, NEXT] = after
    if after < 0:
        pod[TAIL] = before
    else:
        pool_i[after, PREVIOUS] = before
    pod[REQUESTS] -= 1
    # Served from batch to batch, prompts are taken off as they are finished.
    pod[PROMPTS] -= np.int64(floats[LEFT]) if tables.by_batch else ints[BATCH]
    ints[NEXT] = counters[FREE]
    counters[FREE] = place
    counters[PLACES] -= 1


end, end_called = compiled(take_out), compiled_call(take_out)
"""Inlined where every request passes, called where code is rare or large: it took most of the time of compiling."""


@compiled
def divide(state: State, request_parts: int, prompts: int) -> int:
    """Make a request of several parts; return its place, which each of its parts names."""
    counters = state.counters
    place = counters[FREE_WHOLE]
    if place >= 0:
        counters[FREE_WHOLE] = state.whole_i[place, W_NEXT]
    else:
        place = counters[FRESH_WHOLE]
        counters[FRESH_WHOLE] = place + 1
    counters[WHOLES] += 1
    state.whole_i[place, :] = 0
    state.whole_f[place, :] = 0.0
    state.whole_i[place, W_PARTS], state.whole_i[place, W_PROMPTS] = request_parts, prompts
    state.whole_f[place, W_LAST] = -1.0
    return int(place)


@compiled
def expire(tables: Tables, state: State, out: Output, n: int, i: int, now: float) -> None:
    """End every request of the queue whose deadline has passed at `now`; only the front of the queue can hold such."""
    deadline = tables.deadline_ns
    place = state.pod_i[n, i, HEAD]
    front = now - deadline + state.counters[LONGEST]
    while place >= 0 and state.pool_f[place, JOIN] <= front:
        after = state.pool_i[place, NEXT]
        due = moment(state.pool_f[place, ARRIVAL]) + deadline
        if due <= now:
            end_called(tables, state, out, n, i, place, due, due, False)
        place = after
