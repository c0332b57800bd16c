"""What a planner is told of past epochs: recalled from memory, or from the tape of a run that is played again.

A memory that runs share grows, and each run has a name of its own in it. So the tape keeps what was recalled, and the
cases of the run itself without its name: played again, it has another.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from domain.ledger import Case
from graph.slot.deps import Deps
from memory.engine import MemoryAway
from memory.recall import Recalled, Traffic

SORTS = ("best", "worst", "nearest")


async def recall(deps: Deps, slot: int, traffic: Traffic) -> Recalled | None:
    """Return the cases for the planner of a slot; None where the memory is away.

    Args:
        deps: of the run.
        slot: in which the planner is asked.
        traffic: prompts per slot by LM and origin in the last epoch; empty where none has passed.

    Raises:
        TapeError: the run plays a tape, which does not hold them, or a tape cannot be written.
    """
    own = deps.last_case.run if deps.last_case is not None else None
    if deps.tape is not None and (kept := deps.tape.recalled(slot)) is not None:
        return _read(kept, own)
    recalled, gate = None, deps.gate
    with contextlib.suppress(MemoryAway):
        recalled = await deps.memory.recall(
            deps.testbed.cluster.setting, traffic or None, gate.recall_best, gate.recall_worst, gate.recall_nearest
        )
    if deps.tape is not None:
        deps.tape.keep_recalled(slot, _plain(recalled, own))
    return recalled


def _plain(recalled: Recalled | None, own: str | None) -> dict[str, Any]:
    """Cases as plain data, the run's own without its name; no sorts where the memory is away."""
    if recalled is None:
        return {}
    sorts = {sort: [_nameless(case, own).to_json() for case in getattr(recalled, sort)] for sort in SORTS}
    return {**sorts, "distances": list(recalled.distances)}


def _nameless(case: Case, own: str | None) -> Case:
    return replace(case, run="") if case.run == own else case


def _read(kept: dict[str, Any], own: str | None) -> Recalled | None:
    if not kept:
        return None
    cases = {sort: tuple(_named(Case.from_json(case), own) for case in kept[sort]) for sort in SORTS}
    return Recalled(**cases, distances=tuple(kept["distances"]))


def _named(case: Case, own: str | None) -> Case:
    return case if case.run or own is None else replace(case, run=own)
