"""The routes of a run, read from its folder: where requests of an LM from an origin may go in a slot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.decisions import NOWHERE
from runtime.results.recording import damaged, indices_of, rows_of
from runtime.results.routes import ALL, FIXED
from runtime.results.summary import FamilyResult

CHANGES_PER_BYTE = 100
"""Rows that a file of changes may hold for each of its bytes: routes that rotate pack well."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Route:
    """Where requests may go: one node or nowhere, or several with their weights, the largest first."""

    targets: tuple[int, ...]
    """Empty where requests go nowhere."""
    weights: tuple[float, ...] | None
    """None where the plan is fixed."""


class Routes:
    """Rows as `runtime.results.routes` writes them."""

    def __init__(self, slot: Ints, origin: Ints, lm: Ints, target: Ints, weight: Floats, n_lms: int) -> None:
        """Columns of one length; each row holds from its slot on, until the next rows of its origin and LM."""
        order = np.lexsort((target, -weight, slot, lm, origin))
        self._key, self._n_lms = (origin * n_lms + lm)[order], n_lms
        self._slot, self._target, self._weight = slot[order], target[order], weight[order]

    def __len__(self) -> int:
        return int(self._slot.size)

    def at(self, slot: int, origin: int, lm: int) -> Route:
        """Where requests of an LM from an origin may go in a slot; nowhere before the first row."""
        own, for_all = (self._rows(slot, k * self._n_lms + lm) for k in (origin, ALL))
        rows = (
            own
            if own.start >= 0 and (for_all.start < 0 or self._slot[own.start] >= self._slot[for_all.start])
            else for_all
        )
        targets, weights = self._target[rows].tolist(), self._weight[rows].tolist()
        if rows.start < 0 or targets[0] == NOWHERE:
            return Route((), None)
        return Route(tuple(targets), None if weights[0] == FIXED else tuple(weights))

    def _rows(self, slot: int, key: int) -> slice:
        """The last rows of a key up to a slot; from -1 on where there are none."""
        first, end = np.searchsorted(self._key, [key, key + 1])
        last = int(np.searchsorted(self._slot[first:end], slot, side="right")) - 1
        if last < 0:
            return slice(-1, -1)
        begin = int(np.searchsorted(self._slot[first:end], self._slot[first + last]))
        return slice(int(first) + begin, int(first) + last + 1)

    @property
    def doubtful(self) -> bool:
        """True where two rows contradict each other: a target twice, or another beside that of a fixed plan."""
        same = (self._key[1:] == self._key[:-1]) & (self._slot[1:] == self._slot[:-1])
        alone = (self._weight == FIXED) | (self._target == NOWHERE)
        twice = np.lexsort((self._target, self._slot, self._key))
        columns = (self._key[twice], self._slot[twice], self._target[twice])
        repeated = np.logical_and.reduce([column[1:] == column[:-1] for column in columns])
        return bool((same & (alone[1:] | alone[:-1])).any() or repeated.any())


def read_routes(path: Path, cluster: Cluster, result: FamilyResult) -> Routes | None:
    """Read a file of routes; None where there is none. Raises InputError where it is damaged."""
    if not path.exists():
        return None
    open_plans = cluster.serving.has_choice
    numbers = ["slot", "weight"] if open_plans else ["slot"]
    table = rows_of(path, result.family, result.seed, ["origin", "lm", "target"], numbers, CHANGES_PER_BYTE)
    origin = indices_of(path, table, "origin", cluster.node_index, ALL if open_plans else None)
    lm = indices_of(path, table, "lm", cluster.lm_index)
    target = indices_of(path, table, "target", cluster.node_index, NOWHERE)
    slot = table.column("slot").to_numpy().astype(np.int64)
    weight = table.column("weight").to_numpy().astype(np.float64) if open_plans else np.full(slot.size, FIXED)
    if ((slot < 0) | (slot >= result.slots)).any():
        raise damaged(path, f"holds a slot of {result.family} outside of the {result.slots} slots of the run")
    if not (np.isfinite(weight) & (weight >= 0.0)).all():
        raise damaged(path, f"holds a weight of {result.family} that is none")
    routes = Routes(slot, origin, lm, target, weight, cluster.n_lms)
    if routes.doubtful:
        raise damaged(path, f"holds a change of {result.family} twice")
    return routes
