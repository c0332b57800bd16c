"""Compiled: the life of pods on one node: deployments, admission, start, stop, time-out (docs/twin.md, Pods)."""

from __future__ import annotations

import math

from twin.compiled import compiled
from twin.layout import (
    BUSY,
    CORES,
    HEAD,
    INTERRUPTIONS,
    OFF_PHASE,
    PHASE,
    PHASE_END,
    READY,
    REMAINING,
    SERVING,
    STARTING,
    TERMINATING,
    VGPUS,
    WANT,
    WANT_CORES,
    WANT_SINCE,
    WANT_VGPUS,
    FloatArray,
    IntArray,
)

SLACK = 1e-9
"""GB by which sums of memory may miss their limit: rounding, nothing else."""
TIE = 1e-7
"""Seconds, or prompts, within which two moments, or a count of prompts, are the same but for rounding."""


@compiled
def fits(
    pod_i: IntArray,
    n: int,
    i: int,
    cores: IntArray,
    gpus: IntArray,
    vgpus_per_gpu: IntArray,
    memory: FloatArray,
    lm_memory: FloatArray,
    host_cores: IntArray,
) -> bool:
    """True where the wanted pod of LM i fits into what node n's pods do not hold."""
    free_cores, free_vgpus = cores[n], gpus[n] * vgpus_per_gpu[n]
    free_ram, free_vram = memory[n, 0], memory[n, 1]
    for j in range(pod_i.shape[1]):
        if pod_i[n, j, PHASE] != OFF_PHASE:
            free_ram -= lm_memory[j, 0]
            if pod_i[n, j, VGPUS] > 0:
                free_cores -= host_cores[j]
                free_vgpus -= pod_i[n, j, VGPUS]
                free_vram -= lm_memory[j, 1]
            else:
                free_cores -= pod_i[n, j, CORES]
    if lm_memory[i, 0] > free_ram + SLACK:
        return False
    if pod_i[n, i, WANT_VGPUS] > 0:
        return bool(
            host_cores[i] <= free_cores
            and pod_i[n, i, WANT_VGPUS] <= free_vgpus
            and lm_memory[i, 1] <= free_vram + SLACK
        )
    return bool(pod_i[n, i, WANT_CORES] <= free_cores)


@compiled
def place_on_gpus(pod_i: IntArray, on_gpu: IntArray, n: int, i: int, gpus: int, vgpus_per_gpu: int) -> None:
    """Give the pod's vGPUs one by one to the physical GPU with the most free, the lowest number on a tie."""
    for _ in range(pod_i[n, i, VGPUS]):
        best, most = 0, -1
        for p in range(gpus):
            free = vgpus_per_gpu
            for j in range(pod_i.shape[1]):
                free -= on_gpu[n, j, p]
            if free > most:
                best, most = p, free
        on_gpu[n, i, best] += 1


@compiled
def admit(
    pod_i: IntArray,
    pod_f: FloatArray,
    on_gpu: IntArray,
    n: int,
    now: float,
    cores: IntArray,
    gpus: IntArray,
    vgpus_per_gpu: IntArray,
    memory: FloatArray,
    lm_memory: FloatArray,
    host_cores: IntArray,
    pod_seconds: FloatArray,
) -> None:
    """Start every Pending pod of node n that fits, oldest first; one that does not fit stops nobody."""
    lms = pod_i.shape[1]
    since, index = -math.inf, -1
    while True:
        best, best_since = -1, math.inf
        for i in range(lms):
            if pod_i[n, i, WANT] == 0 or pod_i[n, i, PHASE] != OFF_PHASE:
                continue
            at = pod_f[n, i, WANT_SINCE]
            if (at > since or (at == since and i > index)) and at < best_since:
                best, best_since = i, at
        if best < 0:
            return
        since, index = best_since, best
        if fits(pod_i, n, best, cores, gpus, vgpus_per_gpu, memory, lm_memory, host_cores):
            pod_i[n, best, WANT] = 0
            pod_i[n, best, PHASE] = STARTING
            pod_i[n, best, CORES] = pod_i[n, best, WANT_CORES]
            pod_i[n, best, VGPUS] = pod_i[n, best, WANT_VGPUS]
            on_vgpus = pod_i[n, best, VGPUS] > 0
            pod_f[n, best, PHASE_END] = now + (pod_seconds[best, 1] if on_vgpus else pod_seconds[best, 0])
            place_on_gpus(pod_i, on_gpu, n, best, gpus[n], vgpus_per_gpu[n])


@compiled
def stop(
    pod_i: IntArray,
    pod_f: FloatArray,
    pool_i: IntArray,
    pool_f: FloatArray,
    n: int,
    i: int,
    now: float,
    seconds: float,
) -> None:
    """Turn the pod TERMINATING; the request in hand keeps its finished prompts and loses the work on the next."""
    pod_i[n, i, PHASE] = TERMINATING
    pod_f[n, i, PHASE_END] = now + seconds
    if pod_i[n, i, SERVING] == 1:
        head = pod_i[n, i, HEAD]
        pool_f[head, REMAINING] = math.ceil(pool_f[head, REMAINING] - TIE)
        pool_i[head, INTERRUPTIONS] += 1
        pod_i[n, i, SERVING] = 0


@compiled
def apply_deployment(
    pod_i: IntArray,
    pod_f: FloatArray,
    pool_i: IntArray,
    pool_f: FloatArray,
    n: int,
    now: float,
    new_cores: IntArray,
    new_vgpus: IntArray,
    pod_seconds: FloatArray,
) -> None:
    """Carry the deployment of node n ([I] cores and vGPUs) into deletes and Pending pods, by the table of the page."""
    lms = pod_i.shape[1]
    blocked = False
    for i in range(lms):
        blocked |= pod_i[n, i, WANT] == 1
    for i in range(lms):
        phase = pod_i[n, i, PHASE]
        runs = phase in (STARTING, READY)
        if new_cores[i] == 0 and new_vgpus[i] == 0:
            pod_i[n, i, WANT] = 0
            if runs:
                stop(pod_i, pod_f, pool_i, pool_f, n, i, now, pod_seconds[i, 2])
        elif blocked or (runs and pod_i[n, i, CORES] == new_cores[i] and pod_i[n, i, VGPUS] == new_vgpus[i]):
            continue
        else:
            if runs:
                stop(pod_i, pod_f, pool_i, pool_f, n, i, now, pod_seconds[i, 2])
            pod_i[n, i, WANT] = 1
            pod_i[n, i, WANT_CORES] = new_cores[i]
            pod_i[n, i, WANT_VGPUS] = new_vgpus[i]
            pod_f[n, i, WANT_SINCE] = now


@compiled
def live(
    pod_i: IntArray,
    pod_f: FloatArray,
    on_gpu: IntArray,
    n: int,
    until: float,
    cores: IntArray,
    gpus: IntArray,
    vgpus_per_gpu: IntArray,
    memory: FloatArray,
    lm_memory: FloatArray,
    host_cores: IntArray,
    pod_seconds: FloatArray,
    timeout: float,
) -> None:
    """Let everything happen that is due on node n up to and including `until`."""
    lms = pod_i.shape[1]
    for i in range(lms):
        pod_f[n, i, BUSY] = 0.0
    while True:
        due, starting = math.inf, False
        for i in range(lms):
            phase = pod_i[n, i, PHASE]
            starting |= phase == STARTING
            if phase == TERMINATING:
                due = min(due, pod_f[n, i, PHASE_END])
            if pod_i[n, i, WANT] == 1:
                due = min(due, pod_f[n, i, WANT_SINCE] + timeout)
        if due > until:
            break
        released = False
        for i in range(lms):
            if pod_i[n, i, PHASE] == TERMINATING and pod_f[n, i, PHASE_END] <= due:
                pod_i[n, i, PHASE] = OFF_PHASE
                pod_i[n, i, CORES] = 0
                pod_i[n, i, VGPUS] = 0
                on_gpu[n, i, :] = 0
                released = True
        if released:
            admit(
                pod_i,
                pod_f,
                on_gpu,
                n,
                due,
                cores,
                gpus,
                vgpus_per_gpu,
                memory,
                lm_memory,
                host_cores,
                pod_seconds,
            )
        for i in range(lms):
            if pod_i[n, i, WANT] == 1 and pod_f[n, i, WANT_SINCE] + timeout <= due:
                pod_i[n, i, WANT] = 0
    if starting:
        for i in range(lms):
            if pod_i[n, i, PHASE] == STARTING and pod_f[n, i, PHASE_END] <= until:
                pod_i[n, i, PHASE] = READY
