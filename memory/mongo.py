"""The MongoDB engine: one database for any number of runs, controllers and readers. The only module that knows pymongo.

Every call has one time limit for all it does: finding the server, waiting for a connection, sending, its retries.
pymongo's own retries are off; what may succeed at once on a second try (a primary that stepped down, a connection that
was cut) is tried again here and nowhere else. Retrying is safe because documents are stored by key.

A write that came back is kept: most servers of the set have it in their journals. Reads go to the primary, which knows
of it. And what a server answers is counted, for a run that goes on by half of its ledger is another run.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any, TypeVar

import pymongo
from bson.errors import BSONError
from pymongo import AsyncMongoClient, MongoClient, ReadPreference, UpdateOne, WriteConcern
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from domain.errors import InputError
from memory.documents import SHAPES, Document, Kind
from memory.engine import DocumentRefused, Found, MemoryAway, MemoryStatus, Query, Row
from memory.redaction import redact

T = TypeVar("T")
DATABASE = "edgewise"
"""Database where the URI names none."""
LAYOUT = 2
"""Version of collections, fields and indices, kept in the collection `edgewise`."""
CHUNK_ROWS = 5_000
"""Documents that a scan asks for at once."""
ATTEMPTS = 4
"""Tries within the time limit."""

_DUPLICATE = 11000
_AUTHENTICATION = (18, 8000)
_UNAUTHORISED = 13
_REFUSED = (2, 9, 15, 121, 10334, 17419, 17420, 22)
"""BadValue, FailedToParse, too deeply nested, DocumentValidationFailure, too large, InvalidBSON: the server will never
take it."""
_KEPT = WriteConcern("majority", j=True)


def open_client(uri: str, limit_s: float) -> MongoClient[dict[str, Any]]:
    """Connect LangGraph's checkpointer, which is synchronous, by the same promise as the memory's own connections.

    Raises:
        InputError: the URI is none, or asks for less than the promise.
        MemoryAway: no server answers in time.
    """
    limits: dict[str, Any] = dict.fromkeys(("serverSelectionTimeoutMS", "connectTimeoutMS"), round(limit_s * 1000))
    try:
        with MongoClient[dict[str, Any]](uri, connect=False) as asked:
            _check_promise(asked)
        client = MongoClient[dict[str, Any]](uri, appname="edgewise", w="majority", journal=True, **limits)
    except (PyMongoError, ValueError, TypeError):
        raise InputError(_NO_URI) from None
    try:
        client.admin.command("ping")
    except PyMongoError as error:
        client.close()
        raise MemoryAway(f"mongodb://{_hosts(uri)} cannot be reached: {_first_sentence(error)}.") from None
    return client


def _check_promise(client: MongoClient[dict[str, Any]] | AsyncMongoClient[dict[str, Any]]) -> None:
    """Make sure that a URI does not ask for less than what a memory promises."""
    asked, wanted = client.write_concern.document, []
    if asked.get("w", "majority") != "majority":
        wanted.append(f"w={asked['w']}")
    if not asked.get("j", True):
        wanted.append("journal=false")
    if client.read_preference != ReadPreference.PRIMARY:
        wanted.append(f"readPreference={client.read_preference.mongos_mode}")
    if wanted:
        raise InputError(
            f"The MongoDB URI asks for {' and '.join(wanted)}, by which what was put could be lost or not be found; "
            "leave w, journal and readPreference out of it."
        )


_NO_URI = (
    "The MongoDB URI cannot be read: write mongodb://USER:PASSWORD@HOST:PORT/DATABASE, with the characters "
    "/ ? # [ ] @ : % of name and password as %XX."
)


class MongoEngine:
    """Documents in the collections of one database, bodies as they are, so that any MongoDB tool can read them."""

    def __init__(self, uri: str, limit_s: float) -> None:
        """Nothing is connected yet; a call takes `limit_s` seconds at most, half a second where that is less.

        Raises:
            InputError: the URI is none, or asks for less than what a memory promises. The sentence does not quote it,
                for the password in it.
        """
        milliseconds = round(limit_s * 1000)
        try:
            self._client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
                uri,
                appname="edgewise",
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
                socketTimeoutMS=milliseconds,
                waitQueueTimeoutMS=milliseconds,
                retryReads=False,
                retryWrites=False,
            )
            self._database = self._client.get_default_database(DATABASE, write_concern=_KEPT)
        except (PyMongoError, ValueError, TypeError):
            raise InputError(_NO_URI) from None
        _check_promise(self._client)
        self._store = f"mongodb://{_hosts(uri)}/{self._database.name}"
        self._limit_s = limit_s
        self._ready = False

    @property
    def status(self) -> MemoryStatus:
        """The hosts and the database."""
        return MemoryStatus(self._store)

    async def open(self) -> None:
        """Connect, and create the indices that are missing.

        Raises:
            MemoryAway: no server answers.
            InputError: the server refuses the user, or a newer Edgewise laid out the database.
        """
        await self._call(_nothing)

    async def write(self, documents: Sequence[Document]) -> None:
        """Store documents, in order kind by kind."""
        for kind, group in groupby(documents, key=lambda document: document.kind):
            bodies = [_to_bson(document) for document in group]
            await self._call(lambda kind=kind, bodies=bodies: self._store_group(kind, bodies))  # type: ignore[misc]  # mypy infers no type for a lambda with defaults

    async def find(self, query: Query) -> list[Found]:
        """Return documents; the time limit holds for each chunk."""
        hidden = {"_id": 0, **dict.fromkeys(SHAPES[query.kind].derived_names, 0)}
        return [_from_bson(found) async for chunk in self._chunks(query, hidden) for found in chunk]

    async def scan(self, query: Query, columns: tuple[str, ...]) -> AsyncGenerator[list[Row]]:
        """Yield values of columns; the time limit holds for each chunk."""
        async for chunk in self._chunks(query, {"_id": 0, **dict.fromkeys(columns, 1)}):
            yield [tuple(found.get(name) for name in columns) for found in chunk]

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _chunks(self, query: Query, fields: dict[str, int]) -> AsyncIterator[list[dict[str, Any]]]:
        if query.limit == 0:  # which is none, and to MongoDB all
            return
        cursor: Any = None
        # Counted first, for documents may come and never go.
        stored, read = await self._call(lambda: self._count(query)), 0

        async def first() -> list[dict[str, Any]]:
            nonlocal cursor
            cursor = self._cursor(query, fields)
            return await more()

        async def more() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = await cursor.to_list(CHUNK_ROWS)
            return found

        chunk = await self._call(first)
        try:
            while chunk:
                read += len(chunk)
                yield chunk
                chunk = await self._call(more, attempts=1)  # a cursor that failed is over, and says that it is empty
        finally:
            await cursor.close()
        if read < stored:
            stored = await self._call(lambda: self._count(query))  # again, for somebody may have deleted some
        if read < stored:
            raise InputError(
                f"{self._store} lost documents on the way: of {query.kind} it counts {stored} and gave {read}. No run "
                "can rest on that; use another server."
            )

    async def _count(self, query: Query) -> int:
        """How many documents a query has to find; 0 for one that leads to a single document by its whole key."""
        if all(query.equals.get(name) is not None for name in SHAPES[query.kind].key):
            return 0
        limit: dict[str, Any] = {} if query.limit is None else {"limit": query.limit}
        found: int = await self._database[query.kind].count_documents(_wanted(query, "$gt", "$lte", (-1, 0)), **limit)
        return found

    def _cursor(self, query: Query, fields: dict[str, int]) -> Any:
        wanted = _wanted(query, "$gte", "$lt", (0, 1))
        cursor = self._database[query.kind].find(wanted, fields, limit=query.limit or 0, batch_size=CHUNK_ROWS)
        if query.order:
            direction = pymongo.DESCENDING if query.descending else pymongo.ASCENDING
            cursor = cursor.sort([(name, direction) for name in query.order])
        return cursor

    async def _store_group(self, kind: Kind, bodies: list[dict[str, Any]]) -> None:
        collection = self._database[kind]
        try:
            if SHAPES[kind].once:
                first = {body["_id"]: body for body in reversed(bodies)}  # a server may take them in any order
                await collection.insert_many(list(first.values()), ordered=False)
            else:
                last = {body["_id"]: body for body in bodies}
                # $set of every field replaces the document: all documents of a kind have the same fields.
                await collection.bulk_write(
                    [UpdateOne({"_id": key}, {"$set": _without_id(body)}, upsert=True) for key, body in last.items()],
                    ordered=False,
                )
        except BulkWriteError as error:
            problems = [e for e in error.details.get("writeErrors", []) if e["code"] != _DUPLICATE]
            if problems:
                raise OperationFailure(problems[0]["errmsg"], problems[0]["code"]) from None
            if error.details.get("writeErrors") and not SHAPES[kind].once:
                raise AutoReconnect("another process put a document of the same key at the same moment") from None
            if error.details.get("writeConcernErrors"):
                raise AutoReconnect("the write was not confirmed by enough servers") from None

    async def _call(self, work: Callable[[], Awaitable[T]], attempts: int = ATTEMPTS) -> T:
        """Do the work within the time limit, with retries, and tell its errors apart."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(AutoReconnect) & retry_if_not_exception_type(ServerSelectionTimeoutError),
            stop=stop_after_attempt(attempts),
            wait=wait_random_exponential(multiplier=0.02, max=0.2),
            reraise=True,
        )
        try:
            with pymongo.timeout(self._limit_s):
                return await retrying(self._prepared, work)
        except (PyMongoError, BSONError, OverflowError) as error:
            raise self._explained(error) from None

    async def _prepared(self, work: Callable[[], Awaitable[T]]) -> T:
        if not self._ready:
            await self._prepare()
            self._ready = True
        return await work()

    async def _prepare(self) -> None:
        """Check the layout, and create it in a database that has none."""
        about = self._database[DATABASE]
        found = await about.find_one({"_id": "layout"})
        if found is not None and found["version"] > LAYOUT:
            raise InputError(
                f"{self._store} was laid out by a newer Edgewise ({found['version']}, this one reads up to {LAYOUT}); "
                "use that one, or another database."
            )
        for kind, shape in SHAPES.items():
            for index in (shape.key, *shape.indexes):
                names = [name for name in index if shape.columns[name] is not bytes]
                await self._database[kind].create_index([(name, pymongo.ASCENDING) for name in names])
        if found is None:
            with suppress(DuplicateKeyError):
                await about.insert_one({"_id": "layout", "version": LAYOUT})
        elif found["version"] < LAYOUT:  # what has come since is made above
            await about.update_one({"_id": "layout"}, {"$max": {"version": LAYOUT}})

    def _explained(self, error: Exception) -> Exception:
        code = error.code if isinstance(error, OperationFailure) else None
        if code in _AUTHENTICATION:
            return InputError(f"{self._store} refuses the user name or the password in the MongoDB URI.")
        if code == _UNAUTHORISED:
            return InputError(
                f"{self._store} does not let the user in the MongoDB URI do this; "
                f"give it the role readWrite on the database {self._database.name}."
            )
        if isinstance(error, BSONError | OverflowError) or code in _REFUSED:
            return DocumentRefused(f"{self._store} does not take a document: {_first_sentence(error)}.")
        return MemoryAway(f"{self._store} cannot be reached: {_first_sentence(error)}.")


async def _nothing() -> None:
    return None


def _wanted(query: Query, above: str, below: str, shift: tuple[int, int]) -> dict[str, Any]:
    """A query in MongoDB's words; bounds, which are whole numbers, by these operators and shifted by so much.

    A range can be said in two ways. What is read in one and counted in the other is not wrong in both without a trace.
    """
    wanted: dict[str, Any] = dict(query.equals)
    wanted |= {name: {"$in": list(values)} for name, values in query.among.items()}
    for operator, bounds, by in ((above, query.at_least, shift[0]), (below, query.at_most, shift[1])):
        for name, value in bounds.items():
            wanted.setdefault(name, {})[operator] = value + by
    return wanted


def _hosts(uri: str) -> str:
    """The hosts of a URI that pymongo has read, and nothing else of it."""
    return uri.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]


def _first_sentence(error: Exception) -> str:
    """What an error of pymongo says, without its settings and its topology; secrets in URIs cut out."""
    text = str(error).partition(" (configured timeouts")[0].partition(", full error:")[0].partition(", Timeout:")[0]
    return redact(text.strip().rstrip(".")) or type(error).__name__


def _to_bson(document: Document) -> dict[str, Any]:
    """The body with its key as _id, and with the columns that are made from it."""
    derived = {name: document.values[name] for name in SHAPES[document.kind].derived_names}
    body = {"_id": json.dumps(document.key), **document.body, **derived}
    if document.data is not None:
        body["data"] = document.data
    return body


def _without_id(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "_id"}


def _from_bson(found: dict[str, Any]) -> Found:
    data = found.pop("data", None)
    return found, None if data is None else bytes(data)
