"""Clients that each arrive as a renewal process, window by window: the arrivals behind ServeGen's rates."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, lgamma, log

import numpy as np
from numpy.typing import NDArray

from domain.errors import InputError
from domain.moments import last_before, slots_until
from domain.workload import Arrivals
from twin.traces import WINDOW_S
from twin.workloads.batches import BatchSizes
from twin.workloads.choice import Choice
from twin.workloads.limits import MOST_IN_WINDOW
from twin.workloads.randomness import Part, Recent, generator
from twin.workloads.usage import Coverage

SLACK = 1e-9
"""Part of a window, and of the time, that is looked at beyond a slot's own, so that rounding loses no request."""
LONG_BURST = 64
"""Draws of gaps after which a client that still is in its window is in a burst, and the next draw is as long as all."""


@dataclass(frozen=True)
class Clock:
    """How the time of the run maps to the time of the windows."""

    slot_s: float
    start_s: float
    """Second of the windows at which the run begins."""
    scale: float
    """Seconds of the windows that pass in a second of the run."""
    windows: int
    """Windows from the one that holds start_s to the last of the file."""
    repeat: bool
    """True where start_s follows the end of the last."""

    @property
    def first(self) -> int:
        """Window that holds start_s."""
        return floor(self.start_s / WINDOW_S)

    @property
    def round_s(self) -> float:
        """Seconds of the windows from start_s to the end of the last."""
        return (self.first + self.windows) * WINDOW_S - self.start_s

    def number(self, after_s: float) -> int:
        """Return the number of the window, counted on over rounds, that is so many of its seconds after the start."""
        round_, within = divmod(after_s, self.round_s)
        return int(round_) * self.windows + floor((within + self.start_s) / WINDOW_S) - self.first


@dataclass(frozen=True)
class Clients:
    """What clients send in each window, columns of length W, in order of the window."""

    window: NDArray[np.int64]
    """Window number: it covers [window, window + 1) * WINDOW_S."""
    rate: NDArray[np.float64]
    """Requests per second of the windows, above 0."""
    shape: NDArray[np.float64]
    """Shape of the distribution of gaps."""
    weibull: NDArray[np.bool_]
    """True where gaps are Weibull, False where they are Gamma."""
    node: NDArray[np.int64] | None
    """Origin of the client, where it has one of its own."""


class RenewalStream:
    """In each window, each client is an equilibrium renewal process of its rate, with Gamma or Weibull gaps.

    Equilibrium means that the window opens at any moment of the client's life, so the first gap is the rest of a
    length-biased one and the expected count is exactly rate * WINDOW_S, however small. (ServeGen's own generator
    stretches ceil(rate * WINDOW_S) gaps over the window, the last to its end; where an edge client sends one request
    in several windows, that gives none at all.) Rounds of a repeated file have random numbers of their own.
    """

    def __init__(
        self,
        title: str,
        clients: Clients,
        clock: Clock,
        lm: int,
        origins: Choice,
        prompts: BatchSizes,
        seed: int,
        stream: int,
    ) -> None:
        """Take who sends how much when, for which LM; `origins` is for clients without a node of their own."""
        self._title, self._clients, self._clock = title, clients, clock
        self._lm, self._origins, self._prompts = lm, origins, prompts
        self._seed, self._stream = seed, stream
        self._window = Recent(self._draw)

    @property
    def slots(self) -> int | None:
        """Slots that the windows last; None where they repeat."""
        return None if self._clock.repeat else self.coverage(0).slots

    def arrivals(self, slot: int) -> Arrivals:
        """Return the requests of a slot."""
        clock = self._clock
        start, end = slot * clock.slot_s, (slot + 1) * clock.slot_s
        slack = SLACK * (WINDOW_S + end * clock.scale)
        low, high = (
            clock.number(max(0.0, after)) for after in (start * clock.scale - slack, end * clock.scale + slack)
        )
        parts = [self._window(number).between(start, end) for number in range(low, high + 1)]
        full = [part for part in parts if len(part)]
        return full[0] if len(full) == 1 else Arrivals.concatenate(full)

    def _draw(self, number: int) -> Arrivals:
        """All requests of a window that come after start_s; where the file repeats, windows are numbered on."""
        clock = self._clock
        round_, place = divmod(number, clock.windows)
        if round_ and not clock.repeat:
            return Arrivals.empty()
        rng = generator(self._seed, self._stream, Part.WINDOW, clock.first + number)
        known, window = self._clients, clock.first + place
        rows = slice(*np.searchsorted(known.window, [window, window + 1]))
        try:
            times, client = renewals(rng, known.rate[rows], known.shape[rows], known.weibull[rows], WINDOW_S)
        except OverflowError as error:
            raise InputError(f"{self._title}: in the window from {window * WINDOW_S:g} s on, {error}.") from None
        after = window * WINDOW_S + times - clock.start_s
        order = np.argsort(after, kind="stable")
        order = order[after[order] >= 0.0]  # what comes before start_s in its window is no part of a round
        after, client = after[order], client[order]
        end = last_before((round_ + 1) * clock.round_s / clock.scale)
        times = np.minimum((round_ * clock.round_s + after) / clock.scale, end)
        u = rng.random((3, len(times)))
        node = self._origins.pick(times, u[:2]) if known.node is None else known.node[rows][client]
        return Arrivals(times, node, np.full(len(times), self._lm, dtype=np.int64), self._prompts.pick(u[2]))

    def coverage(self, slots: int) -> Coverage:
        """Return how many windows of ten minutes, or of a round of them, begin in so many slots."""
        clock = self._clock
        begun = ceil((slots * clock.slot_s * clock.scale + clock.start_s) / WINDOW_S - SLACK) - clock.first
        played = min(max(begun, 0), clock.windows)
        length = slots_until(clock.round_s / clock.scale, clock.slot_s)
        return Coverage(self._title, "windows", played, clock.windows, length, clock.repeat)

    def describe(self) -> str:
        """The stream in a sentence."""
        clock = self._clock
        rate = float(self._clients.rate.sum()) / clock.windows * clock.scale
        again = ", then again" if clock.repeat else ""
        return (
            f"{self._title} in {clock.windows:,} windows of {WINDOW_S / clock.scale:g} s{again}; "
            f"{rate:.3g} requests/s, K = {self._prompts.mean:.3g} on average"
        )


def renewals(
    rng: np.random.Generator,
    rate: NDArray[np.float64],
    shape: NDArray[np.float64],
    weibull: NDArray[np.bool_],
    window_s: float,
    most: int = 2 * MOST_IN_WINDOW,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Draw C independent equilibrium renewal processes over [0, window_s).

    A length-biased Gamma(k) gap is Gamma(k + 1); of a Weibull(k) gap the k-th power is Gamma(1 + 1/k). The first
    request comes at a uniform part of such a gap (Cox, Renewal Theory, 1962).

    Args:
        rng: Random numbers.
        rate: [C] requests per second, positive.
        shape: [C] shape of the gaps.
        weibull: [C] True for Weibull gaps, False for Gamma.
        window_s: Seconds.
        most: Requests of all together that memory should hold.

    Returns:
        Times in seconds, client by client, and the client (0 … C-1) of each.

    Raises:
        OverflowError: they are more than `most`, by their rates or by a shape that makes endless bursts.
    """
    # The mean gap over its scale: Gamma(1 + 1/k) of a Weibull, k of a Gamma.
    mean = [lgamma(1 + 1 / k) if w else log(k) for k, w in zip(shape.tolist(), weibull.tolist(), strict=True)]
    log_scale = -np.log(rate) - np.array(mean)
    first = rng.random(len(rate)) * _gaps(
        rng.standard_gamma(np.where(weibull, 1 + 1 / shape, shape + 1)), log_scale, shape, weibull
    )
    times: list[NDArray[np.float64]] = []
    client: list[NDArray[np.int64]] = []
    total = 0
    for c in np.flatnonzero(first < window_s):
        last, drawn = float(first[c]), 1
        mine = [first[c : c + 1]]
        while last < window_s:
            count = 16 + int(1.2 * rate[c] * (window_s - last))
            if len(mine) > LONG_BURST:
                count = max(count, drawn)
            drawn += count
            if total + drawn > most:
                raise OverflowError(
                    f"clients send more than {most:,} requests, the last of them with shape {shape[c]:g}"
                )
            draws = rng.standard_exponential(count) if weibull[c] else rng.standard_gamma(shape[c], count)
            mine.append(last + np.cumsum(_gaps(draws, log_scale[c], shape[c], weibull[c])))
            last = float(mine[-1][-1])
        joined = np.concatenate(mine)
        times.append(joined[: np.searchsorted(joined, window_s)])
        client.append(np.full(len(times[-1]), c, dtype=np.int64))
        total += len(times[-1])
    if not times:
        return np.empty(0), np.empty(0, dtype=np.int64)
    return np.concatenate(times), np.concatenate(client)


def _gaps(
    draws: NDArray[np.float64], log_scale: NDArray[np.float64], shape: NDArray[np.float64], weibull: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Gaps from unit draws, Gamma ones as they are, exponential ones to the power of 1/shape; by way of logarithms."""
    with np.errstate(divide="ignore", over="ignore"):
        gaps: NDArray[np.float64] = np.exp(log_scale + np.log(draws) * np.where(weibull, 1 / shape, 1.0))
    return gaps
