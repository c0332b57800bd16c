"""What a workload takes of its files and a run of its workload, so that nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twin.traces import Report

if TYPE_CHECKING:
    from twin.workloads.streams import Streams

FEW = 0.5
"""Share of a file below which it is a warning that no more of it is used, and not a note."""


@dataclass(frozen=True)
class Taken:
    """What one stream takes of its file; rows are requests, or windows of clients."""

    path: Path
    what: str
    """What the rows are, in the plural."""
    there: NDArray[np.bool_]
    """[R] rows that could count: of a ServeGen file those of the model."""
    used: NDArray[np.bool_]
    """[R] those that do."""
    report: Report


@dataclass(frozen=True)
class Coverage:
    """How far a run of some slots plays a stream that ends."""

    title: str
    what: str
    played: int
    total: int
    slots: int
    """Slots that all of it, or a round of it, takes."""
    repeat: bool

    def words(self, slots: int) -> str:
        """Say it."""
        ends = f"a round of them takes {self.slots:,} slots" if self.repeat else f"they last {self.slots:,} slots"
        return f"{self.title}: {self.played:,} of {self.total:,} {self.what} are played in {slots:,} slots; {ends}"


def of_files(taken: Sequence[Taken]) -> tuple[list[str], list[str]]:
    """Return (warnings, notes) on what all streams together leave out of each file."""
    warnings, notes = list[str](), list[str]()
    for path in dict.fromkeys(part.path for part in taken):
        parts = [part for part in taken if part.path == path]
        there = np.logical_or.reduce([part.there for part in parts])
        used = int((np.logical_or.reduce([part.used for part in parts]) & there).sum())
        total, report, name = int(there.sum()), parts[0].report, path.name
        if used < total:
            words = f"{name}: the workload takes {used:,} of {total:,} {parts[0].what} ({used / total:.1%})"
            why = "the others are left out by where, start_s or clients in the workload file"
            (warnings if used < FEW * total else notes).append(f"{words}; {why}.")
        if malformed := report.malformed_words():
            warnings.append(f"{name}: {malformed}.")
        if report.unsorted:
            notes.append(f"{name}: {report.unsorted:,} rows are out of order, now sorted by time.")
        notes += [f"{name}: {note}." for note in report.notes]
    return warnings, notes


def of_run(workload: Streams, slots: int) -> tuple[list[str], list[str]]:
    """Return (warnings, notes) on what a run of so many slots leaves out of a workload."""
    warnings, notes = list[str](), list[str]()
    for part in workload.parts:
        known = part.coverage(min(slots, workload.horizon or slots))
        if known is None or known.played == known.total:
            continue
        horizon = workload.horizon
        if horizon is not None and horizon < known.slots:
            advice = f"the workload file says slots: {horizon}"
        else:
            advice = f"--slots {known.slots} plays {'a whole round' if known.repeat else 'all'}"
        (notes if known.repeat else warnings).append(f"{known.words(slots)}; {advice}.")
    return warnings, notes
