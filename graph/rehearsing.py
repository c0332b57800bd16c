"""Puts rehearsal into a run: who is rehearsed, with which rules, and who takes over from an agent that fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from graph.deps import Deps
from graph.rehearse import RehearsalSettings, Rehearser
from graph.rehearse_slots import SlotRehearser
from policies.rehearsal.planner import RehearsalPlanner


def rehearse(deps: Deps, settings: RehearsalSettings, clock: Callable[[], float] = time.monotonic) -> None:
    """Let the answers of the run's agents be rehearsed; call it before the first slot.

    Args:
        deps: of the run. A fallback of the planner that is the rule rehearsal becomes the incumbent of the slot.
        settings: see there.
        clock: monotonic seconds, for guards.
    """
    cluster = deps.testbed.cluster
    rehearser = Rehearser(cluster, deps.seed, settings, clock)
    deps.rehearsal = rehearser
    if isinstance(deps.fallbacks.planner, RehearsalPlanner):
        deps.fallbacks = replace(deps.fallbacks, planner=rehearser)
    if settings.slots and (deps.scheduler.asker is not None or deps.deployer.asker is not None):
        deploys = deps.deployer.asker is not None or deps.deployer.name == "steady"
        deps.slot_rehearsal = SlotRehearser(cluster, rehearser.rule, deps.seed, settings, deploys, clock)
