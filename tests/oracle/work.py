"""Who computes what: copies turn to open prompts, and slow each other down while they compute.

The rules of the page for one prompt after the other are those for batches, of one prompt in one copy. Only where a
pod stops between two prompts do they differ: see `stop`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from domain.cluster import Cluster
from domain.serving import Batching
from domain.telemetry import Phase
from tests.oracle.model import Agenda, Batch, Copy, Part, Place, Pod, Rank
from tests.oracle.speed import Customer, alone, by_demand, curve, gpu_parts, networks


class Work:
    """The work of all pods of a cluster."""

    def __init__(
        self,
        agenda: Agenda,
        cluster: Cluster,
        places: list[list[Place]],
        finished: Callable[[Part], None],
        features: Counter[str],
    ) -> None:
        self.agenda, self.cluster, self.places = agenda, cluster, places
        self.finished, self.features = finished, features

    def turn(self, place: Place) -> None:
        """Let the free copies of the pod turn to open prompts, when all else has happened at this moment."""
        self.agenda.at(self.agenda.now, Rank.BEGIN, partial(self._turn, place))

    def leave(self, part: Part) -> None:
        """Take a part that has expired out of the batches that it is in."""
        place = self.places[part.node][part.request.lm]
        for copy in place.pod.copies if place.pod is not None else []:
            if copy.batch is not None and part in copy.batch.parts:
                del copy.batch.parts[part]
                part.worked.stop(self.agenda.now)
                if not copy.batch.parts:
                    self._let_go(place, copy)
                else:
                    self.features["batches that go on for others"] += 1
        self._slow_down(place.node)
        self.turn(place)

    def stop(self, place: Place, pod: Pod) -> None:
        """Lose the batches in hand of a pod that stops.

        A pod of one prompt after the other is interrupted also between two of them.
        """
        interrupted = {part for batch in pod.batches for part in batch.parts}
        if follows_plain_rules(self.cluster, pod) and pod.at_work is not None and not pod.at_work.ended:
            interrupted.add(pod.at_work)
        for part in interrupted:
            part.interruptions += 1
        for copy in pod.copies:
            if copy.batch is not None:
                self.features["interrupted batches"] += sum(copy.batch.parts.values()) > 1
                for part, count in copy.batch.parts.items():
                    part.in_hand -= count
                    part.worked.stop(self.agenda.now)
                self._let_go(place, copy)
        self._slow_down(place.node)

    def _turn(self, place: Place) -> None:
        pod = place.pod
        if pod is None or pod.phase != Phase.READY:
            return
        for copy in pod.copies:
            if copy.batch is None and (parts := self._next(place, pod)):
                self._begin(place, pod, copy, parts)

    def _next(self, place: Place, pod: Pod) -> dict[Part, int]:
        """Open prompts for the next batch, by part."""
        open_parts = [part for part in place.queue if part.left > part.in_hand]
        if self.cluster.serving.batching is not Batching.QUEUE:
            open_parts = open_parts[:1]
        room, taken = curve(self.cluster, place.node, place.lm, pod.allocation).most, dict[Part, int]()
        for part in open_parts:
            if room:
                taken[part] = min(room, part.left - part.in_hand)
                room -= taken[part]
        return taken

    def _begin(self, place: Place, pod: Pod, copy: Copy, parts: dict[Part, int]) -> None:
        size = sum(parts.values())
        copy.batch = Batch(
            parts, curve(self.cluster, place.node, place.lm, pod.allocation).units(size), self.agenda.now
        )
        place.worked.start(self.agenda.now)
        for part, count in parts.items():
            self.features["requests in several batches at once"] += part.in_hand > 0
            part.begun, pod.at_work = True, part
            part.in_hand += count
            part.worked.start(self.agenda.now)
        self.features["batches of several prompts"] += size > 1
        self.features["batches over several requests"] += len(parts) > 1
        self._slow_down(place.node)

    def _end(self, place: Place, copy: Copy, batch: Batch) -> None:
        if copy.batch is not batch or batch.due != self.agenda.now:
            return
        self._let_go(place, copy)
        for part, count in batch.parts.items():
            part.in_hand -= count
            part.done += count
            part.worked.stop(self.agenda.now)
            if not part.left:
                self.features["requests that overtake others"] += place.queue[0] is not part
                place.queue.remove(part)
                self.finished(part)
        self._slow_down(place.node)
        self.turn(place)

    def _let_go(self, place: Place, copy: Copy) -> None:
        copy.batch = None
        place.worked.stop(self.agenda.now)

    def _slow_down(self, n: int) -> None:
        """Let all that is busy on the node go on at the pace that it has now."""
        busy = [
            (place, pod, copy, copy.batch)
            for place in self.places[n]
            if (pod := place.pod) is not None
            for copy in pod.copies
            if copy.batch is not None
        ]
        on_gpus = [(place.lm, copy) for place, pod, copy, _ in busy if pod.allocation.vgpus]
        customers = tuple(self._customer(n, i, copy) for i, copy in on_gpus)
        shared = {copy: pace for (_, copy), pace in zip(on_gpus, by_demand(customers), strict=True)}
        self.features["networks of three that are busy"] += any(len(group) > 2 for group in networks(customers))
        for place, pod, copy, batch in busy:
            if batch.pace and batch.due == self.agenda.now:
                continue  # it ends at this moment
            due = batch.due
            batch.go_on(self.agenda.now, shared.get(copy) or alone(self.cluster, n, place.lm, pod.allocation))
            if batch.due != due:
                self.agenda.at(batch.due, Rank.WORK_ENDS, partial(self._end, place, copy, batch))

    def _customer(self, n: int, i: int, copy: Copy) -> Customer:
        return (*gpu_parts(self.cluster, n, i), tuple(sorted(copy.on_gpu.items())))


def follows_plain_rules(cluster: Cluster, pod: Pod) -> bool:
    """True for pods that compute one prompt after the other, as in P1."""
    return cluster.serving.batching is Batching.NONE and len(pod.copies) == 1
