"""How a request finds its pods, and how a pod takes its prompts: what P1 fixes and Edgewise lets a testbed choose."""

from __future__ import annotations

from enum import StrEnum


class Dispatch(StrEnum):
    """When and how finely it is decided where a request goes."""

    FIXED = "fixed"
    """P1: one target per (origin, LM), decided before the slot's requests come."""
    ARRIVAL = "arrival"
    """The plan allows a set of targets; the origin picks one for each request as it comes."""
    SPLIT = "split"
    """The same, prompt by prompt: a request is done when the last part of it is back."""

    @property
    def is_open(self) -> bool:
        """True where the origin chooses, by what it knows when the request comes."""
        return self is not Dispatch.FIXED


class Batching(StrEnum):
    """Which prompts a pod computes together."""

    NONE = "none"
    """P1: one after the other."""
    REQUEST = "request"
    """Prompts of one request."""
    QUEUE = "queue"
    """Those that wait behind it, too: first come, first served."""
