"""Where a request goes: by a fixed plan, or by the choice of its origin (the section The choice of docs/twin.md)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

from domain.cluster import Cluster
from domain.decisions import NOWHERE, RoutingPlan
from domain.serving import BatchCurve, Batching, Dispatch
from domain.telemetry import Phase
from tests.oracle.clock import exact, transfer, whole
from tests.oracle.model import Place, Pod, rescaled
from tests.oracle.speed import alone, curve
from tests.oracle.work import follows_plain_rules


def uplink(cluster: Cluster, origin: int, node: int, lm: int, prompts: int) -> int:
    """Return how long so many prompts travel from their origin."""
    return transfer(cluster, origin, node, Fraction(prompts) * exact(cluster.lms[lm].uplink_bytes))


def downlink(cluster: Cluster, origin: int, node: int, lm: int, prompts: int) -> int:
    """Return how long their answers travel back."""
    return transfer(cluster, node, origin, Fraction(prompts) * exact(cluster.lms[lm].downlink_bytes))


def units(batches: BatchCurve, copies: int, prompts: int) -> float:
    """Return what a copy has to do of so many prompts: full batches, and a last one."""
    full, rest = divmod(-(-prompts // copies), batches.most)
    return full * batches.units(batches.most) + (batches.units(rest) if rest else 0.0)


@dataclass(frozen=True)
class Sent:
    """Prompts on their way to a node."""

    origin: int
    node: int
    lm: int
    prompts: int
    join: int
    due: int
    """When they leave, at the latest."""


class Dispatcher:
    """What all origins know and choose."""

    def __init__(self, cluster: Cluster, places: list[list[Place]], features: Counter[str]) -> None:
        self.cluster, self.places, self.features = cluster, places, features
        self.sent: list[Sent] = []
        self.news, self.tau = whole(exact(cluster.serving.news_s)), whole(exact(cluster.deadline_s))

    def dispatch(self, plan: RoutingPlan | None, now: int, origin: int, lm: int, prompts: int) -> dict[int, int]:
        """Return the prompts that each node gets of a request; empty where the plan leads nowhere."""
        if plan is None:
            return {}
        if plan.weights is None:
            target = int(plan.targets[origin, lm])
            dealt = {} if target == NOWHERE else {target: prompts}
        else:
            dealt = self._deal(plan, now, origin, lm, prompts)
        self.sent += [
            Sent(origin, n, lm, k, now + uplink(self.cluster, origin, n, lm, k), now + self.tau)
            for n, k in sorted(dealt.items())
        ]
        return dealt

    def _deal(self, plan: RoutingPlan, now: int, origin: int, lm: int, prompts: int) -> dict[int, int]:
        assert plan.weights is not None
        assert self.cluster.serving.dispatch is not Dispatch.FIXED, "open plans need another dispatch"
        row = plan.weights[origin if len(plan.weights) > 1 else 0, lm].tolist()
        weights = {n: weight for n, weight in enumerate(row) if weight > 0}
        if not weights:
            return {}
        able = {n: weight for n, weight in weights.items() if self._pod(n, lm) is not None}
        if not able:
            self.features["choices without a pod"] += 1
            return {min(weights, key=lambda n: (-weights[n], n != origin, n)): prompts}
        choose = _Choice(self, able, now, self.news, origin, lm)
        dealt = choose.deal(prompts)
        self._count(choose, dealt, prompts)
        return dealt

    def _count(self, choose: _Choice, dealt: dict[int, int], prompts: int) -> None:
        """Count what makes a choice worth a test."""
        fresh = _Choice(self, choose.weights, choose.now, 0, choose.origin, choose.lm)
        self.features["choices that old news misleads"] += fresh.deal(prompts) != dealt
        self.features["split requests"] += len(dealt) > 1
        self.features["choices of a pod that starts"] += any(
            self.places[n][choose.lm].pod.phase == Phase.STARTING  # type: ignore[union-attr]  # all chosen have pods
            for n in dealt
        )
        first = 1 if self.cluster.serving.dispatch is Dispatch.SPLIT else prompts
        scores = {n: choose.score(n, first) for n in choose.weights}
        best = [n for n, score in scores.items() if score == min(scores.values())]
        tied, at_home = len(best) > 1, choose.origin in best
        self.features["ties with home"] += tied and at_home
        self.features["ties of others"] += tied and not at_home

    def _pod(self, n: int, lm: int) -> Pod | None:
        """The pod of the LM on the node, where it is STARTING or READY."""
        pod = self.places[n][lm].pod
        return pod if pod is not None and pod.phase in (Phase.STARTING, Phase.READY) else None

    def load(self, now: int, news: int, origin: int, n: int, lm: int) -> tuple[int, int, Pod]:
        """What an origin knows of a queue: prompts not finished, when its pod is free of them, and the pod."""
        pod, place = self._pod(n, lm), self.places[n][lm]
        assert pod is not None
        known_at = now if n == origin else max(0, now - news)
        seen = place.seen_at(known_at)
        since = sum(
            s.prompts
            for s in self.sent
            if (s.origin, s.node, s.lm) == (origin, n, lm) and s.join > known_at and s.due > known_at
        )
        pace, waiting = alone(self.cluster, n, lm, pod.allocation), seen.unfinished + since
        if not follows_plain_rules(self.cluster, pod):
            batches = curve(self.cluster, n, lm, pod.allocation)
            takes = round(units(batches, len(pod.copies), waiting) * pace)
        elif seen.pod is pod:
            takes = (waiting - 1) * pace + rescaled(*seen.left(known_at), pace)
        else:
            takes = waiting * pace
        return waiting, max(known_at, pod.ready) + takes, pod


@dataclass(frozen=True)
class _Choice:
    """One choice of an origin at a moment, with news of some age."""

    dispatcher: Dispatcher
    weights: dict[int, float]
    now: int
    news: int
    origin: int
    lm: int

    def deal(self, prompts: int) -> dict[int, int]:
        """Return the prompts for each node that gets some."""
        if self.dispatcher.cluster.serving.dispatch is Dispatch.ARRIVAL:
            return {self._least(dict.fromkeys(self.weights, prompts)): prompts}
        dealt = dict.fromkeys(self.weights, 0)
        for _ in range(prompts):
            dealt[self._least({n: k + 1 for n, k in dealt.items()})] += 1
        return {n: k for n, k in dealt.items() if k}

    def _least(self, prompts: dict[int, int]) -> int:
        return min(prompts, key=lambda n: (self.score(n, prompts[n]), n != self.origin, n))

    def score(self, n: int, k: int) -> float:
        """Return the seconds until k prompts would be back, by weight."""
        cluster = self.dispatcher.cluster
        waiting, free, pod = self.dispatcher.load(self.now, self.news, self.origin, n, self.lm)
        joins = self.now + uplink(cluster, self.origin, n, self.lm, k)
        pace = alone(cluster, n, self.lm, pod.allocation)
        if follows_plain_rules(cluster, pod):
            takes = k * pace
        else:
            batches, copies = curve(cluster, n, self.lm, pod.allocation), len(pod.copies)
            if free > joins and cluster.serving.batching is Batching.QUEUE:
                takes = round((units(batches, copies, waiting + k) - units(batches, copies, waiting)) * pace)
            else:
                takes = round(units(batches, copies, k) * pace)
        back = max(joins, free) + takes + downlink(cluster, self.origin, n, self.lm, k)
        return float(back - self.now) / self.weights[n]
