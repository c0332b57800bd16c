"""The twin, driven so that it tells its history as the event-by-event simulation does, and how the two compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from domain.cluster import Cluster
from domain.decisions import Deployment, RoutingPlan
from domain.telemetry import Records, Snapshot
from domain.workload import Arrivals
from tests.oracle.history import History
from twin.twin import Twin

SECONDS = 1e-6
"""How close two times must be where not said otherwise."""
GB = 1e-6
"""How close two amounts of memory must be."""


def run_twin(
    cluster: Cluster,
    arrivals: Arrivals,
    plans: Sequence[RoutingPlan | None],
    deployments: Sequence[Sequence[Deployment]],
    slots: int,
) -> History:
    """Do with the twin what `simulate` does, and check at every slot boundary that no request was lost."""
    twin = Twin(cluster)
    history = History([], [twin.observe()], [twin.waiting])
    ended = 0
    for t in range(slots):
        history.records.append(step(twin, arrivals, plans, deployments))
        history.snapshots.append(twin.observe())
        history.waiting.append(twin.waiting)
        ended += len(history.records[t])
        assert twin.arrived == len(arrivals.between(0.0, twin.slot * cluster.slot_s))
        assert twin.arrived == ended + twin.waiting, f"a request was lost in slot {t}"
    return history


def step(
    twin: Twin,
    arrivals: Arrivals,
    plans: Sequence[RoutingPlan | None],
    deployments: Sequence[Sequence[Deployment]],
) -> Records:
    """Run the current slot of the twin; records in order of the request's number."""
    t, slot_s = twin.slot, twin.cluster.slot_s
    if (plan := plans[t]) is not None:
        twin.route(plan)
    for deployment in deployments[t]:
        twin.deploy(deployment)
    return by_number(twin.advance(arrivals.between(t * slot_s, (t + 1) * slot_s)))


def by_number(records: Records) -> Records:
    """Put records in order of the request's number."""
    order = np.argsort(records.request)
    return Records(*(getattr(records, field.name)[order] for field in fields(Records)))


def assert_same(a: History, b: History, seconds: float = SECONDS) -> None:
    """Compare all columns of all records, and all fields of all snapshots; times within so many seconds."""
    assert a.waiting == b.waiting
    for t, (mine, theirs) in enumerate(zip(a.records, b.records, strict=True)):
        assert_equal(mine, theirs, f"records of slot {t}", seconds)
    for t, (seen, shown) in enumerate(zip(a.snapshots, b.snapshots, strict=True)):
        assert_equal(seen, shown, f"snapshot before slot {t}", seconds)


def assert_equal(a: Records | Snapshot, b: Records | Snapshot, what: str, seconds: float = SECONDS) -> None:
    """Times within so many seconds, memory within a kilobyte, all else exactly."""
    for field in fields(a):
        x, y = np.asarray(getattr(a, field.name)), np.asarray(getattr(b, field.name))
        assert x.shape == y.shape, f"{what}: {field.name} is {x} and {y}"
        close = np.abs(x - y) <= (seconds if field.name.endswith("_s") else GB if field.name.endswith("_gb") else 0)
        assert close.all(), f"{what}: {field.name} at {np.argwhere(~close)[0]} is {x[~close][0]} and {y[~close][0]}"
