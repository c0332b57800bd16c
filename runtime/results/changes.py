"""What nodes keep and where requests are sent, as Parquet: one row for each change, so that a quiet run takes no room.

`placements.parquet` says of each pod how it stood at the end of the slot in which that changed; `routes.parquet` says
of each origin and LM where requests may go from that slot on (`runtime.results.routes`). Before the first row of a pod
it is off; before the first row of a route it leads nowhere.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.telemetry import Phase
from runtime.results.routes import RouteChanges
from runtime.results.slots import SlotResult

PLACEMENTS, ROUTES = "placements.parquet", "routes.parquet"
POLICIES = "policies.parquet"
"""A row for each macro-policy that a rule wrote; there is no such file where none did, or a ledger keeps them."""
PHASE_NAMES = [phase.name.lower() for phase in Phase]
ROWS_IN_GROUP = 200_000
"""Changes from which on the next row group begins."""
POLICIES_IN_GROUP = 100
"""Macro-policies of which one row group is made: that of a large cluster takes tens of kilobytes."""

_Ints = NDArray[np.int64]


def names_of(indices: NDArray[np.int64], names: list[str]) -> pa.DictionaryArray:
    """Names for indices; a negative index is null."""
    values = pa.array(indices.astype(np.int32), mask=indices < 0)
    return pa.DictionaryArray.from_arrays(values, pa.array(names, pa.string()))


class _Changes:
    """Finds the cells of [N, I] arrays that differ from those of the slot before, and keeps them as rows."""

    def __init__(self, first: list[_Ints]) -> None:
        self._last, self._parts, self.rows = first, list[_Ints](), 0

    def add(self, slot: int, now: list[_Ints]) -> None:
        """Take in the next slot."""
        differs = np.zeros(now[0].shape, dtype=np.bool_)
        for before, after in zip(self._last, now, strict=True):
            differs |= before != after
        rows, columns = np.nonzero(differs)
        if rows.size:
            values = [array[rows, columns] for array in now]
            self._parts.append(np.stack([np.full(rows.size, slot), rows, columns, *values]))
            self.rows += rows.size
        self._last = [array.copy() for array in now]

    def take(self) -> _Ints:
        """[3 + values, rows] slot, row and column of each change, and the values from there on; forgets them."""
        none = np.empty((3 + len(self._last), 0), dtype=np.int64)
        taken, self._parts, self.rows = np.concatenate([none, *self._parts], axis=1), [], 0
        return taken


class ChangeWriter:
    """Streams the changes of one run of one family into files of a folder."""

    def __init__(self, folder: Path, cluster: Cluster, family: str, seed: int) -> None:
        self._cluster = cluster
        self._nodes, self._lms = [node.name for node in cluster.nodes], [lm.name for lm in cluster.lms]
        self._folder, self._family, self._seed = folder, family, seed
        off = np.zeros((cluster.n_nodes, cluster.n_lms), dtype=np.int64)
        self._changes, self._routes = _Changes([off, off, off]), RouteChanges(cluster.n_nodes, cluster.n_lms)
        self._policies: list[tuple[int, str]] = []
        self._writers: dict[str, pq.ParquetWriter] = {}

    def add(self, result: SlotResult) -> None:
        """Take in the next slot."""
        after = result.after
        self._changes.add(result.slot, [after.phase, after.cores, after.vgpus])
        self._routes.add(result.slot, result.targets, result.weights)
        if self._changes.rows >= ROWS_IN_GROUP:
            self._put(PLACEMENTS, self._placements())
        if self._routes.rows >= ROWS_IN_GROUP:
            self._put(ROUTES, self._routing())
        if result.policy is not None:
            self._policies.append(
                (result.slot, json.dumps(result.policy.to_json(self._cluster), separators=(",", ":")))
            )
            if len(self._policies) == POLICIES_IN_GROUP:
                self._put_policies()

    def flush(self) -> None:
        """Write what is left; a file without a change is written all the same."""
        if self._changes.rows or PLACEMENTS not in self._writers:
            self._put(PLACEMENTS, self._placements())
        if self._routes.rows or ROUTES not in self._writers:
            self._put(ROUTES, self._routing())
        if self._policies:
            self._put_policies()

    def close(self) -> None:
        """Close the files, whatever they hold."""
        for writer in self._writers.values():
            writer.close()

    def _put_policies(self) -> None:
        slots, texts = zip(*self._policies, strict=True)
        columns = {"slot": pa.array(slots), "policy": pa.array(texts)}
        self._put(POLICIES, pa.table(self._head(len(slots)) | columns))
        self._policies = []

    def _put(self, name: str, table: pa.Table) -> None:
        if name not in self._writers:
            self._writers[name] = pq.ParquetWriter(self._folder / name, table.schema, compression="zstd")
        self._writers[name].write_table(table)

    def _head(self, rows: int) -> dict[str, pa.Array]:
        same = np.zeros(rows, dtype=np.int64)
        return {"family": names_of(same, [self._family]), "seed": pa.array(same + self._seed)}

    def _placements(self) -> pa.Table:
        slot, node, lm, phase, cores, vgpus = self._changes.take()
        return pa.table(
            self._head(slot.size)
            | {
                "slot": pa.array(slot),
                "node": names_of(node, self._nodes),
                "lm": names_of(lm, self._lms),
                "phase": names_of(phase, PHASE_NAMES),
                "cores": pa.array(cores.astype(np.int32)),
                "vgpus": pa.array(vgpus.astype(np.int32)),
            }
        )

    def _routing(self) -> pa.Table:
        (slot, origin, lm, target), weight = self._routes.take()
        columns = self._head(slot.size) | {
            "slot": pa.array(slot),
            "origin": names_of(origin, self._nodes),
            "lm": names_of(lm, self._lms),
            "target": names_of(target, self._nodes),
        }
        return pa.table(columns | ({"weight": pa.array(weight)} if self._cluster.serving.has_choice else {}))
