"""Compiled: requests in FIFO queues, from dispatch to the record of how they ended (docs/twin.md, A request)."""

from __future__ import annotations

from domain.decisions import NOWHERE
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
    REMAINING,
    REQUEST,
    REQUESTS,
    SERVING,
    TAIL,
    WAITING,
    Output,
    State,
    Tables,
)
from twin.pods import TIE

SUCCESS, LATE, EXPIRED_WAITING, EXPIRED_RUNNING, UNROUTABLE = (int(outcome) for outcome in Outcome)


@compiled
def dispatch(
    tables: Tables, state: State, out: Output, at: float, origin: int, i: int, prompts: int, target: int
) -> None:
    """Put one request into the queue of (target, i), in order of the moment at which it gets there."""
    pod, pool_i, pool_f, counters = state.pod_i, state.pool_i, state.pool_f, state.counters
    request = counters[ARRIVED]
    counters[ARRIVED] += 1
    state.arrived_in_slot[origin, i, ARRIVED_REQUESTS] += 1
    state.arrived_in_slot[origin, i, ARRIVED_PROMPTS] += prompts
    if target < 0:
        row = counters[ENDED]
        counters[ENDED] += 1
        out.record_i[R_REQUEST, row], out.record_i[R_LM, row], out.record_i[R_ORIGIN, row] = request, i, origin
        out.record_i[R_TARGET, row], out.record_i[R_PROMPTS, row] = NOWHERE, prompts
        out.record_i[R_OUTCOME, row], out.record_i[R_INTERRUPTIONS, row] = UNROUTABLE, 0
        out.record_f[:, row] = 0.0
        out.record_f[R_ARRIVAL, row] = at
        return
    uplink = 0.0
    if target != origin:
        uplink = tables.network[origin, target, 0] + prompts * tables.payload[i, 0] * tables.network[origin, target, 1]
    state.longest[0] = max(state.longest[0], uplink)
    place = counters[FREE]
    if place >= 0:
        counters[FREE] = pool_i[place, NEXT]
    else:
        place = counters[FRESH]
        counters[FRESH] += 1
    counters[WAITING] += 1
    join = at + uplink
    pool_i[place, REQUEST] = request
    pool_i[place, ORIGIN] = origin
    pool_i[place, BATCH] = prompts
    pool_i[place, INTERRUPTIONS] = 0
    pool_f[place, ARRIVAL] = at
    pool_f[place, JOIN] = join
    pool_f[place, REMAINING] = prompts
    pool_f[place, INFERENCE] = 0.0
    before = pod[target, i, TAIL]
    while before >= 0 and pool_f[before, JOIN] > join:
        before = pool_i[before, PREVIOUS]
    after = pod[target, i, HEAD] if before < 0 else pool_i[before, NEXT]
    pool_i[place, PREVIOUS] = before
    pool_i[place, NEXT] = after
    if before < 0:
        pod[target, i, HEAD] = place
    else:
        pool_i[before, NEXT] = place
    if after < 0:
        pod[target, i, TAIL] = place
    else:
        pool_i[after, PREVIOUS] = place
    pod[target, i, REQUESTS] += 1
    pod[target, i, PROMPTS] += prompts


@compiled
def end(tables: Tables, state: State, out: Output, n: int, i: int, place: int, finish: float, finished: bool) -> None:
    """Take a request out of its queue and write its record; `finish` is when inference ended or the deadline passed."""
    pod, pool_i, pool_f, counters = state.pod_i, state.pool_i, state.pool_f, state.counters
    record_i, record_f, deadline = out.record_i, out.record_f, tables.timing[1]
    row = counters[ENDED]
    counters[ENDED] += 1
    origin, prompts, at = pool_i[place, ORIGIN], pool_i[place, BATCH], pool_f[place, ARRIVAL]
    join, inference = pool_f[place, JOIN], pool_f[place, INFERENCE]
    downlink = 0.0
    if finished:
        if origin != n:
            downlink = tables.network[n, origin, 0] + prompts * tables.payload[i, 1] * tables.network[n, origin, 1]
        outcome = SUCCESS if finish + downlink - at <= deadline + TIE else LATE
    else:
        outcome = EXPIRED_RUNNING if inference > 0.0 else EXPIRED_WAITING
        join = min(join, finish)
    record_i[R_REQUEST, row], record_i[R_LM, row], record_i[R_ORIGIN, row] = pool_i[place, REQUEST], i, origin
    record_i[R_TARGET, row], record_i[R_PROMPTS, row], record_i[R_OUTCOME, row] = n, prompts, outcome
    record_i[R_INTERRUPTIONS, row] = pool_i[place, INTERRUPTIONS]
    record_f[R_ARRIVAL, row], record_f[R_UPLINK, row] = at, join - at
    record_f[R_QUEUE, row] = max(0.0, finish - join - inference)
    record_f[R_INFERENCE, row], record_f[R_DOWNLINK, row] = inference, downlink
    before, after = pool_i[place, PREVIOUS], pool_i[place, NEXT]
    if before < 0:
        pod[n, i, HEAD] = after
        pod[n, i, SERVING] = 0
    else:
        pool_i[before, NEXT] = after
    if after < 0:
        pod[n, i, TAIL] = before
    else:
        pool_i[after, PREVIOUS] = before
    pod[n, i, REQUESTS] -= 1
    pod[n, i, PROMPTS] -= prompts
    pool_i[place, NEXT] = counters[FREE]
    counters[FREE] = place
    counters[WAITING] -= 1


@compiled
def expire(tables: Tables, state: State, out: Output, n: int, i: int, now: float) -> None:
    """End every request of the queue whose deadline has passed at `now`; only the front of the queue can hold such."""
    deadline = tables.timing[1]
    place = state.pod_i[n, i, HEAD]
    front = now - deadline + state.longest[0] + TIE
    while place >= 0 and state.pool_f[place, JOIN] <= front:
        after = state.pool_i[place, NEXT]
        due = state.pool_f[place, ARRIVAL] + deadline
        if due <= now:
            end(tables, state, out, n, i, place, due, False)
        place = after
