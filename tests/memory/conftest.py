"""A journal in front of a store that can be taken away, and what clients of MongoDB leave behind."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from memory import Memory
from memory.stored import StoredMemory
from tests.journals import journaled
from tests.memory_engines import FickleEngine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.journal"


@pytest.fixture
def engine() -> FickleEngine:
    return FickleEngine()


@pytest.fixture
async def memory(engine: FickleEngine, path: Path) -> AsyncIterator[Memory]:
    front = journaled(engine, path)
    await front.open()
    yield StoredMemory(front)
    engine.away = False
    await front.close()


@pytest.fixture
def _half_open_sockets_are_collected() -> Iterator[None]:
    yield
    gc.collect()
