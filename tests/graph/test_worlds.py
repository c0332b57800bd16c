"""The world of a thread, packed into its state: what is not one is named and not unpacked."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from domain.errors import InputError
from graph.studio.world import Made, World
from twin.testbeds import load_builtin

BRISTOL = load_builtin("bristol")


@pytest.mark.parametrize(
    "changes",
    [
        {"cores": np.zeros((1, 6, 3), np.int32)},
        {"decided": np.zeros((2, 6), np.int32)},
        {"targets": np.zeros((0, 6, 4))},
        {"targets": np.int32(3)},
    ],
    ids=range(4),
)
def test_a_world_with_tables_of_unlike_form_is_named(changes: dict[str, Any]) -> None:
    world = World.new(Made("bristol", "p1", 1), BRISTOL)
    with pytest.raises(InputError, match="a world that cannot be read"):
        World.unpack(replace(world, **changes).pack())


def test_a_world_that_unpacks_to_too_much_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = np.zeros((1000, 6, 4), np.int32)
    tables = zeros, zeros, zeros, zeros[:, :, 0], zeros[:, 0, 0], np.empty((0, 6))
    text = World(Made("bristol", "p1", 1), *tables).pack()
    assert World.unpack(text).slots == 1000
    monkeypatch.setattr("graph.studio.world.MOST_BYTES", 300_000)
    with pytest.raises(InputError, match="a world that cannot be read"):
        World.unpack(text)


def allowed(*names: str) -> dict[str, dict[str, dict[str, float]]]:
    return {"*": {lm.name: dict.fromkeys(names, 0.5) for lm in BRISTOL.lms}}


def test_open_plans_keep_their_weights_slot_by_slot() -> None:
    world = World.new(Made("bristol", "p1", 1, dispatch="split", news_s=1.0), BRISTOL)
    fixed = {node.name: {lm.name: "VM3" for lm in BRISTOL.lms} for node in BRISTOL.nodes}
    own = {node.name: allowed("VM4", node.name)["*"] for node in BRISTOL.nodes}
    for routing in (fixed, allowed("VM3", "VM7"), own, {}, fixed):
        world = world.then(BRISTOL, routing, [], [])
    kept = World.unpack(world.pack())
    assert kept.made == world.made
    told = [kept.plan(slot).to_json(BRISTOL) for slot in range(5)]
    assert told == [fixed, allowed("VM3", "VM7"), own, own, fixed], "without routes the old ones stay"
    assert (kept.targets == world.targets).all()


def test_a_world_from_before_open_plans_reads_as_fixed() -> None:
    fixed = {node.name: {lm.name: "VM3" for lm in BRISTOL.lms} for node in BRISTOL.nodes}
    world = World.new(Made("bristol", "p1", 1), BRISTOL).then(BRISTOL, fixed, [], [])
    with np.load(io.BytesIO(base64.b64decode(world.pack()))) as archive:
        old = dict(archive)
    plain = json.loads(old["plain"].tobytes())
    assert "weights" not in old
    del plain["open"]
    for name in ("dispatch", "news_s", "batching", "copies"):
        del plain["made"][name]
    out = io.BytesIO()
    np.savez_compressed(out, **{**old, "plain": np.frombuffer(json.dumps(plain).encode(), np.uint8)})
    kept = World.unpack(base64.b64encode(out.getvalue()).decode())
    assert kept.made == world.made
    assert kept.plan(0).to_json(BRISTOL) == fixed


@pytest.mark.parametrize(
    "changes",
    [
        {"origins": np.array([2], np.int32)},
        {"origins": np.array([1, 1], np.int32)},
        {"weights": np.zeros((3, 6))},
        {"weights": np.full((4, 6), np.nan)},
        {"weights": np.full((4, 6), -1.0)},
    ],
    ids=range(5),
)
def test_weights_of_unlike_form_are_named(changes: dict[str, Any]) -> None:
    world = World.new(Made("bristol", "p1", 1), BRISTOL).then(BRISTOL, allowed("VM3"), [], [])
    with pytest.raises(InputError, match="a world that cannot be read"):
        World.unpack(replace(world, **changes).pack())
