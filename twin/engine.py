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
    Scratch,
    State,
    Tables,
)
from twin.pods import TIE, admit, apply_deployment, live
from twin.queues import dispatch, end, expire


@compiled
def serve_alone(
    pod_i: IntArray,
    pod_f: FloatArray,
    pool_i: IntArray,
    pool_f: FloatArray,
    counters: IntArray,
    record_i: IntArray,
    record_f: FloatArray,
    n: int,
    i: int,
    t0: float,
    t1: float,
    seconds: float,
    network: FloatArray,
    payload: FloatArray,
    deadline: float,
) -> None:
    """Serve the queue of a pod whose speed (`seconds` a prompt) nobody else can change, from t0 to t1."""
    ready = pod_f[n, i, PHASE_END]
    now = max(t0, ready)
    while True:
        place = pod_i[n, i, HEAD]
        if place < 0:
            return
        start = max(now, pool_f[place, JOIN])
        due = pool_f[place, ARRIVAL] + deadline
        finished = False
        if due <= start and due <= t1:
            stop = due
        elif start >= t1:
            return
        else:
            finish = start + pool_f[place, REMAINING] * seconds
            stop = min(finish, due, t1)
            finished = finish <= stop + TIE
            pool_f[place, INFERENCE] += stop - start
            pod_f[n, i, BUSY] += stop - start
            if not finished and stop < due:
                pool_f[place, REMAINING] -= (t1 - start) / seconds
                pod_i[n, i, SERVING] = 1
                return
        end(
            pod_i, pool_i, pool_f, counters, record_i, record_f, n, i, place, stop, finished, network, payload, deadline
        )
        now = max(now, stop)


@compiled
def serve_sharing(
    pod_i: IntArray,
    pod_f: FloatArray,
    on_gpu: IntArray,
    pool_i: IntArray,
    pool_f: FloatArray,
    counters: IntArray,
    record_i: IntArray,
    record_f: FloatArray,
    n: int,
    t0: float,
    t1: float,
    gpu_seconds: FloatArray,
    network: FloatArray,
    payload: FloatArray,
    deadline: float,
    weight: FloatArray,
    busy: IntArray,
    speed: FloatArray,
) -> None:
    """Serve the queues of all ready pods on vGPUs of node n, from event to event, at the speed the busy set allows."""
    lms, gpus = pod_i.shape[1], on_gpu.shape[2]
    now = t0
    while now < t1:
        after = t1
        weight[:] = 0.0
        running = 0
        for i in range(lms):
            if pod_i[n, i, PHASE] != READY or pod_i[n, i, VGPUS] == 0:
                continue
            while pod_i[n, i, HEAD] >= 0:
                place = pod_i[n, i, HEAD]
                start = max(now, max(pool_f[place, JOIN], pod_f[n, i, PHASE_END]))
                due = pool_f[place, ARRIVAL] + deadline
                if due <= start and due <= t1:
                    end(
                        pod_i,
                        pool_i,
                        pool_f,
                        counters,
                        record_i,
                        record_f,
                        n,
                        i,
                        place,
                        due,
                        False,
                        network,
                        payload,
                        deadline,
                    )
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
            speed[b] = gpu_seconds[n, i, 0] + gpu_seconds[n, i, 1] * (share / pod_i[n, i, VGPUS])
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
            due = pool_f[place, ARRIVAL] + deadline
            finished = left <= TIE
            if finished or due <= after:
                end(
                    pod_i,
                    pool_i,
                    pool_f,
                    counters,
                    record_i,
                    record_f,
                    n,
                    i,
                    place,
                    after,
                    finished,
                    network,
                    payload,
                    deadline,
                )
        now = after


@compiled
def serve_node(
    pod_i: IntArray,
    pod_f: FloatArray,
    on_gpu: IntArray,
    pool_i: IntArray,
    pool_f: FloatArray,
    counters: IntArray,
    longest: FloatArray,
    record_i: IntArray,
    record_f: FloatArray,
    n: int,
    t0: float,
    t1: float,
    cpu_seconds: FloatArray,
    gpu_seconds: FloatArray,
    network: FloatArray,
    payload: FloatArray,
    deadline: float,
    weight: FloatArray,
    busy: IntArray,
    speed: FloatArray,
) -> None:
    """Serve all queues of node n from t0 to t1, then end what has expired."""
    lms, gpus = pod_i.shape[1], on_gpu.shape[2]
    crowded = False
    for p in range(gpus):
        tenants = 0
        for i in range(lms):
            if pod_i[n, i, PHASE] == READY and on_gpu[n, i, p] > 0 and pod_i[n, i, HEAD] >= 0:
                tenants += 1
        crowded |= tenants > 1
    if crowded:
        serve_sharing(
            pod_i,
            pod_f,
            on_gpu,
            pool_i,
            pool_f,
            counters,
            record_i,
            record_f,
            n,
            t0,
            t1,
            gpu_seconds,
            network,
            payload,
            deadline,
            weight,
            busy,
            speed,
        )
    for i in range(lms):
        if pod_i[n, i, HEAD] < 0:
            continue
        if pod_i[n, i, PHASE] == READY:
            if pod_i[n, i, VGPUS] == 0:
                serve_alone(
                    pod_i,
                    pod_f,
                    pool_i,
                    pool_f,
                    counters,
                    record_i,
                    record_f,
                    n,
                    i,
                    t0,
                    t1,
                    cpu_seconds[n, i, pod_i[n, i, CORES]],
                    network,
                    payload,
                    deadline,
                )
            elif not crowded:
                serve_alone(
                    pod_i,
                    pod_f,
                    pool_i,
                    pool_f,
                    counters,
                    record_i,
                    record_f,
                    n,
                    i,
                    t0,
                    t1,
                    gpu_seconds[n, i, 0] + gpu_seconds[n, i, 1],
                    network,
                    payload,
                    deadline,
                )
        expire(pod_i, pool_i, pool_f, counters, longest, record_i, record_f, n, i, t1, network, payload, deadline)


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
    record_i: IntArray,
    record_f: FloatArray,
    scratch: Scratch,
) -> int:
    """Run the slots that the schedule covers, from the state's slot on; return how many records were written.

    `targets`, `cores`, `vgpus` have shape [T, N, I], `decided` [T, N] (0: the node keeps what it has). Arrivals are
    in order of
    time and lie within the T slots. The state's pools and the records must have room for all that wait or arrive.
    """
    pod_i, pod_f, on_gpu, arrived, counters, longest, pool_i, pool_f = state
    (
        node_cores,
        gpus,
        per_gpu,
        memory,
        lm_memory,
        host_cores,
        pod_seconds,
        payload,
        cpu_s,
        gpu_s,
        network,
        timing,
    ) = tables
    slot_s, deadline, timeout = timing[0], timing[1], timing[2]
    weight, speed, busy = scratch
    counters[ENDED] = 0
    q = 0
    for t in range(targets.shape[0]):
        t0 = counters[SLOT] * slot_s
        t1 = (counters[SLOT] + 1) * slot_s
        arrived[:] = 0
        while q < time_s.shape[0] and time_s[q] < t1:
            dispatch(
                pod_i,
                pool_i,
                pool_f,
                counters,
                longest,
                arrived,
                record_i,
                record_f,
                time_s[q],
                origin[q],
                lm[q],
                prompts[q],
                targets[t, origin[q], lm[q]],
                network,
                payload,
            )
            q += 1
        for n in range(pod_i.shape[0]):
            if decided[t, n] != 0:
                apply_deployment(pod_i, pod_f, pool_i, pool_f, n, t0, cores[t, n], vgpus[t, n], pod_seconds)
                admit(
                    pod_i,
                    pod_f,
                    on_gpu,
                    n,
                    t0,
                    node_cores,
                    gpus,
                    per_gpu,
                    memory,
                    lm_memory,
                    host_cores,
                    pod_seconds,
                )
            live(
                pod_i,
                pod_f,
                on_gpu,
                n,
                t1,
                node_cores,
                gpus,
                per_gpu,
                memory,
                lm_memory,
                host_cores,
                pod_seconds,
                timeout,
            )
            serve_node(
                pod_i,
                pod_f,
                on_gpu,
                pool_i,
                pool_f,
                counters,
                longest,
                record_i,
                record_f,
                n,
                t0,
                t1,
                cpu_s,
                gpu_s,
                network,
                payload,
                deadline,
                weight,
                busy,
                speed,
            )
        counters[SLOT] += 1
    return int(counters[ENDED])
