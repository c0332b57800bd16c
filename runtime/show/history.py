"""What one family did on one seed: pods and routes as stretches of slots, and the requests, read from a run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.decisions import Allocation
from domain.errors import InputError
from domain.moments import slots_at
from domain.telemetry import Phase, Records
from runtime.results.changes import PHASE_NAMES, PLACEMENTS, POLICIES, ROUTES
from runtime.results.columns import RECORDS
from runtime.results.own_dispatch import words_of
from runtime.results.recording import Recording, damaged, indices_of, read_records, rows_of
from runtime.results.summary import FamilyResult, Summary
from runtime.show.routes import CHANGES_PER_BYTE, Routes, read_routes

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Spans:
    """Stretches of slots in which the cells of an [N, I] array kept their values; all columns have one length.

    A cell has no stretch before its first change.
    """

    node: Ints
    lm: Ints
    start: Ints
    """First slot."""
    end: Ints
    """The slot after the last."""
    values: tuple[Ints, ...]

    def until(self, slots: int) -> Spans:
        """The part of the stretches in the first so many slots."""
        kept = np.flatnonzero(self.start < slots)
        cut = self._those(kept)
        return Spans(cut.node, cut.lm, cut.start, np.minimum(cut.end, slots), cut.values)

    def at(self, slot: int) -> Spans:
        """The stretches that a slot lies in, at most one for each cell."""
        return self._those(np.flatnonzero((self.start <= slot) & (slot < self.end)))

    @property
    def slots(self) -> Ints:
        """Length of each stretch."""
        return self.end - self.start

    def _those(self, chosen: Ints) -> Spans:
        values = tuple(column[chosen] for column in self.values)
        return Spans(self.node[chosen], self.lm[chosen], self.start[chosen], self.end[chosen], values)


@dataclass(frozen=True)
class History:
    """One family on one seed."""

    folder: Path
    summary: Summary
    cluster: Cluster
    result: FamilyResult
    records: Records
    pods: Spans | None
    """Values: phase at the end of the slot, cores, vGPUs; None where the folder was written before they were kept."""
    routes: Routes | None
    """None as above."""
    policies: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    """Slot to the macro-policy that a rule wrote in it, in its form with names; a ledger keeps those of the graph."""

    @property
    def family(self) -> str:
        """Code or mix."""
        return self.result.family

    @property
    def slots(self) -> int:
        """Slots with new requests."""
        return self.summary.slots

    @cached_property
    def arrival_slot(self) -> Ints:
        """[R] slot in which each request came."""
        return slots_at(self.records.arrival_s, self.summary.slot_s)

    @property
    def title(self) -> str:
        """What is shown, in a line."""
        summary = self.summary
        served = f", {summary.serving}" if summary.serving else ""
        who = words_of(self.family)
        return f"{summary.testbed}, workload {summary.workload}{served}: {who}, seed {self.result.seed}"


def read_history(recording: Recording, family: str, seed: int) -> History:
    """Read what one family did on one seed.

    Raises:
        InputError: the folder holds no such run, or is damaged.
    """
    summary, folder = recording.summary, recording.folder
    if family not in summary.families:
        raise InputError(f"{folder} holds no run of {family}; --family must be one of {', '.join(summary.families)}.")
    cluster = recording.of(family).cluster
    if seed not in summary.seeds:
        seeds = ", ".join(map(str, summary.seeds))
        raise InputError(f"{folder} holds no run on seed {seed}; --seed must be one of {seeds}.")
    result = next(run for run in summary.of(family) if run.seed == seed)
    records = read_records(folder / RECORDS, cluster, family, seed)
    routes = read_routes(folder / ROUTES, cluster, result)
    pods = None
    if routes is not None and not len(routes):  # whoever ran it kept neither
        routes = None
    elif routes is not None:
        pods = _spans(folder / PLACEMENTS, cluster, result)
    return History(folder, summary, cluster, result, records, pods, routes, _policies(folder / POLICIES, result))


def _policies(path: Path, result: FamilyResult) -> dict[int, dict[str, Any]]:
    if not path.exists():
        return {}
    table = rows_of(path, result.family, result.seed, ["policy"], ["slot"])
    found = dict[int, dict[str, Any]]()
    for slot, text in zip(table.column("slot").to_pylist(), table.column("policy").to_pylist(), strict=True):
        try:
            policy = json.loads(text)
            shares = [share for row in policy["routing"].values() for share in row.values()]
            if not all(isinstance(share, float) for share in shares):
                raise ValueError
        except (ValueError, TypeError, KeyError, AttributeError):
            raise damaged(path, f"holds no macro-policy in slot {slot}") from None
        found[int(slot)] = policy
    return found


def _spans(path: Path, cluster: Cluster, result: FamilyResult) -> Spans | None:
    """Read what nodes kept; None where there is no such file."""
    if not path.exists():
        return None
    numbers = ["slot", "cores", "vgpus"]
    table = rows_of(path, result.family, result.seed, ["node", "lm", "phase"], numbers, CHANGES_PER_BYTE)
    node = indices_of(path, table, "node", cluster.node_index)
    lm = indices_of(path, table, "lm", cluster.lm_index)
    values = [indices_of(path, table, "phase", {name: k for k, name in enumerate(PHASE_NAMES)})]
    values += [table.column(name).to_numpy().astype(np.int64) for name in ("cores", "vgpus")]
    slot = table.column("slot").to_numpy().astype(np.int64)
    if ((slot < 0) | (slot >= result.slots)).any():
        raise damaged(path, f"holds a slot of {result.family} outside of the {result.slots} slots of the run")
    order = np.lexsort((slot, lm, node))
    node, lm, slot = node[order], lm[order], slot[order]
    goes_on = (node[1:] == node[:-1]) & (lm[1:] == lm[:-1])
    if (goes_on & (slot[1:] == slot[:-1])).any():
        raise damaged(path, f"holds a change of {result.family} twice")
    end = np.append(np.where(goes_on, slot[1:], result.slots), result.slots)[: slot.size]
    return Spans(node, lm, slot, end, tuple(column[order] for column in values))


def form(cores: int, vgpus: int) -> str:
    """How much a pod gets, in words: '2 vGPUs'; 'off' for nothing."""
    amount, unit = (vgpus, "vGPU") if vgpus else (cores, "core")
    if Allocation(cores, vgpus).is_off:
        return "off"
    return f"{amount} {unit}" + ("s" if amount != 1 else "")


PHASE_WORDS = {
    Phase.OFF: "off",
    Phase.STARTING: "starting",
    Phase.READY: "ready",
    Phase.TERMINATING: "stopping",
    Phase.PENDING: "pending",
}
"""Phases as they are shown."""
