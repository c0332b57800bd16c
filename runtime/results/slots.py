"""What one slot of a run came to, as the loops hand it to whoever keeps the books."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.decisions import MacroPolicy
from domain.telemetry import EpochTelemetry, Records, Snapshot
from domain.workload import Arrivals
from policies.rehearsal.foresight import Comparison

Decider = tuple[str, str]
"""Role and who filled it: ('deployer', 'lyapunov')."""


@dataclass(frozen=True, slots=True)
class SlotResult:
    """What one slot came to."""

    slot: int
    arrivals: Arrivals
    records: Records
    """Requests that ended in the slot."""
    after: Snapshot
    """What was known when it was over."""
    targets: NDArray[np.int64]
    """[N, I] routes in force in the slot, as in RoutingPlan."""
    decided_by: Counter[Decider]
    """Decisions of the slot, by who made them."""
    epoch: EpochTelemetry | None
    """Telemetry of the requests that ended in the epoch, with the epoch's last slot; None with the others."""
    compared: tuple[Comparison, ...] = ()
    """Predictions whose requests have all ended now."""
    weights: NDArray[np.float64] | None = None
    """Those of the routing plan in force, as in RoutingPlan; None where it is fixed."""
    policy: MacroPolicy | None = None
    """The macro-policy that a rule wrote in the slot; None where nobody planned, or a ledger keeps it."""
