"""From the engine's arrays to the snapshot that every decider sees."""

from __future__ import annotations

import numpy as np

from domain.cluster import Cluster
from domain.moments import NS_PER_S, nanoseconds, on_clock
from domain.telemetry import Phase, Snapshot
from twin.layout import (
    ARRIVAL,
    ARRIVED_PROMPTS,
    ARRIVED_REQUESTS,
    BATCH,
    BUSY,
    COPIES,
    CORES,
    HEAD,
    JOIN,
    LEFT,
    OFF_PHASE,
    PACE,
    PHASE,
    PHASE_END,
    PROMPTS,
    REQUESTS,
    SERVING,
    SLOT,
    STARTING,
    TERMINATING,
    VGPUS,
    WANT,
    WANT_CORES,
    WANT_VGPUS,
    WORK,
    State,
)
from twin.tables import L_HOST_CORES, N_CORES, N_GPUS, N_RAM, N_REPLICAS, N_VRAM, Tables


def observe(cluster: Cluster, tables: Tables, state: State) -> Snapshot:
    """Read the state at a slot boundary; every array of the snapshot is a copy."""
    pod = state.pod_i
    now = nanoseconds(float(state.counters[SLOT]) * cluster.slot_s)
    phase, wanted = pod[:, :, PHASE], pod[:, :, WANT] == 1
    holds = phase != OFF_PHASE
    on_vgpus = holds & (pod[:, :, VGPUS] > 0)
    heads = pod[:, :, HEAD]
    waiting = heads >= 0
    at = heads[waiting]
    oldest = np.zeros(heads.shape)
    # What is still on its uplink is not in the queue yet.
    ages = now - on_clock(state.pool_f[at, ARRIVAL])
    oldest[waiting] = np.where(state.pool_f[at, JOIN] <= now, ages, 0.0) / NS_PER_S
    backlog = pod[:, :, PROMPTS].copy()
    left = state.pool_f[at, LEFT]
    in_hand = state.pod_f[waiting]
    with np.errstate(invalid="ignore"):  # inf / inf: a pod that cannot run at all has done nothing
        unfinished = np.fmin(left, np.ceil(in_hand[:, WORK] / in_hand[:, PACE]))
    left = np.where(pod[:, :, SERVING][waiting] == 1, unfinished, left)
    if not tables.by_batch:  # there, prompts are taken off as they are finished
        backlog[waiting] -= state.pool_i[at, BATCH] - left.astype(np.int64)
    held_cores = np.where(on_vgpus, tables.lm_i[:, L_HOST_CORES], pod[:, :, CORES]) * holds
    copies = np.maximum(pod[:, :, COPIES], 1)
    ram_on_cpu, ram_on_vgpus, vram = np.moveaxis(tables.pod_gb, 2, 0)
    ram_on_vgpus, vram = ram_on_vgpus * copies, vram * copies
    timed = (phase == STARTING) | (phase == TERMINATING)
    return Snapshot(
        slot=int(state.counters[SLOT]),
        time_s=now / NS_PER_S,
        backlog_prompts=backlog,
        backlog_requests=pod[:, :, REQUESTS].copy(),
        oldest_wait_s=oldest,
        phase=np.where(wanted, int(Phase.PENDING), phase),
        phase_left_s=np.where(timed, state.pod_f[:, :, PHASE_END] - now, 0.0) / NS_PER_S,
        cores=np.where(wanted, pod[:, :, WANT_CORES], pod[:, :, CORES]),
        vgpus=np.where(wanted, pod[:, :, WANT_VGPUS], pod[:, :, VGPUS]),
        free_cores=tables.node_i[:, N_CORES] - held_cores.sum(axis=1),
        free_ram_gb=tables.node_f[:, N_RAM] - (np.where(on_vgpus, ram_on_vgpus, ram_on_cpu) * holds).sum(axis=1),
        free_vgpus=tables.node_i[:, N_GPUS] * tables.node_i[:, N_REPLICAS] - (pod[:, :, VGPUS] * holds).sum(axis=1),
        free_vram_gb=tables.node_f[:, N_VRAM] - (vram * on_vgpus).sum(axis=1),
        arrived_requests=pod[:, :, ARRIVED_REQUESTS].copy(),
        arrived_prompts=pod[:, :, ARRIVED_PROMPTS].copy(),
        busy_s=state.pod_f[:, :, BUSY] / NS_PER_S,
        age_s=np.zeros(len(cluster.nodes)),
    )
