"""What every memory does, whatever its engine: SQLite, and MongoDB's wire protocol against two servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from domain.errors import InputError
from domain.ledger import Role
from domain.telemetry import EpochTelemetry, Records
from memory import Memory, open_memory
from memory.documents import Document, Kind
from memory.mongo import MongoEngine
from memory.sqlite import SqliteEngine
from tests.memory_examples import TRAFFIC, case, decision, records, telemetry
from tests.mongo_server import NxServer, new_database


@pytest.fixture(scope="module")
def nx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = NxServer(tmp_path_factory.mktemp("nx")).start()
    yield server.uri
    server.kill()


@pytest.fixture(
    params=["sqlite", pytest.param("mongodb", marks=pytest.mark.live), pytest.param("nx", marks=pytest.mark.live)]
)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "memory.db")
        return
    with new_database(request.getfixturevalue(request.param)) as uri:
        yield uri


@pytest.fixture
async def memory(target: str, tmp_path: Path) -> AsyncIterator[Memory]:
    async with open_memory(target, tmp_path / "memory.journal", limit_s=10.0) as opened:
        yield opened


def same(a: Records | EpochTelemetry, b: Records | EpochTelemetry) -> bool:
    """Bit for bit."""
    pairs = [(np.asarray(getattr(a, f.name)), np.asarray(getattr(b, f.name))) for f in fields(a)]
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in pairs)


async def test_a_decision_comes_back_as_it_was_put(memory: Memory) -> None:
    put = decision()
    await memory.put_decision(put)
    assert await memory.decisions("r") == [put]


async def test_of_two_decisions_with_one_key_the_first_stays(memory: Memory) -> None:
    first = [decision(), decision(role=Role.DEPLOYER, node="hub"), decision(role=Role.DEPLOYER, node="edge")]
    await memory.put_decisions(first)
    await memory.put_decisions([replace(d, decided_by="rule:late") for d in first] + [decision(role=Role.PLANNER)])
    assert {d.decided_by for d in await memory.decisions("r")} == {"fallback:random"}
    assert len(await memory.decisions("r")) == 4


async def test_of_two_decisions_with_one_key_put_together_the_first_stays(memory: Memory) -> None:
    await memory.put_decisions([decision(), decision(decided_by="rule:late")])
    assert await memory.decisions("r") == [decision()]


async def test_decisions_are_found_by_slot_role_and_node_in_the_order_in_which_they_were_due(memory: Memory) -> None:
    deployers = [decision(slot=s, role=Role.DEPLOYER, node=n) for s in (0, 1, 2) for n in ("edge", "hub")]
    others = [decision(slot=0, role=Role.PLANNER), *(decision(slot=s) for s in (0, 1, 2))]
    await memory.put_decisions([*reversed(deployers), *others, decision(run="other")])
    first_slot = await memory.decisions("r", 0)
    assert [(d.role, d.node) for d in first_slot] == [
        (Role.PLANNER, None), (Role.SCHEDULER, None), (Role.DEPLOYER, "edge"), (Role.DEPLOYER, "hub"),
    ]  # fmt: skip
    assert [d.slot for d in await memory.decisions("r", role=Role.SCHEDULER)] == [0, 1, 2]
    assert await memory.decisions("r", 1, Role.DEPLOYER) == deployers[2:4]
    assert [d.slot for d in await memory.decisions("r", node="hub", first=1, last=2)] == [1, 2]
    assert await memory.decisions("r", role=Role.PLANNER, node="hub") == []
    assert await memory.decisions("r", 7) == await memory.decisions("unknown") == []


@pytest.mark.parametrize("size", [1, 2, 7, 20, 50])
async def test_pages_of_slots_hold_every_decision_and_every_record_once(memory: Memory, size: int) -> None:
    slots, nodes = 20, ("edge", "hub")
    for slot in range(slots):
        deployers = [decision(slot=slot, role=Role.DEPLOYER, node=node, attempts=()) for node in nodes]
        await memory.put_decisions([decision(slot=slot, attempts=()), *deployers])
        await memory.put_records("r", slot, records(1, seed=slot))
    await memory.put_decision(decision(run="s", slot=3))
    due = [(slot, node) for slot in range(slots) for node in (None, *nodes)]
    for first in range(0, slots, size):
        last = min(first + size, slots) - 1
        found = await memory.decisions("r", first=first, last=last)
        assert [(d.slot, d.node) for d in found] == [entry for entry in due if first <= entry[0] <= last]
        for node in nodes:
            assert [d.slot for d in await memory.decisions("r", node=node, first=first, last=last)] == list(
                range(first, last + 1)
            )
        wanted = Records.concatenate([records(1, seed=slot) for slot in range(first, last + 1)])
        assert same(await memory.records("r", first, last), wanted)
    assert len(await memory.decisions("r", first=size)) == 3 * max(slots - size, 0)
    assert len(await memory.decisions("r", last=size)) == 3 * min(size + 1, slots)
    assert len(await memory.records("r", last=size)) == min(size + 1, slots)


async def test_a_limit_of_none_gives_none(memory: Memory) -> None:
    await memory.put_case(case())
    assert await memory.cases("lab", 0) == []
    assert await memory.cases("lab", 1) == [case()]


async def test_text_that_is_no_unicode_is_kept_readable(memory: Memory) -> None:
    put = decision()
    odd = replace(put, attempts=(replace(put.attempts[0], answer="half \ud83e of a pair, \x00 and \u2028"),))
    await memory.put_decision(odd)
    assert (await memory.decisions("r"))[0].attempts[0].answer == "half \\ud83e of a pair, \x00 and \u2028"


async def test_passwords_in_connection_strings_are_never_stored(memory: Memory) -> None:
    await memory.put_run(
        "r", {"memory": "mongodb://ada:s3cret@db:27017/x", "nested": [{"url": "https://k:v@h/?token=t"}]}
    )
    failed = replace(decision().attempts[0], error="connection: http://ada:s3cret@model:8000/v1 refused")
    await memory.put_decision(decision(attempts=(failed,)))
    assert await memory.run("r") == {
        "memory": "mongodb://***@db:27017/x",
        "nested": [{"url": "https://***@h/?token=***"}],
    }
    assert (await memory.decisions("r"))[0].attempts[0].error == "connection: http://***@model:8000/v1 refused"


async def test_cases_come_back_in_order_and_the_limit_takes_the_last(memory: Memory) -> None:
    put = [case(epoch) for epoch in range(12)]
    for one in reversed(put):
        await memory.put_case(one)
    await memory.put_case(case(0, run="a", family="RR", ended=3))
    await memory.put_case(case(0, run="elsewhere", testbed="field"))
    assert await memory.cases("lab", run="r") == put
    assert await memory.cases("lab", 2) == put[-2:]
    assert [c.run for c in await memory.cases("lab", family="RR")] == ["a"]
    assert len(await memory.cases("lab")) == 13
    assert len(await memory.cases("lab", min_ended=4)) == 12
    assert await memory.cases("nowhere") == []


async def test_a_case_put_twice_is_one_case(memory: Memory) -> None:
    await memory.put_case(case(0, 0.5))
    await memory.put_case(case(0, 0.1))
    assert await memory.cases("lab") == [case(0, 0.5)]


async def test_recall_gives_the_best_the_worst_and_the_nearest(memory: Memory) -> None:
    far = {"chat": {"hub": 80.0}}
    for epoch, (j, traffic) in enumerate([(0.5, TRAFFIC), (0.1, far), (0.9, far), (0.2, far), (0.8, far), (0.6, far)]):
        await memory.put_case(case(epoch, j, traffic=traffic))
    await memory.put_case(case(6, 0.0, ended=29))
    await memory.put_case(case(7, 0.0, testbed="field"))
    found = await memory.recall("lab", TRAFFIC, best=2, worst=2, nearest=1)
    assert [c.objective for c in found.best] == [0.1, 0.2]
    assert [c.objective for c in found.worst] == [0.9, 0.8]
    assert [c.objective for c in found.nearest] == [0.5]
    assert found.distances == (0.0,)
    assert found.nearest[0] == case(0, 0.5)


async def test_recall_can_keep_to_one_family(memory: Memory) -> None:
    await memory.put_case(case(0, 0.1, family="RR"))
    await memory.put_case(case(1, 0.4))
    assert [c.objective for c in (await memory.recall("lab", None, family="MA")).best] == [0.4]


async def test_what_does_not_fit_into_one_chunk_is_read_whole(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory.sqlite.CHUNK_ROWS", 3)
    monkeypatch.setattr("memory.mongo.CHUNK_ROWS", 3)
    put = [case(epoch, 0.9 - epoch / 100) for epoch in range(10)]
    for one in put:
        await memory.put_case(one)
    await memory.put_decisions([decision(slot=slot) for slot in range(10)])
    assert (await memory.recall("lab", None, best=2, worst=1)).best == (put[9], put[8])
    assert await memory.cases("lab") == put
    assert [d.slot for d in await memory.decisions("r")] == list(range(10))


async def test_an_empty_memory_recalls_nothing(memory: Memory) -> None:
    found = await memory.recall("lab", TRAFFIC)
    assert (found.best, found.worst, found.nearest, found.distances) == ((), (), (), ())


@pytest.mark.parametrize("count", [0, 1, 500])
async def test_records_come_back_bit_for_bit(memory: Memory, count: int) -> None:
    put = records(count)
    if count:
        put.queue_s[0], put.uplink_s[-1] = np.nan, -0.0
    await memory.put_records("r", 3, put)
    assert same(await memory.records("r"), put)


async def test_records_of_a_slot_put_again_replace_the_first(memory: Memory) -> None:
    await memory.put_records("r", 0, records(5, seed=1))
    await memory.put_records("r", 0, records(4, seed=2))
    await memory.put_records("r", 0, records(4, seed=2))
    assert same(await memory.records("r"), records(4, seed=2))


async def test_records_are_found_by_run_and_slots_in_order(memory: Memory) -> None:
    for slot in (11, 2, 10, 3):
        await memory.put_records("r", slot, records(slot, seed=slot))
    await memory.put_records("other", 3, records(1))
    assert same(await memory.records("r", 3, 10), Records.concatenate([records(3, 3), records(10, 10)]))
    assert [len(await memory.records("r", last=3)), len(await memory.records("r", first=10))] == [5, 21]
    assert len(await memory.records("r", 4, 9)) == len(await memory.records("unknown")) == 0


async def test_telemetry_comes_back_in_order_of_epoch_with_what_was_put_beside_it(memory: Memory) -> None:
    await memory.put_telemetry("r", 10, telemetry(0.9), {"waiting": 3})
    await memory.put_telemetry("r", 2, telemetry(0.2))
    await memory.put_telemetry("r", 10, telemetry(0.8), {"waiting": 4})
    found = await memory.telemetry("r")
    assert [entry.epoch for entry in found] == [2, 10]
    assert same(found[0].telemetry, telemetry(0.2))
    assert same(found[1].telemetry, telemetry(0.8))
    assert [entry.extra for entry in found] == [{}, {"waiting": 4}]
    assert await memory.telemetry("unknown") == []


async def test_runs_are_listed_by_name_and_settings_replaced(memory: Memory) -> None:
    await memory.put_run("b", {"seed": 1, "share": 0.1 + 0.2, "none": None})
    await memory.put_run("a", {})
    await memory.put_run("b", {"seed": 2})
    assert await memory.runs() == ["a", "b"]
    assert [await memory.run("b"), await memory.run("a"), await memory.run("c")] == [{"seed": 2}, {}, None]


async def test_many_writers_at_once_lose_nothing(memory: Memory) -> None:
    nodes = [f"n{n:02}" for n in range(40)]
    await asyncio.gather(*(memory.put_decision(decision(role=Role.DEPLOYER, node=node)) for node in nodes))
    assert [d.node for d in await memory.decisions("r")] == nodes


async def test_what_was_put_is_there_when_the_memory_is_opened_again(target: str) -> None:
    async with open_memory(target) as memory:
        await memory.put_decision(decision())
        await memory.put_records("r", 0, records(7))
    async with open_memory(target) as memory:
        assert await memory.decisions("r") == [decision()]
        assert same(await memory.records("r"), records(7))


async def test_a_case_that_holds_no_finite_number_is_refused_where_it_is_put(memory: Memory) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        await memory.put_case(case(0, float("nan")))


async def test_a_document_of_a_newer_version_is_named_and_not_guessed_at(memory: Memory, target: str) -> None:
    body = {**decision().to_json(), "schema_version": 3}
    engine = MongoEngine(target, 5.0) if "://" in target else SqliteEngine(Path(target), 5.0)
    await engine.open()
    await engine.write([Document.of(Kind.DECISION, body)])
    await engine.close()
    with pytest.raises(InputError, match="decisions has schema_version 3, this Edgewise reads up to 2"):
        await memory.decisions("r")


async def test_a_document_that_cannot_be_read_is_named(memory: Memory, target: str) -> None:
    body = {**decision().to_json(), "outcome": "guessed"}
    engine = MongoEngine(target, 5.0) if "://" in target else SqliteEngine(Path(target), 5.0)
    await engine.open()
    await engine.write([Document.of(Kind.DECISION, body)])
    await engine.close()
    with pytest.raises(InputError, match="a document of decisions cannot be read: 'guessed' is not a valid Outcome"):
        await memory.decisions("r")
