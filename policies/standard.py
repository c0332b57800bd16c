"""What a rule chooses from: the nodes that may serve an LM, and the patterns that a node may run.

A pattern says of each LM whether it is off, on the CPU or on a GPU: P1's discrete activation pattern (section V-D) and
the configurations of its Lyapunov controller (section VI). The standard allocation turns it into cores and vGPUs. It
has one size for each node, LM and mode, whatever the other LMs do: a pod changes its size only by a restart, so
switching one LM must never resize another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.constraints import TOLERANCE
from domain.decisions import OFF, Allocation, Deployment, MacroPolicy
from domain.errors import InputError
from domain.gpus import Gpus
from domain.telemetry import Phase, Snapshot

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MOST_PATTERNS = 500_000
"""Patterns of one node beyond which a rule that looks at every one of them would miss the beat of the slots."""


class Mode(IntEnum):
    """What a pattern says of one LM."""

    OFF = 0
    CPU = 1
    GPU = 2


_OFF, _CPU, _GPU, _OTHER = int(Mode.OFF), int(Mode.CPU), int(Mode.GPU), -1  # plain numbers compare fast
_ON = np.array([phase not in (Phase.OFF, Phase.TERMINATING) for phase in Phase])
_ON.setflags(write=False)


def is_on(snapshot: Snapshot, n: int) -> BoolArray:
    """Return which LMs node n has on, shape [I]: their pods start, run or are Pending; shutting down is off."""
    on: BoolArray = _ON[snapshot.phase[n]]
    return on


def candidate_nodes(cluster: Cluster, policy: MacroPolicy, i: int) -> IntArray:
    """Return the nodes that LM i may be sent to, in order: those that can run it and have it among their roles.

    Where no such node has the role, those that can run it; empty where none can.
    """
    feasible = cluster.feasible[:, i]
    meant = feasible & policy.roles[:, i]
    return np.flatnonzero(meant if meant.any() else feasible)


def standard_cores(cluster: Cluster, n: int) -> IntArray:
    """Return the cores that each LM gets on the CPU of node n, shape [I]; 0 where it cannot run there.

    The cores that are left when the GPU-only LMs that can be on at once have their `host_cores`, shared evenly by the
    LMs that can run on the CPU and rounded down; never below the smallest size that runs, and never beyond the size
    from which more cores bring nothing.
    """
    node, lms = cluster.nodes[n], range(cluster.n_lms)
    hosts = [cluster.lms[i].host_cores for i in lms if cluster.lms[i].gpu_only and cluster.runs_on_gpu(n, i)]
    on_cpu = [i for i in lms if cluster.runs_on_cpu(n, i)]
    cores = np.zeros(cluster.n_lms, dtype=np.int64)
    for i in on_cpu:
        share = (node.cpu_cores - sum(sorted(hosts, reverse=True)[: node.vgpus])) // len(on_cpu)
        seconds = [cluster.cpu_seconds(n, i, k) for k in range(1, node.cpu_cores + 1)]
        largest = max(share, cluster.least_cores(n, i))
        cores[i] = next(k for k, s in enumerate(seconds, start=1) if s <= seconds[largest - 1])
    return cores


@dataclass(frozen=True)
class Patterns:
    """Every pattern that one kind of node can run, in lexicographic order of modes: all off comes first."""

    modes: NDArray[np.int8]
    """[P, I] value of Mode."""
    cores: IntArray
    """[I] what an LM gets in mode CPU; 0 where it has no such mode."""
    vgpus: IntArray
    """[I] what an LM gets in mode GPU, the fewest that it needs; 0 where it has no such mode."""

    def __len__(self) -> int:
        return int(self.modes.shape[0])

    @cached_property
    def active(self) -> BoolArray:
        """[P, I] True where the LM is on."""
        on: BoolArray = self.modes != Mode.OFF
        return on

    def deployment(self, n: int, pattern: int) -> Deployment:
        """Return the pattern as a deployment of node n."""
        return Deployment(
            n,
            tuple(
                self._on_cpu[i] if mode == Mode.CPU else self._on_gpu[i] if mode == Mode.GPU else OFF
                for i, mode in enumerate(self.modes[pattern].tolist())
            ),
        )

    def present(self, snapshot: Snapshot, n: int) -> IntArray:
        """Return the mode of each LM's pod on node n, shape [I]; -1 where its size is not the standard one.

        A pod that is shutting down counts as off: to have it on again takes a new one.
        """
        cores, vgpus = snapshot.cores[n], snapshot.vgpus[n]
        on_gpu = np.where(vgpus == self.vgpus, _GPU, _OTHER)
        modes = np.where(vgpus == 0, np.where(cores == self.cores, _CPU, _OTHER), on_gpu)
        modes[~is_on(snapshot, n)] = _OFF
        return modes

    def allowed(self, snapshot: Snapshot, n: int, roles: BoolArray | None = None) -> BoolArray:
        """Return which patterns node n may take now, shape [P].

        A Pending pod on the node voids whatever would need a new pod (P1 section V-D). Given roles ([I], R_n of
        P1-13), an LM that is not among them must be off.
        """
        may = np.ones(len(self), dtype=np.bool_)
        if roles is not None and not roles.all():
            may &= ~self.active[:, ~roles].any(axis=1)
        if snapshot.has_pending(n):
            may &= (~self.active | (self.modes == self.present(snapshot, n))).all(axis=1)
        return may

    @cached_property
    def _on_cpu(self) -> tuple[Allocation, ...]:
        return tuple(Allocation(cores=int(c)) for c in self.cores)

    @cached_property
    def _on_gpu(self) -> tuple[Allocation, ...]:
        return tuple(Allocation(vgpus=int(g)) for g in self.vgpus)


def patterns(cluster: Cluster, n: int) -> Patterns:
    """Enumerate the patterns of node n, LM by LM, dropping what no longer fits as early as possible.

    What fits keeps to P1-1, and each GPU can hold what lies on it when LMs are admitted in their order.

    Raises:
        InputError: there are more than MOST_PATTERNS of them.
    """
    node, cores = cluster.nodes[n], standard_cores(cluster, n)
    vgpus = np.array([cluster.least_vgpus(n, i) for i in range(cluster.n_lms)], dtype=np.int64)
    limits = np.array([node.vgpus, node.cpu_cores, node.ram_gb, node.vram_gb]) + TOLERANCE
    modes, used = np.zeros((1, 0), dtype=np.int8), np.zeros((1, 4))
    gpus, all_gb = Gpus(node), sum(cluster.vram_gb(n, i) for i, g in enumerate(vgpus.tolist()) if g)
    scarce = node.gpus > 1 and all_gb > node.gpu_vram_gb
    for i in range(cluster.n_lms):
        choices = [(Mode.OFF, np.zeros(4))]
        if cores[i]:
            choices.append((Mode.CPU, _demand(cluster, n, i, Allocation(cores=int(cores[i])))))
        if vgpus[i]:
            choices.append((Mode.GPU, _demand(cluster, n, i, Allocation(vgpus=int(vgpus[i])))))
        sums = used[:, None, :] + np.array([demand for _, demand in choices])
        rows, columns = np.nonzero((sums <= limits).all(axis=2))
        column = np.array([mode for mode, _ in choices], dtype=np.int8)[columns]
        if scarce:
            gpus = gpus.rows(rows)
            fits = gpus.admit(np.where(column == Mode.GPU, vgpus[i], 0), cluster.vram_gb(n, i))
            rows, columns, column, gpus = rows[fits], columns[fits], column[fits], gpus.rows(np.flatnonzero(fits))
        if rows.size > MOST_PATTERNS:
            raise InputError(
                f"Cluster {cluster.name}: node {node.name} has more than {MOST_PATTERNS} patterns of its "
                f"{cluster.n_lms} LMs, too many to look at in every slot; give the cluster fewer LMs, or each LM "
                f"speeds only for the CPU and GPU models that it is meant for."
            )
        modes, used = np.column_stack([modes[rows], column]), sums[rows, columns]
    for array in (modes, cores, vgpus):
        array.setflags(write=False)
    return Patterns(modes, cores, vgpus)


def _demand(cluster: Cluster, n: int, i: int, allocation: Allocation) -> NDArray[np.float64]:
    on_vgpus = allocation.vgpus > 0
    memory = (cluster.ram_gb(n, i, on_vgpus), cluster.vram_gb(n, i) if on_vgpus else 0.0)
    return np.array([allocation.vgpus, allocation.demand_cores(cluster.lms[i]), *memory])


def catalogue(cluster: Cluster) -> Sequence[Patterns]:
    """Return the patterns of every node, length N; nodes of the same hardware share one object."""
    kinds = [node.hardware for node in cluster.nodes]
    first = {kind: n for n, kind in reversed(list(enumerate(kinds)))}
    known = {kind: patterns(cluster, n) for kind, n in first.items()}
    return [known[kind] for kind in kinds]
