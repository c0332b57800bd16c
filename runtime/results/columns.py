"""Requests and slots as Parquet, streamed: a long run costs the memory of one row group, whatever its length.

The files carry names, not indices, and no time or host, so that the same run writes the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from domain.cluster import Cluster
from domain.telemetry import Outcome, Phase, Records
from runtime.results.changes import ChangeWriter, names_of
from runtime.results.slots import SlotResult

SLOTS_IN_GROUP = 2_000
"""Slots of which one row group is made."""
PHASES = (Phase.STARTING, Phase.READY, Phase.TERMINATING, Phase.PENDING)
RECORDS, SLOTS = "records.parquet", "slots.parquet"


def records_table(cluster: Cluster, family: str, seed: int, records: Records) -> pa.Table:
    """One row per request that ended, in the order in which they ended; seconds as float64."""
    nodes, lms = [node.name for node in cluster.nodes], [lm.name for lm in cluster.lms]
    same = np.zeros(len(records), dtype=np.int64)
    columns = {
        "family": names_of(same, [family]),
        "seed": pa.array(same + seed),
        "request": pa.array(records.request),
        "lm": names_of(records.lm, lms),
        "origin": names_of(records.origin, nodes),
        "target": names_of(records.target, nodes),
        "prompts": pa.array(records.prompts.astype(np.int32)),
        "outcome": names_of(records.outcome, [outcome.name.lower() for outcome in Outcome]),
        "interruptions": pa.array(records.interruptions.astype(np.int32)),
    }
    for name in ("arrival_s", "uplink_s", "queue_s", "inference_s", "downlink_s", "latency_s"):
        columns[name] = pa.array(getattr(records, name))
    return pa.table(columns)


def slot_row(cluster: Cluster, result: SlotResult) -> dict[str, float]:
    """What arrived and ended in a slot, and backlog and pods when it was over."""
    after, records = result.after, result.records
    row: dict[str, float] = {
        "slot": result.slot,
        "arrived_requests": len(result.arrivals),
        "arrived_prompts": int(result.arrivals.prompts.sum()),
        "ended_requests": len(records),
        "succeeded_requests": int(records.success.sum()),
    }
    backlog = after.backlog_prompts.sum(axis=0).tolist()
    row.update((f"backlog_prompts_{lm.name}", backlog[i]) for i, lm in enumerate(cluster.lms))
    pods = np.bincount(after.phase.ravel(), minlength=len(Phase)).tolist()
    row.update((f"pods_{phase.name.lower()}", pods[phase]) for phase in PHASES)
    row["pods_computing"] = float(after.busy_s.sum()) / cluster.slot_s
    return row


def slots_table(family: str, seed: int, rows: list[dict[str, float]]) -> pa.Table:
    """One row per slot, in order; `pods_computing` is the mean number of pods at work in the course of the slot."""
    same = np.zeros(len(rows), dtype=np.int64)
    columns = {"family": names_of(same, [family]), "seed": pa.array(same + seed)}
    for name in rows[0]:
        columns[name] = pa.array([row[name] for row in rows])
    return pa.table(columns)


class PartWriter:
    """Streams what one run of one family comes to into the files of a folder; a context manager."""

    def __init__(self, folder: Path, cluster: Cluster, family: str, seed: int) -> None:
        self.cluster, self.family, self.seed = cluster, family, seed
        self._folder = folder
        self._ended: list[Records] = []
        self._rows: list[dict[str, float]] = []
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._changes = ChangeWriter(folder, cluster, family, seed)

    def add(self, result: SlotResult) -> None:
        """Take in the next slot."""
        self._changes.add(result)
        self._ended.append(result.records)
        self._rows.append(slot_row(self.cluster, result))
        if len(self._rows) == SLOTS_IN_GROUP:
            self._flush()

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rows and error is None:
            self._flush()
            self._changes.flush()
        self._changes.close()
        for writer in self._writers.values():
            writer.close()

    def _flush(self) -> None:
        records = records_table(self.cluster, self.family, self.seed, Records.concatenate(self._ended))
        for name, table in ((RECORDS, records), (SLOTS, slots_table(self.family, self.seed, self._rows))):
            if name not in self._writers:
                self._writers[name] = pq.ParquetWriter(self._folder / name, table.schema, compression="zstd")
            self._writers[name].write_table(table)
        self._ended, self._rows = [], []


def merge(parts: list[Path], target: Path) -> None:
    """Join Parquet files, in the order given, a row group at a time; a column that a file lacks is empty there."""
    schema = pa.unify_schemas([pq.read_schema(part) for part in parts])
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for part in parts:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    rows = file.read_row_group(group)
                    writer.write_table(pa.concat_tables([schema.empty_table(), rows], promote_options="default"))
