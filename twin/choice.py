"""Compiled: how an origin chooses the pods of a request by what it knows (docs/twin.md, The choice)."""

from __future__ import annotations

import numpy as np

from twin.compiled import compiled
from twin.layout import (
    BATCH,
    COPIES,
    CORES,
    HEAD,
    JOIN,
    LEFT,
    ORIGIN,
    PACE,
    PHASE,
    PHASE_END,
    PREVIOUS,
    PROMPTS,
    READY,
    RUNS,
    SERVING,
    SIZE,
    STARTING,
    TAIL,
    UNIT,
    VGPUS,
    WORK,
    FloatArray,
    IntArray,
    State,
)
from twin.queues import downlink_ns, uplink_ns
from twin.scratch import BEFORE, FREE_AT, PROMPT, VALUE, Scratch
from twin.tables import L_START, N_KIND, Tables


@compiled
def units_of(tables: Tables, kind: int, i: int, mode: int, copies: int, prompts: float) -> float:
    """Return the units of so many prompts, dealt over the copies, in full batches and a last one."""
    each, most = (np.int64(prompts) + copies - 1) // copies, tables.most[kind, i, mode]
    units = tables.units[kind, i, mode]
    return float((each // most) * units[most] + units[each % most])


@compiled
def look(
    tables: Tables,
    state: State,
    seen: State,
    scratch: Scratch,
    j: int,
    n: int,
    i: int,
    origin: int,
    at: float,
    r: float,
) -> bool:
    """Note what the origin knows of the pod of LM i on node n, candidate j; False where it knows of none.

    `state` is the cluster at `at`, of which the pods are known; `seen` as it was at `r`, of which the queue is.
    """
    pod = state.pod_i[n, i]
    if pod[PHASE] != STARTING and pod[PHASE] != READY:
        return False
    mode, ready = 1 if pod[VGPUS] > 0 else 0, state.pod_f[n, i, PHASE_END]
    admitted = ready - tables.lm_f[i, L_START + mode]
    seconds = tables.gpu_ns[n, i, 0] + tables.gpu_ns[n, i, 1] if mode == 1 else tables.cpu_ns[n, i, pod[CORES]]
    if admitted > at or not np.isfinite(seconds):
        return False
    queue, place = seen.pod_i[n, i], seen.pod_i[n, i, TAIL]
    prompts = np.float64(queue[PROMPTS])
    while place >= 0 and seen.pool_f[place, JOIN] > r:
        if seen.pool_i[place, ORIGIN] != origin:
            prompts -= seen.pool_i[place, BATCH]
        place = seen.pool_i[place, PREVIOUS]
    plain = tables.by_prompt and pod[COPIES] == 1
    if not plain:
        work = np.rint(units_of(tables, tables.node_i[n, N_KIND], i, mode, pod[COPIES], prompts) * seconds)
    elif tables.by_batch:
        work = prompts * seconds
        if seen.batch_i[n, i, 0, SIZE] > 0 and admitted <= r:
            runs, unit = seen.batch_f[n, i, 0, RUNS], seen.batch_f[n, i, 0, UNIT]
            if unit > 0.0 and unit != seconds:
                runs = max(1.0, np.rint(runs * seconds / unit))
            work += runs - seconds if unit > 0.0 else 0.0
    else:
        work, head = prompts * seconds, queue[HEAD]
        if head >= 0 and seen.pool_f[head, JOIN] <= r:
            left = seen.pool_f[head, LEFT]
            if queue[SERVING] == 1:
                before = seen.pod_f[n, i, PACE]
                whole = np.ceil(seen.pod_f[n, i, WORK] / before) - 1.0
                if admitted <= r:
                    part = seen.pod_f[n, i, WORK] - whole * before
                    if before != seconds:
                        part = max(1.0, np.rint(part * seconds / before))
                    work += part - seconds
                left = whole + 1.0
            work += (left - seen.pool_i[head, BATCH]) * seconds
    scratch.option[PROMPT, j], scratch.option[BEFORE, j] = seconds, prompts
    scratch.option[FREE_AT, j] = max(r, ready) + work
    return True


@compiled
def score(
    tables: Tables, state: State, scratch: Scratch, j: int, n: int, i: int, origin: int, at: float, prompts: int
) -> float:
    """Return how long after `at` so many prompts would be back from candidate j."""
    there = at + uplink_ns(tables, origin, n, i, prompts)
    own = prompts * scratch.option[PROMPT, j]
    if not tables.by_prompt or state.pod_i[n, i, COPIES] > 1:
        mode, copies, kind = (
            1 if state.pod_i[n, i, VGPUS] > 0 else 0,
            state.pod_i[n, i, COPIES],
            tables.node_i[n, N_KIND],
        )
        units = units_of(tables, kind, i, mode, copies, np.float64(prompts))
        if scratch.option[FREE_AT, j] > there and not tables.by_request:
            before = scratch.option[BEFORE, j]
            units = units_of(tables, kind, i, mode, copies, before + prompts)
            units -= units_of(tables, kind, i, mode, copies, before)
        own = np.rint(units * scratch.option[PROMPT, j])
    back = max(there, scratch.option[FREE_AT, j]) + own + downlink_ns(tables, origin, n, i, prompts)
    return float(back - at)


@compiled
def deal(
    tables: Tables,
    state: State,
    scratch: Scratch,
    nodes: IntArray,
    weight: FloatArray,
    known: int,
    i: int,
    origin: int,
    at: float,
    prompts: int,
) -> int:
    """Deal the prompts of a request over the allowed nodes, `scratch.dealt`; return over how many.

    `known` is of how many of them the origin knows a pod; `scratch.seconds` is infinite for the others.
    """
    dealt, value, allowed, parts = scratch.dealt, scratch.option[VALUE], 0, 0
    while allowed < nodes.shape[0] and nodes[allowed] >= 0:
        dealt[allowed] = 0
        allowed += 1
    each = 1 if tables.split and known > 0 else prompts
    for j in range(allowed):
        if known == 0:
            value[j] = -weight[j]
        elif np.isfinite(scratch.option[PROMPT, j]):
            value[j] = score(tables, state, scratch, j, nodes[j], i, origin, at, each) / weight[j]
        else:
            value[j] = np.inf
    left = prompts
    while left > 0:
        best = -1
        for j in range(allowed):
            if known > 0 and not np.isfinite(scratch.option[PROMPT, j]):
                continue  # a tiny weight makes the score of a pod infinite, too
            if best < 0 or value[j] < value[best] or (value[j] == value[best] and nodes[j] == origin):
                best = j
        parts += dealt[best] == 0
        dealt[best] += each
        left -= each
        if left > 0:
            n = nodes[best]
            value[best] = score(tables, state, scratch, best, n, i, origin, at, dealt[best] + 1) / weight[best]
    return parts
