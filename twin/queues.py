"""Compiled: requests in FIFO queues, from dispatch to the record of how they ended (docs/twin.md, A request)."""

from __future__ import annotations

import numpy as np

from domain.decisions import NOWHERE
from domain.moments import NS_PER_S, nanoseconds
from domain.telemetry import Outcome
from twin.compiled import compiled
from twin.layout import (
    ARRIVAL,
    ARRIVED,
    ARRIVED_PROMPTS,
    ARRIVED_REQUESTS,
    BATCH,
    ENDED,
    FREE,
    FRESH,
    HEAD,
    INFERENCE,
    INTERRUPTIONS,
    JOIN,
    LEFT,
    NEXT,
    ORIGIN,
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
    WAITING,
    Output,
    State,
    Tables,
)

moment = compiled(nanoseconds)
SUCCESS, LATE, EXPIRED_WAITING, EXPIRED_RUNNING, UNROUTABLE = (int(outcome) for outcome in Outcome)


@compiled
def dispatch(
    tables: Tables, state: State, out: Output, at_s: float, origin: int, i: int, prompts: int, target: int
) -> None:
    """Put a request into the queue of (target, i), in order of the moment at which it gets there."""
    pool_i, pool_f, counters = state.pool_i, state.pool_f, state.counters
    request = counters[ARRIVED]
    counters[ARRIVED] = request + 1
    arrived = state.arrived_in_slot[origin, i]
    arrived[ARRIVED_REQUESTS] += 1
    arrived[ARRIVED_PROMPTS] += prompts
    if target < 0:
        row = counters[ENDED]
        counters[ENDED] += 1
        out.record_i[R_REQUEST, row], out.record_i[R_LM, row], out.record_i[R_ORIGIN, row] = request, i, origin
        out.record_i[R_TARGET, row], out.record_i[R_PROMPTS, row] = NOWHERE, prompts
        out.record_i[R_OUTCOME, row], out.record_i[R_INTERRUPTIONS, row] = UNROUTABLE, 0
        out.record_f[:, row] = 0.0
        out.record_f[R_ARRIVAL, row] = at_s
        return
    join = moment(at_s)
    if target != origin:
        link = tables.network[origin, target]
        uplink = np.rint((link[0] + prompts * tables.payload[i, 0] * link[1]) * NS_PER_S)
        state.longest[0] = max(state.longest[0], uplink)
        join += uplink
    place = counters[FREE]
    if place >= 0:
        counters[FREE] = pool_i[place, NEXT]
    else:
        place = counters[FRESH]
        counters[FRESH] = place + 1
    counters[WAITING] += 1
    pod = state.pod_i[target, i]
    before = pod[TAIL]
    while before >= 0 and pool_f[before, JOIN] > join:
        before = pool_i[before, PREVIOUS]
    after = pod[HEAD] if before < 0 else pool_i[before, NEXT]
    new_i, new_f = pool_i[place], pool_f[place]
    new_i[REQUEST], new_i[ORIGIN], new_i[BATCH], new_i[INTERRUPTIONS] = request, origin, prompts, 0
    new_i[PREVIOUS], new_i[NEXT] = before, after
    new_f[ARRIVAL], new_f[JOIN], new_f[LEFT], new_f[INFERENCE] = at_s, join, prompts, 0.0
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


@compiled
def end(
    tables: Tables, state: State, out: Output, n: int, i: int, place: int, due: float, finish: float, finished: bool
) -> None:
    """Take a request out of its queue and write its record; `finish` is when inference ended, or its deadline `due`."""
    pool_i, counters = state.pool_i, state.counters
    pod, ints, floats = state.pod_i[n, i], pool_i[place], state.pool_f[place]
    record_i, record_f = out.record_i, out.record_f
    row = counters[ENDED]
    counters[ENDED] = row + 1
    origin, prompts, at = ints[ORIGIN], ints[BATCH], moment(floats[ARRIVAL])
    join, inference = floats[JOIN], floats[INFERENCE]
    downlink = 0.0
    if finished:
        if origin != n:
            link = tables.network[n, origin]
            downlink = np.rint((link[0] + prompts * tables.payload[i, 1] * link[1]) * NS_PER_S)
        outcome = SUCCESS if finish + downlink <= due else LATE
    else:
        outcome = EXPIRED_RUNNING if inference > 0.0 else EXPIRED_WAITING
        join = min(join, finish)
    record_i[R_REQUEST, row], record_i[R_LM, row], record_i[R_ORIGIN, row] = ints[REQUEST], i, origin
    record_i[R_TARGET, row], record_i[R_PROMPTS, row], record_i[R_OUTCOME, row] = n, prompts, outcome
    record_i[R_INTERRUPTIONS, row] = ints[INTERRUPTIONS]
    record_f[R_ARRIVAL, row], record_f[R_UPLINK, row] = floats[ARRIVAL], (join - at) / NS_PER_S
    record_f[R_QUEUE, row] = (finish - join - inference) / NS_PER_S
    record_f[R_INFERENCE, row], record_f[R_DOWNLINK, row] = inference / NS_PER_S, downlink / NS_PER_S
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
    pod[PROMPTS] -= prompts
    ints[NEXT] = counters[FREE]
    counters[FREE] = place
    counters[WAITING] -= 1


@compiled
def expire(tables: Tables, state: State, out: Output, n: int, i: int, now: float) -> None:
    """End every request of the queue whose deadline has passed at `now`; only the front of the queue can hold such."""
    deadline = tables.deadline_ns
    place = state.pod_i[n, i, HEAD]
    front = now - deadline + state.longest[0]
    while place >= 0 and state.pool_f[place, JOIN] <= front:
        after = state.pool_i[place, NEXT]
        due = moment(state.pool_f[place, ARRIVAL]) + deadline
        if due <= now:
            end(tables, state, out, n, i, place, due, due, False)
        place = after
