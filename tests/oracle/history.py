"""What a simulation hands out: records of the requests that ended, and what is observed at every slot boundary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.telemetry import Outcome, Phase, Records, Snapshot
from tests.oracle.clock import PER_S, slot_start
from tests.oracle.model import Place, Request, Wanted


@dataclass(frozen=True)
class History:
    """What a simulation came to."""

    records: list[Records]
    """Per slot, those that ended in it, in order of the request's number."""
    snapshots: list[Snapshot]
    """[slots + 1]; number t is the one before the deployments of slot t."""
    waiting: list[int]
    """[slots + 1] requests that arrived and have not ended."""
    features: Counter[str] = field(default_factory=Counter)
    """How often what is worth a test came up."""


def row(r: Request, outcome: Outcome, target: int, times: Sequence[int]) -> tuple[float, ...]:
    """One request that ended, in the order of the columns of Records; its four times in seconds."""
    interruptions = sum(part.interruptions for part in r.parts)
    identity = (r.number, r.lm, r.origin, target, r.prompts, outcome, interruptions)
    return (*identity, r.arrival_s, *(time / PER_S for time in times))


def to_records(rows: list[tuple[float, ...]]) -> Records:
    """Rows to columns, in order of the request's number."""
    table = np.array(sorted(rows), dtype=np.float64).reshape(len(rows), 12)
    counts = table[:, :7].astype(np.int64)
    return Records(*counts.T, *table[:, 7:].T)


def busy_so_far(places: list[list[Place]], now: int) -> NDArray[np.int64]:
    """[N, I] nanoseconds since the start of the run in which a pod computed."""
    return np.array([[place.worked.at(now) for place in row] for row in places], dtype=np.int64)


def observe(
    cluster: Cluster,
    slot: int,
    now: int,
    requests: Sequence[Request],
    places: list[list[Place]],
    free: list[tuple[int, float, int, float]],
    busy: NDArray[np.int64],
) -> Snapshot:
    """Look around at the start of a slot; `requests` are all that have arrived, `busy` is of the slot that ended."""
    integers = ("backlog_prompts", "backlog_requests", "arrived_prompts", "arrived_requests", "phase", "cores")
    shape = (cluster.n_nodes, cluster.n_lms)
    cell = {name: np.zeros(shape, dtype=np.int64) for name in (*integers, "vgpus")}
    oldest, left = np.zeros(shape), np.zeros(shape)
    before = slot_start(cluster, slot - 1)
    for r in requests:
        for part in r.parts:
            if not part.ended:
                cell["backlog_requests"][part.node, r.lm] += 1
                cell["backlog_prompts"][part.node, r.lm] += part.left
        if before <= r.arrival < now:
            cell["arrived_requests"][r.origin, r.lm] += 1
            cell["arrived_prompts"][r.origin, r.lm] += r.prompts
    for n, i in np.ndindex(*shape):
        place = places[n][i]
        if place.queue:
            oldest[n, i] = (now - place.queue[0].request.arrival) / PER_S
        seen = place.wanted or place.pod
        if seen is not None:
            cell["cores"][n, i], cell["vgpus"][n, i] = seen.allocation.cores, seen.allocation.vgpus
            cell["phase"][n, i] = Phase.PENDING if isinstance(seen, Wanted) else seen.phase
        if place.pod is not None and place.pod.phase != Phase.READY:
            left[n, i] = (place.pod.until - now) / PER_S
    return Snapshot(
        slot=slot,
        time_s=now / PER_S,
        oldest_wait_s=oldest,
        phase_left_s=left,
        free_cores=np.array([f[0] for f in free]),
        free_ram_gb=np.array([f[1] for f in free]),
        free_vgpus=np.array([f[2] for f in free]),
        free_vram_gb=np.array([f[3] for f in free]),
        busy_s=busy / PER_S,
        age_s=np.zeros(shape[0]),
        **cell,
    )
