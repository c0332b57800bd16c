"""The MongoDB engine: one database for any number of runs, controllers and readers. The only module that knows pymongo.

Every call has one time limit for all it does: finding the server, waiting for a connection, sending, its retries.
pymongo's own retries are off; what may succeed at once on a second try (a primary that stepped down, a connection that
was cut) is tried again here and nowhere else. Retrying is safe because documents are stored by key.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any, TypeVar

import pymongo
from bson.errors import BSONError
from pymongo import AsyncMongoClient, UpdateOne
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
_REFUSED = (2, 9, 121, 10334, 17419, 17420, 22)
"""BadValue, FailedToParse, DocumentValidationFailure, too large, and InvalidBSON: the server will never take it."""


class MongoEngine:
    """Documents in the collections of one database, bodies as they are, so that any MongoDB tool can read them."""

    def __init__(self, uri: str, limit_s: float) -> None:
        """Nothing is connected yet; a call takes `limit_s` seconds at most, half a second where that is less.

        Raises:
            InputError: the URI is none. The sentence does not quote it, for the password in it.
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
            self._database = self._client.get_default_database(DATABASE)
        except (PyMongoError, ValueError, TypeError):
            raise InputError(
                "The MongoDB URI cannot be read: write mongodb://USER:PASSWORD@HOST:PORT/DATABASE, with the characters "
                "/ ? # [ ] @ : % of name and password as %XX."
            ) from None
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
        cursor: Any = None

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
                yield chunk
                chunk = await self._call(more, attempts=1)  # a cursor that failed is over, and says that it is empty
        finally:
            await cursor.close()

    def _cursor(self, query: Query, fields: dict[str, int]) -> Any:
        wanted: dict[str, Any] = dict(query.equals)
        wanted |= {name: {"$in": list(values)} for name, values in query.among.items()}
        for operator, bounds in (("$gte", query.at_least), ("$lte", query.at_most)):
            for name, value in bounds.items():
                wanted.setdefault(name, {})[operator] = value
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
                # $set of every field replaces the document: all documents of a kind have the same fields.
                await collection.bulk_write(
                    [UpdateOne({"_id": body["_id"]}, {"$set": _without_id(body)}, upsert=True) for body in bodies]
                )
        except BulkWriteError as error:
            problems = [e for e in error.details.get("writeErrors", []) if e["code"] != _DUPLICATE]
            if problems:
                raise OperationFailure(problems[0]["errmsg"], problems[0]["code"]) from None
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
