"""The journal in front of an engine: a store that is away never stops the slot loop, and nothing that was put is lost.

While the store is there, writes go straight through. When it fails, they go to a file, in order, and a task tries the
store again, less and less often; when it answers, the file drains, in order, and writes go straight through again.
Documents have keys, so that draining one twice, after a crash, does no harm. Reads do not wait: while documents are in
the file the store does not know the present, and they raise MemoryAway.
"""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from typing import ParamSpec, TypeVar

from domain.errors import InputError
from memory.documents import Document, Kind
from memory.engine import DocumentRefused, Engine, Found, MemoryAway, MemoryStatus, Query, Row
from memory.journal_file import JournalFile

P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger(__name__)
BATCH = 200
"""Documents that are drained in one write."""


class JournaledEngine:
    """An engine that can always be written to, as long as the disk takes the journal."""

    def __init__(
        self,
        engine: Engine,
        journal: JournalFile,
        *,
        first_pause_s: float = 0.5,
        longest_pause_s: float = 15.0,
        farewell_s: float = 5.0,
    ) -> None:
        """Wrap an engine.

        Args:
            engine: where documents should be.
            journal: where they wait.
            first_pause_s: seconds after a failure in which the store is left alone; doubles with each further one.
            longest_pause_s: seconds that the pause never exceeds.
            farewell_s: seconds that `close` may take to drain.
        """
        self._engine, self._journal = engine, journal
        self._first_s, self._longest_s, self._farewell_s = first_pause_s, longest_pause_s, farewell_s
        self._pause_s, self._rest_until = first_pause_s, 0.0
        self._away: str | None = None
        self._refused = 0
        self._order = asyncio.Lock()
        self._drainer: asyncio.Task[None] | None = None

    @property
    def status(self) -> MemoryStatus:
        """How the store and the journal fare."""
        return MemoryStatus(
            self._engine.status.store, self._away, self._journal.waiting, self._journal.torn, self._refused
        )

    async def open(self) -> None:
        """Open the engine and drain what a former process has left; a store that is away is no error."""
        if self._journal.torn:
            _log.warning("%s ended in an unfinished line, which was dropped.", self._journal.path)
        try:
            await self._engine.open()
            await self.drain()
        except MemoryAway as error:
            self._gone(error)
        self._drain_later()

    async def write(self, documents: Sequence[Document]) -> None:
        """Store documents, in the engine or in the journal.

        Raises:
            MemoryAway: neither takes them.
        """
        async with self._order:
            if self._journal.empty and not self._resting:
                try:
                    await self._deliver(documents)
                    self._back()
                    return
                except (MemoryAway, InputError) as error:
                    self._gone(error)
            await self._on_disk(self._journal.append, [_line(document) for document in documents])
        self._drain_later()

    async def find(self, query: Query) -> list[Found]:
        """Return documents. Raises MemoryAway at once while the store is away or lags behind the journal."""
        self._check()
        try:
            found = await self._engine.find(query)
        except MemoryAway as error:
            self._gone(error)
            raise
        self._back()
        return found

    async def scan(self, query: Query, columns: tuple[str, ...]) -> AsyncGenerator[list[Row]]:
        """Yield values of columns. Raises MemoryAway as `find` does."""
        self._check()
        try:
            async for rows in self._engine.scan(query, columns):
                yield rows
        except MemoryAway as error:
            self._gone(error)
            raise
        self._back()

    async def close(self) -> None:
        """Try once more to drain, for a bounded time; what the store does not take stays in the file."""
        if self._drainer is not None:
            self._drainer.cancel()
            await asyncio.gather(self._drainer, return_exceptions=True)
            self._drainer = None
        if self._journal.waiting:
            with suppress(MemoryAway, InputError, TimeoutError):
                async with asyncio.timeout(self._farewell_s):
                    await self.drain()
        if self._journal.waiting:
            _log.warning(
                "%d documents stay in the journal %s and are stored when the memory is opened with it again: %s",
                self._journal.waiting, self._journal.path.name, self._away,
            )  # fmt: skip
        self._journal.close()
        await self._engine.close()

    @property
    def _resting(self) -> bool:
        return self._away is not None and asyncio.get_running_loop().time() < self._rest_until

    def _check(self) -> None:
        if self._journal.waiting:
            why = self._away or f"{self._engine.status.store} is catching up."
            raise MemoryAway(f"{why} {self._journal.waiting} documents wait in {self._journal.path}.")
        if self._resting:
            raise MemoryAway(self._away)

    def _gone(self, error: Exception) -> None:
        if self._away is None:
            _log.warning("%s From now on documents wait in the journal %s.", error, self._journal.path.name)
        else:
            self._pause_s = min(2 * self._pause_s, self._longest_s)
        self._away = str(error)
        self._rest_until = asyncio.get_running_loop().time() + self._pause_s

    def _back(self) -> None:
        if self._away is not None:
            _log.warning("%s is back.", self._engine.status.store)
        self._away, self._pause_s = None, self._first_s

    def _drain_later(self) -> None:
        if not self._journal.empty and (self._drainer is None or self._drainer.done()):
            self._drainer = asyncio.create_task(self._keep_draining(), name="memory journal")

    async def _keep_draining(self) -> None:
        while not self._journal.empty:
            await asyncio.sleep(self._pause_s)
            try:
                await self.drain()
            except (MemoryAway, InputError) as error:
                self._gone(error)

    async def drain(self) -> None:
        """Write what waits to the engine, batch by batch, and empty the file.

        Raises:
            MemoryAway: the store goes away; what it took is kept, what it did not stays in the file.
            InputError: the store is not what it should be.
        """
        answers = False
        while not self._journal.empty:
            if not answers or self._journal.waiting > BATCH:
                await self._drain_batch()
                answers = True
                continue
            # Nearly done: hold up writers for this last bit, or one who never rests would keep the file from emptying.
            async with self._order:
                await self._drain_batch()
                await self._on_disk(self._journal.clear)

    async def _drain_batch(self) -> None:
        lines = await self._on_disk(self._journal.read, BATCH)
        if lines:
            await self._deliver([_document(line) or line for line in lines])
            self._journal.advance(lines)
            self._back()

    async def _deliver(self, entries: Sequence[Document | bytes]) -> None:
        """Write documents to the engine; set aside those that it will never take, and lines that are no document."""
        try:
            await self._engine.write([entry for entry in entries if isinstance(entry, Document)])
        except DocumentRefused as error:
            if len(entries) > 1:
                for entry in entries:
                    await self._deliver([entry])
            else:
                await self._set_aside(entries[0], str(error))
            return
        for entry in entries:
            if isinstance(entry, bytes):
                await self._set_aside(entry, "It is no document that this Edgewise knows.")

    async def _set_aside(self, entry: Document | bytes, why: str) -> None:
        line = entry if isinstance(entry, bytes) else _line(entry)
        if await self._on_disk(self._journal.set_aside, line):
            self._refused += 1
            _log.error("A document was set aside in %s: %s", self._journal.refused_path.name, why)

    async def _on_disk(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Let the journal work in a thread: the disk may take its time."""
        try:
            return await asyncio.to_thread(work, *args, **kwargs)
        except OSError as error:
            away = f"{self._away} " if self._away else ""
            raise MemoryAway(f"{away}{self._journal.path} cannot be used: {error.strerror}.") from None


def _line(document: Document) -> bytes:
    data = "" if document.data is None else f', "data": "{b64encode(document.data).decode()}"'
    return f'{{"kind": "{document.kind}", "body": {document.text}{data}}}'.encode()


def _document(line: bytes) -> Document | None:
    """Read a line back; None where it is none of ours: damaged, or of a newer Edgewise."""
    try:
        entry = json.loads(line)
        data = b64decode(entry["data"], validate=True) if "data" in entry else None
        return Document.of(Kind(entry["kind"]), entry["body"], data)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
