"""What a person is told who presses Ctrl-C: that the same command goes on, only where that is true."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

GOES_ON = "the same command goes on where it stopped."


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what it means for the work in hand as its text."""


@contextmanager
def goes_on(what: str = GOES_ON) -> Iterator[None]:
    """Mark work that keeps what it has finished; `what` is told where it is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(what) from None
