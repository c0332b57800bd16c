"""Columns of text as numbers and as names, a batch at a time. Whole columns of text are never held in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MOST_CELL = 1000
"""Bytes of a field that is read; a longer one is no name and no number."""
MOST_NAMES = 1_000_000
"""Different texts of a column that is kept as text."""
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


@dataclass(frozen=True, slots=True)
class Names:
    """A column of R texts, each different one kept once."""

    values: tuple[str, ...]
    """The different texts, in the order in which they were met."""
    codes: NDArray[np.int64]
    """[R] place in `values`."""

    def __len__(self) -> int:
        return int(self.codes.shape[0])

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Names:
        """Return some rows of the column."""
        return Names(self.values, self.codes[rows])

    def isin(self, wanted: Iterable[str]) -> NDArray[np.bool_]:
        """[R] True where the text is one of those wanted."""
        some = set(wanted)
        chosen = np.array([value in some for value in self.values], dtype=np.bool_)
        mask: NDArray[np.bool_] = chosen[self.codes]
        return mask

    def ranks(self) -> NDArray[np.int64]:
        """[R] place of each text among all different ones in the order of the alphabet."""
        order = sorted(range(len(self.values)), key=self.values.__getitem__)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        ranks: NDArray[np.int64] = rank[self.codes]
        return ranks

    def counts(self) -> dict[str, int]:
        """Text to how many rows have it, the most frequent first; those that no row has are left out."""
        rows = np.bincount(self.codes, minlength=len(self.values))
        order = np.argsort(-rows, kind="stable").tolist()
        return {self.values[k]: int(rows[k]) for k in order if rows[k]}

    def tolist(self) -> list[str]:
        """Return the texts row by row."""
        return [self.values[code] for code in self.codes.tolist()]


class Column(Protocol):
    """Takes in a column, batch by batch."""

    def add(self, text: pa.Array) -> None:
        """Take in a batch; raises OverflowError where it holds more than memory should."""
        ...


class NameColumn:
    """Takes in a column of names."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._parts: list[NDArray[np.int64]] = []

    def add(self, text: pa.Array) -> None:
        """Take in a batch; raises OverflowError beyond MOST_NAMES different texts."""
        coded = pc.dictionary_encode(text)
        known = self._known
        places = [known.setdefault(value, len(known)) for value in coded.dictionary.to_pylist()]
        if len(known) > MOST_NAMES:
            raise OverflowError(f"more than {MOST_NAMES:,} different texts")
        self._parts.append(np.array(places, dtype=np.int64)[coded.indices.to_numpy()])

    def done(self) -> Names:
        """Return the column."""
        return Names(tuple(self._known), np.concatenate([np.empty(0, dtype=np.int64), *self._parts]))


class NumberColumn:
    """Takes in a column of numbers."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.float64]] = []

    def add(self, text: pa.Array) -> None:
        """Take in a batch; what is no number is NaN."""
        self._parts.append(numbers(text))

    def done(self) -> NDArray[np.float64]:
        """Return the column."""
        return np.concatenate([np.empty(0), *self._parts])


def numbers(text: pa.Array) -> NDArray[np.float64]:
    """Return text as numbers, NaN where it is none (or says NaN, or is not finite)."""
    values: NDArray[np.float64] = cast(text, NUMBER, pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)


def whole(values: NDArray[np.float64], least: float, most: float = math.inf) -> NDArray[np.bool_]:
    """True where a number is a whole one from `least` to `most`."""
    fits: NDArray[np.bool_] = (values >= least) & (values <= most) & (values == np.floor(values))
    return fits


def matches(text: pa.Array, pattern: str) -> NDArray[np.bool_]:
    """True where a text matches a pattern."""
    return bools(pc.match_substring_regex(text, pattern))


def bools(array: pa.Array) -> NDArray[np.bool_]:
    """Return truth values as NumPy's."""
    values: NDArray[np.bool_] = np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.bool_)
    return values


def cast(text: pa.Array, pattern: str, kind: pa.DataType) -> pa.Array:
    """Text as `kind`, null where it does not match the pattern or is impossible (30 February)."""
    try:
        return pc.cast(text, kind)
    except pa.ArrowInvalid:
        fits = pc.match_substring_regex(text, pattern)
        return _halved(pc.if_else(fits, text, pa.scalar(None, pa.string())), kind)


def _halved(text: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cast what can be cast, null for the rest; a few bad rows among many cost a few casts of half the rest."""
    try:
        return pc.cast(text, kind)
    except pa.ArrowInvalid:
        if len(text) == 1:
            return pa.nulls(1, kind)
        half = len(text) // 2
        return pa.concat_arrays([_halved(text.slice(0, half), kind), _halved(text.slice(half), kind)])
