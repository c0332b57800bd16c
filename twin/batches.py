"""Compiled: pods that take batches, or hold copies of their LM, from event to event (docs/twin.md, Batches and copies).

A copy that is free takes a batch of the prompts that are open: joined, not finished, and in no batch. All copies of a
node are served together, for those on the same GPU slow each other.
"""

from __future__ import annotations

import numpy as np

from twin.compiled import compiled, compiled_call
from twin.layout import (
    ARRIVAL,
    BUSY,
    COPIES,
    CORES,
    HEAD,
    INFERENCE,
    JOIN,
    LEFT,
    MEMBERS,
    NEXT,
    PHASE,
    PHASE_END,
    PREVIOUS,
    PROMPTS,
    READY,
    RUNS,
    SERVING,
    SIZE,
    TAIL,
    TAKEN,
    UNIT,
    VGPUS,
    Output,
    State,
)
from twin.queues import end_called, expire, moment
from twin.scratch import BUSY_COPY, BUSY_LM, TAKES, Scratch
from twin.sharing import set_paces
from twin.tables import N_KIND, Tables


@compiled_call
def take(tables: Tables, state: State, out: Output, n: int, i: int, now: float, stop: int) -> None:
    """Give each free copy a batch of the prompts that are open at `now`, of requests before place `stop`."""
    pod, pool_f = state.pod_i[n, i], state.pool_f
    most = tables.most[tables.node_i[n, N_KIND], i, 1 if pod[VGPUS] > 0 else 0]
    for c in range(pod[COPIES]):
        batch = state.batch_i[n, i, c]
        if batch[SIZE] > 0:
            continue
        size, place = 0, pod[HEAD]
        while place >= 0 and place != stop and size < most and pool_f[place, JOIN] <= now:
            after, due = state.pool_i[place, NEXT], moment(pool_f[place, ARRIVAL]) + tables.deadline_ns
            if due <= now:
                leave(tables, state, out, n, i, place, due)
            else:
                inside = np.int64(pool_f[place, LEFT])
                for k in range(pod[COPIES]):
                    inside -= state.pool_i[place, TAKEN + k]
                if inside > 0:
                    state.pool_i[place, TAKEN + c] = min(inside, most - size)
                    size += state.pool_i[place, TAKEN + c]
                    if tables.by_request:
                        break
            place = after
        if size == 0:
            return
        batch[SIZE] = batch[MEMBERS] = size
        pod[SERVING] = 0
        state.batch_f[n, i, c, UNIT] = 0.0


@compiled_call
def leave(tables: Tables, state: State, out: Output, n: int, i: int, place: int, due: float) -> None:
    """End a request at its deadline; a batch in which nobody is left ends too."""
    for c in range(state.batch_i.shape[2]):
        if state.pool_i[place, TAKEN + c] > 0:
            batch = state.batch_i[n, i, c]
            batch[MEMBERS] -= state.pool_i[place, TAKEN + c]
            if batch[MEMBERS] == 0:
                batch[SIZE] = 0
    end_called(tables, state, out, n, i, place, due, due, False)


@compiled
def take_turns(tables: Tables, state: State, out: Output, n: int, i: int, now: float) -> float:
    """Let free copies take what is there at `now`; return the next moment at which a request joins.

    Those that arrive at this very instant, with no uplink, come one after the other; all others are there before.
    """
    pool_i, pool_f = state.pool_i, state.pool_f
    later, fresh, place = np.inf, -1, state.pod_i[n, i, TAIL]
    while place >= 0 and pool_f[place, JOIN] > now:
        later = pool_f[place, JOIN]
        place = pool_i[place, PREVIOUS]
    stop = -1 if place < 0 else pool_i[place, NEXT]
    while place >= 0 and pool_f[place, JOIN] == now and moment(pool_f[place, ARRIVAL]) == now:
        fresh = place
        place = pool_i[place, PREVIOUS]
    take(tables, state, out, n, i, now, fresh if fresh >= 0 else stop)
    while fresh >= 0 and fresh != stop:
        fresh = pool_i[fresh, NEXT]
        take(tables, state, out, n, i, now, fresh)
    return float(later)


@compiled
def finish(tables: Tables, state: State, out: Output, n: int, i: int, c: int, now: float) -> None:
    """End the batch of a copy."""
    pool_f, batch = state.pool_f, state.batch_i[n, i, c]
    place, members = state.pod_i[n, i, HEAD], batch[MEMBERS]
    batch[:] = 0
    while members > 0:
        after, inside = state.pool_i[place, NEXT], state.pool_i[place, TAKEN + c]
        if inside > 0:
            members -= inside
            state.pool_i[place, TAKEN + c] = 0
            pool_f[place, LEFT] -= inside
            state.pod_i[n, i, PROMPTS] -= inside
            if tables.by_prompt and state.pod_i[n, i, COPIES] == 1:
                state.pod_i[n, i, SERVING] = 1  # between two prompts, until the next one is taken
            if pool_f[place, LEFT] == 0.0:
                due = moment(pool_f[place, ARRIVAL]) + tables.deadline_ns
                end_called(tables, state, out, n, i, place, due, now, True)
        place = after


@compiled
def set_what_is_left(tables: Tables, state: State, scratch: Scratch, n: int, now: float) -> float:
    """Bring what is left of the batches in hand to the paces of now; return when the first of them would end."""
    pod_i, batch_i, batch_f, running, first = state.pod_i, state.batch_i, state.batch_f, 0, np.inf
    for i in range(pod_i.shape[1]):
        if pod_i[n, i, VGPUS] > 0:
            gpu = -1
            for c in range(pod_i[n, i, COPIES]):
                if pod_i[n, i, COPIES] > 1:
                    gpu += 1
                    while state.on_gpu[n, i, gpu] == 0:
                        gpu += 1
                if batch_i[n, i, c, SIZE] > 0:
                    scratch.who[BUSY_LM, running], scratch.who[BUSY_COPY, running] = i, gpu
                    running += 1
    set_paces(tables, state, scratch, n, running)
    running = 0
    for i in range(pod_i.shape[1]):
        mode = 1 if pod_i[n, i, VGPUS] > 0 else 0
        for c in range(batch_i.shape[2]):
            size = batch_i[n, i, c, SIZE]
            if size == 0:
                continue
            pace = tables.cpu_ns[n, i, pod_i[n, i, CORES]]
            if mode == 1:
                pace = scratch.amount[TAKES, running]
                running += 1
            batch = batch_f[n, i, c]
            if batch[UNIT] == 0.0:
                batch[RUNS] = max(1.0, np.rint(tables.units[tables.node_i[n, N_KIND], i, mode, size] * pace))
            elif batch[UNIT] != pace:
                batch[RUNS] = max(1.0, np.rint(batch[RUNS] * pace / batch[UNIT]))
            batch[UNIT] = pace
            first = min(first, now + batch[RUNS])
    return float(first)


@compiled
def pass_time(tables: Tables, state: State, out: Output, n: int, i: int, now: float, after: float) -> None:
    """Let the batches of a pod run from `now` to `after`, the next event; end what ends then."""
    pod_i, pool_i, pool_f = state.pod_i, state.pool_i, state.pool_f
    members, passed = 0, after - now
    for c in range(state.batch_i.shape[2]):
        members += state.batch_i[n, i, c, MEMBERS]
        state.batch_f[n, i, c, RUNS] -= passed
    if members == 0:
        return
    state.pod_f[n, i, BUSY] += passed
    place = pod_i[n, i, HEAD]
    while members > 0:
        inside = 0
        for c in range(state.batch_i.shape[2]):
            inside += state.pool_i[place, TAKEN + c]
        if inside > 0:
            pool_f[place, INFERENCE] += passed
        members -= inside
        place = pool_i[place, NEXT]
    for c in range(state.batch_i.shape[2]):
        if state.batch_i[n, i, c, SIZE] > 0 and state.batch_f[n, i, c, RUNS] <= 0.0:
            finish(tables, state, out, n, i, c, after)
    place, members = pod_i[n, i, HEAD], 0
    for c in range(state.batch_i.shape[2]):
        members += state.batch_i[n, i, c, MEMBERS]
    while members > 0:
        following, inside = pool_i[place, NEXT], 0
        for c in range(state.batch_i.shape[2]):
            inside += state.pool_i[place, TAKEN + c]
        members -= inside
        due = moment(pool_f[place, ARRIVAL]) + tables.deadline_ns
        if inside > 0 and due <= after:
            leave(tables, state, out, n, i, place, due)
        place = following


@compiled
def first_deadline(tables: Tables, state: State, n: int, i: int) -> float:
    """Return the first deadline of a request with prompts in hand."""
    members, first, place = 0, np.inf, state.pod_i[n, i, HEAD]
    for c in range(state.batch_i.shape[2]):
        members += state.batch_i[n, i, c, MEMBERS]
    while members > 0:
        inside = 0
        for c in range(state.batch_i.shape[2]):
            inside += state.pool_i[place, TAKEN + c]
        if inside > 0:
            first = min(first, moment(state.pool_f[place, ARRIVAL]) + tables.deadline_ns)
        members -= inside
        place = state.pool_i[place, NEXT]
    return float(first)


@compiled_call
def serve_batches(tables: Tables, state: State, out: Output, scratch: Scratch, n: int, t0: float, t1: float) -> None:
    """Serve all queues of node n from t0 to t1."""
    pod_i, lms, now = state.pod_i, state.pod_i.shape[1], t0
    while now < t1:
        after = t1
        for i in range(lms):
            if pod_i[n, i, PHASE] != READY or pod_i[n, i, HEAD] < 0:
                continue
            if state.pod_f[n, i, PHASE_END] > now:
                after = min(after, state.pod_f[n, i, PHASE_END])
            else:
                after = min(after, take_turns(tables, state, out, n, i, now))
                after = min(after, first_deadline(tables, state, n, i))
        after = min(after, set_what_is_left(tables, state, scratch, n, now))
        for i in range(lms):
            pass_time(tables, state, out, n, i, now, after)
        now = after
    for i in range(lms):
        if pod_i[n, i, HEAD] >= 0:
            expire(tables, state, out, n, i, t1)
