"""A thread for work that may wait for a disk, so that the event loop never does.

Python's own executor would do, but handing work to a thread that sleeps takes it three times as long (locks and a
future of its own besides asyncio's), and a slot waits for such work a few times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
Job = tuple[asyncio.AbstractEventLoop, asyncio.Future[Any], Callable[[], Any]]


class Worker:
    """One thread that does pieces of work, one after the other."""

    def __init__(self, name: str) -> None:
        """The thread starts with the first piece of work; it never keeps a process from ending."""
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._closed = False
        self._thread = Thread(target=self._work, name=name, daemon=True)

    async def run(self, work: Callable[[], T]) -> T:
        """Do the work in the thread. What has begun is done to its end even where nobody waits for it any more.

        Raises:
            Exception: whatever the work raises.
            RuntimeError: the worker is closed.
        """
        if self._closed:
            raise RuntimeError("the worker is closed")
        if self._thread.ident is None:
            self._thread.start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put((loop, done, work))
        return await done

    async def close(self, farewell: Callable[[], None]) -> None:
        """Do one last piece of work and end the thread; nothing where that is done. RuntimeError for work after it."""
        if not self._closed:
            try:
                await self.run(farewell)
            finally:
                self._closed = True
                self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, done, work = job
            answer, error = None, None
            try:
                answer = work()
            except Exception as raised:
                error = raised
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(_tell, done, answer, error)
            del job, done, work, answer, error  # this thread may sleep for long


def _tell(done: asyncio.Future[Any], answer: Any, error: Exception | None) -> None:
    if done.done():  # nobody waits any more
        return
    if error is None:
        done.set_result(answer)
    else:
        done.set_exception(error)
