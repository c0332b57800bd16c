"""One what-if from question to answer: check the twin against the recording, play the requests again, compare."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.moments import slots_at
from domain.telemetry import Records
from domain.warnings import warnings_of
from memory.copying import copy_store
from policies.families import Recipe
from runtime.agents.families import has_agents
from runtime.results.columns import RECORDS, SLOTS, merge
from runtime.results.labels import family_label
from runtime.results.recording import RUN_ID, Recorded, Recording, read_records
from runtime.results.run_folder import RunFolder
from runtime.results.summary import FamilyResult
from runtime.results.versions import versions
from runtime.runs.loop import total_slots
from runtime.runs.progress import RunProgress
from runtime.whatif.answer import WHATIF, Change, Check, Replay, WhatIf
from runtime.whatif.difference import CONFIDENCE, block_slots, differences, figure_names, figures, sums
from runtime.whatif.edits import Edits, moved, moves
from runtime.whatif.replay import RESULT, NoDecisions, Requests, play_decisions, play_rules
from twin.testbeds import TestbedFile, to_yaml

FloatArray = NDArray[np.float64]

MEMORY = "memory.sqlite"
CHECK = "check"


@dataclass(frozen=True)
class Study:
    """A what-if, ready to be worked out."""

    recording: Recording
    recorded: str
    """Family that was recorded, with which the others are compared."""
    runs: Sequence[Recorded]
    """Of that family, seed by seed."""
    families: dict[str, Recipe]
    """That decide anew."""
    edits: Edits
    testbed: TestbedFile
    """With the edits."""
    cluster: Cluster
    memory: str | None
    """Where the decisions are that are not in the run folder."""
    own_rules: Recipe | None
    """Who decided in the recording; None where agents did."""

    @property
    def seeds(self) -> Sequence[int]:
        """Of the recording."""
        return self.recording.summary.seeds

    @property
    def same_world(self) -> bool:
        """True where rules meet the recorded testbed."""
        return not self.edits

    @property
    def total_slots(self) -> int:
        """Slots of all replays, the check included."""
        again = 0 if self.recorded in self.families and self.same_world and self._ledger is None else 1
        slots = total_slots(self.cluster, self.recording.summary.slots)
        return len(self.seeds) * slots * (len(self.families) + again)

    def identity(self) -> dict[str, str]:
        """Return the files that say what this what-if is, for its folder."""
        digest = hashlib.sha256((self.recording.folder / RECORDS).read_bytes()).hexdigest()
        asked = {
            "run": self.recording.folder.resolve().name,
            "records_sha256": digest,
            "recorded": self.recorded,
            "families": list(self.families),
            "edits": self.edits.words(),
        }
        return {
            "asked.yaml": yaml.safe_dump(asked, sort_keys=False),
            "testbed.yaml": to_yaml(self.testbed),
            "versions.json": versions(),
        }

    def run(self, folder: RunFolder, progress: RunProgress) -> WhatIf:
        """Work out what the folder does not have yet, and fill it; the caller publishes it."""
        folder.begin(self.identity())
        if folder.left is not None:
            progress.note(
                f"an interrupted what-if is kept, which is another one: {folder.left.differs}. This one starts afresh. "
                f"To go on with that one: its own command with --out {shlex.quote(str(folder.left.name))}"
            )
        runs, told = self.runs, self.recording.cluster
        recorded = [self._sums(run, run.records, told) for run in runs]
        check, unchecked = self._check(folder, progress)
        base = recorded if check is None else [self._sums(*pair, told) for pair in zip(runs, check[1], strict=True)]
        replays, parts = list[Replay](), list[Path]()
        for code, recipe in self.families.items():
            if check is not None and check[0].how == "rules" and code == self.recorded and self.same_world:
                own = [folder.part(f"{CHECK}-{seed}") for seed in self.seeds]
            else:
                own = [self._rules(folder, f"{seed}-{code}", code, recipe, k, progress)
                       for k, seed in enumerate(self.seeds)]  # fmt: skip
            parts += own
            replays.append(self._replay(code, own, base))
        for name in (RECORDS, SLOTS):
            merge([part / name for part in parts], folder.path / name)
        answer = self._answer(recorded, None if check is None else check[0], unchecked, replays)
        (folder.path / WHATIF).write_text(answer.to_json(), encoding="utf-8", newline="\n")
        return answer

    # What was decided, again

    def _check(self, folder: RunFolder, progress: RunProgress) -> tuple[tuple[Check, list[Records]] | None, str | None]:
        """The recorded run again in the twin; None and a reason where that cannot be done."""
        if self.recording.dry_run:
            return None, "it was a dry run, whose decisions nobody carried out"
        if self._ledger is not None:
            try:
                return self._checked(folder, "decisions", lambda k: self._decisions(folder, k, progress)), None
            except NoDecisions as reason:
                if self.own_rules is None:
                    return None, str(reason)
        if self.own_rules is None:
            return None, "agents decided, and the run folder does not hold their decisions (--memory says where)"
        rules = self.own_rules
        return self._checked(
            folder, "rules", lambda k: self._rules(folder, f"{CHECK}-{self.seeds[k]}", self.recorded, rules, k,
                                                   progress, self.recording.cluster)
        ), None  # fmt: skip

    def _checked(self, folder: RunFolder, how: str, play: Callable[[int], Path]) -> tuple[Check, list[Records]]:
        cluster, parts = self.recording.cluster, [play(k) for k in range(len(self.seeds))]
        found = [read_records(part / RECORDS, cluster, self.recorded, seed)
                 for part, seed in zip(parts, self.seeds, strict=True)]  # fmt: skip
        tables = [self._sums(run, records, cluster) for run, records in zip(self.runs, found, strict=True)]
        check = Check(
            how="decisions" if how == "decisions" else "rules",
            exact=all(_equal(run.records, records) for run, records in zip(self.runs, found, strict=True)),
            telemetry=[_result(part).telemetry for part in parts],
            figures=self._figures(tables),
        )
        return check, found

    @cached_property
    def _ledger(self) -> str | Path | None:
        """Where the decisions are; None where the run kept none."""
        own = self.recording.folder / MEMORY
        if own.exists():
            return own
        return self.memory if (self.recording.folder / RUN_ID).exists() else None

    def _decisions(self, folder: RunFolder, k: int, progress: RunProgress) -> Path:
        """Carry the recorded decisions out again."""
        seed, recording = self.seeds[k], self.recording
        part = folder.part(f"{CHECK}-{seed}")
        if part.exists():
            progress.skip(f"{self.recorded} as decided", total_slots(recording.cluster, recording.summary.slots))
            return part
        progress.begin(f"{self.recorded} as decided" + self._of_seed(seed))
        with folder.new_part(part.name) as draft:
            memory = self._ledger
            assert memory is not None
            if isinstance(memory, Path):  # opening a memory may write beside it; a run folder stays as it is
                copy_store(memory, draft / MEMORY)
                memory = draft / MEMORY
            play_decisions(
                draft,
                recording.cluster,
                self.recorded,
                memory,
                recording.name_in_memory(self.recorded, seed),
                self._requests(k, recording.cluster),
                seed,
                progress,
            )
        progress.end()
        return part

    # Other rules, another testbed

    def _rules(
        self,
        folder: RunFolder,
        name: str,
        code: str,
        recipe: Recipe,
        k: int,
        progress: RunProgress,
        cluster: Cluster | None = None,
    ) -> Path:
        """Let rules decide; return the part where that is written."""
        cluster, part = cluster or self.cluster, folder.part(name)
        if part.exists():
            progress.skip(code, total_slots(cluster, self.recording.summary.slots))
            return part
        progress.begin((f"{code} again" if name.startswith(CHECK) else code) + self._of_seed(self.seeds[k]))
        with folder.new_part(name) as draft:
            play_rules(draft, cluster, code, recipe, self._requests(k, cluster), self.seeds[k], progress)
        progress.end()
        return part

    def _requests(self, k: int, cluster: Cluster) -> Requests:
        arrivals, summary = self.runs[k].arrivals, self.recording.summary
        if cluster is not self.recording.cluster:
            arrivals = moved(arrivals, self.recording.cluster, cluster)
        return Requests(arrivals, summary.slots, summary.slot_s)

    def _of_seed(self, seed: int) -> str:
        return "" if len(self.seeds) == 1 else f", seed {seed}"

    # Comparing

    def _sums(self, run: Recorded, records: Records, cluster: Cluster) -> FloatArray:
        """Sums by slot of arrival of what became of the requests; LMs as in the recording, whoever replayed them."""
        told, summary = run.records, self.recording.summary
        slot = slots_at(told.arrival_s[run.order], summary.slot_s)
        own = run.order if records is told else np.argsort(records.request)
        lm = told.lm[run.order]
        return sums(lm, slot, records.success[own], records.latency_s[own], summary.slots, cluster.n_lms)

    def _figures(self, tables: Sequence[FloatArray]) -> dict[str, float | None]:
        cluster = self.recording.cluster
        mean = figures(np.stack(tables).sum(axis=1), cluster).mean(axis=0)
        names = figure_names([lm.name for lm in cluster.lms])
        return {name: None if np.isnan(value) else float(value) for name, value in zip(names, mean, strict=True)}

    def _replay(self, code: str, parts: Sequence[Path], base: Sequence[FloatArray]) -> Replay:
        found = [read_records(part / RECORDS, self.cluster, code, seed)
                 for part, seed in zip(parts, self.seeds, strict=True)]  # fmt: skip
        told = self.recording.cluster
        tables = [self._sums(run, records, told) for run, records in zip(self.runs, found, strict=True)]
        results = [_result(part) for part in parts]
        return Replay(
            family=code,
            telemetry=[result.telemetry for result in results],
            decided_by=results[0].decided_by,
            changes=[
                Change(figure=d.figure, base=d.base, other=d.other, difference=d.value, low=d.low, high=d.high)
                for d in differences(base, tables, told)
            ],
            notes=list(dict.fromkeys(note for result in results for note in result.notes)),
        )

    def _answer(
        self, recorded: Sequence[FloatArray], check: Check | None, unchecked: str | None, replays: list[Replay]
    ) -> WhatIf:
        summary, cluster = self.recording.summary, self.recording.cluster
        return WhatIf(
            run=self.recording.folder.resolve().name,
            testbed=summary.testbed,
            workload=summary.workload,
            load=summary.load,
            slots=summary.slots,
            seeds=summary.seeds,
            lms=summary.lms,
            latency_weight=summary.latency_weight,
            deadline_s=summary.deadline_s,
            serving=self.recording.cluster.serving.words,
            recorded=self.recorded,
            recorded_as=family_label(self.recording.summary, self.recorded),
            recorded_figures=self._figures(recorded),
            requests=sum(len(run.records) for run in self.runs),
            missing=sum(run.missing for run in self.runs),
            edits=self.edits.words(),
            moves={name: list(places) for name, places in moves(cluster, self.cluster).items()},
            notes=self._notes(),
            check=check,
            unchecked=unchecked,
            replays=replays,
            block_slots=block_slots(cluster, summary.slots),
            confidence=CONFIDENCE,
        )

    def _notes(self) -> list[str]:
        """What the recording says of itself, and what makes its numbers and these mean less than they seem to."""
        warnings = dict.fromkeys([*self.recording.summary.warnings, *warnings_of(self.cluster)])
        notes = dict.fromkeys(note for run in self.runs for note in run.result.notes)
        return [*notes, *(f"Warning: {sentence}" for sentence in warnings)]


def decided_by_rules(recording: Recording, family: str) -> bool:
    """True where rules decided in the recording: in a family of rules, or in one of agents that had no model."""
    return not has_agents(family) or all(not run.agents for run in recording.summary.of(family))


def _equal(a: Records, b: Records) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Records))


def _result(part: Path) -> FamilyResult:
    return FamilyResult.model_validate_json((part / RESULT).read_bytes())
