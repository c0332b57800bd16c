"""What was predicted of requests, by the slot in which they arrive: so any stretch of slots can be compared later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.moments import slots_at
from domain.telemetry import Records

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sums:
    """Requests of a stretch of slots."""

    ended: tuple[int, ...]
    """[I]"""
    succeeded: tuple[int, ...]
    """[I]"""
    latency_s: float
    """Of those that succeeded, together."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Row 0 counts the requests that waited at the start, row k those of the k-th slot; all futures together."""

    ended: IntArray
    """[H + 1, I]"""
    succeeded: IntArray
    """[H + 1, I]"""
    latency_s: NDArray[np.float64]
    """[H + 1] of those that succeeded, together."""

    @classmethod
    def of(cls, played: Sequence[Records], first: int, slots: int, slot_s: float, n_lms: int) -> Profile:
        """Count the records of rehearsals that began with slot `first` and had arrivals in `slots` slots."""
        records = Records.concatenate(list(played))
        row = np.clip(slots_at(records.arrival_s, slot_s) - first + 1, 0, slots)
        cell, success, shape = row * n_lms + records.lm, records.success, (slots + 1, n_lms)
        size = shape[0] * shape[1]
        return cls(
            np.bincount(cell, minlength=size).reshape(shape).astype(np.int64),
            np.bincount(cell[success], minlength=size).reshape(shape).astype(np.int64),
            np.bincount(row[success], records.latency_s[success], slots + 1).astype(np.float64),
        )

    def over(self, slots: int) -> Sums:
        """Return the requests that waited or arrive in the first `slots` slots."""
        rows = slice(0, slots + 1)
        return Sums(
            tuple(self.ended[rows].sum(axis=0).tolist()),
            tuple(self.succeeded[rows].sum(axis=0).tolist()),
            float(self.latency_s[rows].sum()),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {name: getattr(self, name).tolist() for name in ("ended", "succeeded", "latency_s")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Profile:
        """Read plain data back. Raises KeyError or ValueError where it is no profile."""
        return cls(
            np.array(data["ended"], dtype=np.int64),
            np.array(data["succeeded"], dtype=np.int64),
            np.array(data["latency_s"], dtype=np.float64),
        )
