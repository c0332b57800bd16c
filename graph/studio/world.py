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
from twin.twin import Twin

IntArray = NDArray[np.int32]
Routes = Mapping[str, Mapping[str, str | None]]
"""Origin name to LM name to target name."""
MOST_BYTES = 1 << 29
"""Of a world, unpacked: its decisions of seven thousand slots on 600 nodes with ten LMs."""
TABLES = ("targets", "cores", "vgpus", "decided")


@dataclass(frozen=True, slots=True)
class Made:
    """What a world is made of."""

    testbed: str
    workload: str
    seed: int
    load: float = 1.0


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
    plans: tuple[Plan, ...] = ()
    """Made in these slots, in order."""
    last_case: Case | None = None
    """Of the last epoch that has passed."""

    @classmethod
    def new(cls, made: Made, cluster: Cluster) -> World:
        """Return a world in which nothing has happened yet."""
        empty = np.empty((0, cluster.n_nodes, cluster.n_lms), np.int32)
        return cls(made, empty, empty, empty, empty[:, :, 0])

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
            targets = RoutingPlan.from_json(cluster, routing).targets[None].astype(np.int32)
        else:
            targets = self.targets[-1:] if self.slots else np.full(shape, NOWHERE, np.int32)
        cores, vgpus, decided = (np.zeros(shape, np.int32) for _ in range(3))
        for n, own in {entry["node"]: entry["allocations"] for entry in deployments}.items():
            if own:
                allocations = deployment_of(cluster, n, own).allocations
                cores[0, n] = [a.cores for a in allocations]
                vgpus[0, n] = [a.vgpus for a in allocations]
                decided[0, n] = 1
        return replace(
            self,
            targets=np.concatenate([self.targets, targets]),
            cores=np.concatenate([self.cores, cores]),
            vgpus=np.concatenate([self.vgpus, vgpus]),
            decided=np.concatenate([self.decided, decided[:, :, 0]]),
            plans=(*self.plans, *(Plan.of(line) for line in decisions if line["role"] == Role.PLANNER)),
        )

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
            plan = RoutingPlan(self.targets[slot].astype(np.int64))
            twin.route(recorded(twin.cluster, plan, what).decision)
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
        plain = {"made": asdict(self.made), "last_case": case, "plans": [astuple(plan) for plan in self.plans]}
        out = io.BytesIO()
        np.savez_compressed(
            out,
            plain=np.frombuffer(json.dumps(plain).encode(), np.uint8),
            **{name: getattr(self, name) for name in TABLES},
        )
        return base64.b64encode(out.getvalue()).decode()

    @classmethod
    def unpack(cls, text: str) -> World:
        """Read what `pack` wrote. Raises InputError where it is something else."""
        try:
            arrays = read_arrays(base64.b64decode(text, validate=True), ("plain", *TABLES), MOST_BYTES)
            plain = json.loads(arrays.pop("plain").tobytes())
            case, plans = plain["last_case"], tuple(Plan(*plan) for plan in plain.get("plans", ()))
            case = None if case is None else Case.from_json(case)
            shape, shapes = arrays["targets"].shape, [arrays[name].shape for name in TABLES]
            if shapes != [shape, shape, shape, shape[:2]] or any(table.dtype != np.int32 for table in arrays.values()):
                raise ValueError("its tables are of unlike form")
            return cls(Made(**plain["made"]), **arrays, plans=plans, last_case=case)
        except (binascii.Error, KeyError, TypeError, ValueError, RecursionError) as error:
            raise InputError(
                "The thread's state holds a world that cannot be read; go on from another checkpoint or start a new "
                "thread."
            ) from error
