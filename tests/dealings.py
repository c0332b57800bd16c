"""What every way to deal requests over pods comes to: FIFO queues, batches and copies, played without the twin.

Pods are loaded and no two share a GPU, so a prompt always takes equally long on a node.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from domain.cluster import Cluster
from domain.serving import BatchCurve, Batching
from tests.bounds import Asked

Dealing = tuple[int, ...]
"""Prompts of a request for each node."""


@dataclass(frozen=True)
class Pod:
    """A pod of one node, whatever it has to do."""

    seconds: float
    """Per prompt."""
    copies: int = 1
    batch: BatchCurve = BatchCurve()


@dataclass
class _Part:
    joined_s: float
    request: int
    open: int
    unfinished: int = field(init=False)

    def __post_init__(self) -> None:
        self.unfinished = self.open


def whole(nodes: int, prompts: int) -> Iterator[Dealing]:
    """All ways to send a request to one node."""
    yield from (tuple(prompts if n == target else 0 for n in range(nodes)) for target in range(nodes))


def dealt(nodes: int, prompts: int) -> Iterator[Dealing]:
    """All ways to deal the prompts of a request over nodes."""
    for dealing in itertools.product(range(prompts + 1), repeat=nodes):
        if sum(dealing) == prompts:
            yield dealing


def finished(pod: Pod, batching: Batching, parts: list[_Part]) -> dict[int, float]:
    """Return when the pod is done with each request, by twin.md's rules for batches and copies."""
    queue = sorted(parts, key=lambda part: (part.joined_s, part.request))
    hands: list[list[tuple[_Part, int]]] = [[] for _ in range(pod.copies)]
    free_s, done = [0.0] * pod.copies, dict[int, float]()
    events = sorted({part.joined_s for part in queue})
    while events:
        now = events.pop(0)
        for copy, hand in enumerate(hands):
            if hand and free_s[copy] == now:
                for part, count in hand:
                    part.unfinished -= count
                    if not part.unfinished:
                        done[part.request] = now
                hands[copy] = []
        for copy, hand in enumerate(hands):
            waiting = [part for part in queue if part.joined_s <= now and part.open]
            if hand or not waiting:
                continue
            room = 1 if batching is Batching.NONE else pod.batch.most
            for part in waiting if batching is Batching.QUEUE else waiting[:1]:
                count = min(room, part.open)
                part.open, room = part.open - count, room - count
                if count:
                    hands[copy].append((part, count))
            free_s[copy] = now + pod.seconds * pod.batch.units(sum(count for _, count in hands[copy]))
            events = sorted({*events, free_s[copy]})
    return done


def least_mean_s(where: Cluster, pods: list[Pod], requests: list[Asked], split: bool) -> float:
    """Return the least mean latency of all dealings of requests of LM 0."""
    ways = [list((dealt if split else whole)(len(pods), prompts)) for _, _, _, prompts in requests]
    best = math.inf
    for dealings in itertools.product(*ways):
        back = [0.0] * len(requests)
        for n, pod in enumerate(pods):
            parts = [
                _Part(at + where.uplink_seconds(origin, n, 0, dealing[n]), q, dealing[n])
                for q, ((at, origin, _, _), dealing) in enumerate(zip(requests, dealings, strict=True))
                if dealing[n]
            ]
            for q, done in finished(pod, where.serving.batching, parts).items():
                at, origin = requests[q][:2]
                back[q] = max(back[q], done + where.downlink_seconds(origin, n, 0, dealings[q][n]) - at)
        best = min(best, sum(back) / len(requests))
    return best
