"""Compiled: the life of pods on one node: deployments, admission, start, stop, time-out (docs/twin.md, Pods)."""

from __future__ import annotations

import math

import numpy as np

from domain.cluster import SLACK_GB
from twin.compiled import compiled
from twin.layout import (
    BUSY,
    COPIES,
    CORES,
    HEAD,
    INTERRUPTIONS,
    LEFT,
    MEMBERS,
    NEXT,
    OFF_PHASE,
    PACE,
    PHASE,
    PHASE_END,
    READY,
    SERVING,
    STARTING,
    TAKEN,
    TERMINATING,
    VGPUS,
    WANT,
    WANT_CORES,
    WANT_SINCE,
    WANT_VGPUS,
    WORK,
    IntArray,
    State,
)
from twin.tables import L_HOST_CORES, L_START, L_STOP, N_CORES, N_GPU_GB, N_GPUS, N_RAM, N_REPLICAS, N_VRAM, Tables


@compiled
def fits(tables: Tables, state: State, n: int, i: int, copies: int) -> bool:
    """True where the wanted pod of LM i fits into what node n's pods do not hold, all GPUs taken together."""
    pod, pod_gb = state.pod_i, tables.pod_gb
    free_cores, free_vgpus = tables.node_i[n, N_CORES], tables.node_i[n, N_GPUS] * tables.node_i[n, N_REPLICAS]
    free_ram, free_vram = tables.node_f[n, N_RAM], tables.node_f[n, N_VRAM]
    for j in range(pod.shape[1]):
        if pod[n, j, PHASE] != OFF_PHASE:
            if pod[n, j, VGPUS] > 0:
                free_cores -= tables.lm_i[j, L_HOST_CORES]
                free_vgpus -= pod[n, j, VGPUS]
                free_ram -= pod[n, j, COPIES] * pod_gb[n, j, 1]
                free_vram -= pod[n, j, COPIES] * pod_gb[n, j, 2]
            else:
                free_cores -= pod[n, j, CORES]
                free_ram -= pod_gb[n, j, 0]
    if pod[n, i, WANT_VGPUS] > 0:
        return bool(
            tables.lm_i[i, L_HOST_CORES] <= free_cores
            and pod[n, i, WANT_VGPUS] <= free_vgpus
            and copies * pod_gb[n, i, 1] <= free_ram + SLACK_GB
            and copies * pod_gb[n, i, 2] <= free_vram + SLACK_GB
        )
    return bool(pod[n, i, WANT_CORES] <= free_cores and pod_gb[n, i, 0] <= free_ram + SLACK_GB)


@compiled
def held_gb(tables: Tables, state: State, n: int, i: int, p: int) -> float:
    """Return the vRAM of GPU p that pods of node n other than LM i's hold."""
    pod, on_gpu, held = state.pod_i, state.on_gpu, 0.0
    for j in range(pod.shape[1]):
        if j != i and on_gpu[n, j, p] > 0:
            part = 1.0 if pod[n, j, COPIES] > 1 else on_gpu[n, j, p] / pod[n, j, VGPUS]
            held += tables.pod_gb[n, j, 2] * part
    return float(held)


@compiled
def place_on_gpus(tables: Tables, state: State, n: int, i: int) -> bool:
    """Take the wanted pod's vGPUs one by one from physical GPUs; where one finds none, take nothing and return False.

    Each comes from the GPU with the most free vGPUs of those that can hold its part of the LM, the lowest number on a
    tie.
    """
    pod, on_gpu, wanted = state.pod_i, state.on_gpu, state.pod_i[n, i, WANT_VGPUS]
    for _ in range(wanted):
        best, most = -1, 0
        for p in range(tables.node_i[n, N_GPUS]):
            free, part = tables.node_i[n, N_REPLICAS], tables.pod_gb[n, i, 2] * ((on_gpu[n, i, p] + 1) / wanted)
            for j in range(pod.shape[1]):
                free -= on_gpu[n, j, p]
            if free > most and part + held_gb(tables, state, n, i, p) <= tables.node_f[n, N_GPU_GB] + SLACK_GB:
                best, most = p, free
        if best < 0:
            on_gpu[n, i, :] = 0
            return False
        on_gpu[n, i, best] += 1
    return True


@compiled
def copies_of(tables: Tables, state: State, n: int, i: int) -> int:
    """Return how many copies the wanted pod holds where its vGPUs are: one for each GPU, if there is the memory."""
    spans = 0
    for p in range(tables.node_i[n, N_GPUS]):
        if state.on_gpu[n, i, p] > 0:
            spans += 1
            whole = tables.pod_gb[n, i, 2] + held_gb(tables, state, n, i, p)
            if not tables.copies or whole > tables.node_f[n, N_GPU_GB] + SLACK_GB:
                return 1
    return spans if spans > 1 and fits(tables, state, n, i, spans) else 1


@compiled
def admit(tables: Tables, state: State, n: int, now: float) -> None:
    """Start every Pending pod of node n that fits, oldest first; one that does not fit stops nobody."""
    pod, pod_f = state.pod_i, state.pod_f
    since, index = -math.inf, -1
    while True:
        best, best_since = -1, math.inf
        for i in range(pod.shape[1]):
            if pod[n, i, WANT] == 0 or pod[n, i, PHASE] != OFF_PHASE:
                continue
            at = pod_f[n, i, WANT_SINCE]
            if (at > since or (at == since and i > index)) and at < best_since:
                best, best_since = i, at
        if best < 0:
            return
        since, index = best_since, best
        if fits(tables, state, n, best, 1) and place_on_gpus(tables, state, n, best):
            pod[n, best, COPIES] = copies_of(tables, state, n, best)
            pod[n, best, WANT] = 0
            pod[n, best, PHASE] = STARTING
            pod[n, best, CORES] = pod[n, best, WANT_CORES]
            pod[n, best, VGPUS] = pod[n, best, WANT_VGPUS]
            mode = 1 if pod[n, best, VGPUS] > 0 else 0
            pod_f[n, best, PHASE_END] = now + tables.lm_f[best, L_START + mode]


@compiled
def stop(tables: Tables, state: State, n: int, i: int, now: float) -> None:
    """Turn the pod TERMINATING; requests in hand keep their finished prompts and lose the work on others."""
    state.pod_i[n, i, PHASE] = TERMINATING
    state.pod_f[n, i, PHASE_END] = now + tables.lm_f[i, L_STOP]
    if tables.by_batch:
        lose_batches(state, n, i)
    elif state.pod_i[n, i, SERVING] == 1:
        head = state.pod_i[n, i, HEAD]
        left = np.ceil(state.pod_f[n, i, WORK] / state.pod_f[n, i, PACE])
        if left < state.pool_f[head, LEFT]:  # false, too, where a pod that cannot run at all has done nothing
            state.pool_f[head, LEFT] = left
        state.pool_i[head, INTERRUPTIONS] += 1
        state.pod_i[n, i, SERVING] = 0


@compiled
def lose_batches(state: State, n: int, i: int) -> None:
    """Drop the batches that a pod has in hand; their prompts wait again."""
    members = 0
    for c in range(state.batch_i.shape[2]):
        members += state.batch_i[n, i, c, MEMBERS]
        state.batch_i[n, i, c, :] = 0
    place = state.pod_i[n, i, HEAD]
    if members == 0 and state.pod_i[n, i, SERVING] == 1:
        state.pool_i[place, INTERRUPTIONS] += 1
    state.pod_i[n, i, SERVING] = 0
    while members > 0:
        inside = 0
        for c in range(state.batch_i.shape[2]):
            inside += state.pool_i[place, TAKEN + c]
            state.pool_i[place, TAKEN + c] = 0
        if inside > 0:
            state.pool_i[place, INTERRUPTIONS] += 1
        members -= inside
        place = state.pool_i[place, NEXT]


@compiled
def apply_deployment(
    tables: Tables, state: State, n: int, now: float, new_cores: IntArray, new_vgpus: IntArray
) -> None:
    """Carry the deployment of node n ([I] cores and vGPUs) into deletes and Pending pods, by the table of the page."""
    pod = state.pod_i
    blocked = False
    for i in range(pod.shape[1]):
        blocked |= pod[n, i, WANT] == 1
    for i in range(pod.shape[1]):
        runs = pod[n, i, PHASE] == STARTING or pod[n, i, PHASE] == READY
        if new_cores[i] == 0 and new_vgpus[i] == 0:
            pod[n, i, WANT] = 0
            if runs:
                stop(tables, state, n, i, now)
        elif blocked or (runs and pod[n, i, CORES] == new_cores[i] and pod[n, i, VGPUS] == new_vgpus[i]):
            continue
        else:
            if runs:
                stop(tables, state, n, i, now)
            pod[n, i, WANT] = 1
            pod[n, i, WANT_CORES] = new_cores[i]
            pod[n, i, WANT_VGPUS] = new_vgpus[i]
            state.pod_f[n, i, WANT_SINCE] = now


@compiled
def live(tables: Tables, state: State, n: int, until: float) -> None:
    """Let everything happen that is due on node n up to and including `until`."""
    pod, pod_f, timeout = state.pod_i, state.pod_f, tables.pending_timeout_ns
    lms = pod.shape[1]
    for i in range(lms):
        pod_f[n, i, BUSY] = 0.0
    while True:
        due, starting = math.inf, False
        for i in range(lms):
            phase = pod[n, i, PHASE]
            starting |= phase == STARTING
            if phase == TERMINATING:
                due = min(due, pod_f[n, i, PHASE_END])
            if pod[n, i, WANT] == 1:
                due = min(due, pod_f[n, i, WANT_SINCE] + timeout)
        if due > until:
            break
        released = False
        for i in range(lms):
            if pod[n, i, PHASE] == TERMINATING and pod_f[n, i, PHASE_END] <= due:
                pod[n, i, PHASE] = OFF_PHASE
                pod[n, i, CORES] = 0
                pod[n, i, VGPUS] = 0
                state.on_gpu[n, i, :] = 0
                released = True
        if released:
            admit(tables, state, n, due)
        for i in range(lms):
            if pod[n, i, WANT] == 1 and pod_f[n, i, WANT_SINCE] + timeout <= due:
                pod[n, i, WANT] = 0
    if starting:
        for i in range(lms):
            if pod[n, i, PHASE] == STARTING and pod_f[n, i, PHASE_END] <= until:
                pod[n, i, PHASE] = READY
