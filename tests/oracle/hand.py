"""A cluster on which everything can be worked out in the head, and what to play on it in both worlds.

A slot lasts 10 s, a pod is ready 3 s after it was admitted and gone 4 s after it was stopped, a prompt takes 2 s (on
two cores 1 s), and nodes are 1 s plus 0.5 s a byte apart: 1 byte up and 2 bytes down for each prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pytest

from domain.cluster import Cluster, Node
from domain.decisions import NOWHERE, OFF, Allocation, Deployment, RoutingPlan
from domain.large_model import CpuProfile, GpuProfile, LargeModel
from domain.serving import Serving
from domain.telemetry import Outcome, Phase, Records, Snapshot
from domain.workload import Arrivals
from tests.oracle.history import History
from tests.oracle.simulation import simulate
from tests.oracle.worlds import run_twin

CORE, TWO_CORES, VGPU, TWO_VGPUS = Allocation(1), Allocation(2), Allocation(0, 1), Allocation(0, 2)

LM = LargeModel(
    name="lm",
    model="any",
    modality_in=("text",),
    modality_out="text",
    ram_gb=1.0,
    vram_gb=1.0,
    gpu_only=False,
    host_cores=0,
    image_gb=1.0,
    uplink_bytes=1.0,
    downlink_bytes=2.0,
    start_cpu_s=3.0,
    start_gpu_s=3.0,
    stop_s=4.0,
    cpu_profiles={"cpu": CpuProfile(((1, 2.0), (2, 1.0)))},
    # Alone 2 s a prompt, 3.185 s beside one neighbour of its kind.
    gpu_profiles={"gpu": GpuProfile(0.5, 1.5)},
)
AS_P1 = Serving()
NODE = Node("node", "site", "cpu", cpu_cores=2, ram_gb=8.0)


def gpu_node(gpus: int, vgpus_per_gpu: int) -> Node:
    return replace(NODE, gpu_model="gpu", gpus=gpus, vgpus_per_gpu=vgpus_per_gpu, vram_gb=8.0)


def cluster(
    *nodes: Node,
    lms: int = 1,
    lm: LargeModel = LM,
    tau: float = 100.0,
    timeout: float = 300.0,
    serving: Serving = AS_P1,
) -> Cluster:
    """Nodes 1 s apart, plus half a second for every byte."""
    apart = 1.0 - np.eye(len(nodes))
    return Cluster(
        name="hand",
        nodes=nodes,
        lms=tuple(replace(lm, name=f"lm{i}") for i in range(lms)),
        latency_s=apart,
        seconds_per_byte=0.5 * apart,
        slot_s=10.0,
        deadline_s=tau,
        pending_timeout_s=timeout,
        serving=serving,
    )


WORLDS = pytest.mark.parametrize("world", [run_twin, simulate], ids=["twin", "simulation"])


class World(Protocol):
    """The twin or the event-by-event simulation."""

    def __call__(
        self,
        cluster: Cluster,
        arrivals: Arrivals,
        plans: Sequence[RoutingPlan | None],
        deployments: Sequence[Sequence[Deployment]],
        slots: int,
    ) -> History: ...


@dataclass(frozen=True)
class Line:
    """One record, rounded to a millisecond."""

    outcome: Outcome
    uplink: float
    queue: float
    inference: float
    downlink: float = 0.0
    interruptions: int = 0


@dataclass(frozen=True)
class Played:
    """What came of it."""

    history: History

    @property
    def lines(self) -> list[Line]:
        """Records by number of the request."""
        r = Records.concatenate(self.history.records)
        table = np.round([r.uplink_s, r.queue_s, r.inference_s, r.downlink_s], 3).T.tolist()
        return [
            Line(Outcome(int(r.outcome[k])), up, queue, inference, down, int(r.interruptions[k]))
            for k, (up, queue, inference, down) in sorted(enumerate(table), key=lambda entry: r.request[entry[0]])
        ]

    @property
    def targets(self) -> list[int]:
        """Nodes that records tell, by number of the request."""
        r = Records.concatenate(self.history.records)
        return [target for _, target in sorted(zip(r.request.tolist(), r.target.tolist(), strict=True))]

    @property
    def ended(self) -> list[list[int]]:
        """Numbers of the requests handed out with each slot."""
        return [records.request.tolist() for records in self.history.records]

    def phases(self, n: int = 0, i: int = 0) -> list[Phase]:
        """Phase of one pod at the end of each slot."""
        return [Phase(int(snapshot.phase[n, i])) for snapshot in self.history.snapshots[1:]]

    def after(self, slot: int) -> Snapshot:
        return self.history.snapshots[slot + 1]


Asked = tuple[float, int, int, int]
"""A request: arrival, origin, LM, prompts."""


def play(
    world: World,
    where: Cluster,
    requests: Sequence[Asked],
    deployments: Mapping[int, Sequence[Allocation]] | Mapping[tuple[int, int], Sequence[Allocation]],
    slots: int,
    route: Callable[[int, int], int] | RoutingPlan = lambda n, i: 0,
) -> Played:
    """Run `slots` slots; deployments by slot (node 0) or by (slot, node), all LMs that are not named being off."""
    plan = route
    if not isinstance(plan, RoutingPlan):
        targets = [[plan(n, i) for i in range(where.n_lms)] for n in range(where.n_nodes)]
        plan = RoutingPlan(np.array(targets, dtype=np.int64))
    plans = [plan] * slots
    given: list[list[Deployment]] = [[] for _ in range(slots)]
    for key, allocations in deployments.items():
        slot, node = key if isinstance(key, tuple) else (key, 0)
        padded = (*allocations, *[OFF] * (where.n_lms - len(allocations)))
        given[slot].append(Deployment(node, padded))
    columns = list(zip(*requests, strict=True)) or [()] * 4
    return Played(world(where, Arrivals.of(*columns), plans, given, slots))


def weighing(where: Cluster, *weights: float) -> RoutingPlan:
    """Let everybody choose among the nodes by these weights."""
    return RoutingPlan.open(np.broadcast_to(np.array(weights), (1, where.n_lms, where.n_nodes)))


def nowhere(n: int, i: int) -> int:
    return NOWHERE
