"""Where requests may be sent as rows: one for each target of an (origin, LM) whose routes have changed.

A fixed plan has one row for each; an open one a row for each node that is allowed, with its weight, and where it is the
same for all origins, rows without an origin. Of an (origin, LM), the rows of the last slot that has some hold, those
without an origin included.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.decisions import NOWHERE

ALL = -1
"""Stands for all origins."""
FIXED = 0.0
"""Stands in place of a weight where the plan is fixed, or where nobody is allowed."""

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]


class RouteChanges:
    """Finds what differs from the routes of the slot before, and keeps it as rows."""

    def __init__(self, n_nodes: int, n_lms: int) -> None:
        self._last: _Ints | _Floats = np.full((n_nodes, n_lms), NOWHERE, dtype=np.int64)
        self._parts, self._weights, self.rows = list[_Ints](), list[_Floats](), 0

    def add(self, slot: int, targets: _Ints, weights: _Floats | None) -> None:
        """Take in the plan of the next slot: [N, I] targets and, where it is open, [N or 1, I, N] weights."""
        now = targets if weights is None else weights
        if now.shape == self._last.shape:
            differs = now != self._last
            differs = differs if weights is None else differs.any(axis=2)
        else:
            differs = np.ones(now.shape[:2], dtype=np.bool_)
        origin, lm = np.nonzero(differs)
        if origin.size:
            self._last = now.copy()
            if weights is None:
                target, weight = targets[origin, lm], np.full(origin.size, FIXED)
            else:
                of, target, weight = _allowed(weights[origin, lm])
                origin, lm = origin[of], lm[of]
                if len(weights) < len(targets):
                    origin = np.full(origin.size, ALL)
            self._parts.append(np.stack([np.full(origin.size, slot), origin, lm, target]))
            self._weights.append(weight)
            self.rows += origin.size

    def take(self) -> tuple[_Ints, _Floats]:
        """[4, rows] slot, origin (or ALL), LM and target (or NOWHERE), and [rows] weight (or FIXED); forgets them."""
        rows = np.concatenate([np.empty((4, 0), dtype=np.int64), *self._parts], axis=1)
        weights = np.concatenate([np.empty(0), *self._weights])
        self._parts, self._weights, self.rows = [], [], 0
        return rows, weights


def _allowed(weights: _Floats) -> tuple[_Ints, _Ints, _Floats]:
    """Of [C, N] weights the rows that each allowed node belongs to, these nodes and their weights; else NOWHERE."""
    of, target = np.nonzero(weights > 0.0)
    nobody = np.flatnonzero(~(weights > 0.0).any(axis=1))
    weight = np.append(weights[of, target], np.full(nobody.size, FIXED))
    of, target = np.append(of, nobody), np.append(target, np.full(nobody.size, NOWHERE))
    order = np.argsort(of, kind="stable")
    return of[order].astype(np.int64), target[order].astype(np.int64), weight[order]
