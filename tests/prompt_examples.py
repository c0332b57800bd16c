"""A Bristol on which something of everything happens, and what each agent is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from domain.cluster import Cluster
from domain.decisions import MacroPolicy
from domain.ledger import Case
from domain.serving import Batching, Dispatch, Serving
from domain.telemetry import Phase, Snapshot
from prompts.deployer import deployer_messages
from prompts.messages import Message
from prompts.planner import planner_messages
from prompts.repair import repair_messages
from prompts.scheduler import scheduler_messages
from tests.clusters import quiet
from twin.testbeds import load_builtin

BRISTOL = load_builtin("bristol")
BY_REQUEST = replace(BRISTOL, serving=Serving(Dispatch.ARRIVAL))
BY_PROMPT = replace(BRISTOL, serving=Serving(Dispatch.SPLIT, news_s=2.0, batching=Batching.QUEUE, copies=True))
BASELINE = {"mean_latency_s": 300.0, "fairness": 0.62, "objective": 0.357}


class Recalled(NamedTuple):
    best: tuple[Case, ...] = ()
    worst: tuple[Case, ...] = ()
    nearest: tuple[Case, ...] = ()


def policy() -> MacroPolicy:
    """Text on the node without a GPU and two others, images on the rest."""
    return MacroPolicy.from_json(
        BRISTOL,
        {
            "LM1": {"VM2": 0.5, "VM3": 0.25, "VM7": 0.25},
            "LM2": {"VM2": 0.6, "VM4": 0.398, "VM5": 0.002},
            "LM3": {"VM3": 1.0},
            "LM4": {"VM5": 1 / 3, "VM6": 1 / 3, "VM7": 1 / 3},
        },
        {
            "VM2": ["LM1", "LM2"],
            "VM3": ["LM1", "LM3"],
            "VM4": ["LM2"],
            "VM5": ["LM2", "LM4"],
            "VM6": ["LM4"],
            "VM7": ["LM1", "LM4"],
        },
    )


def busy() -> Snapshot:
    """Slot 51 of a Bristol on which something of everything happens."""
    snapshot = quiet(BRISTOL, slot=51)
    lm1, lm2, lm3, lm4 = range(4)
    vm2, vm3, vm4, vm5, _, vm7 = range(6)

    def pod(n: int, i: int, phase: Phase, cores: int = 0, vgpus: int = 0, left: float = 0.0, work: float = 0.0) -> None:
        snapshot.phase[n, i], snapshot.phase_left_s[n, i], snapshot.busy_s[n, i] = phase, left, work
        snapshot.cores[n, i], snapshot.vgpus[n, i] = cores, vgpus
        if phase != Phase.PENDING:
            lm = BRISTOL.lms[i]
            snapshot.free_cores[n] -= cores or lm.host_cores
            snapshot.free_vgpus[n] -= vgpus
            snapshot.free_ram_gb[n] -= lm.ram_gb
            snapshot.free_vram_gb[n] -= lm.vram_gb if vgpus else 0

    def queue(n: int, i: int, prompts: int, requests: int, oldest: float) -> None:
        snapshot.backlog_prompts[n, i], snapshot.backlog_requests[n, i] = prompts, requests
        snapshot.oldest_wait_s[n, i] = oldest

    pod(vm2, lm1, Phase.READY, cores=8, work=21.6)
    pod(vm2, lm2, Phase.STARTING, cores=16, left=12.25)
    pod(vm3, lm3, Phase.READY, vgpus=1, work=3.0)
    pod(vm3, lm1, Phase.PENDING, vgpus=2)
    pod(vm5, lm2, Phase.TERMINATING, cores=4, left=3.5)
    pod(vm5, lm4, Phase.READY, vgpus=1, work=30.0)
    pod(vm7, lm1, Phase.READY, vgpus=1)
    pod(vm7, lm4, Phase.READY, vgpus=1, work=28.0)
    queue(vm2, lm1, 12, 3, 14.0)
    queue(vm2, lm2, 1, 1, 2.0)
    queue(vm5, lm4, 96, 17, 310.4)
    queue(vm4, lm2, 8, 1, 40.0)
    snapshot.arrived_prompts[:, lm1] = [4, 0, 3, 8, 0, 1]
    snapshot.arrived_prompts[:, lm4] = [0, 2, 0, 5, 0, 7]
    snapshot.age_s[vm4], snapshot.age_s[vm5] = np.nan, 75.0
    return snapshot


def case(epoch: int, objective: float = 0.27, run: str = "monday", cluster: Cluster = BRISTOL) -> Case:
    """P1's example of an epoch."""
    names = [lm.name for lm in cluster.lms]
    macro = policy() if cluster is BRISTOL else MacroPolicy.unrestricted(cluster)
    ratios: dict[str, float | None] = dict.fromkeys(names, 0.88)
    means: dict[str, float | None] = dict.fromkeys(names, 245.3)
    if cluster is BRISTOL:
        ratios = {"LM1": 0.93, "LM2": 0.88, "LM3": None, "LM4": 0.0}
        means = {"LM1": 210.5, "LM2": 245.3, "LM3": None, "LM4": None}
    return Case(
        run=run,
        epoch=epoch,
        testbed=cluster.name,
        family="MA",
        decided_by="agent:gpt-5",
        traffic={name: {cluster.nodes[0].name: 4.25, cluster.nodes[1].name: 3.5} for name in names},
        macro_policy=macro.to_json(cluster),
        success_ratio=ratios,
        mean_latency_s=means,
        global_mean_latency_s=314.2,
        fairness=0.81,
        latency_norm=0.349,
        objective=objective,
        off_role_ratio=0.095,
        ended=4711,
    )


TRAFFIC = {
    lm: dict(zip([node.name for node in BRISTOL.nodes], rates, strict=True))
    for lm, rates in {
        "LM1": [4.0, 3.5, 2.5, 6.0, 4.25, 3.75],
        "LM2": [2.0, 2.0, 2.0, 2.0, 2.0, 2.0],
        "LM3": [0.0, 0.0, 9.0, 0.0, 0.0, 0.0],
        "LM4": [5.5, 4.5, 5.0, 4.0, 5.0, 3.5],
    }.items()
}


def first_epoch() -> list[Message]:
    return planner_messages(
        BRISTOL, snapshot=quiet(BRISTOL), traffic={}, last=None, baseline=BASELINE, recalled=Recalled()
    )


def later_epoch(**changes: Any) -> list[Message]:
    given: dict[str, Any] = {
        "snapshot": busy(),
        "traffic": TRAFFIC,
        "last": case(7),
        "baseline": BASELINE,
        "recalled": Recalled((case(3, 0.09), case(7)), (case(1, 0.61),), (case(3, 0.09), case(5, 0.2))),
        "candidates": [
            {
                "name": "candidate 1",
                "macro_policy": MacroPolicy.unrestricted(BRISTOL).to_json(BRISTOL),
                "predicted": {
                    "mean_latency_s": 81.4,
                    "fairness": 0.99,
                    "objective": 0.05,
                    "success_ratio": {"LM1": 1.0, "LM2": 0.98, "LM3": 1.0, "LM4": 0.94},
                    "spread": 0.004,
                },
            }
        ],
        "margin": 0.02,
    }
    return planner_messages(BRISTOL, **{**given, **changes})


def scheduler(cluster: Cluster = BRISTOL) -> list[Message]:
    return scheduler_messages(cluster, busy(), policy())


def deployer(name: str, cluster: Cluster = BRISTOL) -> list[Message]:
    n = cluster.node_index[name]
    return deployer_messages(cluster, busy(), n, policy().roles[n])


WRONG = '{"reasoning": "", "deployment": {"LM1": {"mode": "cpu", "amount": 99}}}'
VIOLATIONS = [
    '"deployment" has no "LM2"; say whether it is off, on cpu or on gpu.',
    "VM2 has 24 CPU cores, the active LMs ask for 99; free 75.",
]
EXAMPLES: Mapping[str, Callable[[], list[Message]]] = MappingProxyType(
    {
        "planner_first_epoch": first_epoch,
        "planner": later_epoch,
        "scheduler": scheduler,
        "scheduler_arrival": lambda: scheduler(BY_REQUEST),
        "scheduler_split": lambda: scheduler(BY_PROMPT),
        "deployer_cpu": lambda: deployer("VM2"),
        "deployer_gpu": lambda: deployer("VM3"),
        "deployer_gpus": lambda: deployer("VM7"),
        "deployer_gpus_copies": lambda: deployer("VM7", BY_PROMPT),
        "repair": lambda: repair_messages(deployer("VM2"), WRONG, VIOLATIONS),
    }
)
