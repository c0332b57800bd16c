"""The MongoDB engine where there is no server, where one is taken away, and what its errors say."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pytest
from bson.errors import InvalidDocument
from pymongo import AsyncMongoClient
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
from domain.ledger import Role
from memory import MemoryAway, open_memory
from memory.documents import Kind
from memory.engine import DocumentRefused, Query
from memory.mongo import ATTEMPTS, MongoEngine
from tests.memory_examples import TRAFFIC, case, decision, records
from tests.mongo_server import MongoServer, free_port

P = ParamSpec("P")
T = TypeVar("T")
SECRET = "mongodb://ada:s3cret%40@127.0.0.1:1,localhost:2/lab?authSource=admin"


@pytest.fixture
def _half_open_sockets_are_collected() -> Iterator[None]:
    yield
    gc.collect()


def connects(test: Callable[P, T]) -> Callable[P, T]:
    """Mark a test whose client may be closed while it connects: pymongo leaves the socket to the collector then."""
    quiet = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
    return quiet(pytest.mark.usefixtures("_half_open_sockets_are_collected")(test))


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


@pytest.mark.live
@connects
async def test_what_was_put_while_the_server_was_down_is_there_when_it_is_up(tmp_path: Path) -> None:
    server = MongoServer(tmp_path).start()
    try:
        async with open_memory(f"{server.uri}/lab", tmp_path / "memory.journal") as memory:
            await memory.put_decision(decision(slot=0))
            server.kill()
            for slot in range(1, 30):
                await memory.put_decision(decision(slot=slot))
                await memory.put_records("r", slot, records(20, seed=slot))
            await memory.put_case(case())
            with pytest.raises(MemoryAway):
                await memory.decisions("r")
            assert memory.status.waiting == 59
            server.start()
            async with asyncio.timeout(40):
                while memory.status.waiting:
                    await asyncio.sleep(0.05)
            assert [d.slot for d in await memory.decisions("r")] == list(range(30))
            assert len(await memory.records("r")) == 29 * 20
            assert (await memory.recall("lab", TRAFFIC)).best == (case(),)
        assert not (tmp_path / "memory.journal").exists()
    finally:
        server.kill()


@pytest.mark.live
async def test_documents_are_plain_to_any_mongodb_tool(tmp_path: Path) -> None:
    server = MongoServer(tmp_path).start()
    try:
        async with open_memory(f"{server.uri}/lab") as memory:
            await memory.put_decision(decision(role=Role.DEPLOYER, node="hub"))
            await memory.put_case(case())
        async with AsyncMongoClient[dict[str, Any]](server.uri) as client:
            found = await client["lab"]["decisions"].find_one(
                {"node": "hub", "outcome": "fallback", "reason": "timeout"}
            )
            assert found is not None
            assert found["attempts"][0]["messages"][0]["role"] == "system"
            assert found["_id"] == '["r", 0, "deployer", "hub"]'
            assert await client["lab"]["cases"].count_documents({"objective": {"$lt": 0.6}}) == 1
            names = {collection: await client["lab"][collection].index_information() for collection in Kind}
            keys = [tuple(field for field, _ in index["key"]) for index in names[Kind.DECISION].values()]
            assert ("run", "slot", "role", "node") in keys
            assert ("run", "role", "node", "slot") in keys
    finally:
        server.kill()


@pytest.mark.live
async def test_a_database_of_the_first_layout_goes_on_with_the_second(tmp_path: Path) -> None:
    server = MongoServer(tmp_path).start()
    try:
        async with AsyncMongoClient[dict[str, Any]](server.uri) as client:
            about = client["lab"]["edgewise"]
            await about.insert_one({"_id": "layout", "version": 1})
            async with open_memory(f"{server.uri}/lab", tmp_path / "memory.journal") as memory:
                await memory.put_decision(decision())
                assert await memory.decisions("r") == [decision()]
            assert await about.find_one() == {"_id": "layout", "version": 2}
    finally:
        server.kill()


@pytest.mark.live
async def test_a_database_of_a_newer_edgewise_is_named(tmp_path: Path) -> None:
    server = MongoServer(tmp_path).start()
    try:
        async with AsyncMongoClient[dict[str, Any]](server.uri) as client:
            await client["lab"]["edgewise"].insert_one({"_id": "layout", "version": 3})
        with pytest.raises(InputError, match=r"lab was laid out by a newer Edgewise \(3, this one reads up to 2\)"):
            async with open_memory(f"{server.uri}/lab", tmp_path / "memory.journal"):
                pass
    finally:
        server.kill()
