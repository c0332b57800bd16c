"""An engine whose store can be taken away, for the tests of the journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from memory.documents import SHAPES, Document, Kind
from memory.engine import DocumentRefused, Found, MemoryAway, MemoryStatus, Query, Row


class FickleEngine:
    """Keeps documents in a dictionary, and a log of every one that it took, as long as it is told to be there."""

    def __init__(self) -> None:
        self.away = False
        self.away_after: int | None = None
        """Documents that it still takes before it goes away in the middle of a write."""
        self.away_unsaid = False
        """Takes the documents of the next write, and goes away before it says so."""
        self.refuses: set[str] = set()
        """Runs whose documents it never takes."""
        self.calls = 0
        self.taken: list[Document] = []
        self._kept: dict[tuple[Kind, tuple[Any, ...]], Document] = {}

    @property
    def status(self) -> MemoryStatus:
        return MemoryStatus("fickle")

    @property
    def kept(self) -> list[Document]:
        """Documents, one for each key."""
        return list(self._kept.values())

    async def open(self) -> None:
        self._answer()

    async def write(self, documents: Sequence[Document]) -> None:
        self._answer()
        for document in documents:
            if self.away_after == 0:
                self.away, self.away_after = True, None
            self._answer()
            if document.values["run"] in self.refuses:
                raise DocumentRefused(f"fickle does not take run {document.values['run']}.")
            await asyncio.sleep(0)
            self.taken.append(document)
            key = (document.kind, document.key)
            if not (SHAPES[document.kind].once and key in self._kept):
                self._kept[key] = document
            if self.away_after is not None:
                self.away_after -= 1
        if self.away_unsaid:
            self.away, self.away_unsaid = True, False
        self._answer()

    async def find(self, query: Query) -> list[Found]:
        self._answer()
        kept = [d for d in self.kept if d.kind == query.kind]
        kept = [d for d in kept if all(d.values[name] in values for name, values in query.among.items())]
        return [(d.body, d.data) for d in kept if all(d.values[name] == v for name, v in query.equals.items())]

    async def scan(self, query: Query, columns: tuple[str, ...]) -> AsyncGenerator[list[Row]]:
        self._answer()
        yield [tuple(d.values[name] for name in columns) for d in self.kept if d.kind == query.kind]

    async def close(self) -> None:
        self.away = True

    def _answer(self) -> None:
        self.calls += 1
        if self.away:
            raise MemoryAway("fickle is away.")
