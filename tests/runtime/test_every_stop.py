"""Whatever stops a run, at whatever step: the same command goes on, and what comes out is what would have come out.

Every step of small runs is counted: each node of the graph, each statement of SQLite, each change of a file or folder.
A run is stopped at one of them, in one of seven ways, and the same command is given again. The records, the decisions,
the tallies, the cases and the cost must then be those of a run that nobody stopped, and no model may have been asked
again for what was decided.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults import Faults, Step, Stop, replaced
from tests.stop_scenarios import SCENARIOS, Scenario, came_out, in_a_process, prepared, run

UNDER_WAY = 4
"""Questions that may be asked twice: those that were under way, one for each node, or one with its repair."""
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
    stopped: Counter[Stop] = field(default_factory=Counter)

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
        published = (disk / "run").exists()
        assert first.status in EXPECTED[stop] or (first.status == 0 and published), f"{where}: {first}"
        if not published:
            second = in_a_process(lambda: run(self.scenario), self.home / "log")
            assert second.status == 0, f"{where}: {second.said}"
        found = came_out(self.scenario, self.home)
        for name, own in self.whole.items():
            assert found[name] == own, f"{where}: {name} differs"
        assert self.asked <= self.questions + UNDER_WAY, f"{where}: decided questions were asked again"
        self.stopped[stop] += first.status != 0
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


@pytest.mark.parametrize("name", ["agents", "approve", "shared memory"])
def test_a_run_that_is_stopped_comes_to_what_it_would_have_come_to(name: str, tmp_path: Path) -> None:
    with stops_of(name, tmp_path) as stops:
        some = range(5, len(stops.steps), len(stops.steps) // 6)
        for k, at in enumerate(some):
            allowed = ways(stops.steps[at])
            stops.stop(at, allowed[k % len(allowed)])
        assert stops.stopped.total() >= len(some) - 1


@pytest.mark.live
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_run_can_be_stopped_at_every_step(name: str, part: int, tmp_path: Path) -> None:
    with stops_of(name, tmp_path) as stops:
        for at in range(part, len(stops.steps), 2):
            allowed = ways(stops.steps[at])
            stops.stop(at, allowed[at // 2 % len(allowed)])
        print(f"\n{name}, part {part}: {stops.stopped.total()} stops", dict(stops.stopped))
