"""The MongoDB engine and a server that goes, comes back, or holds what others wrote."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from domain.errors import InputError
from domain.ledger import Role
from memory import MemoryAway, drain_journal, open_memory, waiting_in
from memory.documents import Kind
from tests.memory_examples import TRAFFIC, case, decision, records
from tests.mongo_server import MongoServer, connects


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
@connects
async def test_what_a_run_left_in_its_journal_is_stored_when_the_server_is_there(tmp_path: Path) -> None:
    server, journal = MongoServer(tmp_path / "server"), tmp_path / "memory.journal"
    async with open_memory(f"{server.uri}/lab", journal, limit_s=0.2) as memory:
        for slot in range(30):
            await memory.put_decision(decision(slot=slot))
            await memory.put_records("r", slot, records(20, seed=slot))
    assert waiting_in(journal) == 61  # the instructions once, for the journal knows that it has them
    with pytest.raises(MemoryAway):
        await drain_journal(journal, f"{server.uri}/lab", limit_s=0.2)
    assert waiting_in(journal) == 61
    server.start()
    try:
        assert (await drain_journal(journal, f"{server.uri}/lab")).stored == 61
        assert (await drain_journal(journal, f"{server.uri}/lab")).stored == 0
        async with open_memory(f"{server.uri}/lab") as memory:
            assert await memory.decisions("r") == [decision(slot=slot) for slot in range(30)]
            assert len(await memory.records("r")) == 30 * 20
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
