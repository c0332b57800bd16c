"""Compiled: one slot, or many, of the whole testbed in one call (docs/twin.md).

Pods do not depend on requests: their life in a slot is worked out first (`twin.pods`). A pod that is ready within a
slot stays ready to its end, because deletes happen at slot starts. What remains are FIFO queues with servers of known
speed: alone on its GPU, or on CPU quota, a pod's queue is a recursion without events; pods that share a GPU go from
event to event.

All requests of a slot are routed first, then each node is played to the slot's end. Where origins choose, or pods take
batches, `twin.open_plans` runs the slots.
"""

from __future__ import annotations

import numpy as np

from domain.decisions import NOWHERE
from domain.moments import last_before, verge
from twin.compiled import compiled, compiled_entry
from twin.layout import (
    ARRIVAL,
    ARRIVED_REQUESTS,
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
    State,
)
from twin.pods import admit, apply_deployment, live
from twin.queues import arrive, end, expire, moment, refuse, send
from twin.scratch import BUSY_LM, RUNS_ON, TAKES, TENANT, Scratch
from twin.sharing import set_paces
from twin.tables import N_GPUS, Tables

border, last_moment = compiled(verge), compiled(last_before)


@compiled
def work_left(state: State, n: int, i: int, pace: float) -> float:
    """Return what the head of the queue still takes at `pace`, whatever the pace has been so far."""
    if state.pod_i[n, i, SERVING] == 0:
        return float(state.pool_f[state.pod_i[n, i, HEAD], LEFT] * pace)
    work, before = float(state.pod_f[n, i, WORK]), float(state.pod_f[n, i, PACE])
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
                state.pod_f[n, i, WORK], state.pod_f[n, i, PACE] = finish - t1, pace
                return
        end(tables, state, out, n, i, place, due, stop, finished)
        if pod[HEAD] < 0:
            return
        now, work = max(now, stop), state.pool_f[pod[HEAD], LEFT] * pace


@compiled
def serve_sharing(
    tables: Tables, state: State, out: Output, scratch: Scratch, n: int, t0: float, t1: float, tenants: int
) -> None:
    """Serve the queues of the first `tenants` pods, TENANT of `scratch.who`, at the speed that the busy set allows."""
    pod_i, pod_f, pool_f = state.pod_i, state.pod_f, state.pool_f
    busy, pace, work, deadline = (
        scratch.who[BUSY_LM],
        scratch.amount[TAKES],
        scratch.amount[RUNS_ON],
        tables.deadline_ns,
    )
    now, known = t0, 0
    while now < t1:
        after, running, changed = t1, 0, False
        for k in range(tenants):
            i = scratch.who[TENANT, k]
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
                pod_f[n, i, WORK], pod_f[n, i, PACE] = work[b] - passed, pace[b]
        now = after


@compiled
def serve_queues(tables: Tables, state: State, out: Output, scratch: Scratch, n: int, t0: float, t1: float) -> None:
    """Serve all queues of node n from t0 to t1, then end what has expired."""
    pod_i, on_gpu = state.pod_i, state.on_gpu
    lms = pod_i.shape[1]
    tenants = 0
    for i in range(lms):
        if pod_i[n, i, PHASE] == READY and pod_i[n, i, VGPUS] > 0 and pod_i[n, i, HEAD] >= 0:
            scratch.who[TENANT, tenants] = i
            tenants += 1
    crowded = False
    if tenants > 1:
        for p in range(tables.node_i[n, N_GPUS]):
            here = 0
            for k in range(tenants):
                if on_gpu[n, scratch.who[TENANT, k], p] > 0:
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


@compiled
def begin(
    tables: Tables, state: State, n: int, t0: float, t1: float, cores: IntArray, vgpus: IntArray, decided: int
) -> None:
    """Begin a slot, from t0 to t1, on node n: its deployment, if one was decided, and the life of its pods."""
    if decided != 0:
        apply_deployment(tables, state, n, t0, cores, vgpus)
        admit(tables, state, n, t0)
    live(tables, state, n, t1)


@compiled_entry
def advance(
    tables: Tables,
    state: State,
    time_s: FloatArray,
    origin: IntArray,
    lm: IntArray,
    prompts: IntArray,
    targets: IntArray,
    cores: IntArray,
    vgpus: IntArray,
    decided: IntArray,
    out: Output,
    scratch: Scratch,
) -> int:
    """Run slots with fixed plans, prompt by prompt, from the state's slot on; return how many records were written.

    Decisions are those of a Schedule. Arrivals are in order of time and lie within those slots. The pools of the state,
    and the output, must have room for all that wait or arrive.
    """
    counters, slot_s, slots = state.counters, tables.slot_s, targets.shape[0]
    counters[ENDED] = 0
    q = 0
    for t in range(slots):
        start_s, end_s = counters[SLOT] * slot_s, (counters[SLOT] + 1) * slot_s
        t0, t1, first_s, beyond_s = moment(start_s), moment(end_s), border(start_s), border(end_s)
        state.pod_i[:, :, ARRIVED_REQUESTS:] = 0
        while q < time_s.shape[0] and (time_s[q] < beyond_s or t == slots - 1):
            at_s = start_s if time_s[q] < first_s else last_moment(end_s) if time_s[q] >= beyond_s else time_s[q]
            o, i = origin[q], lm[q]
            request, target = arrive(state, o, i, prompts[q]), targets[t, o, i]
            if target == NOWHERE:
                refuse(state, out, request, at_s, o, i, prompts[q])
            else:
                counters[WAITING] += 1
                send(tables, state, request, at_s, o, i, prompts[q], target, -1)
            q += 1
        for n in range(state.pod_i.shape[0]):
            begin(tables, state, n, t0, t1, cores[t, n], vgpus[t, n], decided[t, n])
            serve_queues(tables, state, out, scratch, n, t0, t1)
            state.clock[n] = t1
        counters[SLOT] += 1
    return int(counters[ENDED])
