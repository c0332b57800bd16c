"""How many requests a workload may make, so that a slip in a rate is a sentence and not the end of the memory."""

from __future__ import annotations

MOST_REQUESTS = 30_000_000
"""Requests held in memory at once, of a stream or of a whole run; a row of a trace takes about 150 bytes."""
MOST_IN_SLOT = 1_000_000
"""Requests that a stream may make in a slot on average where its rate is highest: 33,000 a second in slots of 30 s."""
MOST_IN_WINDOW = 2_000_000
"""Requests that a ServeGen stream may make in ten minutes of its file."""


def too_many_in_slot(requests: float, load: float) -> str | None:
    """Say what is wrong with so many requests in a slot, as it goes on from a field's name; None where nothing is."""
    if requests <= MOST_IN_SLOT:
        return None
    times = "" if load == 1.0 else f" times the load of {load:g}"
    return f"must make at most {MOST_IN_SLOT:,} requests in a slot; this{times} makes {requests:.3g}"
