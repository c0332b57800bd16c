"""The world of a thread, packed into its state: what is not one is named and not unpacked."""

from __future__ import annotations

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
    text = World(Made("bristol", "p1", 1), zeros, zeros, zeros, zeros[:, :, 0]).pack()
    assert World.unpack(text).slots == 1000
    monkeypatch.setattr("graph.studio.world.MOST_BYTES", 300_000)
    with pytest.raises(InputError, match="a world that cannot be read"):
        World.unpack(text)
