"""docs/twin.md in SimPy, event by event: every prompt, join, deadline, start and shutdown is an event of its own.

Written from the page alone and without a look at the compiled engine, so that the two agree only where both are right.
Clarity goes before speed: nothing is computed ahead, and whatever is asked is summed up anew. Time is an integer, and
what is given in seconds is read as the decimal that it is written as, so that ties are exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from fractions import Fraction

import simpy
from simpy.events import Event, ProcessGenerator

from domain.cluster import Cluster
from domain.decisions import NOWHERE, Deployment, RoutingPlan
from domain.telemetry import Outcome, Phase, Snapshot
from domain.workload import Arrivals
from tests.oracle.capacity import choose_gpus, fits, free
from tests.oracle.clock import exact, moment, slot_start, transfer, whole
from tests.oracle.history import History, busy_so_far, observe, row, to_records
from tests.oracle.model import Cause, Moment, Place, Pod, Rank, Request, Wanted


def simulate(
    cluster: Cluster,
    arrivals: Arrivals,
    plans: Sequence[RoutingPlan | None],
    deployments: Sequence[Sequence[Deployment]],
    slots: int,
) -> History:
    """Run `slots` slots from an empty cluster; `plans[t]` and `deployments[t]` are those of slot t.

    A slot without a plan keeps the one before it, a node without a deployment what it has. Of two deployments of one
    node the later one counts.
    """
    return Simulation(cluster, arrivals, plans, deployments, slots).run()


class Simulation:
    """One run of a cluster; build it, then call `run`, once."""

    def __init__(
        self,
        cluster: Cluster,
        arrivals: Arrivals,
        plans: Sequence[RoutingPlan | None],
        deployments: Sequence[Sequence[Deployment]],
        slots: int,
    ) -> None:
        self.cluster, self.arrivals, self.plans, self.deployments = cluster, arrivals, plans, deployments
        self.slots, self.slot, self.tau = slots, 0, whole(exact(cluster.deadline_s))
        self.plan: RoutingPlan | None = None
        self.env = simpy.Environment()
        self.places = [[Place(n, i, self.env.event()) for i in range(cluster.n_lms)] for n in range(cluster.n_nodes)]
        self.requests: list[Request] = []
        self.rows: list[list[tuple[float, ...]]] = [[] for _ in range(slots)]
        self.snapshots: list[Snapshot] = []
        self.waiting: list[int] = []
        self.spanning = self.crowded = self.unified = 0

    def run(self) -> History:
        """Simulate all the slots."""
        for n in range(self.cluster.n_nodes):
            self.env.process(self._node(n))
        self.env.process(self._users())
        self.env.run(until=self.env.process(self._clock()))
        records = [to_records(rows) for rows in self.rows]
        return History(records, self.snapshots, self.waiting, self.spanning, self.crowded, self.unified)

    @property
    def now(self) -> int:
        return int(self.env.now)

    def _at(self, at: int, rank: Rank) -> Moment:
        return Moment(self.env, at, rank)

    def _clock(self) -> ProcessGenerator:
        busy_before = busy_so_far(self.places, 0)
        for slot in range(self.slots + 1):
            yield self._at(slot_start(self.cluster, slot), Rank.SNAPSHOT)
            self.slot = slot
            self.plan = (self.plans[slot] if slot < self.slots else None) or self.plan
            busy = busy_so_far(self.places, self.now)
            left = [free(node, self._pods(n)) for n, node in enumerate(self.cluster.nodes)]
            state = (slot, self.now, self.requests, self.places, left, busy - busy_before)
            self.snapshots.append(observe(self.cluster, *state))
            self.waiting.append(sum(request.outcome is None for request in self.requests))
            busy_before = busy

    # Requests

    def _users(self) -> ProcessGenerator:
        a = self.arrivals
        columns = (a.time_s.tolist(), a.origin.tolist(), a.lm.tolist(), a.prompts.tolist())
        for number, (time_s, origin, lm, prompts) in enumerate(zip(*columns, strict=True)):
            yield self._at(moment(exact(time_s)), Rank.ARRIVAL)
            target = NOWHERE if self.plan is None else int(self.plan.targets[origin, lm])
            size = prompts * self.cluster.lms[lm].uplink_bytes
            join = self.now + (0 if target == NOWHERE else transfer(self.cluster, origin, target, size))
            request = Request(number, self.now, origin, lm, prompts, target, join, time_s)
            self.requests.append(request)
            if target == NOWHERE:
                self._end(request, Outcome.UNROUTABLE, 0, 0)
            else:
                self.env.process(self._uplink(request))
                self.env.process(self._deadline(request))

    def _uplink(self, request: Request) -> ProcessGenerator:
        yield self._at(request.join, Rank.JOIN)
        if request.outcome is None:
            request.joined = True
            place = self.places[request.target][request.lm]
            place.queue.append(request)
            place.queue.sort(key=lambda r: (r.join, r.number))
            place.someone_joined.succeed()
            place.someone_joined = self.env.event()

    def _deadline(self, request: Request) -> ProcessGenerator:
        yield self._at(request.arrival + self.tau, Rank.DEADLINE)
        if request.outcome is not None:
            return
        pod = self.places[request.target][request.lm].pod
        if pod is not None and pod.request is request:
            pod.process.interrupt(Cause.EXPIRED)
        else:
            self._expire(request)

    def _expire(self, request: Request) -> None:
        if request.joined:
            self.places[request.target][request.lm].queue.remove(request)
        uplink = request.join - request.arrival if request.joined else self.tau
        outcome = Outcome.EXPIRED_RUNNING if request.begun else Outcome.EXPIRED_WAITING
        self._end(request, outcome, uplink, self.tau - uplink - request.inference)

    def _finish(self, request: Request) -> None:
        self.places[request.target][request.lm].queue.remove(request)
        uplink = request.join - request.arrival
        queue = self.now - request.join - request.inference
        size = request.prompts * self.cluster.lms[request.lm].downlink_bytes
        downlink = transfer(self.cluster, request.target, request.origin, size)
        in_time = self.now + downlink - request.arrival <= self.tau
        self._end(request, Outcome.SUCCESS if in_time else Outcome.LATE, uplink, queue, downlink)

    def _end(self, request: Request, outcome: Outcome, uplink: int, queue: int, downlink: int = 0) -> None:
        request.outcome = outcome
        self.rows[self.slot].append(row(request, outcome, uplink, queue, downlink))

    # Pods

    def _pod(self, place: Place, pod: Pod) -> ProcessGenerator:
        """Live the life of a pod, from admission until its resources are free."""
        try:
            yield self._at(pod.until, Rank.READY)
            pod.phase = Phase.READY
            while True:
                while not place.queue:
                    yield place.someone_joined
                yield self._at(self.now, Rank.BEGIN)
                if place.queue:
                    yield from self._work(place, pod, place.queue[0])
        except simpy.Interrupt as interrupt:
            if interrupt.cause is not Cause.STOP:
                raise
        yield self._at(pod.until, Rank.POD_ENDS)
        place.pod = None
        yield self._at(self.now, Rank.ADMISSION)
        self._admit(place.node)

    def _stop(self, place: Place, pod: Pod) -> None:
        pod.phase = Phase.TERMINATING
        pod.until = self.now + whole(exact(self.cluster.lms[place.lm].stop_s))
        pod.process.interrupt(Cause.STOP)

    def _work(self, place: Place, pod: Pod, request: Request) -> Generator[Event, None, None]:
        """Work on a request until it is finished or expires; the interrupt that stops the pod passes through."""
        request.begun = True
        pod.request = request
        self._tell_neighbours(place, pod)
        try:
            while request.prompts_done < request.prompts:
                yield from self._prompt(place, pod, request)
            self._finish(request)
        except simpy.Interrupt as interrupt:
            if interrupt.cause is Cause.STOP:
                request.interruptions += 1
                raise
            self._expire(request)
        finally:
            pod.request = None
            self._tell_neighbours(place, pod)

    def _prompt(self, place: Place, pod: Pod, request: Request) -> Generator[Event, None, None]:
        """Compute one prompt, at whatever paces there are on the way.

        `left` is what it still takes at `pace`. Paces that last no time change nothing.
        """
        left = pace = self._pace(place, pod)
        while left:
            now_takes = self._pace(place, pod)
            takes = left if now_takes == pace else max(1, round(float(left) * float(now_takes) / float(pace)))
            pod.since = self.now
            try:
                yield self._at(pod.since + takes, Rank.PROMPT)
                left = 0
            except simpy.Interrupt as interrupt:
                if interrupt.cause is not Cause.SPEED:
                    raise
                if self.now > pod.since:
                    left, pace = takes - (self.now - pod.since), now_takes
            finally:
                request.inference += self.now - pod.since
                place.busy += self.now - pod.since
                pod.since = self.now
        request.prompts_done += 1

    def _pace(self, place: Place, pod: Pod) -> int:
        """What a whole prompt takes while the pods that are busy now stay so."""
        if not pod.allocation.vgpus:
            return max(1, whole(exact(self.cluster.cpu_seconds(place.node, place.lm, pod.allocation.cores))))
        profile = self.cluster.lms[place.lm].gpu_profiles[self.cluster.nodes[place.node].gpu_model or ""]
        busy = sum((other.on_gpu for other in self._pods(place.node) if other.busy), Counter[int]())
        slowdown = Fraction(sum(busy[p] for p in pod.on_gpu), pod.allocation.vgpus)
        fixed, compute = whole(exact(profile.fixed_s)), max(1, whole(exact(profile.compute_s)))
        return fixed + round(compute * slowdown)

    def _tell_neighbours(self, place: Place, pod: Pod) -> None:
        for other in self._pods(place.node):
            if other is not pod and other.busy and other.on_gpu & pod.on_gpu:
                other.process.interrupt(Cause.SPEED)

    def _pods(self, n: int) -> list[Pod]:
        return [place.pod for place in self.places[n] if place.pod is not None]

    # Deployments

    def _node(self, n: int) -> ProcessGenerator:
        for slot in range(self.slots):
            yield self._at(slot_start(self.cluster, slot), Rank.DEPLOYMENT)
            given = [deployment for deployment in self.deployments[slot] if deployment.node == n]
            if given:
                self._apply(given[-1])

    def _apply(self, deployment: Deployment) -> None:
        places = self.places[deployment.node]
        blocked = any(place.wanted is not None for place in places)
        for place, new in zip(places, deployment.allocations, strict=True):
            runs = place.pod if place.pod is not None and place.pod.phase != Phase.TERMINATING else None
            if place.wanted is not None:
                if new.is_off:
                    place.wanted = None
            elif new.is_off:
                if runs is not None:
                    self._stop(place, runs)
            elif (runs is None or new != runs.allocation) and not blocked:
                if runs is not None:
                    self._stop(place, runs)
                place.wanted = Wanted(new, self.now)
                self.env.process(self._timeout(place, place.wanted))
        self._admit(deployment.node)

    def _timeout(self, place: Place, wanted: Wanted) -> ProcessGenerator:
        yield self._at(wanted.since + whole(exact(self.cluster.pending_timeout_s)), Rank.WITHDRAWAL)
        if place.wanted is wanted:
            place.wanted = None

    def _admit(self, n: int) -> None:
        pending = [(p.wanted.since, p.lm, p.wanted) for p in self.places[n] if p.wanted and not p.pod]
        for _, i, wanted in sorted(pending, key=lambda entry: entry[:2]):
            place, lm, node, pods = self.places[n][i], self.cluster.lms[i], self.cluster.nodes[n], self._pods(n)
            allocation = wanted.allocation
            if not fits(node, pods, lm, allocation):
                continue
            on_gpu = choose_gpus(node, pods, lm, allocation.vgpus)
            if on_gpu is None:
                self.crowded += 1
                continue
            start_s = lm.start_gpu_s if allocation.vgpus else lm.start_cpu_s
            pod = Pod(lm, allocation, on_gpu, Phase.STARTING, self.now + whole(exact(start_s)))
            place.pod, place.wanted = pod, None
            self.spanning += len(pod.on_gpu) > 1
            self.unified += allocation.vgpus > 0 and node.unified_memory
            pod.process = self.env.process(self._pod(place, pod))
