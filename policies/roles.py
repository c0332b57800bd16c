"""The three roles of P1 section IV. A rule here, or an agent in `graph/`, can fill each of them.

Rules keep no state between calls and draw from the generator that they are given, so that a run that was killed goes
on exactly where it stopped. A rule that forecasts is a `Watcher`: what it has learned comes from snapshots alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast, runtime_checkable

import numpy as np

from domain.decisions import Deployment, MacroPolicy, RoutingPlan
from domain.telemetry import EpochTelemetry, Snapshot

PLANNER, SCHEDULER, DEPLOYER = 1, 2, 3
"""First key of each role's stream of random numbers."""


def generator(seed: int, *key: int) -> np.random.Generator:
    """Return the random numbers that belong to (seed, role, slot, node …), the same whenever it is asked."""
    return np.random.default_rng([seed, *key])


class Planner(Protocol):
    """Tier 1: once per epoch."""

    def plan(self, snapshot: Snapshot, history: Sequence[EpochTelemetry], rng: np.random.Generator) -> MacroPolicy:
        """Return the macro-policy of the epoch that begins at `snapshot.slot`."""
        ...


class Scheduler(Protocol):
    """Tier 2: once per slot."""

    def schedule(self, snapshot: Snapshot, policy: MacroPolicy, rng: np.random.Generator) -> RoutingPlan:
        """Return where requests of slot `snapshot.slot` go."""
        ...


class Deployer(Protocol):
    """Tier 2: once per slot and node."""

    def deploy(self, snapshot: Snapshot, node: int, policy: MacroPolicy, rng: np.random.Generator) -> Deployment | None:
        """Return what the node runs from slot `snapshot.slot` on; None leaves it as it is."""
        ...


@runtime_checkable
class Watcher(Protocol):
    """A filling that learns from every snapshot of a run: shown the same ones again, it knows the same again."""

    def watch(self, snapshot: Snapshot) -> bool:
        """Learn from the slot that ended; True asks for a new macro-policy before the epoch is over."""
        ...


def watch(fillings: Sequence[object], snapshot: Snapshot) -> bool:
    """Show the snapshot to the fillings that watch; True where one of them asks for a new macro-policy."""
    # Asking for the attribute is what `isinstance` does with a protocol, at a tenth of the price in every slot.
    asked = [filling.watch(snapshot) for filling in cast("Sequence[Watcher]", fillings) if hasattr(filling, "watch")]
    return any(asked)
