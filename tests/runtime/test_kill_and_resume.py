"""Stopped in the middle of a slot: the same command, or --resume, goes on at that slot and decides nothing twice."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from memory import open_memory
from runtime.results.summary import load_summary
from tests.agent_server import contents, decides, is_decision, role_of, serving, sound_answers
from twin.testbeds import read_testbed, to_yaml
from twin.testbeds.build import to_cluster

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
HOUSE = Path(__file__).parents[2]
Asked = tuple[str, int, str]
"""Role, slot and, for a deployer, node."""


def place(body: dict[str, Any]) -> Asked:
    """What a question about a decision asks about."""
    text = "\n".join(contents(body))
    slot = re.findall(r"\bslot (\d+)", text)[-1]
    node = re.search(r'# The node\s+"([^"]+)"', text)
    return role_of(body), int(slot), node[1] if node else ""


def is_first(body: dict[str, Any]) -> bool:
    """True for the first question about a decision; repairs are longer."""
    return is_decision(body) and len(contents(body)) == 2


def command(url: str, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "runner", "run", "--family", "MA", "--testbed", "small.yaml", "--slots", "3"),
        *("--base-url", url, "--model", "m", "--timeout", "600", "--slot-seconds", "600", *more),
    ]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code that nobody changes meanwhile: a run of other code starts over."""
    house = tmp_path_factory.mktemp("house")
    rooms = tomllib.loads((HOUSE / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    for room in rooms:
        shutil.copytree(HOUSE / room, house / room)
    shutil.copy(HOUSE / "runner.py", house)
    return house


@pytest.mark.parametrize(
    ("at", "how", "with_resume", "rehearse"),
    [
        (("deployer", 1, "VM4"), signal.SIGKILL, False, "off"),
        (("deployer", 1, "VM4"), signal.SIGTERM, True, "off"),
        (("scheduler", 2, ""), signal.SIGKILL, True, "off"),
        (("scheduler", 2, ""), signal.SIGINT, False, "all"),
        (("planner", 2, ""), signal.SIGKILL, False, "off"),
        (("deployer", 2, "VM4"), signal.SIGKILL, True, "all"),
        (("planner", 2, ""), signal.SIGKILL, False, "all"),
    ],
)
def test_a_run_that_is_killed_goes_on_at_its_slot(
    at: Asked,
    how: signal.Signals,
    with_resume: bool,
    rehearse: str,
    house: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(house))
    text = re.sub(r"(?m)^deadline_s: .*", "deadline_s: 30", to_yaml(read_testbed("bristol")))
    text = re.sub(r"(?m)^epoch_slots: .*\n", "", text)
    (tmp_path / "small.yaml").write_text(f"{text}epoch_slots: 2\n")
    cluster = to_cluster(read_testbed(tmp_path / "small.yaml"))
    assert (cluster.deadline_s, cluster.epoch_slots) == (30.0, 2)
    answer, reached, dies = decides(sound_answers(cluster)), threading.Event(), True

    async def behave(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if dies and is_decision(body) and place(body) == at:
            reached.set()
            await asyncio.Event().wait()
        return await answer(request, body)

    with serving(behave) as server:
        begin = command(server.base_url, "--rehearse", rehearse, "--out", "run")
        with subprocess.Popen(begin, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            in_time = reached.wait(90)
            process.send_signal(how if in_time else signal.SIGKILL)
            said = process.communicate()[0].decode()
            assert in_time, said
        if how is not signal.SIGKILL:
            assert process.returncode == 128 + how, said
            assert said.endswith("edgewise: interrupted; the same command goes on where it stopped.\n"), said
        assert not (tmp_path / "run").exists()
        dies = False
        known = sum(is_first(body) for body in server.requests)
        again = [*begin[:4], "--resume", "run"] if with_resume else begin
        subprocess.run(again, cwd=tmp_path, check=True, capture_output=True)
        asked = [place(body) for body in server.requests if is_first(body)]
        subprocess.run(
            command(server.base_url, "--rehearse", rehearse, "--out", "whole"),
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
    assert {slot for _, slot, _ in asked[known:]} == set(range(at[1], 4))
    twice = {what for what, count in Counter(asked).items() if count > 1}
    assert at in twice
    # What was under way when the run died is asked again; what had been decided is not.
    assert all(role == at[0] and slot == at[1] for role, slot, _ in twice)
    for name in ("records.parquet", "slots.parquet", "placements.parquet", "routes.parquet"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert asyncio.run(keys(tmp_path / "run")) == asyncio.run(keys(tmp_path / "whole"))
    one, other = load_summary(tmp_path / "run"), load_summary(tmp_path / "whole")
    assert one.results[0].decided_by == other.results[0].decided_by
    who = [maker for makers in one.results[0].decided_by.values() for maker in makers]
    assert any(maker.startswith("agent:m" if rehearse == "off" else "rehearsal:candidate") for maker in who)
    assert one.results[0].predictions == other.results[0].predictions
    told = one.results[0].agents["deployer"].outcomes
    assert told == other.results[0].agents["deployer"].outcomes
    assert rehearse == "all" or told == {"accepted": 4 * cluster.n_nodes}


async def keys(run: Path) -> list[tuple[int, str, str | None, str]]:
    async with open_memory(run / "memory.sqlite") as memory:
        decisions = await memory.decisions("MA-seed1")
    found = [(d.slot, str(d.role), d.node, str(d.outcome)) for d in decisions]
    assert len({key[:3] for key in found}) == len(found)
    return found
