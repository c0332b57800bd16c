"""When the telemetry has not moved since a plan was made, asking the model again would only cost: keep the plan.

Off unless a run asks for it. The epoch that has just ended is compared with the epoch that the plan in force was made
on, never with the last one, so that many small steps do not pass for none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from domain.errors import InputError
from domain.ledger import Case, Outcome
from graph.gate.passage import Draft
from memory.recall import distances, traffic_vector

DECIDED_BY = "reused"
"""What the ledger says of a plan that was kept."""


@dataclass(frozen=True, slots=True)
class Reuse:
    """How far telemetry may move before the planner is asked again."""

    traffic: float = 0.1
    """Bray-Curtis dissimilarity of the traffic by LM and origin, from 0 to 1."""
    success: float = 0.05
    """Of any LM's success ratio."""
    objective: float = 0.02
    """Of J."""

    def __post_init__(self) -> None:
        for name in ("traffic", "success", "objective"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"the limit of {name} for reusing a plan must be from 0 to 1")

    def holds(self, before: Case, now: Case) -> bool:
        """True where `now` tells the planner nothing that `before` did not."""
        if before.success_ratio.keys() != now.success_ratio.keys():
            return False
        apart = distances(traffic_vector(now.traffic), [traffic_vector(before.traffic)])[0]
        moved = max((_moved(before.success_ratio[lm], ratio) for lm, ratio in now.success_ratio.items()), default=0.0)
        return bool(
            apart <= self.traffic and moved <= self.success and abs(now.objective - before.objective) <= self.objective
        )


def _moved(before: float | None, now: float | None) -> float:
    if before is None or now is None:
        return 0.0 if before is now else math.inf
    return abs(now - before)


def reused(macro_policy: dict[str, object]) -> Draft:
    """Settle with the plan in force."""
    return Draft(decision=macro_policy, outcome=Outcome.REUSED, decided_by=DECIDED_BY)
