"""The clock of a simulated world: its slots are as long as live ones, however fast they pass here.

What a question takes on the wall, it takes of the slot, as it would live; a slot that is decided sooner is over all the
same when its seconds are. So a server that is left alone for 60 s is left alone for two slots of 30 s, and a person who
thinks for an hour takes no more than the slot.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class SlotClock:
    """Seconds of the world since its first slot began."""

    def __init__(self, slot_s: float, wall: Callable[[], float] = time.monotonic) -> None:
        """Begin the first slot.

        Args:
            slot_s: length of a slot, seconds.
            wall: monotonic seconds, the clock of the event loop.
        """
        self.slot_s, self._wall = slot_s, wall
        self._slot, self._began_s = 0, wall()

    def __call__(self) -> float:
        """Seconds of the world; they never go back."""
        return (self._slot + 1) * self.slot_s - self.left_s

    @property
    def left_s(self) -> float:
        """Seconds until the slot would be over live, never negative."""
        return max(0.0, self.slot_s - (self._wall() - self._began_s))

    def next_slot(self) -> None:
        """Begin the next slot, whatever was left of the last one."""
        self._slot, self._began_s = self._slot + 1, self._wall()
