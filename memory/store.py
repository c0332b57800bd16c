"""What can be remembered and recalled: the protocol that the graph, the tools and the runtime are written against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from domain.ledger import Case, Decision, Role
from domain.telemetry import EpochTelemetry, Records
from memory.engine import MemoryStatus
from memory.recall import MIN_ENDED, Recalled, Traffic


@dataclass(frozen=True, slots=True)
class EpochEntry:
    """Telemetry of one epoch of a run, as it is kept."""

    epoch: int
    telemetry: EpochTelemetry
    extra: dict[str, Any]
    """What else was put with it: plain data."""


class Memory(Protocol):
    """Runs, decisions, cases, telemetry and records, of any number of runs.

    A write that came back is kept: in the store, or, while that is away, in the journal. All methods raise

    - MemoryAway: reads, while the store is away or the journal has not drained; writes, where no journal takes them;
    - InputError: the store is not what it should be: damaged, refusing the password, written by a newer Edgewise.
    """

    @property
    def status(self) -> MemoryStatus:
        """How it fares; costs nothing."""
        ...

    async def put_run(self, run: str, settings: Mapping[str, Any]) -> None:
        """Keep the settings of a run, plain data; a second put replaces them."""
        ...

    async def run(self, run: str) -> dict[str, Any] | None:
        """Return the settings of a run; None where there is no such run."""
        ...

    async def runs(self) -> list[str]:
        """Return the names of the runs that have settings, sorted."""
        ...

    async def put_decision(self, decision: Decision) -> None:
        """Keep a decision; a second one with the same (run, slot, role, node) changes nothing."""
        ...

    async def put_decisions(self, decisions: Sequence[Decision]) -> None:
        """Keep several in one go: all or, where it raises, possibly some of them. One call a slot is cheapest."""
        ...

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
        """Return decisions in order of slot, then planner, scheduler, deployers by name of node.

        Args:
            run: the run.
            slot: this slot only.
            role: this role only.
            node: deployments of this node only.
            first: from this slot on.
            last: up to this slot, itself included.
        """
        ...

    async def put_case(self, case: Case) -> None:
        """Keep a case; a second one with the same (run, epoch) changes nothing."""
        ...

    async def cases(
        self,
        testbed: str,
        limit: int | None = None,
        *,
        run: str | None = None,
        family: str | None = None,
        min_ended: int = 0,
    ) -> list[Case]:
        """Return cases of a testbed in order of (run, epoch); with a limit the last ones of that order."""
        ...

    async def recall(
        self,
        testbed: str,
        traffic: Traffic | None,
        best: int = 3,
        worst: int = 2,
        nearest: int = 3,
        *,
        min_ended: int = MIN_ENDED,
        family: str | None = None,
    ) -> Recalled:
        """Return up to so many cases of each sort for the present traffic; memory.recall says how they are chosen.

        Args:
            testbed: cases of this testbed only.
            traffic: prompts per slot of each LM at each origin node; None: nearest stays empty.
            best: how many with the lowest J.
            worst: how many with the highest J.
            nearest: how many with the traffic most like `traffic`.
            min_ended: requests that must have ended in a case's epoch.
            family: cases of this policy family only; J depends on who schedules and deploys, too.
        """
        ...

    async def put_records(self, run: str, slot: int, records: Records) -> None:
        """Keep all the requests that ended in a slot, none included; a second put replaces the first."""
        ...

    async def records(self, run: str, first: int | None = None, last: int | None = None) -> Records:
        """Return the requests that ended in slots `first` to `last`, both included (None: no bound), slot by slot."""
        ...

    async def put_telemetry(
        self, run: str, epoch: int, telemetry: EpochTelemetry, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Keep the telemetry of an epoch, with plain data of the caller's; a second put replaces the first."""
        ...

    async def telemetry(self, run: str) -> list[EpochEntry]:
        """Return the telemetry of a run in order of epoch."""
        ...

    async def close(self) -> None:
        """Give everything back; what the store would not take stays in the journal. Harmless when done twice."""
        ...
