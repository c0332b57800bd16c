"""The ledger's side of the graph: every decision is kept the moment it is made, so that nothing is decided twice."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from domain.ledger import Decision, Outcome, Role
from graph.gate.passage import Draft
from graph.slot.deps import Deps


@dataclass
class _Batch:
    """Entries that wait to be written together."""

    written: asyncio.Task[None]
    entries: list[Decision] = field(default_factory=list)


class Ledger:
    """Writes a run's decisions to memory and says them again in the graph's state."""

    def __init__(self, deps: Deps) -> None:
        """Use the memory of `deps`."""
        self._deps = deps
        self._detailed = deps.detailed
        self._batch: _Batch | None = None

    async def keep(self, slot: int, role: Role, node: str | None, draft: Draft) -> dict[str, Any]:
        """Write a settled draft, unless an earlier process wrote it; return its line for the state."""
        await self.keep_all([entry := draft.entry(self._deps.run, slot, role, node)])
        return self.line(entry)

    async def keep_all(self, entries: list[Decision]) -> list[dict[str, Any]]:
        """Write several in one go; return their lines, on a large cluster those of the ones that stand out."""
        new = [entry for entry in entries if (entry.slot, entry.role, entry.node) not in self._deps.decided]
        if new:
            await self._put(new)
        if self._deps.on_decisions is not None:
            self._deps.on_decisions(entries)
        return [self.line(entry) for entry in entries if self._detailed or _stands_out(entry)]

    async def _put(self, entries: list[Decision]) -> None:
        """Write, in one go with what others hand in at the same moment; return when it is kept."""
        if self._batch is None:
            self._batch = _Batch(asyncio.get_running_loop().create_task(self._write_soon()))
        batch = self._batch
        batch.entries.extend(entries)
        await asyncio.shield(batch.written)

    async def _write_soon(self) -> None:
        await asyncio.sleep(0)  # until everything that is ready to run has handed in
        batch, self._batch = self._batch, None
        if batch is not None:
            await self._deps.memory.put_decisions(batch.entries)

    def line(self, entry: Decision) -> dict[str, Any]:
        """What the state and the trace show of a decision: all of it on small clusters, else who and how."""
        if self._detailed:
            return entry.to_json()
        return {
            "slot": entry.slot,
            "role": str(entry.role),
            "node": entry.node,
            "decided_by": entry.decided_by,
            "outcome": str(entry.outcome),
            "reason": None if entry.reason is None else str(entry.reason),
            "attempts": len(entry.attempts),
            "tokens": sum(a.prompt_tokens + a.completion_tokens for a in entry.attempts),
            "seconds": sum(a.seconds for a in entry.attempts),
        }


def draft_of(entry: Decision) -> Draft:
    """The settled draft that a ledger entry was made from."""
    return Draft(
        attempts=entry.attempts,
        decision=entry.decision,
        outcome=entry.outcome,
        decided_by=entry.decided_by,
        reason=entry.reason,
        normalised=entry.normalised,
        rehearsal=entry.rehearsal,
    )


def _stands_out(entry: Decision) -> bool:
    return entry.outcome in (Outcome.FALLBACK, Outcome.REPAIRED)
