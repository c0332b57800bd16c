"""What the memory must hold for a stopped run to go on: all of it, or one sentence says what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base.id import uuid6

from domain.errors import InputError
from domain.ledger import Decision
from graph.slot.deps import Deps
from runtime.agents.request import AgentRequest
from runtime.agents.settings import read_request
from runtime.runs.graph_families import GraphFamilies
from tests.stopping import STOP, Run, lose, stopped_in
from tests.workload_files import BRISTOL, BUILTIN

pytestmark = pytest.mark.usefixtures("small_effort")


@pytest.mark.parametrize(
    ("where", "gap"),
    [
        ("slot = 3 AND role = 'scheduler'", "slot 3 has no routing plans"),
        ("slot = 2 AND role = 'deployer' AND node = 'south'", "slot 2 has no deployment of south"),
        ("slot >= 3", "slot 3 has no routing plans"),
        ("slot = 0 AND role = 'planner'", "slot 0 has no macro-policies"),
    ],
)
async def test_a_ledger_with_a_hole_is_one_sentence(where: str, gap: str, tmp_path: Path) -> None:
    run = await stopped_in(STOP, tmp_path / "run")
    lose(tmp_path / "run", where)
    with pytest.raises(InputError, match=f"test has passed {STOP} slots, and .*m.sqlite does not hold .*: {gap}"):
        await run.go()


async def test_another_memory_is_one_sentence(tmp_path: Path) -> None:
    run = await stopped_in(STOP, tmp_path / "run")
    with pytest.raises(InputError, match="other.sqlite does not hold what was decided in them: slot 0 has no"):
        await run.go(memory="other.sqlite")
    assert await run.go() == STOP


async def test_records_that_the_decisions_do_not_come_to_are_one_sentence(tmp_path: Path) -> None:
    run = await stopped_in(STOP, tmp_path / "run")
    lose(tmp_path / "run", "slot = 2", "records")
    with pytest.raises(InputError, match="holds other requests of test, slots 0 to 4, than its decisions come to"):
        await run.go()


async def test_a_clock_that_went_back_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await stopped_in(STOP, tmp_path / "run")
    early = uuid6()
    monkeypatch.setattr("runtime.runs.graph_run.uuid6", lambda: str(early).replace(str(early)[0], "0", 1))
    with pytest.raises(InputError, match="clock is behind the last checkpoint of test"):
        await run.go()


async def test_a_ledger_that_is_ahead_of_the_checkpoints_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a machine leaves them that loses its power: the ledger is synced, the checkpoints are not."""
    whole, cut = Run(tmp_path / "whole"), Run(tmp_path / "cut")
    await whole.go()
    await cut.go(3)
    early = (tmp_path / "cut" / "c.sqlite").read_bytes()
    await cut.go(9)
    (tmp_path / "cut" / "c.sqlite").write_bytes(early)
    made = list[Decision]()

    def watched(deps: Deps) -> None:
        put = deps.memory.put_decisions

        async def counted(entries: Any) -> None:
            made.extend(entries)
            await put(entries)

        monkeypatch.setattr(deps.memory, "put_decisions", counted)

    cut.prepare = watched
    assert await cut.go() == 3
    assert {entry.slot for entry in made} == {9}
    assert await cut.kept() == await whole.kept()


async def test_a_run_whose_checkpoints_are_lost_decides_nothing_again(tmp_path: Path) -> None:
    whole, cut = Run(tmp_path / "whole"), await stopped_in(STOP, tmp_path / "cut")
    await whole.go()
    (tmp_path / "cut" / "c.sqlite").unlink()
    assert await cut.go() == 0
    assert await cut.kept() == await whole.kept()


def test_an_at_sign_in_the_options_of_a_uri_is_no_part_of_its_host() -> None:
    places = []
    for host in ("one", "two"):
        asked = AgentRequest(memory=f"mongodb://{host}/db?appName=a@b", via_graph=True)
        settings = read_request(asked, BRISTOL.slot_s, {})
        places.append(GraphFamilies(BRISTOL, settings, lambda _: BUILTIN["p1"], 1).memory_place)
    assert places == ["mongodb://one:27017/db", "mongodb://two:27017/db"]
