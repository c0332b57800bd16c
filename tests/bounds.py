"""What tests of the bound share: small requests, a bound that is found quickly, and who was served."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.decisions import Allocation
from domain.telemetry import Records
from domain.workload import Arrivals
from tests.oracle.hand import LM
from twin.bound import Bound, bound
from twin.bound.menu import menu
from twin.bound.relaxation import Relaxation
from twin.bound.solo import solo

ROUNDING = 1.0 + 1e-9
SEARCHED = 1.03
"""How much the search for prices may leave between two bounds of which one cannot be less than the other."""
OFF = Allocation()
ON_GPU = replace(LM, gpu_only=True)
READY_AT_ONCE = replace(LM, start_cpu_s=0.0, start_gpu_s=0.0, stop_s=0.0)

Asked = tuple[float, int, int, int]
"""A request: arrival, origin, LM, prompts."""
COLUMNS = ("time_s", "origin", "lm", "prompts")
Pattern = tuple[Allocation, ...]
"""An allocation for each LM of a node."""


def asked(*requests: Asked) -> Arrivals:
    return Arrivals.of(*zip(*requests, strict=True)) if requests else Arrivals.empty()


def bounded(where: Cluster, arrivals: Arrivals, steps: int = 60) -> Bound:
    return bound(where, arrivals, steps)


def served(records: Records, n_lms: int) -> NDArray[np.int64]:
    return np.bincount(records.lm[records.success], minlength=n_lms).astype(np.int64)


def relaxed(where: Cluster, arrivals: Arrivals) -> Relaxation:
    """The relaxation of those requests that could meet their deadline."""
    alone = solo(where, arrivals)
    kept = alone.latency_s <= where.deadline_s * ROUNDING
    hopeful = Arrivals(*(getattr(arrivals, column)[kept] for column in COLUMNS))
    return Relaxation(where, menu(where), hopeful, solo(where, hopeful))
