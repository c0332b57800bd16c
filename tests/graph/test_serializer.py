"""Checkpoints are read as data: nothing in them can name what is imported or called."""

from __future__ import annotations

import datetime
import json
import pickle
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command, Interrupt, Send

from domain.errors import InputError
from domain.ledger import Role
from graph.slot.checkpoints import open_checkpointer, thread_of
from graph.slot.serializer import TYPES, PlainSerializer
from runtime.replay.recorded import from_checkpoints

CODES = range(8)
WRONG: list[Any] = [None, [], {"x": 1}]
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def packed(code: int, *words: Any) -> bytes:
    return ormsgpack.packb({"value": [ormsgpack.Ext(code, ormsgpack.packb(words))]})


@given(plain)
def test_plain_data_come_back_as_they_were(value: Any) -> None:
    serializer = PlainSerializer()
    assert serializer.loads_typed(serializer.dumps_typed(value)) == value


@pytest.mark.parametrize(
    "value",
    [Send("deployer", {"slot": 3, "nodes": [1, 2]}), Interrupt({"question": "Adopt it?"}, id="7")],
)
def test_what_langgraph_adds_to_a_slot_comes_back_as_it_was(value: Any) -> None:
    serializer = PlainSerializer()
    assert serializer.loads_typed(serializer.dumps_typed([value])) == [value]
    assert serializer.dumps_typed([value]) == JsonPlusSerializer().dumps_typed([value])


def test_an_error_is_kept_as_what_it_says() -> None:
    serializer = PlainSerializer()
    assert serializer.loads_typed(serializer.dumps_typed(ValueError("no"))) == "ValueError('no')"


@pytest.mark.parametrize("code", CODES)
def test_whatever_a_checkpoint_names_nothing_is_called(code: int, tmp_path: Path) -> None:
    trace = tmp_path / "called"
    for argument in (f"touch {trace}", [f"touch {trace}"], {"command": f"touch {trace}"}):
        with pytest.raises(InputError, match=r"holds a os\.system, which none of Edgewise's does|is damaged"):
            PlainSerializer().loads_typed(("msgpack", packed(code, "os", "system", argument, "__call__")))
    assert not trace.exists()


@pytest.mark.parametrize(
    "value", [Path("x"), datetime.datetime.now(), Command(goto="act"), {1, 2}, Role.PLANNER, np.zeros(2), Interrupt]
)
def test_other_types_are_neither_written_nor_read_though_they_may_be_harmless(value: Any) -> None:
    with pytest.raises(TypeError, match="not msgpack serializable"):
        PlainSerializer().dumps_typed({"value": [value]})
    if value is not Interrupt:
        with pytest.raises(InputError, match="which none of Edgewise's does|is damaged"):
            PlainSerializer().loads_typed(JsonPlusSerializer().dumps_typed({"value": [value]}))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("pickle", pickle.dumps({"a": 1})),
        ("json", json.dumps({"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]}).encode()),
        ("json", b"{}"),
        ("bytearray", b""),
    ],
)
def test_other_forms_than_the_ones_that_are_written_are_refused(kind: str, data: bytes) -> None:
    with pytest.raises(InputError, match=f"a value of the kind '{kind}', which none of Edgewise's does"):
        PlainSerializer().loads_typed((kind, data))


def nested(times: int) -> bytes:
    inner = b"\xc0"
    for _ in range(times):
        inner = ormsgpack.packb(ormsgpack.Ext(1, inner))
    return inner


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", 100_000 * b"\x91" + b"\xc0", nested(5000)]
    + [packed(code, "langgraph.types", name, words) for code, _, name in TYPES for words in WRONG],
    ids=range(12),
)
def test_damaged_values_are_one_sentence(data: bytes) -> None:
    with pytest.raises(InputError, match=r"^A checkpoint is damaged: .*\.$"):
        PlainSerializer().loads_typed(("msgpack", data))


async def with_a_foreign_checkpoint(path: Path, thread: str, spoil: Callable[[dict[str, Any]], bytes]) -> None:
    """A file with one checkpoint, as `spoil` makes it from its values."""
    async with open_checkpointer(path):
        pass
    checkpoint = {"v": 4, "id": "1", "ts": "x", "channel_values": {}, "channel_versions": {}, "versions_seen": {}}
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "INSERT INTO checkpoints VALUES (?, '', '1', NULL, 'msgpack', ?, '{}')", (thread, spoil(checkpoint))
        )
        connection.commit()


async def test_importing_somebody_elses_checkpoints_runs_nothing(tmp_path: Path) -> None:
    path, trace = tmp_path / "checkpoints.sqlite", tmp_path / "called"

    def evil(checkpoint: dict[str, Any]) -> bytes:
        words = ormsgpack.packb(["os", "system", f"touch {trace}"])
        checkpoint["channel_values"]["slot"] = ormsgpack.Ext(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, words)
        return ormsgpack.packb(checkpoint)

    await with_a_foreign_checkpoint(path, thread_of("r"), evil)
    with pytest.raises(InputError, match=r"A checkpoint holds a os\.system"):
        await from_checkpoints(path, "r")
    assert not trace.exists()
