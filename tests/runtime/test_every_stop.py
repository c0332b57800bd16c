"""Whatever stops a run, at whatever step: the same command goes on, and what comes out is what would have come out.

Every step of small runs is counted: each node of the graph, each statement of SQLite, each change of a file or folder.
A run is stopped at one of them, in one of seven ways, and the same command is given again. The records, the decisions,
the tallies, the cases and the cost must then be those of a run that nobody stopped, and no model may have been asked
again for what was decided.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults import Faults, Step, Stop, replaced
from tests.stop_scenarios import SCENARIOS, Scenario, answers_kept, came_out, in_a_process, prepared, run

AT_EVERY_STEP = ("rules", "agents", "rehearsal", "shadow", "approve")
"""Scenarios that are stopped everywhere; the others are at every sixth step, unless all ways are asked for."""
EXPECTED = {
    Stop.KILL: {-9}, Stop.TERM: {-15, 130, 143}, Stop.INT: {130}, Stop.STORE: {1, 2}, Stop.DISK: {1, 2},
    Stop.POWER: {-9}, Stop.POWER_NAMES: {-9},
}  # fmt: skip


@dataclass
class Stops:
    """A scenario, undisturbed, and what came of stopping it."""

    scenario: Scenario
    home: Path
    whole: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    questions: int = 0

    def undisturbed(self) -> None:
        """Run it twice, first in this process, so that whatever is compiled or imported late is there."""
        run(self.scenario)
        self.clear()
        faults = Faults(self.home / "disk")

        def counted() -> None:
            run(self.scenario, faults)
            (self.home / "steps").write_text("".join(f"{s.name}\t{s.store:d}\t{s.writes:d}\n" for s in faults.steps))

        ended = in_a_process(counted, self.home / "log")
        assert ended.status == 0, ended.said
        rows = [line.split("\t") for line in (self.home / "steps").read_text().splitlines()]
        self.steps = [Step(name, store == "1", writes == "1") for name, store, writes in rows]
        self.whole, self.questions = came_out(self.scenario, self.home), self.asked
        self.clear()

    @property
    def asked(self) -> int:
        """Questions since the last clearing."""
        file = self.home / "asked"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def clear(self) -> None:
        """Forget every run."""
        shutil.rmtree(self.home / "disk")
        (self.home / "disk").mkdir()
        (self.home / "asked").unlink(missing_ok=True)

    def stop(self, at: int, stop: Stop) -> None:
        """Stop it at a step, go on, and compare."""
        where = f"{self.scenario.name}: {stop} at step {at}, {self.steps[at].name}"
        disk, left = self.home / "disk", self.home / "left"
        faults = Faults(disk, stop, at, left)
        first = in_a_process(lambda: run(self.scenario, faults), self.home / "log")
        if left.exists():
            replaced(disk, left)
        published, before, kept = (disk / "run").exists(), self.asked, answers_kept(self.scenario, self.home)
        assert first.status in EXPECTED[stop] or (first.status == 0 and published), f"{where}: {first}"
        if first.status != 0:
            second = in_a_process(lambda: run(self.scenario), self.home / "log")
            assert second.status == (2 if published else 0), f"{where}: {second.said}"
        found = came_out(self.scenario, self.home)
        for name, own in self.whole.items():
            assert found[name] == own, f"{where}: {name} differs: {str(found[name])[:300]}, not {str(own)[:300]}"
        again = self.asked - before - (self.questions - kept)
        assert again <= 0, f"{where}: {again} questions were asked again that were decided"
        self.clear()


@contextmanager
def stops_of(name: str, folder: Path) -> Iterator[Stops]:
    with prepared(folder / "home"):
        stops = Stops(SCENARIOS[name], folder / "home")
        stops.undisturbed()
        yield stops


def ways(step: Step) -> list[Stop]:
    """The ways in which a run can be stopped at a step."""
    return [stop for stop in Stop if (stop is not Stop.STORE or step.store) and (stop is not Stop.DISK or step.writes)]


def at_once(stops: Stops, todo: list[tuple[int, Stop]], folder: Path) -> list[str]:
    """Make the stops in as many processes as there are cores; return a line for each, 'ok' or what is wrong."""

    def work(share: list[tuple[int, Stop]], home: Path) -> None:
        with prepared(home), (home / "done").open("w") as done:
            own = replace(stops, home=home)
            for at, stop in share:
                try:
                    own.stop(at, stop)
                    done.write("ok\n")
                except Exception as error:
                    done.write(repr(error)[:2000].replace("\n", " ") + "\n")
                    own.clear()
                done.flush()

    number, workers = os.cpu_count() or 1, []
    for k in range(number):
        home = folder / f"home{k}"
        if (child := os.fork()) == 0:
            try:
                work(todo[k::number], home)
            finally:
                os._exit(0)
        workers.append((child, home / "done"))
    for child, _ in workers:
        os.waitpid(child, 0)
    return [line for _, done in workers for line in done.read_text().splitlines()]


@pytest.mark.live
@pytest.mark.parametrize("name", ["agents", "approve", "shared memory"])
def test_a_run_that_is_stopped_comes_to_what_it_would_have_come_to(name: str, tmp_path: Path) -> None:
    with stops_of(name, tmp_path) as stops:
        some = range(5, len(stops.steps), len(stops.steps) // 6)
        for k, at in enumerate(some):
            allowed = ways(stops.steps[at])
            stops.stop(at, allowed[k % len(allowed)])


@pytest.mark.live
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_run_can_be_stopped_at_every_step(name: str, tmp_path: Path) -> None:
    """At each step in one way, which changes from step to step; in all of them where EDGEWISE_STOPS says so."""
    every = os.environ.get("EDGEWISE_STOPS") == "all"
    with stops_of(name, tmp_path) as stops:
        todo = list[tuple[int, Stop]]()
        for at in range(0, len(stops.steps), 1 if every or name in AT_EVERY_STEP else 6):
            allowed = ways(stops.steps[at])
            todo += [(at, stop) for stop in (allowed if every else [allowed[at % len(allowed)]])]
        lines = at_once(stops, todo, tmp_path)
    wrong = [line for line in lines if line != "ok"]
    print(f"\n{name}: {len(lines)} stops at {len(stops.steps)} steps, {len(wrong)} of them made a difference")
    assert not wrong
    assert len(lines) == len(todo)
