"""The journal: nothing that was put is lost or doubled, whenever the store goes and whenever the process dies."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory import Memory, MemoryAway
from memory.stored import StoredMemory
from tests.journals import decision, journaled, slots, until
from tests.memory_engines import FickleEngine
from tests.memory_examples import case, records, telemetry
from tests.memory_examples import decision as by_agent


async def test_instructions_wait_in_front_of_the_entry_that_names_them(engine: FickleEngine, memory: Memory) -> None:
    engine.away = True
    await memory.put_decision(by_agent())
    assert memory.status.waiting == 2
    engine.away = False
    await until(lambda: not memory.status.waiting)
    assert [document.kind for document in engine.taken] == ["instructions", "decisions"]
    assert await memory.decisions("r") == [by_agent()]


async def test_while_the_store_is_there_the_journal_stays_empty(
    memory: Memory, engine: FickleEngine, path: Path
) -> None:
    await memory.put_decision(decision())
    assert slots(engine) == [0]
    assert path.read_bytes() == b""


async def test_writes_wait_in_order_while_the_store_is_away_and_drain_when_it_returns(
    memory: Memory, engine: FickleEngine, path: Path
) -> None:
    await memory.put_decision(decision(slot=0))
    engine.away = True
    for slot in range(1, 450, 50):
        await memory.put_decisions([decision(slot=s) for s in range(slot, min(slot + 50, 450))])
    assert (memory.status.away, memory.status.waiting) == ("fickle is away.", 449)
    engine.away = False
    await until(lambda: path.read_bytes() == b"")
    assert slots(engine) == list(range(450))
    assert (memory.status.away, memory.status.waiting) == (None, 0)


async def test_every_kind_of_document_comes_through_the_journal_as_it_was(memory: Memory, engine: FickleEngine) -> None:
    engine.away = True
    await memory.put_run("r", {"seed": 1})
    await memory.put_decision(decision())
    await memory.put_case(case())
    await memory.put_telemetry("r", 0, telemetry(), {"a": 1})
    await memory.put_records("r", 0, records(20))
    engine.away = False
    await until(lambda: memory.status.waiting == 0)
    through = list(engine.taken)
    engine.taken.clear()
    await memory.put_run("r", {"seed": 1})
    await memory.put_decision(decision())
    await memory.put_case(case())
    await memory.put_telemetry("r", 0, telemetry(), {"a": 1})
    await memory.put_records("r", 0, records(20))
    assert engine.taken == through


async def test_reads_raise_at_once_while_the_store_is_away(memory: Memory, engine: FickleEngine) -> None:
    engine.away = True
    with pytest.raises(MemoryAway, match="^fickle is away.$"):
        await memory.decisions("r")
    calls = engine.calls
    with pytest.raises(MemoryAway, match="^fickle is away.$"):
        await memory.runs()
    assert engine.calls == calls, "a store that is known to be away is left alone for a while"


async def test_reads_do_not_answer_from_a_store_that_lags_behind_the_journal(
    memory: Memory, engine: FickleEngine, path: Path
) -> None:
    engine.away = True
    await memory.put_decision(decision())
    engine.away = False
    with pytest.raises(MemoryAway, match=rf"^fickle is away. 1 documents wait in {path}.$"):
        await memory.decisions("r")
    await until(lambda: memory.status.waiting == 0)
    assert await memory.decisions("r") == [decision()]


async def test_a_read_finds_the_store_again_after_the_pause(memory: Memory, engine: FickleEngine) -> None:
    engine.away = True
    with pytest.raises(MemoryAway):
        await memory.decisions("r")
    engine.away = False
    await asyncio.sleep(0.05)
    assert await memory.decisions("r") == []
    assert memory.status.away is None


async def test_a_store_that_goes_away_in_the_middle_of_draining_gets_the_rest_later(
    memory: Memory, engine: FickleEngine
) -> None:
    engine.away = True
    await memory.put_decisions([decision(slot=slot) for slot in range(300)])
    for stop in (7, 210, 50):
        engine.away_after, engine.away = stop, False
        await until(lambda: engine.away)
    engine.away_after, engine.away = None, False
    await until(lambda: memory.status.waiting == 0)
    assert list(dict.fromkeys(slots(engine))) == list(range(300)), "in order, all of them"
    assert len(engine.kept) == 300, "none doubled"


async def test_a_store_that_took_the_documents_and_never_said_so_gets_them_once_more_and_keeps_one(
    memory: Memory, engine: FickleEngine
) -> None:
    engine.away_unsaid = True
    await memory.put_decision(decision())
    engine.away = False
    await until(lambda: memory.status.waiting == 0)
    assert (slots(engine), len(engine.kept)) == ([0, 0], 1)


async def test_what_is_written_while_the_journal_drains_goes_behind_it(memory: Memory, engine: FickleEngine) -> None:
    engine.away = True
    await memory.put_decisions([decision(slot=slot) for slot in range(1000)])
    engine.away = False
    slot = 0
    while memory.status.waiting:
        await memory.put_telemetry("r", slot % 5, telemetry(slot / 1000))
        slot += 1
    await memory.put_telemetry("r", slot % 5, telemetry(slot / 1000))
    found = {entry.epoch: entry.telemetry.objective for entry in await memory.telemetry("r")}
    assert found == {n % 5: n / 1000 for n in range(slot + 1)}, "the last word is the last"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["put", "go", "come", "half", "wait", "unsaid", "restart"]), max_size=25))
async def test_whatever_the_store_does_nothing_is_lost_doubled_or_out_of_order(
    tmp_path_factory: pytest.TempPathFactory, story: list[str]
) -> None:
    path, engine, put = tmp_path_factory.mktemp("story") / "journal", FickleEngine(), 0
    front = journaled(engine, path, first_pause_s=0.001, longest_pause_s=0.002, farewell_s=0.01)
    await front.open()
    for step in [*story, "put"]:
        match step:
            case "put":
                await StoredMemory(front).put_decision(decision(slot=put))
                put += 1
            case "go":
                engine.away = True
            case "come":
                engine.away = False
            case "half":
                engine.away_after, engine.away = 1, False
            case "unsaid":
                engine.away_unsaid = True
            case "wait":
                await asyncio.sleep(0.004)
            case _:
                was_away = engine.away
                await front.close()
                engine.away = was_away
                front = journaled(engine, path, first_pause_s=0.001, longest_pause_s=0.002, farewell_s=0.01)
                await front.open()
    engine.away, engine.away_after, engine.away_unsaid = False, None, False
    await until(lambda: front.status.waiting == 0)
    await front.close()
    assert list(dict.fromkeys(slots(engine))) == list(range(put))
    assert len(engine.kept) == put
    assert not path.exists()


async def test_a_document_that_the_store_never_takes_is_set_aside_and_stops_nobody(
    memory: Memory, engine: FickleEngine, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine.refuses = {"bad"}
    engine.away = True
    await memory.put_decisions([decision(slot=0), decision(run="bad", slot=1), decision(slot=2)])
    engine.away = False
    await until(lambda: memory.status.waiting == 0)
    await memory.put_decisions([decision(run="bad", slot=3), decision(slot=4)])
    assert memory.status.refused == 2
    assert sorted({(d.values["run"], d.values["slot"]) for d in engine.kept}) == [("r", 0), ("r", 2), ("r", 4)]
    aside = [json.loads(line) for line in path.with_name("memory.journal.refused").read_text().splitlines()]
    assert [(line["kind"], line["body"]["slot"]) for line in aside] == [("decisions", 1), ("decisions", 3)]
    assert "fickle does not take run bad." in caplog.text


async def test_a_refused_document_is_written_and_counted_once_though_the_store_goes_away_after_it(
    engine: FickleEngine, path: Path
) -> None:
    engine.refuses, engine.away = {"bad"}, True
    front = journaled(engine, path, farewell_s=0.0)
    await front.open()
    await StoredMemory(front).put_decisions([decision(run="bad"), decision(slot=1), decision(slot=2)])
    for stop in (1, 1):
        engine.away_after, engine.away = stop, False
        await until(lambda: engine.away)
    engine.away_after, engine.away = None, False
    await until(lambda: front.status.waiting == 0)
    aside = path.with_name("memory.journal.refused").read_bytes()
    assert (len(aside.splitlines()), front.status.refused) == (1, 1)
    await front.close()


async def test_a_refused_document_that_a_killed_process_set_aside_is_not_set_aside_again(
    engine: FickleEngine, path: Path
) -> None:
    engine.refuses, engine.away = {"bad"}, True
    front = journaled(engine, path, farewell_s=0.0)
    await front.open()
    await StoredMemory(front).put_decisions([decision(run="bad"), decision(slot=1)])
    await front.close()
    line = path.read_bytes().splitlines(keepends=True)[0]
    path.with_name("memory.journal.refused").write_bytes(line + line[:40])
    engine.away = False
    front = journaled(engine, path)
    await front.open()
    await StoredMemory(front).put_decision(decision(run="bad", slot=7))
    await front.close()
    aside = path.with_name("memory.journal.refused").read_bytes().splitlines(keepends=True)
    assert aside == [line, line.replace(b'"slot":0', b'"slot":7')]
    assert front.status.refused == 2
