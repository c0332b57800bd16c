"""Compiled: how fast the busy pods of a node are beside each other, by mean value analysis (docs/twin.md, Speed)."""

from __future__ import annotations

import numpy as np

from domain.gpu_sharing import HOST_CONTENTION
from twin.compiled import compiled, compiled_call
from twin.layout import VGPUS, State
from twin.scratch import BUSY_COPY, BUSY_LM, DEMAND, HOST, MEMBER, MEMO, MOST_EXACT, REACH, SHARE, TAKES, THEN, Scratch
from twin.tables import N_GPUS, N_KIND, Tables

ROUNDS = 50
"""Of Schweitzer's approximation."""
COARSE, CLOSE = 1e12, 1e-3
"""From which pace on it is rounded to microseconds; how close to a half is one."""
_FACTOR = 6364136223846793005


@compiled
def set_paces(tables: Tables, state: State, scratch: Scratch, n: int, running: int) -> None:
    """Set what a prompt takes in each of the first `running` customers of `scratch.busy`, which are busy on vGPUs.

    Paces depend on nothing but who is busy and where, so they are worked out once. Sets are told apart by a hash of 64
    bits.
    """
    key = tables.node_i[n, N_KIND] * _FACTOR + running + 1
    for b in range(running):
        i, copy = scratch.who[BUSY_LM, b], scratch.who[BUSY_COPY, b]
        key = (key ^ (key >> 29)) * _FACTOR + i
        for p in range(tables.node_i[n, N_GPUS]):
            there = state.on_gpu[n, i, p] if copy < 0 else (-1 if p == copy else 0)
            key = key * 131 + there
    place = (key ^ (key >> 32)) & (MEMO - 1)
    if scratch.key[place] != key or key == 0:
        analyse(tables, state, scratch, n, running)
        scratch.key[place] = key
        for b in range(running):
            scratch.kept[place, b] = scratch.amount[TAKES, b]
    else:
        for b in range(running):
            scratch.amount[TAKES, b] = scratch.kept[place, b]


@compiled_call
def analyse(tables: Tables, state: State, scratch: Scratch, n: int, running: int) -> None:
    """Work the paces out, network by network."""
    gpus, demand, reach = tables.node_i[n, N_GPUS], scratch.network[DEMAND], scratch.who[REACH]
    for b in range(running):
        i, copy = scratch.who[BUSY_LM, b], scratch.who[BUSY_COPY, b]
        scratch.amount[HOST, b], compute = tables.gpu_ns[n, i, 0], tables.gpu_ns[n, i, 1]
        reach[b] = 0
        for p in range(gpus):
            demand[b, p] = 0.0
            if copy >= 0:
                demand[b, p] = compute if p == copy else 0.0
            elif state.on_gpu[n, i, p] > 0:
                demand[b, p] = compute * state.on_gpu[n, i, p] / state.pod_i[n, i, VGPUS]
            if demand[b, p] > 0.0:
                reach[b] |= 1 << p
    for b in range(running):
        if reach[b] == 0:
            continue
        joined, before = reach[b], 0
        while joined != before:
            before = joined
            for c in range(running):
                if reach[c] & joined != 0:
                    joined |= reach[c]
        members = 0
        for c in range(running):
            if reach[c] & joined != 0:
                scratch.who[MEMBER, members] = c
                members += 1
        if members <= MOST_EXACT:
            exactly(scratch, gpus, members)
        else:
            roughly(scratch, gpus, members)
        for k in range(members):
            reach[scratch.who[MEMBER, k]] = 0


@compiled
def nearest(seconds: float) -> float:
    """Round to nanoseconds, from 1,000 s on to microseconds; what is close to a half is one."""
    grid = 1.0 if seconds < COARSE else 1e3
    half = np.floor(seconds / grid) + 0.5
    return float(grid * np.rint(half if abs(seconds / grid - half) <= CLOSE else seconds / grid))


@compiled
def exactly(scratch: Scratch, gpus: int, members: int) -> None:
    """Set the paces of a network: over its subsets, the smaller ones first."""
    member, demand, reach, ahead = scratch.who[MEMBER], scratch.network[DEMAND], scratch.who[REACH], scratch.ahead
    ahead[0, :] = 0.0
    last = (1 << members) - 1
    for busy in range(1, last + 1):
        ahead[busy, :] = 0.0
        for k in range(members):
            if busy >> k & 1 == 0:
                continue
            b, others, neighbours = member[k], busy & ~(1 << k), 0
            for j in range(members):
                if others >> j & 1 == 1 and reach[member[j]] & reach[b] != 0:
                    neighbours += 1
            seconds = scratch.amount[HOST, b] * (1.0 + HOST_CONTENTION * neighbours)
            for p in range(gpus):
                seconds += demand[b, p] * (1.0 + ahead[others, p])
            for p in range(gpus):
                ahead[busy, p] += demand[b, p] * (1.0 + ahead[others, p]) / seconds
            if busy == last:
                scratch.amount[TAKES, b] = nearest(seconds) if members > 1 else np.rint(seconds)


@compiled
def roughly(scratch: Scratch, gpus: int, members: int) -> None:
    """Set the paces of a large network by Schweitzer's approximation."""
    member, demand, share, then = (
        scratch.who[MEMBER],
        scratch.network[DEMAND],
        scratch.network[SHARE],
        scratch.network[THEN],
    )
    for k in range(members):
        b = member[k]
        seconds = scratch.amount[HOST, b]
        for p in range(gpus):
            seconds += demand[b, p]
        for p in range(gpus):
            share[b, p] = demand[b, p] / seconds
    for _ in range(ROUNDS):
        for k in range(members):
            b, neighbours = member[k], 0
            for j in range(members):
                if j != k and scratch.who[REACH][member[j]] & scratch.who[REACH, b] != 0:
                    neighbours += 1
            seconds = scratch.amount[HOST, b] * (1.0 + HOST_CONTENTION * neighbours)
            for p in range(gpus):
                then[b, p] = 1.0
                for j in range(members):
                    if j != k:
                        then[b, p] += share[member[j], p]
                seconds += demand[b, p] * then[b, p]
            for p in range(gpus):
                then[b, p] *= demand[b, p] / seconds
            scratch.amount[TAKES, b] = nearest(seconds)
        for k in range(members):
            for p in range(gpus):
                share[member[k], p] = then[member[k], p]
