"""What a family is called where its figures are shown: agents that hardly decided do not lend it their name alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from runtime.results.own_dispatch import words_of
from runtime.results.summary import FamilyResult, RoleFigures, Summary

MOSTLY = 0.9
"""Share of the decisions in their roles that agents must have made for a family to be called by its name alone."""
HALF = 0.5
"""The same for each single role."""
AGENTS = ("accepted", "repaired", "reused")
"""Outcomes by which an agent decided: its first answer, its second, or a plan of its own that was kept."""


def family_label(summary: Summary, family: str) -> str:
    """Return the family's code, and beside it the share that agents decided where that is less than MOSTLY.

    Where only a single role is below HALF, its share.
    """
    runs, family = summary.of(family), words_of(family)
    if all(run.stands_in for run in runs):
        return f"{family} (agents 0 %)"
    roles = {role: _share([run.agents[role] for run in runs if role in run.agents]) for role in _roles(runs)}
    every = _share([figures for run in runs for figures in run.agents.values()])
    if every is not None and every < MOSTLY:
        return f"{family} (agents {_percent(every)})"
    low = [f"{role} {_percent(share)}" for role, share in roles.items() if share is not None and share < HALF]
    return f"{family} ({', '.join(low)})" if low else family


def agents_share(agents: Mapping[str, RoleFigures], stands_in: bool) -> float | None:
    """Return the share of the decisions in their roles that agents made; None where there are no such roles.

    Args:
        agents: figures of the roles that models filled.
        stands_in: rules filled them, for there was no model.
    """
    return 0.0 if stands_in else _share(list(agents.values()))


def _roles(runs: list[FamilyResult]) -> list[str]:
    return list(dict.fromkeys(role for run in runs for role in run.agents))


def _share(figures: list[RoleFigures]) -> float | None:
    """Share of the decisions that agents made; None where there were none."""
    counts = Counter[str]()
    for one in figures:
        counts.update(one.outcomes)
    total = counts.total()
    return sum(counts[outcome] for outcome in AGENTS) / total if total else None


def _percent(share: float) -> str:
    return f"{math.floor(100 * share)} %"
