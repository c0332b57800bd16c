"""A memory in a dictionary, for runs in virtual time: nothing in it waits for a thread or a disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.ledger import Case, Decision, Role
from domain.telemetry import EpochTelemetry, Records
from memory.engine import MemoryStatus
from memory.recall import Recalled, Traffic
from memory.store import EpochEntry


class PlainMemory:
    """Implements `memory.store.Memory` for one run."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, Role, str | None], Decision] = {}
        self._records: dict[int, Records] = {}
        self._cases: list[Case] = []

    @property
    def status(self) -> MemoryStatus:
        return MemoryStatus("a dictionary")

    async def put_run(self, run: str, settings: Mapping[str, Any]) -> None:
        return None

    async def run(self, run: str) -> dict[str, Any] | None:
        return None

    async def runs(self) -> list[str]:
        return []

    async def put_decision(self, decision: Decision) -> None:
        await self.put_decisions([decision])

    async def put_decisions(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            self.kept.setdefault((decision.slot, decision.role, decision.node), decision)

    async def decisions(
        self,
        run: str,
        slot: int | None = None,
        role: Role | None = None,
        *,
        node: str | None = None,
        first: int | None = None,
        last: int | None = None,
    ) -> list[Decision]:
        return [d for d in self.kept.values() if slot in (None, d.slot) and role in (None, d.role)]

    async def put_case(self, case: Case) -> None:
        self._cases.append(case)

    async def cases(
        self,
        testbed: str,
        limit: int | None = None,
        *,
        run: str | None = None,
        family: str | None = None,
        min_ended: int = 0,
    ) -> list[Case]:
        return self._cases[-limit:] if limit else self._cases

    async def recall(
        self,
        testbed: str,
        traffic: Traffic | None,
        best: int = 3,
        worst: int = 2,
        nearest: int = 3,
        *,
        min_ended: int = 0,
        family: str | None = None,
    ) -> Recalled:
        return Recalled()

    async def put_records(self, run: str, slot: int, records: Records) -> None:
        self._records[slot] = records

    async def records(self, run: str, first: int | None = None, last: int | None = None) -> Records:
        return Records.concatenate([self._records[slot] for slot in sorted(self._records)])

    async def put_telemetry(
        self, run: str, epoch: int, telemetry: EpochTelemetry, extra: Mapping[str, Any] | None = None
    ) -> None:
        return None

    async def telemetry(self, run: str) -> list[EpochEntry]:
        return []

    async def close(self) -> None:
        return None
