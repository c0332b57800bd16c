"""Time limits of questions that are asked side by side: one timer for all that begin at about the same moment.

    limits = TimeLimits()
    async with limits.within(20.0) as limit:
        ...

This is `asyncio.timeout` for hundreds of agents that are asked in one go: a timer for each took a twentieth of a slot
of 600 nodes. A question that shares a timer may lose a hundredth of its time.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from types import TracebackType

SHARED = 0.01
"""Share of its time that a question may lose."""


class TimeLimits:
    """Hands out time limits on the running event loop."""

    def __init__(self) -> None:
        """No timer runs."""
        self._timer: _Timer | None = None

    def within(self, seconds: float) -> TimeLimit:
        """Limit a block of the current task to so many seconds (infinity: none), for `async with`.

        The block is cancelled when they are over, and TimeoutError is raised after it.
        """
        loop, timer = asyncio.get_running_loop(), self._timer
        ends_s = loop.time() + seconds
        if timer is None or not timer.suits(loop, ends_s, seconds):
            timer = self._timer = _Timer(loop, ends_s)
        return TimeLimit(timer)


class TimeLimit:
    """The time limit of one block."""

    __slots__ = ("_expired", "_task", "_timer", "_were_cancelling")

    def __init__(self, timer: _Timer) -> None:
        self._timer, self._expired = timer, False
        self._task: asyncio.Task[object] | None = None
        self._were_cancelling = 0

    def expired(self) -> bool:
        """True where the time was over before the block was."""
        return self._expired

    def expire(self) -> None:
        """Cancel the block; its time is over."""
        self._expired = True
        if self._task is not None:
            self._task.cancel()

    async def __aenter__(self) -> TimeLimit:
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("a time limit needs a task to cancel")
        self._were_cancelling = self._task.cancelling()
        self._timer.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.remove(self)
        if not self._expired or self._task is None:
            return
        # As in asyncio.timeout: who else cancelled the task meanwhile must not be swallowed.
        if self._task.uncancel() <= self._were_cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class _Timer:
    """One timer and the blocks that end with it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ends_s: float) -> None:
        self._loop, self._ends_s = loop, ends_s
        self._blocks: dict[TimeLimit, None] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._over = False

    def suits(self, loop: asyncio.AbstractEventLoop, ends_s: float, seconds: float) -> bool:
        """True where a block of so many seconds that would end then may end with this timer."""
        return not self._over and loop is self._loop and 0 <= ends_s - self._ends_s <= SHARED * seconds

    def add(self, block: TimeLimit) -> None:
        if self._handle is None and self._ends_s < float("inf"):
            # In a context of its own: the present one would keep all that the slot has made until the timer runs out.
            self._handle = self._loop.call_at(self._ends_s, self._expire, context=Context())
        self._blocks[block] = None

    def remove(self, block: TimeLimit) -> None:
        del self._blocks[block]  # the timer runs on, for whoever comes next

    def _expire(self) -> None:
        self._over = True
        for block in list(self._blocks):
            block.expire()
