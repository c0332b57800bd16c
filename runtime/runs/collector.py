"""The garbage collector while slots run: it looks at what a slot has made, not at the whole program again and again.

A slot of hundreds of nodes makes tens of thousands of objects and gives all but a few back without the collector's
help. Python's usual settings look at them every 700 objects and, every few slots, at everything that was ever imported,
which takes a tenth of a second. Garbage in cycles is still found, a little later.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 200_000
"""New objects before the collector looks at them; a slot of 600 nodes has some 90,000 at a time."""


@contextmanager
def calm_collector() -> Iterator[None]:
    """Let the collector leave alone what is there, and look at new objects more rarely, until the end of the block."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(YOUNG, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
