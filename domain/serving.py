"""How requests are served, beside P1's way: how they are dispatched, in which batches, in how many copies.

P1 fixes one target per origin and LM for a slot, keeps a request on one pod, and computes prompt by prompt.
`Serving()` is that. docs/twin.md says exactly what each setting means, docs/dispatch.md what it brings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum


class Dispatch(StrEnum):
    """Who chooses the pod of a request, and when."""

    FIXED = "fixed"
    """The routing plan, for the whole slot (P1)."""
    ARRIVAL = "arrival"
    """The origin, as the request comes, among the nodes that the plan allows."""
    SPLIT = "split"
    """The same, prompt by prompt; the request is done when its last prompt is back."""


class Batching(StrEnum):
    """Which prompts a pod computes together."""

    NONE = "none"
    """None (P1)."""
    REQUEST = "request"
    """Those of one request."""
    QUEUE = "queue"
    """Those that wait, first come, first served, of whatever requests."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The settings of a cluster; the defaults are P1's."""

    dispatch: Dispatch = Dispatch.FIXED
    news_s: float = 0.0
    """Age of what an origin knows of the queues of other nodes, seconds; at most a slot."""
    batching: Batching = Batching.NONE
    copies: bool = False
    """True where a pod with vGPUs on several GPUs holds a copy of the LM on each, where memory allows."""

    @property
    def has_choice(self) -> bool:
        """True where origins choose: only there a routing plan may be open."""
        return self.dispatch is not Dispatch.FIXED

    @property
    def words(self) -> str:
        """What is not P1's, such as 'dispatch split, news 1 s old, batching request, copies'; empty where all is."""
        told = [f"dispatch {self.dispatch}"] if self.dispatch is not Dispatch.FIXED else []
        told += [f"news {self.news_s:g} s old"] if self.news_s else []
        told += [f"batching {self.batching}"] if self.batching is not Batching.NONE else []
        return ", ".join(told + (["copies"] if self.copies else []))

    def to_json(self) -> dict[str, str | float | bool]:
        """Plain data, only what is not P1's."""
        plain = {
            "dispatch": self.dispatch.value,
            "news_s": self.news_s,
            "batching": self.batching.value,
            "copies": self.copies,
        }
        usual = Serving()
        return {f.name: value for f in fields(self) if (value := plain[f.name]) != getattr(usual, f.name)}


@dataclass(frozen=True, slots=True)
class BatchCurve:
    """What a batch of b prompts takes, in units of what one prompt takes: points (b, units), linear in between.

    Starts at (1, 1); sizes rise; units never fall, and are never more than b. The last size is the most that a pod
    takes at once. The default is a pod that takes one prompt at a time.
    """

    points: tuple[tuple[int, float], ...] = ((1, 1.0),)

    @property
    def most(self) -> int:
        """Prompts of the largest batch."""
        return self.points[-1][0]

    def units(self, size: int) -> float:
        """Return the units of a batch of 1 to `most` prompts."""
        for (b0, u0), (b1, u1) in zip(self.points, self.points[1:], strict=False):
            if size < b1:
                return u0 + (u1 - u0) * (size - b0) / (b1 - b0)
        return self.points[-1][1] if size == self.most else 1.0 if size == 1 else math.inf
