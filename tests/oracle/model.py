"""The things of the simulation, and the order of what happens to them at one and the same instant.

All moments and durations are integers: nanoseconds (tests.oracle.clock).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

import simpy
from simpy.events import Event, EventPriority

from domain.decisions import Allocation
from domain.large_model import LargeModel
from domain.telemetry import Outcome, Phase


class Rank(IntEnum):
    """Order of what is due at one instant. SimPy keeps 0 and 1 for what must follow at once."""

    WORK_ENDS = 2
    """Before DEADLINE: a request whose inference ends exactly at its deadline has finished."""
    POD_ENDS = 3
    ADMISSION = 4
    WITHDRAWAL = 5
    READY = 6
    JOIN = 7
    DEADLINE = 8
    SNAPSHOT = 9
    """After all that is due; before the deployments of the slot that begins."""
    DEPLOYMENT = 10
    BEGIN = 11
    """After DEADLINE and DEPLOYMENT: a pod does not begin what leaves, nor anything where it stops, at that moment."""
    ARRIVAL = 12


class Agenda:
    """What is to be done when: by moment, by rank, and of equals what was put down first."""

    def __init__(self) -> None:
        self._env = simpy.Environment()
        self.after_each: Callable[[], None] = lambda: None
        """Called after everything that was done."""

    @property
    def now(self) -> int:
        return int(self._env.now)

    def at(self, at: int, rank: Rank, act: Callable[[], None]) -> Event:
        """Put down what is to be done; what should have been done before is done now."""
        event = Event(self._env)
        event._ok, event._value = True, None
        event.callbacks.append(lambda _: self._do(act))
        self._env.schedule(event, EventPriority(rank), max(0, at - self.now))
        return event

    def run(self, until: Event) -> None:
        self._env.run(until=until)

    def _do(self, act: Callable[[], None]) -> None:
        act()
        self.after_each()


@dataclass
class Stopwatch:
    """How long at least one of several things was going on."""

    total: int = 0
    running: int = 0
    since: int = 0

    def start(self, now: int) -> None:
        """One more thing goes on."""
        if not self.running:
            self.since = now
        self.running += 1

    def stop(self, now: int) -> None:
        """One of them has ended."""
        self.running -= 1
        if not self.running:
            self.total += now - self.since

    def at(self, now: int) -> int:
        return self.total + (now - self.since if self.running else 0)


@dataclass(eq=False)
class Request:
    """A request, all its parts together."""

    number: int
    arrival: int
    origin: int
    lm: int
    prompts: int
    arrival_s: float
    """As it was given."""
    parts: list[Part] = field(default_factory=list)
    """By node; one of all the prompts where the request is not split, none where it is routed nowhere."""
    outcome: Outcome | None = None


@dataclass(eq=False)
class Part:
    """What one node gets of a request."""

    request: Request
    node: int
    prompts: int
    join: int
    joined: bool = False
    begun: bool = False
    done: int = 0
    """Prompts that are finished."""
    in_hand: int = 0
    """Prompts in batches that a pod works on."""
    worked: Stopwatch = field(default_factory=Stopwatch)
    interruptions: int = 0
    finish: int | None = None
    downlink: int = 0
    expired: bool = False

    @property
    def left(self) -> int:
        return self.prompts - self.done

    @property
    def ended(self) -> bool:
        return self.expired or self.finish is not None


@dataclass(eq=False)
class Batch:
    """Prompts that are computed together."""

    parts: dict[Part, int]
    """Prompts of each part."""
    units: float
    """What it takes, a prompt taking 1."""
    since: int
    pace: int = 0
    """What a prompt takes as things are."""
    takes: int = 0
    """What the batch takes from `since` on, at this pace."""
    before: tuple[int, int] | None = None
    """What was left at `since`, and the pace at which it would have taken that; None where it began at `since`."""

    @property
    def due(self) -> int:
        return self.since + self.takes

    def go_on(self, now: int, pace: int) -> None:
        """Go on at another pace. Paces that lasted no time change nothing."""
        if self.pace and now > self.since:
            self.before, self.since = (self.due - now, self.pace), now
        self.pace = pace
        self.takes = max(1, round(self.units * pace)) if self.before is None else rescaled(*self.before, pace)


def rescaled(left: int, pace: int, new: int) -> int:
    """What is left at a new pace of what takes `left` at `pace`."""
    return left if new == pace else max(1, round(float(left) * float(new) / float(pace)))


@dataclass(eq=False)
class Copy:
    """What computes one batch at a time: a pod, or one of the copies of the LM that it holds."""

    on_gpu: Counter[int]
    """vGPUs by physical GPU, h of the page; one of one GPU where the pod holds several copies."""
    batch: Batch | None = None


@dataclass(eq=False)
class Pod:
    """A pod that was admitted: it holds its resources until it has ended."""

    lm: LargeModel
    allocation: Allocation
    on_gpu: Counter[int]
    """vGPUs by physical GPU, h of the page."""
    copies: list[Copy]
    """By GPU."""
    phase: Phase
    ready: int
    """When it gets or got READY, if nobody stops it."""
    until: int
    """When STARTING or TERMINATING ends."""
    at_work: Part | None = None
    """What it began last, until that has ended."""

    @property
    def batches(self) -> list[Batch]:
        """Those in hand."""
        return [copy.batch for copy in self.copies if copy.batch is not None]


@dataclass(eq=False)
class Wanted:
    """A PENDING pod: created, not admitted."""

    allocation: Allocation
    since: int


@dataclass(frozen=True)
class Seen:
    """What is to be seen of a queue."""

    unfinished: int
    """Prompts that have joined and are not finished, those in hand included."""
    pod: Pod | None
    """The pod that has prompts in hand, if any."""
    batch: tuple[int, int, int, tuple[int, int] | None] = (0, 0, 0, None)
    """`due`, `pace`, `since` and `before` of its first batch."""

    def left(self, moment: int) -> tuple[int, int]:
        """What is left of that batch, and the pace at which it would take so long: the one until that moment."""
        due, pace, since, before = self.batch
        return before if before is not None and since == moment else (due - moment, pace)


@dataclass(eq=False)
class Place:
    """What belongs to one (node, LM)."""

    node: int
    lm: int
    queue: list[Part] = field(default_factory=list)
    """In order of (join, number); what is in hand stays here."""
    pod: Pod | None = None
    wanted: Wanted | None = None
    """Alone, or behind a pod that is TERMINATING."""
    worked: Stopwatch = field(default_factory=Stopwatch)
    log: list[tuple[int, Seen]] = field(default_factory=list)
    """What was to be seen from which moment on."""

    def look(self) -> Seen:
        """What is to be seen now."""
        unfinished = sum(part.left for part in self.queue)
        if self.pod is None or not self.pod.batches:
            return Seen(unfinished, None)
        first = self.pod.batches[0]
        return Seen(unfinished, self.pod, (first.due, first.pace, first.since, first.before))

    def write_down(self, now: int) -> None:
        """Add to the log what has changed."""
        if not self.log or self.log[-1][1] != self.look():
            self.log.append((now, self.look()))

    def seen_at(self, moment: int) -> Seen:
        """What was to be seen at a moment, after all that happened then so far."""
        return next((seen for at, seen in reversed(self.log) if at <= moment), Seen(0, None))
