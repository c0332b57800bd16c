"""The world of a thread: what it is made of and what was decided in it, slot by slot, so that it can be played again.

A simulated world lives in one process, a thread outlives it. So the thread's state carries this record, packed, and
whoever goes on from a checkpoint, the last or an earlier one, plays it again and is in the world of that checkpoint:
the twin, what the rules have learned, the requests of the epoch so far.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.decisions import NOWHERE, Allocation, Deployment, RoutingPlan
from domain.errors import InputError
from domain.ledger import Case, Outcome, Role
from domain.objective import summarise
from domain.telemetry import Records
from domain.workload import Workload
from graph.gate.door import recorded
from graph.slot.deps import Deps
from graph.slot.kinds import deployment_of
from tools.traffic import WatchedTestbed
from twin.archives import read_arrays
from twin.testbeds import ServingEdit
from twin.twin import Twin

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float64]
Routes = Mapping[str, Mapping[str, Any]]
"""A routing plan in its form with names."""
MOST_BYTES = 1 << 29
"""Of a world, unpacked: its decisions of seven thousand slots on 600 nodes with ten LMs."""
TABLES = ("targets", "cores", "vgpus", "decided")
OPEN = ("origins", "weights")
"""Tables of a world with open routing plans."""
TESTBED = "testbed"
"""Stands for the testbed's own setting."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a world is made of."""

    testbed: str
    workload: str
    seed: int
    load: float = 1.0
    dispatch: str = TESTBED
    news_s: float | None = None
    batching: str = TESTBED
    copies: bool | None = None

    @property
    def serving(self) -> ServingEdit:
        """Settings in place of the testbed's."""
        dispatch, batching = (None if word == TESTBED else word for word in (self.dispatch, self.batching))
        return ServingEdit(dispatch, self.news_s, batching, self.copies)

    def told(self) -> dict[str, Any]:
        """Its fields as a context has them, without those that leave the testbed's settings as they are."""
        return {name: value for name, value in asdict(self).items() if value not in (None, TESTBED)}


@dataclass(frozen=True, slots=True)
class Plan:
    """A macro-policy as far as the rules have to know of it that ask for the next one."""

    slot: int
    outcome: str
    decided_by: str

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Plan:
        """Of a line of the ledger."""
        return cls(line["slot"], str(line["outcome"]), line["decided_by"])


@dataclass(frozen=True, slots=True)
class World:
    """A world after T slots."""

    made: Made
    targets: IntArray
    """[T, N, I] as in RoutingPlan."""
    cores: IntArray
    """[T, N, I]"""
    vgpus: IntArray
    """[T, N, I]"""
    decided: IntArray
    """[T, N] 1 where the node got a deployment."""
    origins: IntArray
    """[T] origins that an open plan tells apart, 1 or N; 0 where the plan is fixed."""
    weights: FloatArray
    """[R, N] the weights of the open plans, one after the other: for each origin and LM a row."""
    plans: tuple[Plan, ...] = ()
    """Made in these slots, in order."""
    last_case: Case | None = None
    """Of the last epoch that has passed."""

    @classmethod
    def new(cls, made: Made, cluster: Cluster) -> World:
        """Return a world in which nothing has happened yet."""
        empty = np.empty((0, cluster.n_nodes, cluster.n_lms), np.int32)
        nothing = np.empty(0, np.int32), np.empty((0, cluster.n_nodes))
        return cls(made, empty, empty, empty, empty[:, :, 0], *nothing)

    @property
    def slots(self) -> int:
        """T."""
        return int(self.targets.shape[0])

    def then(
        self,
        cluster: Cluster,
        routing: Routes,
        deployments: Sequence[Mapping[str, Any]],
        decisions: Sequence[Mapping[str, Any]],
    ) -> World:
        """Return the world one slot later, as the graph's state has it; without routes the old ones stay."""
        shape = (1, cluster.n_nodes, cluster.n_lms)
        if routing:
            plan = RoutingPlan.from_json(cluster, routing)
        else:
            plan = self.plan(self.slots - 1) if self.slots else RoutingPlan(np.full(shape[1:], NOWHERE, np.int64))
        weights = np.empty((0, 0, cluster.n_nodes)) if plan.weights is None else plan.weights
        cores, vgpus, decided = (np.zeros(shape, np.int32) for _ in range(3))
        for n, own in {entry["node"]: entry["allocations"] for entry in deployments}.items():
            if own:
                allocations = deployment_of(cluster, n, own).allocations
                cores[0, n] = [a.cores for a in allocations]
                vgpus[0, n] = [a.vgpus for a in allocations]
                decided[0, n] = 1
        return replace(
            self,
            targets=np.concatenate([self.targets, plan.targets[None].astype(np.int32)]),
            cores=np.concatenate([self.cores, cores]),
            vgpus=np.concatenate([self.vgpus, vgpus]),
            decided=np.concatenate([self.decided, decided[:, :, 0]]),
            origins=np.append(self.origins, np.int32(weights.shape[0])),
            weights=np.concatenate([self.weights, weights.reshape(-1, cluster.n_nodes)]),
            plans=(*self.plans, *(Plan.of(line) for line in decisions if line["role"] == Role.PLANNER)),
        )

    def plan(self, slot: int) -> RoutingPlan:
        """Return the routing plan that was in force in a slot."""
        origins, (_, n_nodes, n_lms) = int(self.origins[slot]), self.targets.shape
        if not origins:
            return RoutingPlan(self.targets[slot].astype(np.int64))
        first = int(self.origins[:slot].sum()) * n_lms
        return RoutingPlan.open(self.weights[first : first + origins * n_lms].reshape(origins, n_lms, n_nodes))

    def play(self, deps: Deps, testbed: WatchedTestbed, twin: Twin, workload: Workload) -> None:
        """Play it in a new twin, and let the run see what it saw then.

        Raises:
            InputError: the testbed is not what it was, or the record holds what no rule allows.
        """
        cluster = twin.cluster
        if self.targets.shape[1:] != (cluster.n_nodes, cluster.n_lms):
            raise InputError(f"The testbed {self.made.testbed} has changed since this thread began; start a new one.")
        plans = {plan.slot: plan for plan in self.plans}
        for slot in range(self.slots):
            snapshot = twin.observe()
            deps.watch(snapshot)
            if slot in plans:
                deps.planned(snapshot, Outcome(plans[slot].outcome), plans[slot].decided_by)
            self.decide(slot, twin)
            deps.passed[slot] = twin.advance(workload.arrivals(slot))
            testbed.note(twin.observe())
            epoch, left = divmod(slot + 1, cluster.epoch_slots)
            if not left and (slot + 1 < self.slots or self._remembers(epoch - 1)):
                records = Records.concatenate(list(deps.passed.values()))
                deps.history.append(summarise(records, cluster.n_lms, cluster.deadline_s, cluster.latency_weight))
                deps.passed.clear()
        deps.last_case = self.last_case

    def decide(self, slot: int, twin: Twin) -> None:
        """Do in a twin what was decided for a slot. Raises InputError where that breaks a rule."""
        what = f"What this thread records of slot {slot}"
        if (self.targets[slot] >= 0).any():
            twin.route(recorded(twin.cluster, self.plan(slot), what).decision)
        for n in np.flatnonzero(self.decided[slot]).tolist():
            pairs = zip(self.cores[slot, n].tolist(), self.vgpus[slot, n].tolist(), strict=True)
            deployment = Deployment(n, tuple(Allocation(c, g) for c, g in pairs))
            twin.deploy(recorded(twin.cluster, deployment, what).decision)

    def _remembers(self, epoch: int) -> bool:
        """True where the epoch's case was made: between a slot and its remembrance a run can stop."""
        return self.last_case is not None and self.last_case.epoch >= epoch

    def pack(self) -> str:
        """Return it as text: a compressed NumPy archive in base64."""
        case = None if self.last_case is None else self.last_case.to_json()
        tables = (*TABLES, *OPEN) if self.origins.any() else TABLES
        plain = {
            "made": asdict(self.made),
            "last_case": case,
            "plans": [astuple(plan) for plan in self.plans],
            "open": tables is not TABLES,
        }
        out = io.BytesIO()
        np.savez_compressed(
            out,
            plain=np.frombuffer(json.dumps(plain).encode(), np.uint8),
            **{name: getattr(self, name) for name in tables},
        )
        return base64.b64encode(out.getvalue()).decode()

    @classmethod
    def unpack(cls, text: str) -> World:
        """Read what `pack` wrote. Raises InputError where it is something else."""
        try:
            packed = base64.b64decode(text, validate=True)
            plain = json.loads(read_arrays(packed, ("plain",), MOST_BYTES)["plain"].tobytes())
            arrays = read_arrays(packed, TABLES, MOST_BYTES)
            case, plans = plain["last_case"], tuple(Plan(*plan) for plan in plain.get("plans", ()))
            case = None if case is None else Case.from_json(case)
            shape, shapes = arrays["targets"].shape, [arrays[name].shape for name in TABLES]
            if shapes != [shape, shape, shape, shape[:2]] or any(table.dtype != np.int32 for table in arrays.values()):
                raise ValueError("its tables are of unlike form")
            arrays |= _opened(packed, shape) if plain.get("open") else _fixed(shape)
            return cls(Made(**plain["made"]), **arrays, plans=plans, last_case=case)
        except (binascii.Error, KeyError, TypeError, ValueError, RecursionError) as error:
            raise InputError(
                "The thread's state holds a world that cannot be read; go on from another checkpoint or start a new "
                "thread."
            ) from error


def _fixed(shape: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    """The tables of open plans where all [T, N, I] are fixed."""
    return {"origins": np.zeros(shape[0], np.int32), "weights": np.empty((0, shape[1]))}


def _opened(packed: bytes, shape: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    """Read the tables of open plans; raises ValueError where they do not fit [T, N, I]."""
    found, (slots, n_nodes, n_lms) = read_arrays(packed, OPEN, MOST_BYTES), shape
    origins, weights = found["origins"], found["weights"]
    if origins.shape != (slots,) or origins.dtype != np.int32 or not np.isin(origins, (0, 1, n_nodes)).all():
        raise ValueError("its open plans are of unlike form")
    if weights.shape != (int(origins.sum()) * n_lms, n_nodes) or weights.dtype != np.float64:
        raise ValueError("its weights are of unlike form")
    if not (np.isfinite(weights) & (weights >= 0.0)).all():
        raise ValueError("it holds a weight that is none")
    return found
