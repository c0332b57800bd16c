"""Predictions beside what came out: every rehearsed plan that is adopted is held against the requests it was made for.

A prediction is of the requests that wait when the plan is made or arrive within its horizon, each to its end.
`Foresight` follows exactly these through the run. A plan that is replaced before its horizon is over answers for what
arrived until then. What was missed corrects the latencies that are predicted next.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.moments import verge
from domain.objective import normalised_jain, objective, service_rates
from domain.serving import Dispatch
from domain.telemetry import Records, Snapshot
from policies.rehearsal.profile import Profile, Sums
from policies.rehearsal.score import Prediction

GAIN = 0.3
"""How far one comparison moves the correction, in logarithms."""
MOST = 2.0
"""The correction is at most this factor, and at least one over it."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a plan was predicted to come to, or came to."""

    objective: float
    """J of P1-10."""
    mean_latency_s: float | None
    """Success only; None where nothing succeeded."""
    fairness: float
    """F_norm of P1-8."""

    @classmethod
    def of(cls, predicted: Prediction) -> Figures:
        """Take them from a rehearsal."""
        latency = predicted.mean_latency_s
        return cls(predicted.objective, None if math.isnan(latency) else latency, predicted.fairness)

    @classmethod
    def over(cls, sums: Sums, cluster: Cluster) -> Figures:
        """Work them out of sums over requests, some of which have ended."""
        good = sum(sums.succeeded)
        mean = sums.latency_s / good if good else None
        fair = normalised_jain(service_rates(np.array(sums.ended), np.array(sums.succeeded)))
        latency_norm = 1.0 if mean is None else mean / cluster.deadline_s
        return cls(objective(latency_norm, fair, cluster.latency_weight), mean, fair)

    def corrected(self, factor: float, cluster: Cluster) -> Figures:
        """Return them with the latency multiplied, and J with it."""
        if self.mean_latency_s is None:
            return self
        more = (factor - 1.0) * self.mean_latency_s
        return replace(
            self,
            objective=self.objective + cluster.latency_weight * more / cluster.deadline_s,
            mean_latency_s=self.mean_latency_s + more,
        )


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is predicted of a plan that is adopted."""

    figures: Figures
    """By which it was chosen: what arrives late in the horizon weighs more, for it stands for the time after."""
    profile: Profile
    assumed: bool
    """True where the traffic was assumed: no slot had been seen yet."""

    @property
    def slots(self) -> int:
        """The horizon."""
        return len(self.profile.latency_s) - 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """One plan's prediction and what came out, over the same slots, every request counted once."""

    slot: int
    """In which the plan was made."""
    slots: int
    """Whose requests count."""
    requests: int
    predicted: Figures
    came_out: Figures
    assumed: bool
    """As in the expectation. Such a prediction is listed and never counted."""


@dataclass(slots=True)
class Totals:
    """Sums over comparisons. Latency counts where both sides have one."""

    plans: int = 0
    predicted_objective: float = 0.0
    objective: float = 0.0
    objective_error: float = 0.0
    """Sum of absolute differences, here and below."""
    predicted_fairness: float = 0.0
    fairness: float = 0.0
    fairness_error: float = 0.0
    latencies: int = 0
    predicted_latency_s: float = 0.0
    latency_s: float = 0.0
    latency_error_s: float = 0.0
    correction: float = 0.0
    """Logarithm of the factor for the next predicted latency."""

    def add(self, done: Comparison) -> None:
        """Count a comparison, and learn from it."""
        if done.assumed:
            return
        said, was = done.predicted, done.came_out
        self.plans += 1
        self.predicted_objective += said.objective
        self.objective += was.objective
        self.objective_error += abs(was.objective - said.objective)
        self.predicted_fairness += said.fairness
        self.fairness += was.fairness
        self.fairness_error += abs(was.fairness - said.fairness)
        if said.mean_latency_s and was.mean_latency_s:
            self.latencies += 1
            self.predicted_latency_s += said.mean_latency_s
            self.latency_s += was.mean_latency_s
            self.latency_error_s += abs(was.mean_latency_s - said.mean_latency_s)
            bound = math.log(MOST)
            missed = math.log(was.mean_latency_s / said.mean_latency_s)
            self.correction += GAIN * (min(max(missed, -bound), bound) - self.correction)

    @property
    def factor(self) -> float:
        """By which to multiply a predicted latency."""
        return math.exp(self.correction)


@dataclass(slots=True)
class Window:
    """A plan's requests, as far as they have ended."""

    slot: int
    end: int
    """First slot whose arrivals do not count."""
    expected: Expectation
    waiting: int
    """Requests that have not ended."""
    arrived: int = 0
    """Since the plan was made."""
    ended: list[int] = field(default_factory=list)
    """[I]"""
    succeeded: list[int] = field(default_factory=list)
    """[I]"""
    latency_s: float = 0.0
    """Sum over those that succeeded."""

    def add(self, records: Records, cluster: Cluster) -> None:
        """Count the requests that ended in a slot."""
        mine = records.arrival_s < verge(self.end * cluster.slot_s)
        lm, success = records.lm[mine], records.success[mine]
        self.ended = _add(self.ended, np.bincount(lm, minlength=cluster.n_lms))
        self.succeeded = _add(self.succeeded, np.bincount(lm[success], minlength=cluster.n_lms))
        self.latency_s += float(records.latency_s[mine][success].sum())
        self.waiting -= int(lm.size)

    def closed(self, cluster: Cluster) -> Comparison:
        """Compare."""
        slots, sums = self.end - self.slot, Sums(tuple(self.ended), tuple(self.succeeded), self.latency_s)
        predicted = Figures.over(self.expected.profile.over(slots), cluster)
        return Comparison(
            self.slot, slots, sum(self.ended), predicted, Figures.over(sums, cluster), self.expected.assumed
        )

    def save(self) -> dict[str, Any]:
        """Plain data."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        expected = {
            "figures": asdict(self.expected.figures),
            "profile": self.expected.profile.to_json(),
            "assumed": self.expected.assumed,
        }
        return {**plain, "expected": expected}

    @classmethod
    def load(cls, data: dict[str, Any]) -> Window:
        """Read it back."""
        said = data["expected"]
        expected = Expectation(Figures(**said["figures"]), Profile.from_json(said["profile"]), said["assumed"])
        return cls(**{**data, "expected": expected})


class Foresight:
    """The predictions of one run: open, compared, and what they have taught."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._in_parts = cluster.serving.dispatch is Dispatch.SPLIT
        self._waiting = 0
        """Requests that have not ended, where snapshots count their parts."""
        self._open: list[Window] = []
        self.totals = Totals()
        self.expected: Figures | None = None
        """Of the plan in force, where something was predicted of it."""
        self.recent: list[Comparison] = []
        """Until they are taken."""

    @property
    def idle(self) -> bool:
        """True where there is nothing to follow and nothing to keep."""
        return not (self._open or self.recent or self.totals.plans or self._in_parts)

    def expect(self, snapshot: Snapshot, expected: Expectation) -> None:
        """Begin to follow the plan that is adopted in `snapshot.slot`; the one before answers for its time alone."""
        slot, waiting = snapshot.slot, self._waiting if self._in_parts else int(snapshot.backlog_requests.sum())
        self.forget(slot)
        self.expected = expected.figures
        self._open.append(Window(slot, slot + expected.slots, expected, waiting))

    def forget(self, slot: int) -> None:
        """From `slot` on a plan is in force of which nothing was predicted."""
        self.expected = None
        self._open = [window for window in self._open if window.slot < slot]  # not there but after a kill
        for window in self._open:
            window.end = min(window.end, slot)

    def passed(self, records: Records, after: Snapshot) -> None:
        """Take in a slot: what ended in it, and the snapshot when it was over. Compare what can be compared now."""
        arrived = int(after.arrived_requests.sum())
        if self._in_parts:
            self._waiting += arrived - len(records)
        if not self._open:
            return
        last = math.ceil(self._cluster.deadline_s / self._cluster.slot_s) + 1  # slots in which every request has ended
        left = list[Window]()
        for window in self._open:
            if after.slot <= window.end:
                window.arrived, window.waiting = window.arrived + arrived, window.waiting + arrived
            window.add(records, self._cluster)
            if after.slot < window.end or (window.waiting > 0 and after.slot < window.end + last):
                left.append(window)
            elif window.arrived and sum(window.ended):
                done = window.closed(self._cluster)
                self.totals.add(done)
                self.recent.append(done)
        self._open = left

    def take(self) -> list[Comparison]:
        """Return the comparisons since the last time."""
        taken, self.recent = self.recent, []
        return taken

    def save(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "totals": asdict(self.totals),
            "open": [window.save() for window in self._open],
            "expected": None if self.expected is None else asdict(self.expected),
            "recent": [asdict(done) for done in self.recent],
            "waiting": self._waiting,
        }

    def load(self, data: dict[str, Any]) -> None:
        """Go on from `save`; raises KeyError or TypeError where the data are of another kind."""
        self.totals = Totals(**data["totals"])
        self.recent = [
            Comparison(**{**done, "predicted": Figures(**done["predicted"]), "came_out": Figures(**done["came_out"])})
            for done in data["recent"]
        ]
        self.expected = None if data["expected"] is None else Figures(**data["expected"])
        self._open = [Window.load(window) for window in data["open"]]
        self._waiting = data.get("waiting", 0)  # not there in runs that were begun by older versions


def _add(old: list[int], new: NDArray[Any]) -> list[int]:
    return [a + int(b) for a, b in zip(old or [0] * new.size, new.tolist(), strict=True)]
