"""Which cases the planner is shown: the best, the worst, and those whose traffic was nearest to the present one.

P1 section IV-A recalls past episodes as examples in context, bad ones as negative precedents. Pure: values come in
chunk by chunk, so that a memory of any size is looked through in bounded space; what goes out is a ranking. How many of
them a prompt has room for is for the prompt to say.

A macro-policy appears once in a list, with its best, worst or nearest case: a planner that keeps its plan for ten
epochs teaches nothing ten times. A case appears once over all the lists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.ledger import Case

MIN_ENDED = 30
"""Requests that must have ended in an epoch for its case to be recalled. At 30 a success ratio of one half has a
standard error of 0.09; with fewer, J says more about chance than about the plan."""
AXIS = np.dtype([("axis", "<i8"), ("prompts", "<f8")])
"""One entry of a traffic vector: a hash of (LM, node), prompts per slot. Zeros are left out."""

Traffic = Mapping[str, Mapping[str, float]]
"""{LM: {origin node: prompts per slot}}, as a case has it."""
Key = tuple[str, int]
"""Run and epoch of a case."""
Candidate = tuple[str, int, float, int, bytes]
"""Run, epoch, J, hash of the macro-policy and traffic vector of a case."""
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recalled:
    """Cases in the order in which they should be shown, most telling first."""

    best: tuple[Case, ...] = ()
    """Lowest J first."""
    worst: tuple[Case, ...] = ()
    """Highest J first; each is worse than all of `best`."""
    nearest: tuple[Case, ...] = ()
    """Nearest traffic first."""
    distances: tuple[float, ...] = ()
    """Of `nearest`, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Picks:
    """Keys of the cases to show."""

    best: tuple[Key, ...]
    worst: tuple[Key, ...]
    nearest: tuple[Key, ...]
    distances: tuple[float, ...]


def _hash(text: str) -> int:
    """64 bits, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def policy_hash(macro_policy: Mapping[str, Any]) -> int:
    """Return 64 bits that tell macro-policies apart, whatever the order of names in them."""
    return _hash(json.dumps(macro_policy, sort_keys=True))


def traffic_vector(traffic: Traffic) -> bytes:
    """Return traffic as entries of AXIS, in order of axis."""
    entries = sorted(
        (_hash(f"{len(lm)} {lm} {node}"), float(prompts))
        for lm, row in traffic.items()
        for node, prompts in row.items()
        if prompts > 0
    )
    return np.array(entries, dtype=AXIS).tobytes()


def distances(present: bytes, vectors: Sequence[bytes]) -> Floats:
    """Bray-Curtis dissimilarity of each vector to the present one, sum |a - b| / sum (a + b), in [0, 1].

    0: the same prompts of the same LMs at the same nodes; 1: nothing in common. Two empty vectors are the same. It
    heeds volume and mix at once, and pairs that only one side knows (another cluster, a new node) count as zero on the
    other. Source: Bray and Curtis, Ecological Monographs 27(4), 1957.
    """
    now = np.frombuffer(present, AXIS)
    flat = np.frombuffer(b"".join(vectors), AXIS)
    rows = np.repeat(np.arange(len(vectors)), [len(vector) // AXIS.itemsize for vector in vectors])
    here = np.zeros(flat.size)
    if now.size:
        place = np.minimum(np.searchsorted(now["axis"], flat["axis"]), now.size - 1)
        here = np.where(now["axis"][place] == flat["axis"], now["prompts"][place], 0.0)
    there = flat["prompts"]
    total = float(now["prompts"].sum())
    # What is present and not there counts in full, so start from all of it and take back what is shared.
    apart = np.maximum(total + np.bincount(rows, np.abs(there - here) - here, len(vectors)), 0.0)
    both = total + np.bincount(rows, there, len(vectors))
    ratio: Floats = np.divide(apart, both, out=np.zeros(len(vectors)), where=both > 0)
    return np.round(ratio, 12)  # so that equal distances are equal, whatever order their terms were added in


class _Front:
    """The first `size` cases by some values, one for each policy; of equal ones the earlier."""

    def __init__(self, size: int, width: int) -> None:
        self._size = size
        self.values: Floats = np.empty((0, width))
        self._policies: Ints = np.empty(0, dtype=np.int64)
        self.keys: list[Key] = []

    def add(self, values: Floats, policies: Ints, rows: Sequence[Candidate]) -> None:
        """Take in a chunk; values [R, width], the first column weighs most, small is good."""
        full = len(self.keys) == self._size
        chunk = np.flatnonzero(values[:, 0] <= self.values[-1, 0]) if full and self._size else np.arange(len(rows))
        if not self._size or not chunk.size:
            return
        all_values = np.concatenate([self.values, values[chunk]])
        all_policies = np.concatenate([self._policies, policies[chunk]])
        order = np.lexsort(all_values.T[::-1])
        first = np.sort(np.unique(all_policies[order], return_index=True)[1])[: self._size]
        kept = order[first]
        self.values, self._policies = all_values[kept], all_policies[kept]
        old = len(self.keys)
        self.keys = [self.keys[r] if r < old else rows[chunk[r - old]][:2] for r in kept.tolist()]


class Picker:
    """Looks through cases and picks. Feed it all of them, always in the same order, and ties fall the same way."""

    def __init__(self, traffic: Traffic | None, best: int, worst: int, nearest: int) -> None:
        self._best, self._worst, self._nearest = best, worst, 0 if traffic is None else nearest
        self._present = traffic_vector(traffic or {})
        self._low, self._high = _Front(best + worst, 1), _Front(best + worst, 1)
        self._near = _Front(self._nearest + best + worst if self._nearest else 0, 2)

    def add(self, rows: Sequence[Candidate]) -> None:
        """Take in some cases."""
        if not rows:
            return
        objective = np.array([row[2] for row in rows], dtype=np.float64)
        policies = np.array([row[3] for row in rows], dtype=np.int64)
        self._low.add(objective[:, None], policies, rows)
        self._high.add(-objective[:, None], policies, rows)
        if self._nearest:
            apart = distances(self._present, [row[4] for row in rows])
            self._near.add(np.column_stack([apart, objective]), policies, rows)

    def picks(self) -> Picks:
        """Return what was found. A memory too short for both lists is shared out between best and worst."""
        wanted, known = self._best + self._worst, len(self._low.keys)
        share = self._best if known >= wanted else max(min(self._best, 1), round(known * self._best / wanted))
        best = self._low.keys[:share]
        limit = self._low.values[share - 1, 0] if best else -np.inf
        highest = zip(self._high.keys, -self._high.values[:, 0], strict=True)
        worst = [key for key, j in highest if j > limit and key not in best][: self._worst]
        shown = {*best, *worst}
        by_distance = zip(self._near.keys, self._near.values[:, 0].tolist(), strict=True)
        near = [(key, d) for key, d in by_distance if key not in shown][: self._nearest]
        return Picks(tuple(best), tuple(worst), tuple(key for key, _ in near), tuple(d for _, d in near))
