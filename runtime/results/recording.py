"""What a run folder tells: the requests that came, and what became of each; no workload and no seed is asked again.

So it does not matter who decided (rules, agents) or where the run took place (the twin, a live cluster): whatever wrote
the folder can be played again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from domain.cluster import Cluster
from domain.decisions import NOWHERE
from domain.errors import InputError
from domain.telemetry import Outcome, Records
from domain.workload import Arrivals
from runtime.results.columns import RECORDS, SLOTS
from runtime.results.own_dispatch import cluster_of, testbed_of
from runtime.results.rows import ROWS_PER_BYTE, read_rows
from runtime.results.summary import FamilyResult, Summary, load_summary
from twin.files import load_yaml
from twin.testbeds import TestbedFile, read_testbed
from twin.testbeds.build import to_cluster

RUN_ID = "run-id"
"""File of a run whose memory is not in its folder: the end of its name in there."""
SECONDS = ("arrival_s", "uplink_s", "queue_s", "inference_s", "downlink_s")
COUNTS = ("request", "prompts", "interruptions")


class _Modes(BaseModel):
    model_config = ConfigDict(extra="ignore")

    dry_run: bool = False


class _Settings(BaseModel):
    """What is needed of `settings.yaml` beyond the summary."""

    model_config = ConfigDict(extra="ignore")

    agents: _Modes | None = None


@dataclass(frozen=True)
class Recorded:
    """One family on one seed."""

    result: FamilyResult
    records: Records
    """In the order in which the requests ended."""
    missing: int
    """Requests that came and have no record: nobody knows what they were."""

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Positions of the records in order of arrival."""
        return np.lexsort((self.records.request, self.records.arrival_s)).astype(np.int64)

    @property
    def arrivals(self) -> Arrivals:
        """The requests, as they came."""
        records, order = self.records, self.order
        return Arrivals(records.arrival_s[order], records.origin[order], records.lm[order], records.prompts[order])


@dataclass(frozen=True)
class Recording:
    """A run folder, opened."""

    folder: Path
    summary: Summary
    testbed: TestbedFile
    cluster: Cluster
    """That the run took place on, with the lambda that it was measured by."""
    dry_run: bool
    """True where decisions were made and not carried out."""

    @property
    def families(self) -> list[str]:
        """Families that were recorded."""
        return self.summary.families

    @property
    def best(self) -> str:
        """The family with the least J, in the mean over the seeds."""
        mean = {
            family: float(np.mean([run.telemetry.objective for run in self.summary.of(family)]))
            for family in self.families
        }
        return min(mean, key=lambda family: mean[family])

    def of(self, family: str) -> Recording:
        """The recording, its testbed and cluster as this family found them."""
        return replace(self, testbed=testbed_of(self.testbed, family), cluster=cluster_of(self.cluster, family))

    def name_in_memory(self, family: str, seed: int) -> str:
        """Name of the run in its memory."""
        token = self.folder / RUN_ID
        run = f"{family}-seed{seed}"
        return f"{self.summary.testbed}-{run}-{token.read_text('utf-8')}" if token.exists() else run

    def read(self, family: str, seed: int) -> Recorded:
        """Read one family on one seed.

        Raises:
            InputError: the folder is damaged: records are not there, or do not agree with the slots and the summary.
        """
        result = next(run for run in self.summary.of(family) if run.seed == seed)
        records = read_records(self.folder / RECORDS, self.cluster, family, seed)
        self._check(records, result)
        arrived = rows_of(self.folder / SLOTS, family, seed, [], ["arrived_requests"])
        missing = int(np.sum(arrived.column("arrived_requests").to_numpy())) - len(records)
        if missing < 0:
            raise damaged(self.folder / RECORDS, f"holds {-missing} requests of {family} more than {SLOTS} says came")
        return Recorded(result, records, missing)

    def _check(self, records: Records, result: FamilyResult) -> None:
        path, span_s = self.folder / RECORDS, self.summary.slots * self.summary.slot_s
        if len(records) != sum(result.telemetry.arrived.values()):
            told = sum(result.telemetry.arrived.values())
            raise damaged(path, f"holds {len(records)} requests of {result.family}, and summary.json counts {told}")
        if len(records) == 0:
            raise InputError(f"{self.folder} holds no request of {result.family}: there is nothing to play again.")
        if np.unique(records.request).size != len(records):
            raise damaged(path, f"holds a request of {result.family} twice")
        if not (np.isfinite(records.arrival_s) & (records.arrival_s >= 0.0) & (records.arrival_s < span_s)).all():
            raise damaged(path, f"holds a request of {result.family} that came outside of the {span_s:g} s of the run")
        if (records.prompts < 1).any():
            raise damaged(path, f"holds a request of {result.family} without prompts")


def open_recording(folder: Path) -> Recording:
    """Open a run folder.

    Raises:
        InputError: it is none, or it is damaged.
    """
    summary = load_summary(folder)
    for name in ("testbed.yaml", "settings.yaml", RECORDS, SLOTS):
        if not (folder / name).is_file():
            raise InputError(f"{folder} has no {name}: it is not the whole folder of a run.")
    testbed = read_testbed(folder / "testbed.yaml")
    cluster = replace(to_cluster(testbed), latency_weight=summary.latency_weight)
    if [node.name for node in cluster.nodes] != summary.nodes or [lm.name for lm in cluster.lms] != summary.lms:
        raise damaged(folder / "testbed.yaml", "has other nodes or LMs than summary.json")
    modes = load_yaml(folder / "settings.yaml", _Settings).agents
    return Recording(folder, summary, testbed, cluster, modes is not None and modes.dry_run)


def read_records(path: Path, cluster: Cluster, family: str, seed: int) -> Records:
    """Read the requests of one family on one seed, in the order of the file.

    Raises:
        InputError: the file is damaged, or names what the cluster has not.
    """
    table = rows_of(path, family, seed, ["lm", "origin", "target", "outcome"], [*COUNTS, *SECONDS])
    nodes, lms = cluster.node_index, cluster.lm_index
    outcomes = {outcome.name.lower(): int(outcome) for outcome in Outcome}
    columns: dict[str, Any] = {name: table.column(name).to_numpy().astype(np.int64) for name in COUNTS}
    columns |= {name: table.column(name).to_numpy().astype(np.float64) for name in SECONDS}
    return Records(
        lm=indices_of(path, table, "lm", lms),
        origin=indices_of(path, table, "origin", nodes),
        target=indices_of(path, table, "target", nodes, null=NOWHERE),
        outcome=indices_of(path, table, "outcome", outcomes),
        **columns,
    )


def rows_of(
    path: Path, family: str, seed: int, names: Sequence[str], numbers: Sequence[str], per_byte: int = ROWS_PER_BYTE
) -> pa.Table:
    """Rows of one family on one seed, as `read_rows`; raises InputError where the file is damaged."""
    try:
        return read_rows(path, family, seed, names, numbers, per_byte)
    except (ValueError, OSError) as error:
        raise damaged(path, str(error)) from None


def indices_of(
    path: Path, table: pa.Table, name: str, known: dict[str, int], null: int | None = None
) -> NDArray[np.int64]:
    """A column of names as indices; raises InputError for a name that is not known, or none where one is needed."""
    column = table.column(name).combine_chunks()
    if not isinstance(column, pa.DictionaryArray):
        column = column.dictionary_encode()
    if column.null_count and null is None:
        raise damaged(path, f"holds a row without {name}")
    used = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    place = np.full(len(column.dictionary) + 1, NOWHERE if null is None else null, dtype=np.int64)  # last: no name
    for k, entry in enumerate(column.dictionary.to_pylist()):
        if entry in known:
            place[k] = known[entry]
        elif (used == k).any():
            raise damaged(path, f"names {entry!r} as {name}, which testbed.yaml has not")
    found: NDArray[np.int64] = place[used]
    return found


def damaged(path: Path, what: str) -> InputError:
    """The error that says in what way a file of a run folder is damaged."""
    return InputError(f"{path} {what}; the run folder is damaged.")
