"""The priced relaxation: what serving so many requests costs at least, given what pods and hardware cost.

Lagrange's idea: drop the limits that make requests wait for each other, and instead charge for what they limit. Every
request then picks its cheapest course alone, and whatever the prices, what all pay together minus the worth of all
there is to sell is at most the latency of any policy (docs/bound.md, claim 7). Good prices are the business of
`twin.bound.ascent`; no price can make the bound wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from domain.cluster import Cluster
from domain.workload import Arrivals
from twin.bound.courses import courses, sizes
from twin.bound.fluid import fluid_prices
from twin.bound.kernels import LATE, choose, occupy
from twin.bound.menu import BoolArray, FloatArray, IntArray, Menu
from twin.bound.solo import Solo

BINS_PER_REQUEST = 20
"""Width of the price grid: the mean request of the slowest LM is this many bins long."""
MOST_BINS = 200_000
WINDOW_DEADLINES = 2.0
"""Length of the windows in which hardware has one price, in deadlines: shorter ones follow the load more closely, but
a request that may be worked on in two windows pays the lower price."""
MOST_WINDOWS = 16
WINDOW_TAIL = 3.0
"""Length of the window after the last arrival, in solo latencies of the slowest request. After it, hardware is free."""
HARDWARE_STEP = 1.0
"""How far a search moves the prices of hardware when it moves those of pods by 1."""


@dataclass(frozen=True)
class Priced:
    """What requests cost under given prices."""

    total_s: float
    """Lower limit of the sum of the latencies of those that are served."""
    cost_s: FloatArray
    """[R] latency of each request plus what it pays, at least."""
    slope: FloatArray
    """A supergradient of `total_s` in the prices."""


class Relaxation:
    """The requests of a run, for any service and any prices.

    A list of prices is one vector of three parts, all in seconds of latency per second: of having a request of an LM in
    progress, [I, B]; of a pod of a course in one go, [H, B]; of a unit of hardware, [W, R].
    """

    def __init__(self, cluster: Cluster, menu: Menu, arrivals: Arrivals, solo: Solo) -> None:
        """Take at least one request, and only such as meet their deadline alone."""
        self.menu, self.courses = menu, courses(cluster, menu)
        self._n_lms = cluster.n_lms
        self._lm, self._prompts = arrivals.lm, arrivals.prompts
        self._ready_s = arrivals.time_s + solo.uplink_s
        self._transfer_s = solo.uplink_s + solo.downlink_s
        self._least_s = solo.latency_s - self._transfer_s
        self._sizes = sizes(cluster, menu, self.courses, int(self._prompts.max()))
        in_course = np.diff(self.courses.way_start, append=len(self.courses.ways))
        one_by_one = np.repeat(~self.courses.apart, in_course)
        self._seconds = np.where(one_by_one, self.menu.seconds[self.courses.ways], 0.0)
        self._limit_s = cluster.deadline_s - self._transfer_s  # from ready to the end of inference
        self._grid(cluster)
        self._lay_windows(cluster, float(arrivals.time_s.max()), float(solo.latency_s.max()))
        self._whole = np.flatnonzero(~self.courses.interrupted)
        self._held = [np.ascontiguousarray(room.held[:, self._whole]) for room in self.courses.rooms]
        self.sizes = [
            (cluster.n_lms, self._bins),
            (len(self._whole), self._bins),
            (len(self._edges) - 1, len(self.menu.capacity)),
        ]
        nodes = sum(room.nodes * held.max(axis=0) for room, held in zip(self.courses.rooms, self._held, strict=True))
        self.step = np.concatenate(
            [
                np.repeat(1.0 / np.maximum(self.menu.servers, 1), self._bins),
                np.repeat(1.0 / nodes, self._bins),
                (HARDWARE_STEP * self.width / np.diff(self._edges)[:, None] / self.menu.capacity).ravel(),
            ]
        )
        self.be_patient(np.full(len(arrivals), np.inf))

    def _grid(self, cluster: Cluster) -> None:
        """Lay bins over all slots in which a request can be in progress; no bin lies in two slots."""
        mean = [
            self._prompts[self._lm == i].mean() * self.menu.seconds[self.menu.lm == i].min()
            for i in np.unique(self._lm)
        ]
        self._slots = int((self._ready_s + self._limit_s).max() / cluster.slot_s) + 1
        wanted = max(max(mean) / BINS_PER_REQUEST, self._slots * cluster.slot_s / MOST_BINS)
        per_slot = max(1, math.ceil(cluster.slot_s / wanted))
        self.width, self._bins, self._slot_s = cluster.slot_s / per_slot, self._slots * per_slot, cluster.slot_s

    def _lay_windows(self, cluster: Cluster, last_s: float, slowest_s: float) -> None:
        """Share the slots out among windows; after the last window, hardware is free."""
        last, tail = int(last_s / cluster.slot_s) + 1, math.ceil(WINDOW_TAIL * slowest_s / cluster.slot_s)
        count = min(max(1, round(last_s / (WINDOW_DEADLINES * cluster.deadline_s))), MOST_WINDOWS, last)
        starts = [round(last * k / count) for k in range(count + 1)] if last > tail else [0]
        ends = np.minimum(np.append(starts, last + tail), self._slots)
        self._edges = np.unique(ends) * cluster.slot_s

    def be_patient(self, patience_s: FloatArray) -> None:
        """Let a request that takes longer than `patience_s` [R] after it is ready pay that much and no more.

        The shorter the patience, the fewer windows a request may be worked on in, and the less it can save by waiting
        for lower prices of hardware (claim 8).
        """
        self._patience_s = np.where(patience_s < self._limit_s, patience_s, np.inf)
        end = self._ready_s + np.minimum(patience_s, self._limit_s)
        spans = np.stack([np.searchsorted(self._edges[1:], t, side="right") for t in (self._ready_s, end)], axis=1)
        spans, period = np.unique(spans, axis=0, return_inverse=True)
        self._period = period.ravel().astype(np.int64)
        longest = int((spans[:, 1] - spans[:, 0]).max()) + 1
        self._windows = np.minimum(spans[:, :1] + np.arange(longest), spans[:, 1:])  # [periods, longest]

    def free(self) -> FloatArray:
        """Return prices of zero."""
        return np.zeros(sum(rows * columns for rows, columns in self.sizes))

    def fluid(self) -> FloatArray:
        """Return prices of hardware at which fluid demand would meet supply, of pods 0."""
        prices, windows = self.free(), len(self._edges) - 1
        window = np.minimum(np.searchsorted(self._edges[1:], self._ready_s, side="right"), windows - 1)
        prompts = np.zeros((windows, self._n_lms))
        np.add.at(prompts, (window, self._lm), self._prompts)
        spill_s = float(self._limit_s.mean() / self._prompts.mean())
        self.split(prices)[2][:] = fluid_prices(self.menu, prompts, np.diff(self._edges), spill_s)
        return prices

    def split(self, prices: FloatArray) -> list[FloatArray]:
        """Return views of a vector of prices: progress [I, B], pods [H, B], hardware [W, R]."""
        ends = np.cumsum([rows * columns for rows, columns in self.sizes])[:-1]
        return [part.reshape(size) for part, size in zip(np.split(prices, ends), self.sizes, strict=True)]

    def price(self, prices: FloatArray, service: IntArray, clip: bool = True) -> Priced:
        """Bound the total latency of any policy that completes `service` [I] requests of each LM.

        Without `clip` it is no bound, but tells what requests would pay if they had all the time in the world.
        """
        progress, held, hardware = self.split(prices)
        rate, way, window = self._rates(hardware)
        paid = np.zeros((len(self.courses.lm), self._bins + 1))
        charged = progress[self.courses.lm]
        charged[self._whole] += held
        np.cumsum(charged * self.width, axis=1, out=paid[:, 1:])
        requests = len(self._lm)
        cost, start = np.empty(requests), np.empty(requests)
        course = np.empty(requests, dtype=np.int64)
        of = self.courses
        choose(
            self._ready_s,
            self._prompts,
            self._least_s,
            self._lm,
            self._patience_s if clip else np.full(requests, np.inf),
            self._period,
            of.first,
            of.apart,
            of.interrupted,
            self._sizes.units,
            self._sizes.whole_s,
            self._sizes.lag_s,
            of.seconds,
            of.pause_s,
            rate,
            paid,
            self.width,
            cost,
            start,
            course,
        )
        cost += self._transfer_s
        served = self._cheapest(cost, service)
        slope = np.zeros_like(prices)
        by_progress, by_held, by_hardware = self.split(slope)
        busy = np.empty(charged.shape)
        units = self._sizes.units
        occupy(served, self._prompts, start, course, of.apart, units, of.seconds, of.pause_s, self.width, busy)
        total = float(cost[served].sum())
        total -= self._sell_progress(progress, busy, by_progress)
        total -= self._sell_rooms(held, busy[self._whole], by_held)
        total -= self._sell_hardware(hardware, served & (course != LATE), course, way, window, by_hardware)
        return Priced(float(total), cost, slope)

    def _rates(self, hardware: FloatArray) -> tuple[FloatArray, IntArray, IntArray]:
        """[G, periods] the least that a unit of each course costs in hardware, its way and its window.

        And in seconds, where units follow each other.
        """
        free = np.zeros((1, hardware.shape[1]))
        charge = self.menu.usage @ np.vstack([hardware, free]).T  # [M, W + 1]
        cost = charge[self.courses.ways] + self._seconds[:, None]
        parts = np.split(cost, self.courses.way_start[1:])
        best = np.stack([part.argmin(axis=0) for part in parts]) + self.courses.way_start[:, None]  # [G, W + 1]
        least = np.take_along_axis(cost, best, axis=0)
        choice = least[:, self._windows].argmin(axis=2)  # [G, periods]
        window = np.take_along_axis(self._windows[None], choice[:, :, None], axis=2)[:, :, 0]
        course = np.arange(len(best))[:, None]
        return np.ascontiguousarray(least[course, window]), self.courses.ways[best[course, window]], window

    def _cheapest(self, cost: FloatArray, service: IntArray) -> BoolArray:
        """[R] True for the `service[i]` cheapest requests of each LM."""
        served = np.ones(len(cost), dtype=np.bool_)
        for i in range(self._n_lms):
            mine = np.flatnonzero(self._lm == i)
            if service[i] < len(mine):
                served[mine[np.argsort(cost[mine], kind="stable")[service[i] :]]] = False
        return served

    def _sell_progress(self, price: FloatArray, busy: FloatArray, slope: FloatArray) -> float:
        """Worth of the right to have one request in progress per server of the LM; adds its slope."""
        runs = self.menu.servers > 0
        slope[runs] = np.add.reduceat(busy, self.courses.first[:-1][runs], axis=0)
        slope -= self.menu.servers[:, None] * self.width
        worth: float = price.sum(axis=1) @ self.menu.servers * self.width
        return worth

    def _sell_rooms(self, held: FloatArray, busy: FloatArray, slope: FloatArray) -> float:
        """Worth of the best pattern of pods on each node in each slot; adds its slope."""
        slope += busy
        worth, bins, slots = 0.0, self._bins // self._slots, np.arange(self._slots)
        per_slot = held.reshape(len(held), self._slots, bins).sum(axis=2) * self.width  # [H, slots]
        for room, pods in zip(self.courses.rooms, self._held, strict=True):
            worths = pods @ per_slot
            best = worths.argmax(axis=0)
            worth += room.nodes * float(worths[best, slots].sum())
            slope -= np.repeat(pods[best].T * (room.nodes * self.width), bins, axis=1)
        return worth

    def _sell_hardware(
        self, price: FloatArray, served: BoolArray, course: IntArray, way: IntArray, window: IntArray, slope: FloatArray
    ) -> float:
        """Worth of all hardware in all windows; adds its slope."""
        seconds = np.diff(self._edges)
        shape = (self.menu.usage.shape[0], price.shape[0] + 1)
        used = np.ravel_multi_index(
            (way[course[served], self._period[served]], window[course[served], self._period[served]]), shape
        )
        mine, prompts = course[served], self._prompts[served]
        amount = np.where(self.courses.apart[mine], prompts, 1) * self._sizes.units[mine, prompts]
        units = np.bincount(used, weights=amount, minlength=shape[0] * shape[1]).reshape(shape)
        slope += (self.menu.usage.T @ units[:, :-1]).T - seconds[:, None] * self.menu.capacity
        return float(seconds @ (price @ self.menu.capacity))
