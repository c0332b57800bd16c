"""The digital twin as the rest of the project uses it: observe, route, deploy, advance; copy, save, restore."""

from __future__ import annotations

import hashlib
import io
import math

import numpy as np

from domain.cluster import Cluster
from domain.decisions import NOWHERE, Deployment, RoutingPlan
from domain.moments import verge
from domain.serving import Dispatch
from domain.telemetry import Records, Snapshot
from domain.workload import Arrivals
from twin import engine, open_plans
from twin.archives import read_arrays
from twin.layout import (
    ARRIVED,
    GROWS,
    SLOT,
    WAITING,
    IntArray,
    Output,
    Schedule,
    State,
    allowed,
    output,
)
from twin.observe import observe
from twin.scratch import scratch
from twin.tables import tables

_NEWS = "news_"
"""Before the names of what is kept of the news."""


class Twin:
    """One simulated cluster (docs/twin.md). Deterministic: the same calls give the same records, bit for bit."""

    def __init__(self, cluster: Cluster) -> None:
        """Start at slot 0 with nothing deployed and nothing waiting."""
        self.cluster = cluster
        self._tables = tables(cluster)
        self._state = State.initial(cluster)
        self._news = self._state.copy() if self._tables.news_ns else None
        self._scratch = scratch(self._state)
        shape = (1, cluster.n_nodes, cluster.n_lms)
        self._schedule = Schedule.fixed(
            targets=np.full(shape, NOWHERE, dtype=np.int64),
            cores=np.zeros(shape, dtype=np.int64),
            vgpus=np.zeros(shape, dtype=np.int64),
            decided=np.zeros(shape[:2], dtype=np.int64),
        )

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
        """Put a routing plan in force from the current slot on.

        Raises ValueError where a target does not exist, or an open plan is of another size, has a weight that is no
        finite number of 0 or more, or meets a cluster of fixed dispatch.
        """
        targets, weights, shape = plan.targets, plan.weights, self._schedule.targets.shape[1:]
        if targets.shape != shape or targets.min() < NOWHERE or targets.max() >= self.cluster.n_nodes:
            raise ValueError(f"a routing plan needs shape {shape} and targets from -1 to {self.cluster.n_nodes - 1}")
        if weights is not None:
            if self.cluster.serving.dispatch is Dispatch.FIXED:
                raise ValueError("an open routing plan needs a cluster whose dispatch is arrival or split")
            if weights.shape not in {(rows, *shape[::-1]) for rows in (1, shape[0])}:
                raise ValueError(f"an open routing plan needs weights of shape {(shape[0], *shape[::-1])}")
            if not (np.isfinite(weights).all() and (weights >= 0.0).all()):
                raise ValueError("weights of a routing plan must be finite and not negative")
            sets, weight = allowed(weights)
            self._schedule = self._schedule._replace(allowed=sets[None], weight=weight[None])
        self._schedule.is_open[0] = weights is not None
        self._schedule.targets[0] = targets

    def deploy(self, deployment: Deployment) -> None:
        """Apply a deployment to its node at the start of the current slot.

        Demands beyond the node's capacity leave pods Pending, as they would in Kubernetes. Raises ValueError for an
        allocation that no pod of the LM could ever run with on that node, and then changes nothing.
        """
        n = deployment.node
        if len(deployment.allocations) != self.cluster.n_lms:
            raise ValueError(f"a deployment needs {self.cluster.n_lms} allocations, one for each LM")
        for i, allocation in enumerate(deployment.allocations):
            c, g = allocation.cores, allocation.vgpus
            if not (c or g):
                continue
            slices = g > 1 and self.cluster.nodes[n].mig
            if c < 0 or g < 0 or (c and g) or slices or not math.isfinite(self._pace(n, i, c, g)):
                raise ValueError(
                    f"{self.cluster.lms[i].name} cannot run on {self.cluster.nodes[n].name} with {c} cores "
                    f"and {g} vGPUs"
                )
        self._schedule.cores[0, n] = [allocation.cores for allocation in deployment.allocations]
        self._schedule.vgpus[0, n] = [allocation.vgpus for allocation in deployment.allocations]
        self._schedule.decided[0, n] = 1

    def _pace(self, n: int, i: int, cores: int, vgpus: int) -> float:
        if vgpus:
            return float(self._tables.gpu_ns[n, i, 0])
        # More than the node has: such a pod stays Pending.
        return float(self._tables.cpu_ns[n, i, min(cores, self.cluster.nodes[n].cpu_cores)])

    def advance(self, arrivals: Arrivals) -> Records:
        """Run the current slot with these arrivals; return the requests that ended in it."""
        records = self.run(arrivals, self._schedule)
        self._schedule.decided[:] = 0
        return records

    def run(self, arrivals: Arrivals, schedule: Schedule, out: Output | None = None) -> Records:
        """Run the T slots of a schedule in one compiled call; return the requests that ended in them.

        Given an `out` that holds all that wait or arrive, the records are views of it, good until it is used again:
        fresh memory for a record costs about as much time as simulating its request. Raises ValueError where `out` is
        too small or arrivals do not lie within those slots.
        """
        slot, slot_s, times = self.slot, self.cluster.slot_s, arrivals.time_s
        last = slot + schedule.targets.shape[0] - 1
        if len(arrivals) and not (times[0] >= verge(slot * slot_s) and times[-1] < (last + 1) * slot_s):
            raise ValueError(
                f"arrivals from {times[0]:g} s to {times[-1]:g} s do not lie in slots {slot} to {last} of {slot_s:g} s"
            )
        most = self.waiting + len(arrivals)
        if out is None:
            out = output(most)
        elif out.record_i.shape[1] < most:
            raise ValueError(f"room for {out.record_i.shape[1]} records, but {most} requests wait or arrive")
        requests = (times, arrivals.origin, arrivals.lm, arrivals.prompts)
        if self.cluster.serving.dispatch is Dispatch.FIXED and not self._tables.by_batch:
            self._state = self._state.with_room(len(arrivals), 0)
            plain = schedule.targets, schedule.cores, schedule.vgpus, schedule.decided
            ended = engine.advance(self._tables, self._state, *requests, *plain, out, self._scratch)
        else:
            ended = self._run_open(arrivals, schedule, out)
        return Records(*out.record_i[:, :ended], *out.record_f[:, :ended])

    def _run_open(self, arrivals: Arrivals, schedule: Schedule, out: Output) -> int:
        divided = self._tables.split and bool(schedule.is_open.any())
        parts = int(np.minimum(arrivals.prompts, schedule.allowed.shape[3]).sum()) if divided else len(arrivals)
        room = parts, len(arrivals) * divided
        state = news = self._state = self._state.with_room(*room)
        waste = out
        if self._news is not None:
            news = self._news = self._news.with_room(*room)
            waste = output(int(news.counters[WAITING]) + len(arrivals))
        requests = (arrivals.time_s, arrivals.origin, arrivals.lm, arrivals.prompts)
        return open_plans.advance_open(self._tables, state, news, *requests, schedule, out, waste, self._scratch)

    def copy(self) -> Twin:
        """An independent twin in the same state: microseconds and a few kilobytes at P1's size."""
        other = Twin.__new__(Twin)
        other.cluster, other._tables, other._state = self.cluster, self._tables, self._state.copy()
        other._news = None if self._news is None else self._news.copy()
        other._scratch = self._scratch
        other._schedule = Schedule._make(array.copy() for array in self._schedule)
        return other

    def adopt(self, state: State) -> None:
        """Continue from a state of the same cluster; the twin owns it from here on. News is as old as that state."""
        self._state = state
        self._news = None if self._news is None else state.copy()

    def save(self) -> bytes:
        """The whole state, decisions in force included: an uncompressed NumPy archive behind its SHA-256 digest."""
        out = io.BytesIO()
        news = {} if self._news is None else {_NEWS + name: a for name, a in self._news.copy()._asdict().items()}
        np.savez(out, **self._schedule._asdict(), **self._state.copy()._asdict(), **news)
        return hashlib.sha256(out.getvalue()).digest() + out.getvalue()

    @classmethod
    def restore(cls, cluster: Cluster, data: bytes) -> Twin:
        """Continue from `save`. Raises ValueError where the data are damaged or of a cluster of another size."""
        twin, digest = cls(cluster), hashlib.sha256().digest_size
        if hashlib.sha256(data[digest:]).digest() != data[:digest]:  # nothing that was not saved gets to the engine
            raise ValueError("not a saved twin: damaged, cut short, or of another origin")
        own = {**twin._schedule._asdict(), **twin._state._asdict()}
        if twin._news is not None:
            own |= {_NEWS + name: array for name, array in twin._news._asdict().items()}
        try:
            saved = read_arrays(data[digest:], tuple(own), len(data))
        except ValueError as error:
            raise ValueError(f"not a twin saved by this version: {error}") from None
        for name, array in saved.items():
            grows = name.removeprefix(_NEWS) in GROWS
            sizes = [(a.shape[1:] if grows else a.shape) for a in (array, own[name])]
            if name in ("allowed", "weight"):  # as many as a plan allows
                sizes = [(a.shape[0], a.shape[2]) for a in (array, own[name])]
            if sizes[0] != sizes[1] or array.dtype != own[name].dtype:
                raise ValueError("the saved twin is of a cluster with other nodes, LMs, GPUs or ways of serving")
        twin._state = State(**{name: saved[name] for name in State._fields})
        twin._schedule = Schedule(**{name: saved[name] for name in Schedule._fields})
        if twin._news is not None:
            twin._news = State(**{name: saved[_NEWS + name] for name in State._fields})
        return twin


def run_schedule(
    twin: Twin, arrivals: Arrivals, targets: IntArray, cores: IntArray, vgpus: IntArray, decided: IntArray
) -> Records:
    """Run T slots in one compiled call, decisions as in `Schedule.fixed`."""
    return twin.run(arrivals, Schedule.fixed(targets, cores, vgpus, decided))
