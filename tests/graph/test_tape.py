"""The tape: what was recorded comes back to the bit, nothing else does, and nobody is called."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from domain.errors import InputError, MachineError
from domain.ledger import Attempt, Role
from graph.models.agent import Agent
from graph.models.asking import Asker, Asking
from graph.models.tape import Tape, TapeError
from tests.scripted import ScriptedChatModel, answers, counted, in_turn, is_dead, refuses

MESSAGES = [{"role": "system", "content": "Décide en JSON. \ud83d"}, {"role": "user", "content": "Slot 3?"}]
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def agent(model: ScriptedChatModel, **changes: Any) -> Agent:
    return Agent(**{"role": Role.DEPLOYER, "model": model, "name": "scripted", **changes})


def asker(tape: Tape, model: ScriptedChatModel, slot: int = 3, node: str | None = "edge-1", **changes: Any) -> Asker:
    return Asking(agent(model, **changes), tape=tape).for_decision(slot, node)


async def recorded(path: Path) -> list[Attempt]:
    """Three attempts: an answer with measured tokens, its repair, and another node's refusal."""
    model = ScriptedChatModel(reply=in_turn(answers(counted('{"a": 1}', 11, 7)), answers('{"a": 2}'), refuses()))
    with Tape.record(path) as tape:
        return [
            await asker(tape, model)(MESSAGES, SCHEMA, 0),
            await asker(tape, model)(MESSAGES, SCHEMA, 1),
            await asker(tape, model, node="edge-2")(MESSAGES, SCHEMA, 0),
        ]


async def test_a_run_from_its_tape_is_identical_and_calls_nobody(tmp_path: Path) -> None:
    first = await recorded(tmp_path / "run.tape")
    assert [attempt.answer for attempt in first] == ['{"a": 1}', '{"a": 2}', None]
    dead = ScriptedChatModel(reply=is_dead())
    with Tape.replay(tmp_path / "run.tape") as tape:
        again = [
            await asker(tape, dead)(MESSAGES, SCHEMA, 0),
            await asker(tape, dead)(MESSAGES, SCHEMA, 1),
            await asker(tape, dead, node="edge-2")(MESSAGES, SCHEMA, 0),
        ]
    assert again == first
    assert again[0].seconds == first[0].seconds > 0
    assert (again[0].prompt_tokens, again[0].completion_tokens) == (11, 7)
    assert str(again[2].error).startswith("refusal: ")
    assert dead.calls == []


async def test_what_the_tape_lacks_is_an_error_that_names_slot_and_role(tmp_path: Path) -> None:
    await recorded(tmp_path / "run.tape")
    dead = ScriptedChatModel(reply=is_dead())
    with Tape.replay(tmp_path / "run.tape") as tape:
        with pytest.raises(TapeError, match="holds nothing for the deployer of edge-1 in slot 4, attempt 1"):
            await asker(tape, dead, slot=4)(MESSAGES, SCHEMA, 0)
        with pytest.raises(TapeError, match="edge-2 in slot 3, attempt 2"):
            await asker(tape, dead, node="edge-2")(MESSAGES, SCHEMA, 1)
        with pytest.raises(InputError, match="the answer of scripted for .*, not of gpt-5"):
            await asker(tape, dead, name="gpt-5")(MESSAGES, SCHEMA, 0)
    assert dead.calls == []


@pytest.mark.parametrize("change", ["messages", "schema", "temperature", "max_completion_tokens"])
async def test_an_answer_to_another_question_is_never_taken(tmp_path: Path, change: str) -> None:
    await recorded(tmp_path / "run.tape")
    messages, schema = MESSAGES, SCHEMA
    changes: dict[str, Any] = {}
    if change == "messages":
        messages = [MESSAGES[0], {"role": "user", "content": "Slot 3, again?"}]
    elif change == "schema":
        schema = {**SCHEMA, "additionalProperties": False}
    elif change == "temperature":
        changes = {"parameters": {"temperature": 0.5}}
    else:
        changes = {"max_completion_tokens": 9}
    with (
        Tape.replay(tmp_path / "run.tape") as tape,
        pytest.raises(TapeError, match="to a different question: the prompt, the schema or a parameter"),
    ):
        await asker(tape, ScriptedChatModel(reply=is_dead()), **changes)(messages, schema, 0)


async def test_of_a_killed_run_the_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "run.tape"
    first = await recorded(path)
    path.write_bytes(path.read_bytes()[:-20])
    with Tape.replay(path) as tape:
        assert await asker(tape, ScriptedChatModel(reply=is_dead()))(MESSAGES, SCHEMA, 1) == first[1]
        with pytest.raises(TapeError, match="edge-2"):
            await asker(tape, ScriptedChatModel(reply=is_dead()), node="edge-2")(MESSAGES, SCHEMA, 0)


async def test_a_resumed_tape_asks_only_what_it_has_no_answer_to(tmp_path: Path) -> None:
    path = tmp_path / "run.tape"
    first = await recorded(path)
    with path.open("ab") as file:
        file.write(b'{"tape": 2, "key": "torn')
    model = ScriptedChatModel(reply=answers('{"a": 3}'))
    with Tape.record(path, resume=True) as tape:
        assert await asker(tape, model)(MESSAGES, SCHEMA, 0) == first[0]
        assert model.calls == []
        retried = await asker(tape, model, node="edge-2")(MESSAGES, SCHEMA, 0)
        assert retried.answer == '{"a": 3}', "a failure is asked again"
    with Tape.replay(path) as tape:
        assert await asker(tape, model, node="edge-2")(MESSAGES, SCHEMA, 0) == retried
    assert len(model.calls) == 1


async def test_every_line_is_in_the_file_as_soon_as_it_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "run.tape"
    with Tape.record(path) as tape:
        for count in (1, 2):
            await asker(tape, ScriptedChatModel(reply=answers("{}")), slot=count)(MESSAGES, SCHEMA, 0)
            assert len(path.read_bytes().splitlines()) == count


async def test_a_tape_is_never_overwritten_by_a_new_run(tmp_path: Path) -> None:
    path = tmp_path / "run.tape"
    await recorded(path)
    before = path.read_bytes()
    with pytest.raises(TapeError, match=r"run\.tape exists"):
        Tape.record(path)
    assert path.read_bytes() == before


async def test_a_file_that_is_no_tape_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "run.tape"
    await recorded(path)
    lines = path.read_bytes().splitlines(keepends=True)
    newer = json.dumps({**json.loads(lines[1]), "tape": 3}).encode() + b"\n"
    deep, bare = b"[" * 100_000 + b"\n", b'{"tape": 2}\n'
    for damaged in (b"{]\n", b"[]\n", bare, deep, lines[1][:50] + b"\n", newer):
        path.write_bytes(b"".join([lines[0], damaged, lines[2]]))
        with pytest.raises(TapeError, match=r"run\.tape, line 2: no entry of a tape of version 2"):
            Tape.replay(path)


def test_a_tape_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        Tape.replay(tmp_path / "none.tape")
    with pytest.raises(InputError, match="cannot be written: No such file"):
        Tape.record(tmp_path / "no" / "folder.tape")


async def test_a_tape_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    tape = Tape.record(tmp_path / "run.tape")
    tape.close()
    with pytest.raises(InputError, match="cannot be written"):
        await asker(tape, ScriptedChatModel(reply=answers("{}")))(MESSAGES, SCHEMA, 0)


async def test_a_line_is_written_whole_however_little_the_disk_takes_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda file, data: whole(file, data[:7]))
    first = await recorded(tmp_path / "run.tape")
    with Tape.replay(tmp_path / "run.tape") as tape:
        assert await asker(tape, ScriptedChatModel(reply=is_dead()))(MESSAGES, SCHEMA, 0) == first[0]


async def test_what_a_full_disk_has_torn_is_taken_back_and_the_tape_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, full = os.write, [False]

    def write(file: int, data: bytes) -> int:
        if full[0] and len(data) < 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(file, data[:50] if full[0] else data)

    monkeypatch.setattr(os, "write", write)
    path, model = tmp_path / "run.tape", ScriptedChatModel(reply=answers('{"a": 1}'))
    with Tape.record(path) as tape:
        await asker(tape, model, slot=1)(MESSAGES, SCHEMA, 0)
        before, full[0] = path.read_bytes(), True
        for _ in range(2):
            with pytest.raises(MachineError, match="cannot be written: No space left on device"):
                await asker(tape, model, slot=2)(MESSAGES, SCHEMA, 0)
            assert path.read_bytes() == before, "no half of a line"
        full[0] = False
        await asker(tape, model, slot=3)(MESSAGES, SCHEMA, 0)
    with Tape.replay(path) as tape:
        for slot in (1, 3):
            assert (await asker(tape, model, slot=slot)(MESSAGES, SCHEMA, 0)).answer == '{"a": 1}'
        with pytest.raises(TapeError, match="in slot 2"):
            await asker(tape, model, slot=2)(MESSAGES, SCHEMA, 0)


def test_what_was_recalled_comes_back_and_is_missed_where_it_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "run.tape"
    with Tape.record(path) as tape:
        assert tape.recalled(0) is None
        tape.keep_recalled(0, {"best": [1]})
        assert tape.recalled(0) == {"best": [1]}
    with Tape.record(path, resume=True) as tape:
        assert tape.recalled(0) == {"best": [1]}
    with Tape.replay(path) as tape:
        assert tape.recalled(0) == {"best": [1]}
        with pytest.raises(TapeError, match="does not hold what the planner was told of past epochs in slot 4"):
            tape.recalled(4)
