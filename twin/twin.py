"""The digital twin as the rest of the project uses it: observe, route, deploy, advance; copy, save, restore."""

from __future__ import annotations

import io
import math
import zipfile

import numpy as np

from domain.cluster import Cluster
from domain.decisions import NOWHERE, Deployment, RoutingPlan
from domain.telemetry import Records, Snapshot
from domain.workload import Arrivals
from twin import engine
from twin.layout import (
    ARRIVED,
    RECORD_F,
    RECORD_I,
    SLOT,
    WAITING,
    FloatArray,
    IntArray,
    State,
    Tables,
    scratch,
    tables,
)
from twin.observe import observe


class Twin:
    """One simulated cluster (docs/twin.md). Deterministic: the same calls give the same records, bit for bit."""

    def __init__(self, cluster: Cluster, _tables: Tables | None = None, _state: State | None = None) -> None:
        """Start at slot 0 with nothing deployed and nothing waiting."""
        self.cluster = cluster
        self._tables = tables(cluster) if _tables is None else _tables
        self._state = State.initial(cluster) if _state is None else _state
        shape = (1, cluster.n_nodes, cluster.n_lms)
        self._targets = np.full(shape, NOWHERE, dtype=np.int64)
        self._cores = np.zeros(shape, dtype=np.int64)
        self._vgpus = np.zeros(shape, dtype=np.int64)
        self._decided = np.zeros(shape[:2], dtype=np.int64)

    @property
    def slot(self) -> int:
        """The slot that the next `advance` runs."""
        return int(self._state.counters[SLOT])

    @property
    def arrived(self) -> int:
        """Requests that have arrived since the start."""
        return int(self._state.counters[ARRIVED])

    @property
    def waiting(self) -> int:
        """Requests that have arrived and not ended."""
        return int(self._state.counters[WAITING])

    def observe(self) -> Snapshot:
        """Everything known at the end of the last slot."""
        return observe(self.cluster, self._tables, self._state)

    def route(self, plan: RoutingPlan) -> None:
        """Put a routing plan in force from the current slot on. Raises ValueError where a target does not exist."""
        targets = plan.targets
        if targets.shape != self._targets.shape[1:] or targets.min() < NOWHERE or targets.max() >= self.cluster.n_nodes:
            raise ValueError(
                f"a routing plan needs shape {self._targets.shape[1:]} and targets from -1 to "
                f"{self.cluster.n_nodes - 1}"
            )
        self._targets[0] = targets

    def deploy(self, deployment: Deployment) -> None:
        """Apply a deployment to its node at the start of the current slot.

        Demands beyond the node's capacity leave pods Pending, as they would in Kubernetes. Raises ValueError for an
        allocation that no pod of the LM could ever run with on that node.
        """
        n = deployment.node
        if len(deployment.allocations) != self.cluster.n_lms:
            raise ValueError(f"a deployment needs {self.cluster.n_lms} allocations, one for each LM")
        for i, allocation in enumerate(deployment.allocations):
            c, g = allocation.cores, allocation.vgpus
            if c < 0 or g < 0 or (c and g) or not math.isfinite(self._seconds(n, i, c, g)):
                raise ValueError(
                    f"{self.cluster.lms[i].name} cannot run on {self.cluster.nodes[n].name} with {c} cores "
                    f"and {g} vGPUs"
                )
        self._cores[0, n] = [allocation.cores for allocation in deployment.allocations]
        self._vgpus[0, n] = [allocation.vgpus for allocation in deployment.allocations]
        self._decided[0, n] = 1

    def _seconds(self, n: int, i: int, cores: int, vgpus: int) -> float:
        if vgpus:
            return float(self._tables.gpu_seconds[n, i, 0])
        if cores:
            return float(self._tables.cpu_seconds[n, i, min(cores, self.cluster.nodes[n].cpu_cores)])
        return 0.0

    def advance(self, arrivals: Arrivals) -> Records:
        """Run the current slot with these arrivals; return the requests that ended in it."""
        records = run_schedule(self, arrivals, self._targets, self._cores, self._vgpus, self._decided)
        self._decided[:] = 0
        return records

    def copy(self) -> Twin:
        """An independent twin in the same state: two microseconds and a few kilobytes at P1's size."""
        other = Twin.__new__(Twin)
        other.cluster, other._tables, other._state = self.cluster, self._tables, self._state.copy()
        other._targets, other._cores = self._targets.copy(), self._cores.copy()
        other._vgpus, other._decided = self._vgpus.copy(), self._decided.copy()
        return other

    def save(self) -> bytes:
        """The whole state, decisions in force included, as an uncompressed NumPy archive."""
        out = io.BytesIO()
        np.savez(
            out,
            targets=self._targets,
            cores=self._cores,
            vgpus=self._vgpus,
            decided=self._decided,
            **self._state.copy()._asdict(),
        )
        return out.getvalue()

    @classmethod
    def restore(cls, cluster: Cluster, data: bytes) -> Twin:
        """Continue from `save`. Raises ValueError where the data are damaged or of a cluster of another size."""
        twin = cls(cluster)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as saved:
                state = State(**{name: saved[name] for name in State._fields})
                decisions = [saved[name] for name in ("targets", "cores", "vgpus", "decided")]
        except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"not a saved twin: {error}") from error
        fits = [a.shape == b.shape for a, b in zip(state[:6], twin._state[:6], strict=True)]
        if not all(fits) or decisions[0].shape != twin._targets.shape:
            raise ValueError("the saved twin is of a cluster with other nodes, LMs or GPUs")
        twin._state = state
        twin._targets, twin._cores, twin._vgpus, twin._decided = decisions
        return twin


def run_schedule(
    twin: Twin, arrivals: Arrivals, targets: IntArray, cores: IntArray, vgpus: IntArray, decided: IntArray
) -> Records:
    """Run T slots in one compiled call; return the requests that ended in them.

    `targets`, `cores`, `vgpus` are [T, N, I], `decided` is [T, N]: 1 where the node gets a deployment in that slot.
    Arrivals must lie
    within the T slots, or ValueError.
    """
    state = twin._state.with_room(len(arrivals))
    twin._state = state
    slot, slot_s = int(state.counters[SLOT]), twin.cluster.slot_s
    times = arrivals.time_s
    if len(arrivals) and not (times[0] >= slot * slot_s and times[-1] < (slot + targets.shape[0]) * slot_s):
        raise ValueError(
            f"arrivals from {times[0]:g} s to {times[-1]:g} s do not lie in slots {slot} to "
            f"{slot + targets.shape[0] - 1} of {slot_s:g} s"
        )
    most = int(state.counters[WAITING]) + len(arrivals)
    record_i: IntArray = np.empty((RECORD_I, most), dtype=np.int64)
    record_f: FloatArray = np.empty((RECORD_F, most))
    ended = engine.advance(
        twin._tables,
        state,
        times,
        arrivals.origin,
        arrivals.lm,
        arrivals.prompts,
        targets,
        cores,
        vgpus,
        decided,
        record_i,
        record_f,
        scratch(state),
    )
    request, lm, origin, target, prompts, outcome, interruptions = record_i[:, :ended]
    arrival_s, uplink_s, queue_s, inference_s, downlink_s = record_f[:, :ended]
    return Records(
        request,
        lm,
        origin,
        target,
        prompts,
        outcome,
        interruptions,
        arrival_s,
        uplink_s,
        queue_s,
        inference_s,
        downlink_s,
    )
