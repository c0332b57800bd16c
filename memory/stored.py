"""The memory over any engine: domain types in and out, documents below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from domain.errors import InputError
from domain.ledger import Case, Decision, Role
from domain.telemetry import EpochTelemetry, Records
from memory import forms
from memory.documents import Document, Kind, check_version
from memory.engine import Engine, MemoryStatus, Query
from memory.ledger_text import LedgerText, decision_of, instructions_of
from memory.recall import MIN_ENDED, Key, Picker, Recalled, Traffic
from memory.store import EpochEntry

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")
ROLES = tuple(Role)
"""In the order in which they decide."""
MOST_NAMED = 500
"""Instructions that one query asks for."""


class StoredMemory:
    """`memory.store.Memory` over an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ledger = LedgerText()

    @property
    def status(self) -> MemoryStatus:
        """How the engine fares."""
        return self._engine.status

    async def put_run(self, run: str, settings: Mapping[str, Any]) -> None:
        """Keep the settings of a run."""
        await self._put(forms.run_document(run, settings))

    async def run(self, run: str) -> dict[str, Any] | None:
        """Return the settings of a run."""
        found = await self._find(Query(Kind.RUN, {"run": run}), _settings)
        return found[0] if found else None

    async def runs(self) -> list[str]:
        """Return the names of the runs."""
        chunks = self._engine.scan(Query(Kind.RUN, order=("run",)), ("run",))
        return [str(row[0]) async for rows in chunks for row in rows]

    async def put_decision(self, decision: Decision) -> None:
        """Keep a decision."""
        await self.put_decisions([decision])

    async def put_decisions(self, decisions: Sequence[Decision]) -> None:
        """Keep several."""
        documents = self._ledger.documents(decisions)
        await self._put(*documents)
        self._ledger.stored(documents)

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
        """Return decisions in the order in which they were due."""
        equals = _given(run=run, slot=slot, role=role and str(role), node=node)
        if node is not None and role is None:
            equals["role"] = str(Role.DEPLOYER)  # with all of its columns given an index leads straight to the slots
        if role in (Role.PLANNER, Role.SCHEDULER):
            equals.setdefault("node", None)
        query = Query(Kind.DECISION, equals, at_least=_bound(slot=first), at_most=_bound(slot=last))
        bodies = await self._find(query, lambda body, _: (body, instructions_of(body)))
        instructions = await self._instructions(run, set().union(*(named for _, named in bodies)))
        found = [self._read(Kind.DECISION, decision_of, body, instructions) for body, _ in bodies]
        return sorted(found, key=lambda d: (d.slot, ROLES.index(d.role), d.node or ""))

    async def _instructions(self, run: str, hashes: set[str]) -> dict[str, str]:
        """Texts of a run's instructions by their hash."""
        wanted, texts = sorted(hashes), dict[str, str]()
        for first in range(0, len(wanted), MOST_NAMED):
            query = Query(Kind.INSTRUCTIONS, {"run": run}, among={"sha256": wanted[first : first + MOST_NAMED]})
            texts.update(await self._find(query, lambda body, _: (str(body["sha256"]), str(body["text"]))))
        return texts

    async def put_case(self, case: Case) -> None:
        """Keep a case."""
        await self._put(forms.case_document(case))

    async def cases(
        self,
        testbed: str,
        limit: int | None = None,
        *,
        run: str | None = None,
        family: str | None = None,
        min_ended: int = 0,
    ) -> list[Case]:
        """Return cases of a testbed."""
        query = Query(
            Kind.CASE,
            _given(testbed=testbed, run=run, family=family),
            at_least=_bound(ended=min_ended),
            order=("run", "epoch"),
            descending=True,
            limit=limit,
        )
        return (await self._find(query, lambda body, _: forms.case_of(body)))[::-1]

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
        """Look at the columns of all the cases, and at the bodies of the chosen ones alone."""
        picker = Picker(traffic, best, worst, nearest)
        query = Query(
            Kind.CASE,
            _given(testbed=testbed, family=family),
            at_least=_bound(ended=min_ended),
            order=("run", "epoch"),
        )
        async with aclosing(self._engine.scan(query, ("run", "epoch", "objective", "policy", "vector"))) as chunks:
            async for rows in chunks:
                self._read(Kind.CASE, lambda rows, _: picker.add(rows), rows, None)
        picks = picker.picks()
        chosen = {key: await self._case(key) for key in (*picks.best, *picks.worst, *picks.nearest)}
        return Recalled(
            best=tuple(chosen[key] for key in picks.best),
            worst=tuple(chosen[key] for key in picks.worst),
            nearest=tuple(chosen[key] for key in picks.nearest),
            distances=picks.distances,
        )

    async def _case(self, key: Key) -> Case:
        query = Query(Kind.CASE, {"run": key[0], "epoch": key[1]})
        return (await self._find(query, lambda body, _: forms.case_of(body)))[0]

    async def put_records(self, run: str, slot: int, records: Records) -> None:
        """Keep the requests that ended in a slot."""
        await self._put(forms.records_document(run, slot, records))

    async def records(self, run: str, first: int | None = None, last: int | None = None) -> Records:
        """Return the requests that ended in some slots."""
        query = Query(
            Kind.RECORDS, {"run": run}, at_least=_bound(slot=first), at_most=_bound(slot=last), order=("slot",)
        )
        return Records.concatenate(await self._find(query, forms.records_of))

    async def put_telemetry(
        self, run: str, epoch: int, telemetry: EpochTelemetry, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Keep the telemetry of an epoch."""
        await self._put(forms.telemetry_document(run, epoch, telemetry, extra or {}))

    async def telemetry(self, run: str) -> list[EpochEntry]:
        """Return the telemetry of a run."""
        query = Query(Kind.TELEMETRY, {"run": run}, order=("epoch",))
        return await self._find(query, lambda body, _: forms.telemetry_of(body))

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()

    async def _put(self, *documents: Document) -> None:
        if documents:
            await self._engine.write(documents)

    async def _find(self, query: Query, read: Callable[[dict[str, Any], bytes | None], T]) -> list[T]:
        store, found = self._engine.status.store, []
        for body, data in await self._engine.find(query):
            check_version(query.kind, body, store)
            found.append(self._read(query.kind, read, body, data))
        return found

    def _read(self, kind: Kind, read: Callable[[A, B], T], body: A, rest: B) -> T:
        try:
            return read(body, rest)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(f"{self.status.store}: a document of {kind} cannot be read: {error}.") from None


def _settings(body: dict[str, Any], _: bytes | None) -> dict[str, Any]:
    settings: dict[str, Any] = body["settings"]
    return settings


def _given(**equals: str | int | None) -> dict[str, str | int | None]:
    return {name: value for name, value in equals.items() if value is not None}


def _bound(**bounds: int | None) -> dict[str, int]:
    return {name: value for name, value in bounds.items() if value is not None}
