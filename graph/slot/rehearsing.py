"""Puts rehearsal into a run: who is rehearsed, with which rules, and who takes over from an agent that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace

from domain.ledger import Role
from graph.rehearsal.plans import RehearsalSettings, Rehearser
from graph.rehearsal.slots import SlotRehearser
from graph.slot.deps import Deps
from policies.rehearsal.planner import RehearsalPlanner

SLOT_ROLES = {Role.SCHEDULER, Role.DEPLOYER}


def rehearse(
    deps: Deps,
    settings: RehearsalSettings,
    clock: Callable[[], float] = time.monotonic,
    agents: Collection[Role] | None = None,
) -> None:
    """Let the answers of the run's agents be rehearsed; call it before the first slot.

    Args:
        deps: of the run. A fallback of the planner that is the rule rehearsal becomes the incumbent of the slot.
        settings: see there.
        clock: monotonic seconds, for guards.
        agents: roles that agents fill, or will; None: those that they fill now.
    """
    cluster = deps.testbed.cluster
    filled = {Role.PLANNER: deps.planner, Role.SCHEDULER: deps.scheduler, Role.DEPLOYER: deps.deployer}
    if agents is None:
        agents = {role for role, filling in filled.items() if filling is not None and filling.asker is not None}
    rehearser = Rehearser(cluster, deps.seed, settings, clock)
    deps.rehearsal = rehearser
    if isinstance(deps.fallbacks.planner, RehearsalPlanner):
        deps.fallbacks = replace(deps.fallbacks, planner=rehearser)
    if settings.slots and SLOT_ROLES & set(agents):
        deploys = Role.DEPLOYER in agents or deps.deployer.name == "steady"
        deps.slot_rehearsal = SlotRehearser(cluster, rehearser.rule, deps.seed, settings, deploys, clock)
