"""A run that is small enough to work out on paper, as `show` reads it from a folder."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from domain.cluster import Cluster
from domain.telemetry import Outcome, Phase, Records
from runtime.results.summary import FamilyResult, Summary, Telemetry
from runtime.show.history import History, Spans
from runtime.show.routes import Routes
from tests.clusters import tiny

SLOTS, DRAIN = 10, 2
OFF, STARTING, READY = int(Phase.OFF), int(Phase.STARTING), int(Phase.READY)
PODS = [
    # node, lm, first slot, slot after the last, phase, cores, vgpus
    (0, 0, 0, 12, READY, 4, 0),
    (1, 0, 2, 3, STARTING, 0, 1),
    (1, 0, 3, 8, READY, 0, 1),
    (1, 0, 8, 9, OFF, 0, 0),
    (1, 0, 9, 12, READY, 2, 0),
    (1, 1, 0, 12, READY, 0, 2),
]
ROUTES = [
    # origin, lm, first slot, slot after the last, target
    (0, 0, 0, 5, 0),
    (0, 0, 5, 12, 1),
    (0, 1, 0, 12, 1),
    (1, 0, 0, 12, 1),
    (1, 1, 0, 12, 1),
]
REQUESTS = [
    # slot, lm, origin, target, prompts, served
    (0, 0, 0, 0, 6, True),
    (3, 0, 0, 0, 2, False),
    (5, 0, 0, 1, 2, True),
    (6, 1, 0, 1, 4, True),
    (7, 1, 1, 1, 3, True),
    (9, 0, 1, 1, 5, True),
]


def many(nodes: int) -> Cluster:
    """Copies of the south of the tiny cluster, on two sites."""
    south = tiny().nodes[1]
    return replace(
        tiny(),
        nodes=tuple(replace(south, name=f"node-{n:03d}", site=f"site-{n % 2}") for n in range(nodes)),
        latency_s=np.zeros((nodes, nodes)),
        seconds_per_byte=np.zeros((nodes, nodes)),
    )


def spans(rows: Sequence[tuple[int, ...]]) -> Spans:
    node, lm, start, end, *values = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return Spans(node, lm, start, end, tuple(values))


def fixed_routes(rows: Sequence[tuple[int, ...]]) -> Routes:
    origin, lm, start, _, target = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return Routes(start, origin, lm, target, np.zeros(len(rows)), 2)


def records(requests: Sequence[tuple[int, int, int, int, int, bool]]) -> Records:
    slot, lm, origin, target, prompts, served = (np.array(column) for column in zip(*requests, strict=True))
    none, count = np.zeros(len(requests)), np.arange(len(requests))
    outcome = np.where(served, int(Outcome.SUCCESS), int(Outcome.LATE))
    arrival_s = slot * 30.0 + 1.0
    return Records(count, lm, origin, target, prompts, outcome, count * 0, arrival_s, none, none, none + 2.0, none)


def history(
    cluster: Cluster | None = None,
    family: str = "RL",
    pods: Sequence[tuple[int, ...]] | None = PODS,
    routes: Sequence[tuple[int, ...]] | None = ROUTES,
    requests: Sequence[tuple[int, int, int, int, int, bool]] = REQUESTS,
) -> History:
    cluster = cluster or tiny(deadline_s=60.0)
    lms = [lm.name for lm in cluster.lms]
    told = Telemetry(
        arrived=dict.fromkeys(lms, 3),
        succeeded=dict.fromkeys(lms, 3),
        success_ratio=dict.fromkeys(lms, 1.0),
        mean_latency_s=dict.fromkeys(lms, 2.0),
        p95_latency_s=dict.fromkeys(lms, 2.0),
        global_mean_latency_s=2.0,
        global_p95_latency_s=2.0,
        fairness=1.0,
        latency_norm=0.1,
        objective=0.05,
    )
    result = FamilyResult(
        family=family,
        seed=1,
        slots=SLOTS + DRAIN,
        telemetry=told,
        epochs=[],
        decided_by={"scheduler": {"random": 12}, "deployer": {"lyapunov": 24}},
    )
    summary = Summary(
        testbed=cluster.name,
        workload="p1",
        load=1.0,
        nodes=[node.name for node in cluster.nodes],
        lms=lms,
        slots=SLOTS,
        slot_s=cluster.slot_s,
        epoch_slots=cluster.epoch_slots,
        deadline_s=cluster.deadline_s,
        latency_weight=0.5,
        families=[family],
        seeds=[1],
        results=[result],
        bounds=[],
    )
    return History(
        Path("runs/tiny"),
        summary,
        cluster,
        result,
        records(requests),
        None if pods is None else spans(pods),
        None if routes is None else fixed_routes(routes),
    )


def printed(parts: Iterable[Table | Text], width: int = 80) -> str:
    """What a terminal of so many columns shows, without the spaces at the ends of lines."""
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    for part in parts:
        console.print(part)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    return "\n".join(lines)
