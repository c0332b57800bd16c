"""The MongoDB engine where there is no server, where one is taken away, and what its errors say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from bson.errors import InvalidDocument
from pymongo import ReadPreference
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    DocumentTooLarge,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from domain.errors import InputError
from memory import MemoryAway, open_memory
from memory.documents import Kind
from memory.engine import DocumentRefused, Query
from memory.forms import run_document
from memory.mongo import ATTEMPTS, MongoEngine, _wanted, open_client
from tests.memory_examples import decision
from tests.mongo_server import connects, free_port

SECRET = "mongodb://ada:s3cret%40@127.0.0.1:1,localhost:2/lab?authSource=admin"


@pytest.fixture
async def engine() -> AsyncIterator[MongoEngine]:
    made = MongoEngine(SECRET, limit_s=0.5)
    yield made
    await made.close()


async def outcome(engine: MongoEngine, *errors: Exception | None) -> tuple[Any, int]:
    """What a call comes to whose work meets one error after the other, and how often it was tried."""
    left, tries = list(errors), 0

    async def work() -> str:
        nonlocal tries
        tries += 1
        if (error := left.pop(0)) is not None:
            raise error
        return "done"

    engine._ready = True
    try:
        return await engine._call(work), tries
    except Exception as error:
        return error, tries


async def test_a_memory_is_named_by_its_hosts_and_database_alone(engine: MongoEngine) -> None:
    assert engine.status.store == "mongodb://127.0.0.1:1,localhost:2/lab"


async def test_a_uri_without_a_database_means_edgewise() -> None:
    engine = MongoEngine("mongodb://127.0.0.1:1/?appName=x", limit_s=0.1)
    assert engine.status.store == "mongodb://127.0.0.1:1/edgewise"
    await engine.close()


@pytest.mark.parametrize(
    "uri", ["mongodb://", "mongodb://ada:s3/cret@h/x", "mongodb://ada:s3cret@h@h", "mongodb://ada:s3cret@h:99999"]
)
def test_a_uri_that_cannot_be_read_is_explained_without_quoting_it(uri: str) -> None:
    with pytest.raises(InputError, match="^The MongoDB URI cannot be read: write mongodb://USER:PASSWORD@") as caught:
        MongoEngine(uri, limit_s=0.1)
    assert "s3" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ("w=0", "w=0"),
        ("w=1", "w=1"),
        ("w=2&journal=true", "w=2"),
        ("w=majority&journal=false", "journal=false"),
        ("readPreference=secondaryPreferred&readPreferenceTags=dc:ny", "readPreference=secondaryPreferred"),
        ("readPreference=nearest&w=0", "w=0 and readPreference=nearest"),
    ],
)
async def test_a_uri_that_asks_for_less_than_the_promise_is_refused(options: str, asked: str) -> None:
    uri = f"mongodb://ada:s3cret@127.0.0.1:1/x?{options}"
    for opens in (MongoEngine, open_client):
        with pytest.raises(
            InputError, match=f"^The MongoDB URI asks for {asked}, by which .* leave w, journal and"
        ) as no:
            opens(uri, 0.1)
        assert "s3cret" not in str(no.value)


@pytest.mark.parametrize(
    "options", ["", "w=majority", "journal=true&readPreference=primary", "retryWrites=true&w=majority"]
)
async def test_what_is_written_is_confirmed_by_most_servers_and_their_journals(options: str) -> None:
    engine = MongoEngine(f"mongodb://127.0.0.1:1/x?{options}", 0.1)
    assert engine._database.write_concern.document == {"w": "majority", "j": True}
    assert engine._database.read_preference == ReadPreference.PRIMARY
    await engine.close()


@connects
async def test_where_no_server_listens_every_call_raises_within_its_time_limit() -> None:
    engine = MongoEngine(f"mongodb://ada:s3cret@127.0.0.1:{free_port()}/x", limit_s=0.2)
    for call in (engine.open(), anext(aiter(engine.scan(Query(Kind.RUN), ("run",))))):
        started = time.monotonic()
        with pytest.raises(MemoryAway, match="cannot be reached: .*Connect call failed") as caught:
            await call
        assert time.monotonic() - started < 1
        assert "s3cret" not in str(caught.value)
    await engine.close()


@connects
async def test_a_server_that_accepts_and_never_answers_costs_the_time_limit_and_no_more() -> None:
    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        engine = MongoEngine(f"mongodb://127.0.0.1:{server.sockets[0].getsockname()[1]}", limit_s=0.3)
        started = time.monotonic()
        with pytest.raises(MemoryAway):
            await engine.open()
        assert time.monotonic() - started < 1.5
        await engine.close()


@connects
async def test_without_a_journal_a_memory_that_is_away_cannot_be_opened() -> None:
    with pytest.raises(MemoryAway):
        async with open_memory(f"mongodb://127.0.0.1:{free_port()}", limit_s=0.1):
            pass


@connects
async def test_with_a_journal_a_memory_that_is_away_takes_writes_at_once(tmp_path: Path) -> None:
    uri, journal = f"mongodb://ada:s3cret@127.0.0.1:{free_port()}", tmp_path / "memory.journal"
    async with open_memory(uri, journal, limit_s=0.1) as memory:
        started = time.monotonic()
        for slot in range(10):
            await memory.put_decision(decision(slot=slot, attempts=()))
        with pytest.raises(MemoryAway, match="10 documents wait"):
            await memory.decisions("r")
        assert time.monotonic() - started < 1
    lines = journal.read_text().splitlines()
    assert len(lines) == 10
    assert "s3cret" not in "".join(lines)


@pytest.mark.parametrize("hiccups", [1, ATTEMPTS - 1])
async def test_a_connection_that_was_cut_is_tried_again(engine: MongoEngine, hiccups: int) -> None:
    errors = [AutoReconnect("connection closed")] * hiccups
    assert await outcome(engine, *errors, None) == ("done", hiccups + 1)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (
            ServerSelectionTimeoutError("No servers found yet, Timeout: 2s"),
            MemoryAway,
            "reached: No servers found yet.",
        ),
        (ExecutionTimeout("operation exceeded time limit", 50), MemoryAway, "operation exceeded time limit."),
        (ConfigurationError("The DNS query name does not exist."), MemoryAway, "DNS query name does not exist."),
        (PyMongoError("at mongodb://ada:s3cret@h/"), MemoryAway, r"at mongodb://\*\*\*@h/."),
        (OperationFailure("Authentication failed.", 18), InputError, "refuses the user name or the password"),
        (OperationFailure("not authorized", 13), InputError, "give it the role readWrite on the database lab."),
        (OperationFailure("Document failed validation", 121), DocumentRefused, "take a document: Document failed vali"),
        (DocumentTooLarge("BSON document too large (17000000 bytes)"), DocumentRefused, "too large"),
        (InvalidDocument("cannot encode object"), DocumentRefused, "cannot encode object"),
        (OverflowError("MongoDB can only handle up to 8-byte ints"), DocumentRefused, "8-byte ints"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_other_errors_are_told_apart_and_not_tried_again(
    engine: MongoEngine, error: Exception, kind: type[Exception], says: str
) -> None:
    found, tries = await outcome(engine, error)
    assert (type(found), tries) == (kind, 1)
    with pytest.raises(kind, match=says):
        raise found


async def test_retries_end_and_the_store_counts_as_away(engine: MongoEngine) -> None:
    found, tries = await outcome(engine, *[AutoReconnect("connection closed")] * 20)
    assert (type(found), tries) == (MemoryAway, ATTEMPTS)


async def test_other_write_errors_than_duplicates_do_not_pass_unseen(
    engine: MongoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Collection:
        async def insert_many(self, *_: Any, **__: Any) -> None:
            errors = [{"code": 11000, "errmsg": "duplicate"}, {"code": 121, "errmsg": "Document failed validation"}]
            raise BulkWriteError({"writeErrors": errors})

    monkeypatch.setattr(engine, "_database", {Kind.DECISION: Collection()})
    with pytest.raises(OperationFailure, match="Document failed validation"):
        await engine._store_group(Kind.DECISION, [])


class Collection:
    """Takes writes as a server does that finds a key twice, and gives fewer documents than it counts."""

    def __init__(self, stored: int = 0, given: Sequence[int] = (), duplicates: int = 0) -> None:
        self.stored, self.given, self.duplicates = stored, list(given), duplicates
        self.kept: dict[str, dict[str, Any]] = {}

    async def bulk_write(self, operations: list[Any], ordered: bool) -> None:
        assert not ordered, "of an ordered write a duplicate key drops all that follows"
        told = [(operation._filter["_id"], operation._doc["$set"]["settings"]) for operation in operations]
        assert len(dict(told)) == len(told), "of what is not ordered, either of two may be the last"
        self.duplicates -= 1
        if self.duplicates >= 0:
            self.kept.update(told[1:])
            raise BulkWriteError({"writeErrors": [{"code": 11000, "errmsg": "E11000 duplicate key"}]})
        self.kept.update(told)

    async def count_documents(self, wanted: dict[str, Any], limit: int = 10**9) -> int:
        return min(self.stored, limit)

    def find(self, *_: Any, **__: Any) -> Collection:
        return self

    def sort(self, _: Any) -> Collection:
        return self

    async def to_list(self, _: int) -> list[dict[str, Any]]:
        return [{"run": "r"}] * (self.given.pop(0) if self.given else 0)

    async def close(self) -> None:
        return None


@pytest.fixture
def collection(engine: MongoEngine, monkeypatch: pytest.MonkeyPatch) -> Collection:
    made = Collection()
    monkeypatch.setattr(engine, "_database", dict.fromkeys(Kind, made))
    engine._ready = True
    return made


async def test_of_documents_of_one_key_that_are_put_together_the_last_is_written(
    engine: MongoEngine, collection: Collection
) -> None:
    await engine.write([run_document("r", {"n": n}) for n in (1, 2)] + [run_document("s", {"n": 3})])
    assert collection.kept == {'["r"]': {"n": 2}, '["s"]': {"n": 3}}


@pytest.mark.parametrize("times", [1, ATTEMPTS - 1])
async def test_a_key_that_another_process_put_at_the_same_moment_costs_no_document(
    engine: MongoEngine, collection: Collection, times: int
) -> None:
    collection.duplicates = times
    await engine.write([run_document(run, {}) for run in "abc"])
    assert list(collection.kept) == ['["b"]', '["c"]', '["a"]']


@pytest.mark.parametrize(("stored", "given"), [(3, [2]), (3, []), (7000, [5000, 1999]), (7000, [5000])])
async def test_documents_that_a_server_counts_and_does_not_give_are_noticed(
    engine: MongoEngine, collection: Collection, stored: int, given: list[int]
) -> None:
    collection.stored, collection.given = stored, list(given)
    query = Query(Kind.DECISION, {"run": "r"}, at_least={"slot": 0}, at_most={"slot": 9})
    said = f"lost documents on the way: of decisions it counts {stored} and gave {sum(given)}. No run can rest on that"
    with pytest.raises(InputError, match=said):
        await engine.find(query)
    collection.given = list(given)
    with pytest.raises(InputError, match=said):
        [rows async for rows in engine.scan(query, ("run",))]


@pytest.mark.parametrize(("stored", "limit"), [(3, None), (2, None), (50, 3)])
async def test_documents_that_came_since_they_were_counted_are_no_mistake(
    engine: MongoEngine, collection: Collection, stored: int, limit: int | None
) -> None:
    collection.stored, collection.given = stored, [3]
    assert len(await engine.find(Query(Kind.DECISION, {"run": "r"}, limit=limit))) == 3


async def test_documents_that_somebody_deleted_while_they_were_read_are_no_mistake(
    engine: MongoEngine, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = [9, 3]

    async def count_documents(wanted: dict[str, Any]) -> int:
        return counts.pop(0)

    monkeypatch.setattr(collection, "count_documents", count_documents)
    collection.given = [3]
    assert len(await engine.find(Query(Kind.DECISION, {"run": "r"}))) == 3


def test_a_range_is_read_in_one_way_and_counted_in_another() -> None:
    query = Query(Kind.DECISION, {"run": "r"}, at_least={"slot": 3}, at_most={"slot": 9})
    read, counted = _wanted(query, "$gte", "$lt", (0, 1)), _wanted(query, "$gt", "$lte", (-1, 0))
    assert (read, counted) == (
        {"run": "r", "slot": {"$gte": 3, "$lt": 10}},
        {"run": "r", "slot": {"$gt": 2, "$lte": 9}},
    )
