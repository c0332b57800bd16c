"""Compiled: one slot, or many, of the whole testbed in one call (docs/twin.md).

Pods do not depend on requests: their life in a slot is worked out first (`twin.pods`). A pod that is ready within a
slot stays ready to its end, because deletes happen at slot starts. What remains are FIFO queues with servers of known
speed: alone on its GPU, or on CPU quota, a pod's queue is a recursion without events; pods that share a GPU go from
event to event.

Under a fixed plan all requests of a slot are routed first, then each node is played to the slot's end. Under an open
one, requests are routed one after the other, and a node is played up to the moment at which an origin looks at it. News
of age is another state of the same cluster, that much behind; what happens there is not recorded.
"""

from __future__ import annotations

import numpy as np

from domain.decisions import NOWHERE
from domain.moments import last_before, verge
from twin.batches import serve_batches
from twin.choice import deal, look
from twin.compiled import compiled, compiled_call, compiled_entry
from twin.layout import (
    ARRIVAL,
    BUSY,
    CORES,
    ENDED,
    HEAD,
    INFERENCE,
    JOIN,
    LEFT,
    PACE,
    PHASE,
    PHASE_END,
    READY,
    SERVING,
    SLOT,
    VGPUS,
    WAITING,
    WORK,
    FloatArray,
    IntArray,
    Output,
    Schedule,
    State,
)
from twin.pods import admit, apply_deployment, live
from twin.queues import arrive, divide, end, expire, moment, refuse, send
from twin.scratch import Scratch
from twin.sharing import set_paces
from twin.tables import Tables

border, last_moment = compiled(verge), compiled(last_before)


@compiled
def work_left(state: State, n: int, i: int, pace: float) -> float:
    """Return what the head of the queue still takes at `pace`, whatever the pace has been so far."""
    if state.pod_i[n, i, SERVING] == 0:
        return float(state.pool_f[state.pod_i[n, i, HEAD], LEFT] * pace)
    work, before = float(state.in_hand[n, i, WORK]), float(state.in_hand[n, i, PACE])
    if before == pace:
        return work
    whole = np.ceil(work / before) - 1.0
    return float(max(1.0, np.rint((work - whole * before) * pace / before)) + whole * pace)


@compiled
def serve_alone(tables: Tables, state: State, out: Output, n: int, i: int, t0: float, t1: float, pace: float) -> None:
    """Serve the queue of a pod whose speed (`pace` for a prompt) nobody else can change, from t0 to t1."""
    pod, pod_f, deadline = state.pod_i[n, i], state.pod_f[n, i], tables.deadline_ns
    now, work = max(t0, pod_f[PHASE_END]), work_left(state, n, i, pace)
    while True:
        place = pod[HEAD]
        request = state.pool_f[place]
        start, due = max(now, request[JOIN]), moment(request[ARRIVAL]) + deadline
        finished = False
        if due <= start and due <= t1:
            stop = due
        elif start >= t1:
            return
        else:
            finish = start + work
            stop = min(finish, due, t1)
            finished = finish <= stop
            request[INFERENCE] += stop - start
            pod_f[BUSY] += stop - start
            if not finished and stop < due:
                pod[SERVING] = 1
                state.in_hand[n, i, WORK], state.in_hand[n, i, PACE] = finish - t1, pace
                return
        end(tables, state, out, n, i, place, due, stop, finished)
        if pod[HEAD] < 0:
            return
        now, work = max(now, stop), state.pool_f[pod[HEAD], LEFT] * pace


@compiled
def serve_sharing(
    tables: Tables, state: State, out: Output, scratch: Scratch, n: int, t0: float, t1: float, tenants: int
) -> None:
    """Serve the queues of the pods in `scratch.tenant` from event to event, at the speed that the busy set allows."""
    pod_i, pod_f, in_hand, pool_f = state.pod_i, state.pod_f, state.in_hand, state.pool_f
    busy, pace, work, deadline = scratch.busy, scratch.pace, scratch.work, tables.deadline_ns
    now, known = t0, 0
    while now < t1:
        after, running, changed = t1, 0, False
        for k in range(tenants):
            i = scratch.tenant[k]
            while pod_i[n, i, HEAD] >= 0:
                place = pod_i[n, i, HEAD]
                start = max(now, max(pool_f[place, JOIN], pod_f[n, i, PHASE_END]))
                due = moment(pool_f[place, ARRIVAL]) + deadline
                if due <= start and due <= t1:
                    end(tables, state, out, n, i, place, due, due, False)
                    continue
                if start <= now:
                    changed |= running >= known or busy[running] != i
                    busy[running] = i
                    running += 1
                else:
                    after = min(after, start)
                break
        if changed or running < known:
            set_paces(tables, state, scratch, n, running)
            known = running
        for b in range(running):
            i = busy[b]
            work[b] = work_left(state, n, i, pace[b])
            after = min(after, min(now + work[b], moment(pool_f[pod_i[n, i, HEAD], ARRIVAL]) + deadline))
        passed = after - now
        for b in range(running):
            i = busy[b]
            place = pod_i[n, i, HEAD]
            pool_f[place, INFERENCE] += passed
            pod_f[n, i, BUSY] += passed
            finished, due = now + work[b] <= after, moment(pool_f[place, ARRIVAL]) + deadline
            if finished or due <= after:
                end(tables, state, out, n, i, place, due, after, finished)
            else:
                pod_i[n, i, SERVING] = 1
                in_hand[n, i, WORK], in_hand[n, i, PACE] = work[b] - passed, pace[b]
        now = after


def serve_queues(tables: Tables, state: State, out: Output, scratch: Scratch, n: int, t0: float, t1: float) -> None:
    """Serve all queues of node n from t0 to t1, then end what has expired."""
    if tables.by_batch:
        serve_batches(tables, state, out, scratch, n, t0, t1)
        return
    pod_i, on_gpu = state.pod_i, state.on_gpu
    lms = pod_i.shape[1]
    tenants = 0
    for i in range(lms):
        if pod_i[n, i, PHASE] == READY and pod_i[n, i, VGPUS] > 0 and pod_i[n, i, HEAD] >= 0:
            scratch.tenant[tenants] = i
            tenants += 1
    crowded = False
    if tenants > 1:
        for p in range(tables.gpus[n]):
            here = 0
            for k in range(tenants):
                if on_gpu[n, scratch.tenant[k], p] > 0:
                    here += 1
            crowded |= here > 1
    if crowded:
        serve_sharing(tables, state, out, scratch, n, t0, t1, tenants)
    for i in range(lms):
        if pod_i[n, i, HEAD] < 0:
            continue
        on_vgpus = pod_i[n, i, VGPUS] > 0
        if pod_i[n, i, PHASE] == READY and not (on_vgpus and crowded):
            if on_vgpus:
                pace = tables.gpu_ns[n, i, 0] + tables.gpu_ns[n, i, 1]
            else:
                pace = tables.cpu_ns[n, i, pod_i[n, i, CORES]]
            serve_alone(tables, state, out, n, i, t0, t1, pace)
        expire(tables, state, out, n, i, t1)


serve_node, serve_node_called = compiled(serve_queues), compiled_call(serve_queues)


def begin_slot(tables: Tables, state: State, n: int, t0: float, t1: float, schedule: Schedule, t: int) -> None:
    """Begin slot t of the schedule, from t0 to t1, on node n: its deployment, and the life of its pods."""
    if schedule.decided[t, n] != 0:
        apply_deployment(tables, state, n, t0, schedule.cores[t, n], schedule.vgpus[t, n])
        admit(tables, state, n, t0)
    live(tables, state, n, t1)


begin, begin_called = compiled(begin_slot), compiled_call(begin_slot)


def put_into_queues(
    tables: Tables,
    state: State,
    scratch: Scratch,
    nodes: IntArray,
    request: int,
    at_s: float,
    origin: int,
    i: int,
    prompts: int,
    target: int,
    parts: int,
) -> None:
    """Send a request to its target, or its parts to `nodes` as they were dealt (`scratch.dealt`)."""
    state.counters[WAITING] += 1
    whole = divide(state, parts, prompts) if parts > 1 else -1
    j = 0
    while parts > 0:
        n, share = target, prompts
        if whole >= 0:
            n, share = nodes[j], scratch.dealt[j]
        if share > 0:
            send(tables, state, request, at_s, origin, i, share, n, whole)
            parts -= 1
        j += 1


enter, enter_news = compiled(put_into_queues), compiled_call(put_into_queues)


@compiled_call
def follow(
    tables: Tables,
    news: State,
    waste: Output,
    scratch: Scratch,
    n: int,
    r: float,
    t0: float,
    t1: float,
    schedule: Schedule,
    t: int,
) -> None:
    """Play node n of the news up to r, which lies in slot t or the one before."""
    clock = news.clock
    while clock[n] < r:
        until = t0 if clock[n] < t0 < r else r
        news.counters[ENDED] = 0
        serve_node_called(tables, news, waste, scratch, n, clock[n], until)
        clock[n] = until
        if until == t0:
            begin_called(tables, news, n, t0, t1, schedule, t)


@compiled_entry
def advance(
    tables: Tables,
    state: State,
    news: State,
    time_s: FloatArray,
    origin: IntArray,
    lm: IntArray,
    prompts: IntArray,
    schedule: Schedule,
    out: Output,
    waste: Output,
    scratch: Scratch,
) -> int:
    """Run the slots that the schedule covers, from the state's slot on; return how many records were written.

    Arrivals are in order of time and lie within those slots. The pools of the state, and the outputs, must have room
    for all that wait or arrive. `news` is `state` itself where news is not of age.
    """
    counters, slot_s, slots, clock = state.counters, tables.slot_s, schedule.targets.shape[0], state.clock
    counters[ENDED] = 0
    aged, q, nodes = tables.news_ns > 0.0, 0, state.pod_i.shape[0]
    for t in range(slots):
        start_s, end_s = counters[SLOT] * slot_s, (counters[SLOT] + 1) * slot_s
        t0, t1, first_s, beyond_s = moment(start_s), moment(end_s), border(start_s), border(end_s)
        state.arrived_in_slot[:] = 0
        for n in range(nodes):
            begin(tables, state, n, t0, t1, schedule, t)
            clock[n] = t0
            if aged and news.clock[n] >= t0:  # at the start of the run alone
                begin_called(tables, news, n, t0, t1, schedule, t)
        is_open = schedule.is_open[t] != 0
        while True:
            coming = q < time_s.shape[0] and (time_s[q] < beyond_s or t == slots - 1)
            at_s, o, i, allowed = end_s, 0, 0, nodes
            if coming:
                at_s = start_s if time_s[q] < first_s else last_moment(end_s) if time_s[q] >= beyond_s else time_s[q]
                o, i = origin[q], lm[q]
                allowed = 0
            at = moment(at_s)
            row = min(o, schedule.allowed.shape[1] - 1)
            if coming and is_open:
                while allowed < schedule.allowed.shape[3] and schedule.allowed[t, row, i, allowed] >= 0:
                    allowed += 1
            known = 0
            for j in range(allowed):
                n, own = j, True
                if coming:
                    n = schedule.allowed[t, row, i, j]
                    own = not aged or n == o
                if own and clock[n] < at:
                    serve_node(tables, state, out, scratch, n, clock[n], at)
                    clock[n] = at
                if coming:
                    scratch.seconds[j] = np.inf
                    if own:
                        known += look(tables, state, state, scratch, j, n, i, o, at, at)
                    else:
                        follow(tables, news, waste, scratch, n, at - tables.news_ns, t0, t1, schedule, t)
                        r = max(at - tables.news_ns, news.clock[n])
                        known += look(tables, state, news, scratch, j, n, i, o, at, r)
            if not coming:
                break
            request, target, parts = arrive(state, o, i, prompts[q]), schedule.targets[t, o, i], 1
            if is_open:
                target = NOWHERE
                if allowed > 0:
                    sets, weight = schedule.allowed[t, row, i], schedule.weight[t, row, i]
                    parts = deal(tables, state, scratch, sets, weight, known, i, o, at, prompts[q])
                    for j in range(allowed):
                        if scratch.dealt[j] == prompts[q]:
                            target = sets[j]
            if target == NOWHERE and parts == 1:
                refuse(state, out, request, at_s, o, i, prompts[q])
            else:
                enter(
                    tables, state, scratch, schedule.allowed[t, row, i], request, at_s, o, i, prompts[q], target, parts
                )
                if aged:
                    enter_news(
                        tables,
                        news,
                        scratch,
                        schedule.allowed[t, row, i],
                        request,
                        at_s,
                        o,
                        i,
                        prompts[q],
                        target,
                        parts,
                    )
            q += 1
        if aged:
            for n in range(nodes):
                follow(tables, news, waste, scratch, n, max(t0, t1 - tables.news_ns), t0, t1, schedule, t)
        counters[SLOT] += 1
    return int(counters[ENDED])
