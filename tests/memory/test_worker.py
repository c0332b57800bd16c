"""The thread that waits for disks: what it does comes back, whatever becomes of those who asked."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from memory.worker import Worker


def nothing() -> None:
    return None


async def test_work_is_done_in_order_in_one_thread_that_is_not_the_loops() -> None:
    worker, done = Worker("w"), list[tuple[int, str]]()
    await asyncio.gather(
        *(worker.run(lambda n=n: done.append((n, threading.current_thread().name))) for n in range(5))  # type: ignore[misc]  # mypy infers no type for a lambda with defaults
    )
    assert done == [(n, "w") for n in range(5)]
    await worker.close(nothing)


async def test_what_work_raises_is_raised_where_it_is_waited_for_and_the_thread_goes_on() -> None:
    worker = Worker("w")
    with pytest.raises(OSError, match="no such thing"):
        await worker.run(lambda: Path("no such thing").stat())
    assert await worker.run(lambda: 7) == 7
    await worker.close(nothing)


async def test_work_that_nobody_waits_for_any_more_is_done_to_its_end() -> None:
    worker, go, done = Worker("w"), threading.Event(), list[int]()
    waiting = asyncio.create_task(worker.run(lambda: done.append(len(done)) if go.wait() else None))
    await asyncio.sleep(0)
    waiting.cancel()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await worker.run(lambda: list(done)) == [0]
    await worker.close(nothing)


async def test_a_closed_worker_says_so_and_may_be_closed_again() -> None:
    worker, farewells = Worker("w"), list[int]()
    for _ in range(2):
        await worker.close(lambda: farewells.append(1))
    assert farewells == [1]
    with pytest.raises(RuntimeError, match="the worker is closed"):
        await worker.run(nothing)
