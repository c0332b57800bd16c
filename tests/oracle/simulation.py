"""docs/twin.md in SimPy, event by event: every prompt, join, deadline, start and shutdown is an event of its own.

Written from the page alone and without a look at the compiled engine, so that the two agree only where both are right.
Clarity goes before speed: nothing is computed ahead, and whatever is asked is summed up anew.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Sequence

import simpy
from simpy.events import Event, ProcessGenerator

from domain.cluster import Cluster
from domain.decisions import NOWHERE, Allocation, Deployment, RoutingPlan
from domain.large_model import LargeModel
from domain.telemetry import Outcome, Phase, Snapshot
from domain.workload import Arrivals
from tests.oracle.history import History, busy_seconds, observe, row, to_records
from tests.oracle.model import Cause, Moment, Place, Pod, Rank, Request, Wanted

SLACK_GB = 1e-9


def simulate(
    cluster: Cluster,
    arrivals: Arrivals,
    plans: Sequence[RoutingPlan],
    deployments: Sequence[Sequence[Deployment]],
    slots: int,
) -> History:
    """Run `slots` slots from an empty cluster; `plans[t]` and `deployments[t]` are those of slot t.

    A node without a deployment in a slot keeps what it has.
    """
    return Simulation(cluster, arrivals, plans, deployments, slots).run()


class Simulation:
    """One run of a cluster; build it, then call `run`, once."""

    def __init__(
        self,
        cluster: Cluster,
        arrivals: Arrivals,
        plans: Sequence[RoutingPlan],
        deployments: Sequence[Sequence[Deployment]],
        slots: int,
    ) -> None:
        self.cluster, self.arrivals, self.plans, self.deployments = cluster, arrivals, plans, deployments
        self.slots, self.slot = slots, 0
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

    def _at(self, time_s: float, rank: Rank) -> Moment:
        return Moment(self.env, time_s, rank)

    def _clock(self) -> ProcessGenerator:
        busy_before = busy_seconds(self.places, 0.0)
        for slot in range(self.slots + 1):
            yield self._at(slot * self.cluster.slot_s, Rank.SNAPSHOT)
            self.slot = slot
            busy = busy_seconds(self.places, self.env.now)
            free = [self._free(n) for n in range(self.cluster.n_nodes)]
            state = (slot, self.env.now, self.requests, self.places, free, busy - busy_before)
            self.snapshots.append(observe(self.cluster, *state))
            self.waiting.append(sum(request.outcome is None for request in self.requests))
            busy_before = busy

    # Requests

    def _users(self) -> ProcessGenerator:
        a = self.arrivals
        columns = (a.time_s.tolist(), a.origin.tolist(), a.lm.tolist(), a.prompts.tolist())
        for number, (time_s, origin, lm, prompts) in enumerate(zip(*columns, strict=True)):
            yield self._at(time_s, Rank.ARRIVAL)
            target = int(self.plans[self.slot].targets[origin, lm])
            request = Request(number, time_s, origin, lm, prompts, target)
            self.requests.append(request)
            if target == NOWHERE:
                self._end(request, Outcome.UNROUTABLE, 0.0, 0.0)
            else:
                self.env.process(self._uplink(request))
                self.env.process(self._deadline(request))

    def _uplink(self, request: Request) -> ProcessGenerator:
        seconds = self.cluster.uplink_seconds(request.origin, request.target, request.lm, request.prompts)
        request.join_s = request.arrival_s + seconds
        yield self._at(request.join_s, Rank.JOIN)
        if request.outcome is None:
            request.joined = True
            place = self.places[request.target][request.lm]
            place.queue.append(request)
            place.queue.sort(key=lambda r: (r.join_s, r.number))
            place.someone_joined.succeed()
            place.someone_joined = self.env.event()

    def _deadline(self, request: Request) -> ProcessGenerator:
        yield self._at(request.arrival_s + self.cluster.deadline_s, Rank.DEADLINE)
        if request.outcome is not None:
            return
        pod = self.places[request.target][request.lm].pod
        if pod is not None and pod.request is request:
            pod.process.interrupt(Cause.EXPIRED)
        else:
            self._expire(request)

    def _expire(self, request: Request) -> None:
        tau = self.cluster.deadline_s
        if request.joined:
            self.places[request.target][request.lm].queue.remove(request)
        uplink = request.join_s - request.arrival_s if request.joined else tau
        outcome = Outcome.EXPIRED_RUNNING if request.begun else Outcome.EXPIRED_WAITING
        self._end(request, outcome, uplink, tau - uplink - request.inference_s)

    def _finish(self, request: Request) -> None:
        self.places[request.target][request.lm].queue.remove(request)
        uplink = request.join_s - request.arrival_s
        queue = self.env.now - request.join_s - request.inference_s
        downlink = self.cluster.downlink_seconds(request.origin, request.target, request.lm, request.prompts)
        in_time = self.env.now + downlink - request.arrival_s <= self.cluster.deadline_s
        self._end(request, Outcome.SUCCESS if in_time else Outcome.LATE, uplink, queue, downlink)

    def _end(self, request: Request, outcome: Outcome, uplink: float, queue: float, downlink: float = 0.0) -> None:
        request.outcome = outcome
        self.rows[self.slot].append(row(request, outcome, uplink, queue, downlink))

    # Pods

    def _pod(self, place: Place, pod: Pod) -> ProcessGenerator:
        """Live the life of a pod, from admission until its resources are free."""
        try:
            yield self._at(pod.until_s, Rank.READY)
            pod.phase = Phase.READY
            while True:
                while not place.queue:
                    yield place.someone_joined
                yield self._at(self.env.now, Rank.BEGIN)
                if place.queue:
                    yield from self._work(place, pod, place.queue[0])
        except simpy.Interrupt as interrupt:
            if interrupt.cause is not Cause.STOP:
                raise
        yield self._at(pod.until_s, Rank.POD_ENDS)
        place.pod = None
        yield self._at(self.env.now, Rank.ADMISSION)
        self._admit(place.node)

    def _stop(self, place: Place, pod: Pod) -> None:
        pod.phase = Phase.TERMINATING
        pod.until_s = self.env.now + self.cluster.lms[place.lm].stop_s
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
        """Compute one prompt, at whatever speeds there are on the way."""
        left = 1.0
        while left > 0.0:
            seconds = self._seconds_per_prompt(place, pod)
            pod.since_s = self.env.now
            try:
                yield self._at(pod.since_s + left * seconds, Rank.PROMPT)
                left = 0.0
            except simpy.Interrupt as interrupt:
                if interrupt.cause is not Cause.SPEED:
                    raise
                left -= (self.env.now - pod.since_s) / seconds
            finally:
                request.inference_s += self.env.now - pod.since_s
                place.busy_s += self.env.now - pod.since_s
                pod.since_s = self.env.now
        request.prompts_done += 1

    def _seconds_per_prompt(self, place: Place, pod: Pod) -> float:
        if not pod.allocation.vgpus:
            return self.cluster.cpu_seconds(place.node, place.lm, pod.allocation.cores)
        profile = self.cluster.lms[place.lm].gpu_profiles.get(self.cluster.nodes[place.node].gpu_model or "")
        if profile is None:
            return math.inf
        busy = sum((other.on_gpu for other in self._pods(place.node) if other.busy), Counter[int]())
        slowdown = sum(busy[p] for p in pod.on_gpu) / pod.allocation.vgpus
        return profile.fixed_s + profile.compute_s * slowdown

    def _tell_neighbours(self, place: Place, pod: Pod) -> None:
        for other in self._pods(place.node):
            if other is not pod and other.busy and other.on_gpu & pod.on_gpu:
                other.process.interrupt(Cause.SPEED)

    def _pods(self, n: int) -> list[Pod]:
        return [place.pod for place in self.places[n] if place.pod is not None]

    # Deployments

    def _node(self, n: int) -> ProcessGenerator:
        for slot in range(self.slots):
            yield self._at(slot * self.cluster.slot_s, Rank.DEPLOYMENT)
            for deployment in self.deployments[slot]:
                if deployment.node == n:
                    self._apply(deployment)

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
                place.wanted = Wanted(new, self.env.now)
                self.env.process(self._timeout(place, place.wanted))
        self._admit(deployment.node)

    def _timeout(self, place: Place, wanted: Wanted) -> ProcessGenerator:
        yield self._at(wanted.since_s + self.cluster.pending_timeout_s, Rank.WITHDRAWAL)
        if place.wanted is wanted:
            place.wanted = None

    def _admit(self, n: int) -> None:
        pending = [(p.wanted.since_s, p.lm, p.wanted) for p in self.places[n] if p.wanted and not p.pod]
        for _, i, wanted in sorted(pending, key=lambda entry: entry[:2]):
            place, lm, allocation = self.places[n][i], self.cluster.lms[i], wanted.allocation
            cores, ram, vgpus, vram = self._free(n)
            needed_ram, needed_vram = self._memory(n, lm, allocation)
            if (
                allocation.demand_cores(lm) <= cores
                and allocation.vgpus <= vgpus
                and needed_ram <= ram + SLACK_GB
                and needed_vram <= vram + SLACK_GB
            ):
                on_gpu = self._choose_gpus(n, lm, allocation.vgpus)
                if on_gpu is None:
                    self.crowded += 1
                    continue
                ready_s = self.env.now + (lm.start_gpu_s if allocation.vgpus else lm.start_cpu_s)
                pod = Pod(lm, allocation, on_gpu, Phase.STARTING, ready_s)
                place.pod, place.wanted = pod, None
                self.spanning += len(pod.on_gpu) > 1
                self.unified += allocation.vgpus > 0 and self.cluster.nodes[n].unified_memory
                pod.process = self.env.process(self._pod(place, pod))

    def _choose_gpus(self, n: int, lm: LargeModel, vgpus: int) -> Counter[int] | None:
        """One vGPU after the other from the emptiest GPU that has memory for it; None where one of them finds none."""
        node, chosen = self.cluster.nodes[n], Counter[int]()
        free = Counter(dict.fromkeys(range(node.gpus), node.vgpus_per_gpu))
        memory = dict.fromkeys(range(node.gpus), 0.0 if node.unified_memory else node.vram_gb / max(node.gpus, 1))
        for pod in self._pods(n):
            free.subtract(pod.on_gpu)
            for p, count in pod.on_gpu.items():
                memory[p] -= self._memory(n, pod.lm, pod.allocation)[1] * count / pod.allocation.vgpus
        part = self._memory(n, lm, Allocation(vgpus=vgpus))[1] / max(vgpus, 1)
        for _ in range(vgpus):
            able = [p for p in range(node.gpus) if free[p] > 0 and part <= memory[p] + SLACK_GB]
            if not able:
                return None
            most = max(able, key=lambda p: (free[p], -p))
            chosen[most] += 1
            free[most] -= 1
            memory[most] -= part
        return chosen

    def _memory(self, n: int, lm: LargeModel, allocation: Allocation) -> tuple[float, float]:
        """GB of RAM and of vRAM that a pod takes."""
        if not allocation.vgpus:
            return lm.ram_gb, 0.0
        if self.cluster.nodes[n].unified_memory:
            return lm.ram_gb + lm.vram_gb if lm.unified_gb is None else lm.unified_gb, 0.0
        return lm.ram_gb, lm.vram_gb

    def _free(self, n: int) -> tuple[int, float, int, float]:
        """Cores, GB of RAM, vGPUs and GB of vRAM of the node that no pod holds."""
        node, pods = self.cluster.nodes[n], self._pods(n)
        memory = [self._memory(n, pod.lm, pod.allocation) for pod in pods]
        return (
            node.cpu_cores - sum(pod.allocation.demand_cores(pod.lm) for pod in pods),
            node.ram_gb - sum(ram for ram, _ in memory),
            node.vgpus - sum(pod.allocation.vgpus for pod in pods),
            node.vram_gb - sum(vram for _, vram in memory),
        )
