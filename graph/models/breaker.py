"""A circuit breaker: a model server that keeps failing is left alone for a while, so that slots do not wait for it.

After `failures` failed questions in a row it opens and every question is refused at once; after `pause_s` seconds one
question is let through, and its fate closes the breaker or opens it again (M. Nygard, Release It!, 2nd edition,
chapter 5). Questions are asked side by side, so each gets a leave of its own: what becomes of one that was let in
before the breaker last opened or closed says nothing about the server now, and counts for nothing. But while it is
open, a server that asks in such an answer for a longer pause gets it, unless a question has been let through since.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """Counts failures in a row. Every leave that `admit` gives must end in one of its methods."""

    def __init__(self, failures: int = 5, pause_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Closed at first.

        Args:
            failures: failed questions in a row that open it; at least 1.
            pause_s: seconds for which it then refuses every question.
            clock: seconds of the world that decides; they never go back.
        """
        if failures < 1 or not pause_s >= 0:
            raise ValueError(f"a breaker needs at least 1 failure and a pause >= 0, not {failures} and {pause_s}")
        self._limit, self._pause_s, self._clock = failures, pause_s, clock
        self._failed = 0
        self._retry_at_s: float | None = None
        self._probe: Leave | None = None
        self._era = self._closed_in = 0

    @property
    def is_open(self) -> bool:
        """True while questions are refused, and while the one that was let through has not come back."""
        return self._retry_at_s is not None

    @property
    def seconds_left(self) -> float:
        """Seconds until a question is let through; 0 where none is kept back."""
        return 0.0 if self._retry_at_s is None else max(0.0, self._retry_at_s - self._clock())

    def admit(self) -> Leave | None:
        """Let a question in; None refuses it."""
        if self._retry_at_s is None:
            return Leave(self, self._era)
        if self._probe is not None or self._clock() < self._retry_at_s:
            return None
        self._probe = Leave(self, self._era)
        return self._probe

    def _turn(self, retry_at_s: float | None) -> None:
        """Open or close; leaves given before count no more."""
        self._retry_at_s, self._probe, self._failed = retry_at_s, None, 0
        self._era += 1
        if retry_at_s is None:
            self._closed_in = self._era

    def _hold(self, leave: Leave, seconds: float) -> None:
        retry_at_s = self._clock() + seconds
        if leave.era == self._era:
            self._turn(retry_at_s)
        elif leave.era >= self._closed_in and self._retry_at_s is not None and self._probe is None:
            self._retry_at_s = max(self._retry_at_s, retry_at_s)

    def _end(self, leave: Leave, answered: bool | None) -> None:
        if leave.era != self._era:
            return
        if answered is None:
            self._probe = None
        elif answered:
            self._failed = 0
            if self._retry_at_s is not None:
                self._turn(None)
        else:
            self._failed += 1
            if self._retry_at_s is not None or self._failed >= self._limit:
                self._turn(self._clock() + self._pause_s)


class Leave:
    """The leave of one question."""

    __slots__ = ("_breaker", "era")

    def __init__(self, breaker: CircuitBreaker, era: int) -> None:
        self._breaker, self.era = breaker, era
        """How often the breaker had opened or closed when it was given."""

    def succeed(self) -> None:
        """The server answered."""
        self._breaker._end(self, True)

    def fail(self) -> None:
        """The server did not answer."""
        self._breaker._end(self, False)

    def hold(self, seconds: float) -> None:
        """The server did not answer, and asked to be left alone for so many seconds from now on."""
        self._breaker._hold(self, seconds)

    def withdraw(self) -> None:
        """The question was taken back before its fate was known."""
        self._breaker._end(self, None)
