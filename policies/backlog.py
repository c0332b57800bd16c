"""Backlog-aware scheduler: each (origin, LM) goes where its requests are expected to be answered first.

The snapshot is of the end of the last slot, and a fixed route holds for a whole slot; a rule that only looked at
backlogs would send everybody to the same idle pod. So the pairs are taken one after the other, and each counts what
those before it are expected to send. Speeds count who is busy on the same GPU, and a pair also bears what it costs the
others there. Where origins choose, they know better: the plan allows all pods alike.

Nor is the shortest wait the best choice where pods differ in speed: whoever joins a queue delays all who come before
it is empty again. If traffic came at random and were split so that all pods of an LM have the load rho, x seconds of
work behind u seconds of backlog would cost those who come later lambda / (2 (1 - rho)) (2 u x + x^2) seconds in all. A
pair bears that, too: one step of policy iteration from the even split (E. Hyytiä, A. Penttinen and S. Aalto, "Size- and
state-aware dispatching problem with queue-specific job sizes", Eur. J. Oper. Res. 217, 2012).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.decisions import NOWHERE, MacroPolicy, RoutingPlan
from domain.serving import Batching, Dispatch
from domain.telemetry import Phase, Snapshot
from policies.rehearsal.forecast import Forecast, Traffic
from policies.sharing import delay_beside
from policies.speeds import Gpus
from twin.compiled import compiled_alone

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

PATIENCE = 0.6
"""Share of the deadline: where even the shortest queue of an LM is longer, the LM is overloaded."""
FULLEST = 0.9
"""Load of pods that is counted at most: the nearer to 1, the longer would all who come later have to wait."""


@compiled_alone
def assign(
    order: IntArray,
    origins: IntArray,
    allowed: BoolArray,
    fixed: FloatArray,
    compute: FloatArray,
    gpu: IntArray,
    left: FloatArray,
    prompts: FloatArray,
    requests: FloatArray,
    busy: FloatArray,
    expected: FloatArray,
    batch: FloatArray,
    delay: FloatArray,
    per_byte: FloatArray,
    size: FloatArray,
    slot_s: float,
    patience_s: float,
    targets: IntArray,
) -> None:
    """Fill `targets` [N, I] pair by pair; every array is [N, I], [N, N] for the network, [I] by LM.

    Args:
        order: [I] LMs, the first to be routed first.
        origins: [N, I] order of the origins.
        allowed: where requests of LM i may go.
        fixed: seconds per prompt on a CPU, or on the host.
        compute: seconds per prompt with kernels on the GPU.
        gpu: physical GPUs of the pod, as bits; 0 on CPU.
        left: seconds until the pod is ready.
        prompts: backlog, grown here by what is expected to be sent.
        requests: the same in requests.
        busy: share of the last slot in which the pod worked; replaced by the expected one, LM by LM.
        expected: prompts that a pair is expected to send.
        batch: [I] prompts per request.
        delay: [N, N] seconds there and back.
        per_byte: [N, N] seconds per byte.
        size: [I] bytes of a prompt and its answer.
        slot_s: length of the slot.
        patience_s: expected wait beyond which the LM is overloaded.
        targets: out.
    """
    nodes, lms = allowed.shape
    seconds = np.empty(nodes)
    harm = np.empty(nodes)
    later = np.zeros((nodes, lms))  # requests that come before the queue is empty
    for i in order:
        speed = 0.0
        for n in range(nodes):
            harm[n] = 0.0
            seconds[n] = np.inf
            if not allowed[n, i]:
                continue
            seconds[n] = fixed[n, i] + compute[n, i]
            if gpu[n, i] != 0:
                for k in range(lms):
                    if k != i and gpu[n, k] & gpu[n, i] != 0:
                        seconds[n] += busy[n, k] * delay_beside(fixed[n, i], compute[n, i], fixed[n, k], compute[n, k])
                        slower = delay_beside(fixed[n, k], compute[n, k], fixed[n, i], compute[n, i])
                        share = slower / (fixed[n, k] + compute[n, k] + slower)
                        harm[n] += busy[n, k] * share * (1.0 + requests[n, k] + later[n, k])
            speed += 1.0 / seconds[n]
        load = min(FULLEST, expected[:, i].sum() / slot_s / speed)
        for o in origins[:, i]:
            mine = expected[o, i]
            count = max(mine / batch[i], 1e-9)
            best, least, longest, most = -1, np.inf, -1, -1.0
            shortest = np.inf
            for n in range(nodes):
                if not allowed[n, i]:
                    continue
                s = seconds[n]
                wait = left[n, i] + prompts[n, i] * s
                cost = wait + (mine + batch[i]) * s + delay[o, n] + batch[i] * size[i] * per_byte[o, n]
                cost += harm[n] * mine * s / count
                cost += load / (2.0 * (1.0 - load) * batch[i]) * (2.0 * wait + mine * s) * mine / count
                if cost < least:
                    best, least = n, cost
                shortest = min(shortest, wait)
                if wait > most:
                    longest, most = n, wait
            if best < 0:
                targets[o, i] = -1
                continue
            if shortest > patience_s:
                best = longest
            targets[o, i] = best
            prompts[best, i] += mine
            requests[best, i] += count
        for n in range(nodes):
            if allowed[n, i]:
                busy[n, i] = min(1.0, prompts[n, i] * seconds[n] / slot_s)
                later[n, i] = prompts[n, i] * load / ((1.0 - load) * batch[i])


class BacklogScheduler:
    """Sends each pair to the pod with the least expected time to the answer, what was just sent included.

    Pods count that are ready or start, on nodes that have the role and a share of the LM. Where there is none yet, the
    nodes with a share are filled in proportion to it. Where the shortest queue of an LM is longer than PATIENCE of the
    deadline, more requests come than can be served in time, and some must be lost: they are sent to the longest queue,
    so that the others are still answered soon, and not all of them hardly in time.
    """

    def __init__(self, cluster: Cluster, patience: float = PATIENCE) -> None:
        self._cluster = cluster
        self._patience_s = patience * cluster.deadline_s
        self.forecast = Forecast(cluster)
        self.gpus = Gpus(cluster)
        self._ordered: tuple[Traffic, dict[int, IntArray]] | None = None
        self._delay = cluster.latency_s + cluster.latency_s.T
        self._size = np.array([lm.uplink_bytes + lm.downlink_bytes for lm in cluster.lms])
        weight = [
            max((p.compute_s for p in lm.gpu_profiles.values()), default=0.0) + (1000.0 if lm.gpu_only else 0.0)
            for lm in cluster.lms
        ]
        self._order = np.argsort(-np.array(weight), kind="stable")

    def watch(self, snapshot: Snapshot) -> bool:
        """Learn from the slot that ended."""
        self.forecast.watch(snapshot)
        return False

    def schedule(self, snapshot: Snapshot, policy: MacroPolicy, rng: np.random.Generator) -> RoutingPlan:
        """Return the plan of the slot for the traffic that the forecast expects."""
        return self.route(snapshot, policy, self.forecast.traffic())

    def route(self, snapshot: Snapshot, policy: MacroPolicy, traffic: Traffic) -> RoutingPlan:
        """Return the plan of the slot for this traffic."""
        cluster = self._cluster
        readable = ~np.isnan(snapshot.age_s)[:, None]
        live = readable & ((snapshot.phase == Phase.STARTING) | (snapshot.phase == Phase.READY))
        meant = policy.roles & cluster.feasible & (policy.probabilities.T > 0.0)
        allowed = live & meant
        expected = traffic.prompts
        fixed, compute, gpu = self.gpus.speeds(snapshot.cores, snapshot.vgpus)
        if cluster.serving.batching is not Batching.NONE:
            in_batch = self.gpus.in_batch(snapshot.vgpus, traffic.batch)
            fixed, compute = fixed * in_batch, compute * in_batch
        targets = np.full(meant.shape, NOWHERE, dtype=np.int64)
        order = self._origins(traffic, snapshot.slot)
        for i in np.flatnonzero(~allowed.any(axis=0)):
            targets[:, i] = self._by_share(policy, int(i), expected[:, i], order[:, i])
        routed = allowed.any(axis=0)
        if cluster.serving.dispatch is not Dispatch.FIXED:
            left = np.where(snapshot.phase == Phase.STARTING, snapshot.phase_left_s, 0.0)
            able = allowed & np.isfinite(fixed)
            waits: FloatArray = left + snapshot.backlog_prompts * np.where(able, fixed + compute, 0.0)
            return _choosing(self._in_time(able, waits), targets)
        if routed.any():
            out = targets.copy()
            assign(
                self._order[routed[self._order]],
                order,
                allowed & np.isfinite(fixed),
                fixed,
                compute,
                gpu,
                np.where(snapshot.phase == Phase.STARTING, snapshot.phase_left_s, 0.0),
                snapshot.backlog_prompts.astype(np.float64),
                snapshot.backlog_requests.astype(np.float64),
                np.minimum(snapshot.busy_s / cluster.slot_s, 1.0),
                expected,
                traffic.batch,
                self._delay,
                cluster.seconds_per_byte,
                self._size,
                cluster.slot_s,
                self._patience_s,
                out,
            )
            targets[:, routed] = out[:, routed]
        return RoutingPlan(targets)

    def _in_time(self, able: BoolArray, waits: FloatArray) -> FloatArray:
        """Weigh the nodes where requests may go: all the same; of an overloaded LM the longest queue alone.

        Args:
            able: [N, I] nodes that have a pod of the LM.
            waits: [N, I] seconds until their queues are empty.
        """
        weights = able.astype(np.float64)
        shortest = np.where(able, waits, np.inf).min(axis=0)
        for i in np.flatnonzero((shortest > self._patience_s) & able.any(axis=0)):
            weights[:, i] = 0.0
            weights[np.argmax(np.where(able[:, i], waits[:, i], -1.0)), i] = 1.0
        return weights

    def _origins(self, traffic: Traffic, slot: int) -> IntArray:
        """Return `_heaviest_first`, kept for as long as the same traffic is asked for: rehearsals do."""
        if self._ordered is None or self._ordered[0] is not traffic:
            self._ordered = traffic, {}
        turn, known = slot % self._cluster.n_nodes, self._ordered[1]
        if turn not in known:
            known[turn] = _heaviest_first(traffic.prompts, turn)
        return known[turn]

    def _by_share(self, policy: MacroPolicy, i: int, expected: FloatArray, order: IntArray) -> IntArray:
        feasible = self._cluster.feasible[:, i]
        share = np.where(feasible & policy.roles[:, i], policy.probabilities[i], 0.0)
        if not share.any():
            share = np.where(feasible & policy.roles[:, i], 1.0, 0.0)
        if not share.any():
            share = feasible.astype(np.float64)
        targets = np.full(feasible.shape, NOWHERE, dtype=np.int64)
        if not share.any():
            return targets
        sent = np.zeros(feasible.shape)
        for o in order:
            mine = max(float(expected[o]), 1e-9)
            after = np.where(share > 0.0, (sent + mine) / np.where(share > 0.0, share, 1.0), math.inf)
            best = int(np.argmin(after))
            targets[o], sent[best] = best, sent[best] + mine
        return targets


def _choosing(weights: FloatArray, targets: IntArray) -> RoutingPlan:
    """Let origins choose among all nodes of weight ([N, I]); LMs without one go to their targets ([N, I])."""
    nobody = np.flatnonzero(~weights.any(axis=0))
    if not nobody.size:
        return RoutingPlan.open(weights.T[None])
    by_origin = np.repeat(weights.T[None], len(weights), axis=0)
    for i in nobody:
        origins = np.flatnonzero(targets[:, i] >= 0)
        by_origin[origins, i, targets[origins, i]] = 1.0
    return RoutingPlan.open(by_origin)


def _heaviest_first(expected: FloatArray, slot: int) -> IntArray:
    """Return [N, I] the origins of each LM, most expected prompts first, and taking turns where it is the same."""
    turn = np.roll(np.arange(expected.shape[0]), slot)
    order: IntArray = turn[np.argsort(-np.round(expected[turn], 9), axis=0, kind="stable")]
    return order
