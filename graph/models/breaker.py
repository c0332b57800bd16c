"""A circuit breaker: a model server that keeps failing is left alone for a while, so that slots do not wait for it.

It is shared by all agents of one endpoint. After `failures` failed questions in a row it opens and every question is
refused at once; after `pause_s` seconds one question is let through, and its fate closes the breaker or opens it again
(M. Nygard, Release It!, 2nd edition, chapter 5).
"""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """Counts failures in a row. Every question that `admit` lets in must end in `succeed`, `fail` or `withdraw`."""

    def __init__(self, failures: int = 5, pause_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Closed at first.

        Args:
            failures: failed questions in a row that open it; at least 1.
            pause_s: seconds for which it then refuses every question.
            clock: monotonic seconds.
        """
        if failures < 1 or not pause_s >= 0:
            raise ValueError(f"a breaker needs at least 1 failure and a pause >= 0, not {failures} and {pause_s}")
        self._limit, self._pause_s, self._clock = failures, pause_s, clock
        self._failed = 0
        self._retry_at_s: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """True while questions are refused, and while the one that was let through has not come back."""
        return self._retry_at_s is not None

    @property
    def seconds_left(self) -> float:
        """Seconds until a question is let through; 0 where none is kept back."""
        return 0.0 if self._retry_at_s is None else max(0.0, self._retry_at_s - self._clock())

    def admit(self) -> bool:
        """Let a question in, or refuse it."""
        if self._retry_at_s is None:
            return True
        if self._probing or self._clock() < self._retry_at_s:
            return False
        self._probing = True
        return True

    def succeed(self) -> None:
        """The server answered."""
        self._failed, self._retry_at_s, self._probing = 0, None, False

    def fail(self) -> None:
        """The server did not answer."""
        self._failed += 1
        if self._probing or (self._failed >= self._limit and self._retry_at_s is None):
            self._retry_at_s = self._clock() + self._pause_s
        self._probing = False

    def withdraw(self) -> None:
        """The question was taken back before its fate was known."""
        self._probing = False
