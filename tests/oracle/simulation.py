"""docs/twin.md in SimPy, event by event: every batch, join, deadline, start and shutdown is an event of its own.

Written from the page alone and without a look at the compiled engine, so that the two agree only where both are right.
Clarity goes before speed: nothing is computed ahead, and whatever is asked is summed up anew. Time is an integer, and
what is given in seconds is read as the decimal that it is written as, so that ties are exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from domain.cluster import Cluster
from domain.decisions import NOWHERE, Deployment, RoutingPlan
from domain.serving import Dispatch
from domain.telemetry import Outcome, Phase, Snapshot
from domain.workload import Arrivals
from tests.oracle.capacity import choose_gpus, copies_fit, fits, free
from tests.oracle.clock import exact, moment, slot_start, whole
from tests.oracle.dispatch import Dispatcher, downlink, uplink
from tests.oracle.history import History, busy_so_far, observe, row, to_records
from tests.oracle.model import Agenda, Copy, Part, Place, Pod, Rank, Request, Wanted
from tests.oracle.work import Work


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
        self.agenda = Agenda()
        self.places = [[Place(n, i) for i in range(cluster.n_lms)] for n in range(cluster.n_nodes)]
        self.features = Counter[str]()
        self.work = Work(self.agenda, cluster, self.places, self._finish, self.features)
        self.dispatcher = Dispatcher(cluster, self.places, self.features)
        self.requests: list[Request] = []
        self.rows: list[list[tuple[float, ...]]] = [[] for _ in range(slots)]
        self.snapshots: list[Snapshot] = []
        self.waiting: list[int] = []
        self.busy_before = busy_so_far(self.places, 0)

    def run(self) -> History:
        """Simulate all the slots."""
        at = self.agenda.at
        if self.cluster.serving.dispatch is not Dispatch.FIXED:
            self.agenda.after_each = self._write_down
        for slot, given in enumerate(self.deployments[: self.slots]):
            start = slot_start(self.cluster, slot)
            for deployment in {deployment.node: deployment for deployment in given}.values():
                at(start, Rank.DEPLOYMENT, partial(self._apply, deployment))
        a = self.arrivals
        columns = (a.time_s.tolist(), a.origin.tolist(), a.lm.tolist(), a.prompts.tolist())
        for number, (time_s, *what) in enumerate(zip(*columns, strict=True)):
            at(moment(exact(time_s)), Rank.ARRIVAL, partial(self._arrive, number, time_s, *what))
        starts = [slot_start(self.cluster, slot) for slot in range(self.slots + 1)]
        looks = [at(start, Rank.SNAPSHOT, partial(self._look, slot)) for slot, start in enumerate(starts)]
        self.agenda.run(until=looks[-1])
        records = [to_records(rows) for rows in self.rows]
        return History(records, self.snapshots, self.waiting, self.features)

    @property
    def now(self) -> int:
        return self.agenda.now

    def _write_down(self) -> None:
        for places in self.places:
            for place in places:
                place.write_down(self.now)

    def _look(self, slot: int) -> None:
        """End a slot: look around. The next one begins with its plan."""
        self.slot = slot
        self.plan = (self.plans[slot] if slot < self.slots else None) or self.plan
        busy = busy_so_far(self.places, self.now)
        left = [free(node, self._pods(n)) for n, node in enumerate(self.cluster.nodes)]
        state = (slot, self.now, self.requests, self.places, left, busy - self.busy_before)
        self.snapshots.append(observe(self.cluster, *state))
        self.waiting.append(sum(request.outcome is None for request in self.requests))
        self.busy_before = busy

    # Requests

    def _arrive(self, number: int, time_s: float, origin: int, lm: int, prompts: int) -> None:
        request = Request(number, self.now, origin, lm, prompts, time_s)
        self.requests.append(request)
        dealt = self.dispatcher.dispatch(self.plan, self.now, origin, lm, prompts)
        if not dealt:
            self._end(request, Outcome.UNROUTABLE, NOWHERE, (0, 0, 0, 0))
            return
        for n, k in sorted(dealt.items()):
            part = Part(request, n, k, self.now + uplink(self.cluster, origin, n, lm, k))
            request.parts.append(part)
            self.agenda.at(part.join, Rank.JOIN, partial(self._join, part))
        self.agenda.at(self.now + self.tau, Rank.DEADLINE, partial(self._expire, request))

    def _join(self, part: Part) -> None:
        if part.expired:
            return
        part.joined = True
        place = self.places[part.node][part.request.lm]
        place.queue.append(part)
        place.queue.sort(key=lambda p: (p.join, p.request.number))
        self.work.turn(place)

    def _finish(self, part: Part) -> None:
        """Take a part whose last prompt is finished out of the system; its queue has let it go."""
        r = part.request
        part.finish, part.downlink = self.now, downlink(self.cluster, r.origin, part.node, r.lm, part.prompts)
        if any(other.finish is None for other in r.parts):
            return
        last = max(r.parts, key=lambda p: ((p.finish or 0) + p.downlink, -p.node))
        finish, inference = last.finish or 0, last.worked.total
        times = (last.join - r.arrival, finish - last.join - inference, inference, last.downlink)
        in_time = finish + last.downlink <= r.arrival + self.tau
        self._end(r, Outcome.SUCCESS if in_time else Outcome.LATE, last.node, times)

    def _expire(self, r: Request) -> None:
        if r.outcome is not None:
            return
        expired = [part for part in r.parts if not part.ended]
        for part in expired:
            part.expired = True
            if part.joined:
                self.places[part.node][r.lm].queue.remove(part)
                self.work.leave(part)
        self.features["parts that expire"] += len(expired) * (len(r.parts) > 1)
        self.features["requests of which a part expires"] += len(expired) < len(r.parts)
        told = max(expired, key=lambda p: (p.worked.total, -p.node))
        uplink_time, inference = told.join - r.arrival if told.joined else self.tau, told.worked.total
        times = (uplink_time, self.tau - uplink_time - inference, inference, 0)
        begun = any(part.begun for part in r.parts)
        self._end(r, Outcome.EXPIRED_RUNNING if begun else Outcome.EXPIRED_WAITING, told.node, times)

    def _end(self, request: Request, outcome: Outcome, target: int, times: Sequence[int]) -> None:
        request.outcome = outcome
        self.rows[self.slot].append(row(request, outcome, target, times))

    # Pods

    def _pods(self, n: int) -> list[Pod]:
        return [place.pod for place in self.places[n] if place.pod is not None]

    def _get_ready(self, place: Place, pod: Pod) -> None:
        if pod.phase == Phase.STARTING:
            pod.phase = Phase.READY
            self.work.turn(place)

    def _stop(self, place: Place, pod: Pod) -> None:
        self.work.stop(place, pod)
        pod.phase = Phase.TERMINATING
        pod.until = self.now + whole(exact(self.cluster.lms[place.lm].stop_s))
        self.agenda.at(pod.until, Rank.POD_ENDS, partial(self._pod_ends, place))

    def _pod_ends(self, place: Place) -> None:
        place.pod = None
        self.agenda.at(self.now, Rank.ADMISSION, partial(self._admit, place.node))

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
                timeout = self.now + whole(exact(self.cluster.pending_timeout_s))
                self.agenda.at(timeout, Rank.WITHDRAWAL, partial(self._withdraw, place, place.wanted))
        self._admit(deployment.node)

    def _withdraw(self, place: Place, wanted: Wanted) -> None:
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
                self.features["pods that no GPU has memory for"] += 1
                continue
            copies = [Copy(on_gpu)]
            if self.cluster.serving.copies and len(on_gpu) > 1:
                if copies_fit(node, pods, lm, allocation, on_gpu):
                    copies = [Copy(Counter({p: 1})) for p in sorted(on_gpu)]
                self.features["copies" if len(copies) > 1 else "copies that do not fit"] += 1
            ready = self.now + whole(exact(lm.start_gpu_s if allocation.vgpus else lm.start_cpu_s))
            pod = Pod(lm, allocation, on_gpu, copies, Phase.STARTING, ready, ready)
            place.pod, place.wanted = pod, None
            self.features["pods that span GPUs"] += len(pod.on_gpu) > 1
            self.features["pods on vGPUs in unified memory"] += allocation.vgpus > 0 and node.unified_memory
            self.agenda.at(ready, Rank.READY, partial(self._get_ready, place, pod))
