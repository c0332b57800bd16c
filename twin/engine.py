"""Compiled: one slot, or many, of the whole testbed in one call (docs/twin.md).

Pods do not depend on requests: their life in a slot is worked out first (`twin.pods`). A pod that is ready within a
slot stays
ready to its end, because deletes happen at slot starts. What remains are FIFO queues with servers of known speed:
alone on
its GPU, or on CPU quota, a pod's queue is a recursion without events; pods that share a GPU go from event to event.
"""

from __future__ import annotations

from twin.compiled import compiled, compiled_entry
from twin.layout import (
    ARRIVAL,
    BUSY,
    CORES,
    ENDED,
    HEAD,
    INFERENCE,
    JOIN,
    PHASE,
    PHASE_END,
    READY,
    REMAINING,
    SERVING,
    SLOT,
    VGPUS,
    FloatArray,
    IntArray,
    Output,
    Schedule,
    Scratch,
    State,
    Tables,
)
from twin.pods import TIE, admit, apply_deployment, live
from twin.queues import dispatch, end, expire


@compiled
def serve_alone(
    tables: Tables, state: State, out: Output, n: int, i: int, t0: float, t1: float, seconds: float
) -> None:
    """Serve the queue of a pod whose speed (`seconds` a prompt) nobody else can change, from t0 to t1."""
    pod, pod_f, deadline = state.pod_i[n, i], state.pod_f[n, i], tables.timing[1]
    now = max(t0, pod_f[PHASE_END])
    while True:
        place = pod[HEAD]
        if place < 0:
            return
        request = state.pool_f[place]
        start, due = max(now, request[JOIN]), request[ARRIVAL] + deadline
        finished = False
        if due <= start and due <= t1:
            stop = due
        elif start >= t1:
            return
        else:
            finish = start + request[REMAINING] * seconds
            stop = min(finish, due, t1)
            finished = finish <= stop + TIE
            request[INFERENCE] += stop - start
            pod_f[BUSY] += stop - start
            if not finished and stop < due:
                request[REMAINING] -= (t1 - start) / seconds
                pod[SERVING] = 1
                return
        end(tables, state, out, n, i, place, stop, finished)
        now = max(now, stop)


@compiled
def serve_sharing(
    tables: Tables, state: State, out: Output, scratch: Scratch, n: int, t0: float, t1: float, tenants: int
) -> None:
    """Serve the queues of the pods in `scratch.tenant` from event to event, at the speed that the busy set allows."""
    pod_i, pod_f, pool_f, on_gpu = state.pod_i, state.pod_f, state.pool_f, state.on_gpu
    weight, speed, busy = scratch.weight, scratch.speed, scratch.busy
    gpus, deadline = tables.gpus[n], tables.timing[1]
    now = t0
    while now < t1:
        after = t1
        for p in range(gpus):
            weight[p] = 0.0
        running = 0
        for k in range(tenants):
            i = scratch.tenant[k]
            while pod_i[n, i, HEAD] >= 0:
                place = pod_i[n, i, HEAD]
                start = max(now, max(pool_f[place, JOIN], pod_f[n, i, PHASE_END]))
                due = pool_f[place, ARRIVAL] + deadline
                if due <= start and due <= t1:
                    end(tables, state, out, n, i, place, due, False)
                    continue
                if start <= now:
                    busy[running] = i
                    running += 1
                    for p in range(gpus):
                        weight[p] += on_gpu[n, i, p]
                else:
                    after = min(after, start)
                break
        for b in range(running):
            i = busy[b]
            share = 0.0
            for p in range(gpus):
                if on_gpu[n, i, p] > 0:
                    share += weight[p]
            speed[b] = tables.gpu_seconds[n, i, 0] + tables.gpu_seconds[n, i, 1] * (share / pod_i[n, i, VGPUS])
            place = pod_i[n, i, HEAD]
            finish = now + pool_f[place, REMAINING] * speed[b]
            after = min(after, min(finish, pool_f[place, ARRIVAL] + deadline))
        passed = after - now
        for b in range(running):
            i = busy[b]
            place = pod_i[n, i, HEAD]
            left = pool_f[place, REMAINING] * speed[b] - passed
            pool_f[place, REMAINING] = left / speed[b]
            pool_f[place, INFERENCE] += passed
            pod_f[n, i, BUSY] += passed
            pod_i[n, i, SERVING] = 1
            finished = left <= TIE
            if finished or pool_f[place, ARRIVAL] + deadline <= after:
                end(tables, state, out, n, i, place, after, finished)
        now = after


@compiled
def serve_node(tables: Tables, state: State, out: Output, scratch: Scratch, n: int, t0: float, t1: float) -> None:
    """Serve all queues of node n from t0 to t1, then end what has expired."""
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
                seconds = tables.gpu_seconds[n, i, 0] + tables.gpu_seconds[n, i, 1]
            else:
                seconds = tables.cpu_seconds[n, i, pod_i[n, i, CORES]]
            serve_alone(tables, state, out, n, i, t0, t1, seconds)
        expire(tables, state, out, n, i, t1)


@compiled_entry
def advance(
    tables: Tables,
    state: State,
    time_s: FloatArray,
    origin: IntArray,
    lm: IntArray,
    prompts: IntArray,
    schedule: Schedule,
    out: Output,
    scratch: Scratch,
) -> int:
    """Run the slots that the schedule covers, from the state's slot on; return how many records were written.

    Arrivals are in order of time and lie within those slots. The state's pools and the output must have room for all
    that wait or arrive.
    """
    counters, slot_s = state.counters, tables.timing[0]
    counters[ENDED] = 0
    q = 0
    for t in range(schedule.targets.shape[0]):
        t0 = counters[SLOT] * slot_s
        t1 = (counters[SLOT] + 1) * slot_s
        state.arrived_in_slot[:] = 0
        while q < time_s.shape[0] and time_s[q] < t1:
            target = schedule.targets[t, origin[q], lm[q]]
            dispatch(tables, state, out, time_s[q], origin[q], lm[q], prompts[q], target)
            q += 1
        for n in range(state.pod_i.shape[0]):
            if schedule.decided[t, n] != 0:
                apply_deployment(tables, state, n, t0, schedule.cores[t, n], schedule.vgpus[t, n])
                admit(tables, state, n, t0)
            live(tables, state, n, t1)
            serve_node(tables, state, out, scratch, n, t0, t1)
        counters[SLOT] += 1
    return int(counters[ENDED])
