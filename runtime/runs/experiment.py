"""An experiment: some families on the same requests, for some seeds, from settings to a published run folder."""

from __future__ import annotations

import functools
import json
import operator
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from domain.cluster import Cluster
from domain.workload import Workload
from policies.families import make
from runtime.report.figures import draw
from runtime.results.changes import PLACEMENTS, POLICIES, ROUTES
from runtime.results.columns import RECORDS, SLOTS, PartWriter, merge
from runtime.results.own_dispatch import bare, cluster_of, words_of
from runtime.results.run_folder import PARTS, VERSIONS, Left, RunFolder
from runtime.results.summary import SUMMARY, BoundFigures, FamilyResult, Summary
from runtime.results.tally import Tally
from runtime.runs.bounds import bounding, model_words, models
from runtime.runs.length import all_arrivals
from runtime.runs.loop import run_slots, total_slots
from runtime.runs.progress import RunProgress
from runtime.runs.remarks import Asked, Remarks
from runtime.runs.settings import Settings
from twin.twin import Twin

RESULT = "result.json"
MEMORY_PLACE = f"{PARTS}/.memory.json"
"""File that says where the memory is; not published, for a run folder names no place."""


class ByGraph(Protocol):
    """Runs the families that want the slot graph: agents, and rules where a mode asks for it."""

    def takes(self, family: str) -> bool:
        """True where a family has to go through the graph."""
        ...

    def opening_lines(self, families: Sequence[str]) -> list[str]:
        """What has to be said before anything else."""
        ...

    @property
    def memory_place(self) -> str:
        """Where the memory is, without passwords: a run goes on with the memory that it began with."""
        ...

    def preflight(self, families: Sequence[str], say: Callable[[str], None]) -> None:
        """Ask whoever has to answer later, and say what came of it."""
        ...

    def run(
        self, home: Path, draft: Path, family: str, seed: int, workload: Workload, progress: RunProgress
    ) -> FamilyResult:
        """Run one family; write its records and slots to `draft`, and what outlives a kill to `home`."""
        ...


@dataclass(frozen=True, slots=True)
class Experiment:
    """What to run, and on what."""

    settings: Settings
    cluster: Cluster
    testbed_yaml: str
    """The whole testbed, for the run folder."""
    workload: Callable[[int], Workload]
    """Seed to requests."""
    versions: str
    """Text of `versions.json`."""
    by_graph: ByGraph | None = None
    """None: every family is rules, in the plain slot loop."""
    remarks: Remarks = Remarks()
    """What is known before it begins."""
    request: str = ""
    """What was asked for, as text that a stopped run is taken up by."""
    resumed: bool = False
    """True where nothing but this very run may be taken up, and nothing started over."""
    other_code: bool = False
    """True where it may be taken up although the versions have changed since."""

    @property
    def total_slots(self) -> int:
        """Slots of all families and seeds together."""
        runs = len(self.settings.families) * len(self.settings.seeds)
        return runs * total_slots(self.cluster, self.settings.slots)

    @property
    def identity(self) -> dict[str, str]:
        """The files that say what run this is."""
        public = {"settings.yaml": self.settings.to_yaml(), "testbed.yaml": self.testbed_yaml, VERSIONS: self.versions}
        place = None if self.by_graph is None else self.by_graph.memory_place
        return public if place is None else {**public, MEMORY_PLACE: json.dumps({"--memory": place}) + "\n"}

    def run(self, folder: RunFolder, progress: RunProgress) -> Summary:
        """Run everything that the folder does not have yet, and fill it; the caller publishes it."""
        settings = self.settings
        folder.begin(self.identity, must_be_same=self.resumed, other_code=self.other_code)
        folder.keep_request(self.request)
        if folder.left is not None:
            progress.note(_kept(folder.left))
        bounds, parts, asked = list[list[BoundFigures]](), list[Path](), list[Asked]()
        clusters = models(self.cluster, settings.families)
        for seed in settings.seeds:
            workload = self.workload(seed)
            arrivals = all_arrivals(workload, settings.slots)
            asked.append(Asked.of(self.cluster, arrivals))
            slots = len(settings.families) * total_slots(self.cluster, settings.slots)
            with bounding(clusters, seed, arrivals, slots) as found:
                parts += [self._part(folder, family, seed, workload, progress) for family in settings.families]
                progress.begin("lower bounds")
                bounds.append(found())
        for name in (RECORDS, SLOTS, PLACEMENTS, ROUTES, POLICIES):
            kept = [part / name for part in parts if (part / name).exists()]  # not every run has all
            if kept:
                merge(kept, folder.path / name)
        requests = functools.reduce(operator.add, asked)
        summary = Summary(
            testbed=settings.testbed,
            workload=settings.workload,
            load=settings.load,
            nodes=[node.name for node in self.cluster.nodes],
            lms=[lm.name for lm in self.cluster.lms],
            slots=settings.slots,
            slot_s=settings.slot_s,
            epoch_slots=settings.epoch_slots,
            deadline_s=settings.deadline_s,
            latency_weight=settings.latency_weight,
            serving=self.cluster.serving.words,
            families=list(settings.families),
            seeds=list(settings.seeds),
            results=[FamilyResult.model_validate_json((part / RESULT).read_bytes()) for part in parts],
            bounds=[own for own, *_ in bounds],
            other_bounds=[bound for _, *others in bounds for bound in others],
            warnings=[*self.remarks.warnings, *requests.warnings(self.cluster, settings.slots)],
            notes=list(self.remarks.notes),
        )
        (folder.path / SUMMARY).write_text(summary.to_json(), encoding="utf-8", newline="\n")
        progress.begin("figures")
        figures = folder.path / "figures"
        figures.mkdir(exist_ok=True)
        draw(summary, figures)
        return summary

    def _part(self, folder: RunFolder, family: str, seed: int, workload: Workload, progress: RunProgress) -> Path:
        """Run one family, unless a killed run has done so; return where its part is."""
        part = folder.part(f"{seed}-{family}")
        label = words_of(family) + ("" if len(self.settings.seeds) == 1 else f", seed {seed}")
        if part.exists():
            progress.skip(label, total_slots(self.cluster, self.settings.slots))
            return part
        progress.begin(label)
        with folder.new_part(part.name) as draft:
            self._run_family(folder.path, draft, family, seed, workload, progress)
        progress.end()
        return part

    def _run_family(
        self, home: Path, folder: Path, family: str, seed: int, workload: Workload, progress: RunProgress
    ) -> None:
        if self.by_graph is not None and self.by_graph.takes(family):
            closed = self.by_graph.run(home, folder, family, seed, workload, progress)
            (folder / RESULT).write_text(closed.model_dump_json(), encoding="utf-8")
            return
        cluster = cluster_of(self.cluster, family)
        world, tally = Twin(cluster), Tally(cluster)
        decider = make(bare(family), cluster)
        with PartWriter(folder, cluster, family, seed) as writer:
            for result in run_slots(world, decider, workload, self.settings.slots, seed):
                tally.add(result)
                writer.add(result)
                progress.slot()
        other = model_words(cluster) != model_words(self.cluster)
        closed = FamilyResult.of(cluster, family, seed, tally, model_words(cluster) if other else None)
        (folder / RESULT).write_text(closed.model_dump_json(), encoding="utf-8")


def _kept(left: Left) -> str:
    """Say that what another run has left is kept, and how to go on with it."""
    option = " --other-code" if left.other_code else ""
    return (
        f"an interrupted run is kept, which is another one: {left.differs}. This one starts afresh. "
        f"To go on with that one: edgewise run --resume {shlex.quote(str(left.name))}{option}"
    )
