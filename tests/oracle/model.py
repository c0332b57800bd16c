"""The things of the simulation, and the order of what happens to them at one and the same instant.

All moments and durations are integers: nanoseconds (tests.oracle.clock).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import simpy
from simpy.events import Event, EventPriority

from domain.decisions import Allocation
from domain.large_model import LargeModel
from domain.telemetry import Outcome, Phase


class Rank(IntEnum):
    """Order of what is due at one instant. SimPy keeps 0 and 1 for interrupts and for what must follow at once."""

    PROMPT = 2
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


class Cause(StrEnum):
    """Why the process of a pod is interrupted."""

    SPEED = "another pod on its GPUs turned busy or idle"
    EXPIRED = "the request in hand reached its deadline"
    STOP = "a deployment stops the pod"


class Moment(Event):
    """An event at a given time with a given rank."""

    def __init__(self, env: simpy.Environment, at: int, rank: Rank) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        env.schedule(self, EventPriority(rank), max(0, at - env.now))


@dataclass(eq=False)
class Request:
    """A request on its way."""

    number: int
    arrival: int
    origin: int
    lm: int
    prompts: int
    target: int
    join: int
    arrival_s: float
    """As it was given."""
    joined: bool = False
    begun: bool = False
    prompts_done: int = 0
    inference: int = 0
    interruptions: int = 0
    outcome: Outcome | None = None


@dataclass(eq=False)
class Pod:
    """A pod that was admitted: it holds its resources until it has ended."""

    lm: LargeModel
    allocation: Allocation
    on_gpu: Counter[int]
    """vGPUs by physical GPU, h of the page."""
    phase: Phase
    until: int
    """When STARTING or TERMINATING ends."""
    process: simpy.Process = field(init=False)
    request: Request | None = None
    """What it works on; a pod with a request is busy."""
    since: int = 0
    """Start of the stretch of work that has not been added to any sum yet."""

    @property
    def busy(self) -> bool:
        return self.phase == Phase.READY and self.request is not None


@dataclass(eq=False)
class Wanted:
    """A PENDING pod: created, not admitted."""

    allocation: Allocation
    since: int


@dataclass(eq=False)
class Place:
    """What belongs to one (node, LM)."""

    node: int
    lm: int
    someone_joined: Event
    queue: list[Request] = field(default_factory=list)
    """In order of (join, number); the head stays here while a pod works on it."""
    pod: Pod | None = None
    wanted: Wanted | None = None
    """Alone, or behind a pod that is TERMINATING."""
    busy: int = 0
