"""What a person is told who presses Ctrl-C: that the same command goes on, only where that is true.

SIGTERM, by which containers and services are stopped, ends such work in the same way as Ctrl-C: what is under way is
cancelled, helpers are ended, and the sentence is said.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GOES_ON = "the same command goes on where it stopped."
INTERRUPTED, TERMINATED = 130, 143
"""Exit statuses, as shells have them: 128 and the number of the signal."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, with what it means for the work in hand as its text."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what)
        self.status = status
        """To end with."""


@contextmanager
def goes_on(what: str = GOES_ON) -> Iterator[None]:
    """Mark work that keeps what it has finished; `what` is told where it is interrupted."""
    terminated = False

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        terminated = True
        signal.raise_signal(signal.SIGINT)  # which asyncio knows how to take

    with _handling(signal.SIGTERM, terminate):
        try:
            yield
        except KeyboardInterrupt:
            raise Interrupted(what, TERMINATED if terminated else INTERRUPTED) from None


@contextmanager
def _handling(number: signal.Signals, handler: signal._HANDLER) -> Iterator[None]:
    """Let a signal be handled so; nothing where this is not the main thread, which alone may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
