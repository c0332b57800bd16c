"""The seam between what is remembered and where: an engine keeps documents and finds them by their columns.

Two engines and the journal in front of them implement it; what a decision or a case is, is known above it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from memory.documents import Document, Kind

Found = tuple[dict[str, Any], bytes | None]
"""Body and data of a document, as they were written."""
Row = tuple[Any, ...]
"""Values of some columns of a document."""


class MemoryAway(Exception):
    """The store cannot be used just now; the same call may well succeed later. The text is one sentence."""


class DocumentRefused(Exception):
    """The store is there and will never take this document. The text is one sentence."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which documents of a kind; names are columns of its shape."""

    kind: Kind
    equals: Mapping[str, str | int | None] = field(default_factory=dict)
    among: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Columns and the values of which theirs is one."""
    at_least: Mapping[str, int] = field(default_factory=dict)
    at_most: Mapping[str, int] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    """Columns to sort by; () leaves the order to the store."""
    descending: bool = False
    limit: int | None = None
    """None: all."""


@dataclass(frozen=True, slots=True)
class MemoryStatus:
    """How a memory fares, for logs and reports."""

    store: str
    """Path or hosts; never a user name or a password."""
    away: str | None = None
    """Why it cannot be used just now; None where it can."""
    waiting: int = 0
    """Documents in the journal that the store does not have yet."""
    torn: int = 0
    """Unfinished lines that a killed process had left at the end of the journal; dropped."""
    refused: int = 0
    """Documents that the store will not take; kept in a file next to the journal."""


class Engine(Protocol):
    """Keeps documents whole. Every call ends within the engine's time limit.

    All methods raise MemoryAway while the store cannot be reached, and InputError where it is not what it should be.
    """

    @property
    def status(self) -> MemoryStatus:
        """How it fares."""
        ...

    async def open(self) -> None:
        """Connect and create what is missing. Harmless where it is done already."""
        ...

    async def write(self, documents: Sequence[Document]) -> None:
        """Store documents in order. By key: the first stays where the shape says `once`, else the last replaces it.

        Raises:
            DocumentRefused: the store will never take one of them; some of the others may have been stored.
        """
        ...

    async def find(self, query: Query) -> list[Found]:
        """Return documents."""
        ...

    def scan(self, query: Query, columns: tuple[str, ...]) -> AsyncGenerator[list[Row]]:
        """Yield the values of some columns, in lists of bounded length, so that any number of rows fits in memory."""
        ...

    async def close(self) -> None:
        """Give everything back. Harmless where it is done already."""
        ...
