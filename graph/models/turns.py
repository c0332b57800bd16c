"""Turns after a wait that a server asked for: agents that it sent away together do not come back together.

A rate limit reaches all agents that are asked side by side, with the same Retry-After, and a server that gets all of
them back in the same tenth of a second sends them away again.
"""

from __future__ import annotations

import math

GAP_S = 0.05
"""Seconds from one turn to the next: 1,200 in a minute, more than most servers let a user have."""


class Turns:
    """Hands out moments, one after the other, on the clock of the event loop."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._last_s = -math.inf

    def after(self, earliest_s: float, latest_s: float) -> float | None:
        """Return the moment of the next turn; None where there is none left in the time.

        Args:
            earliest_s: when the server wants to be asked again.
            latest_s: when the question must be over.
        """
        turn_s = max(earliest_s, self._last_s + GAP_S)
        if turn_s >= latest_s:
            return None
        self._last_s = turn_s
        return turn_s
