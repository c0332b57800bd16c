"""The clock of the simulation: whole nanoseconds, from numbers read as the decimals that people write.

Nothing here is a double: 18 slots of 7.3 s end at 131.4 s and nowhere else, so what is tied is tied exactly.
"""

from __future__ import annotations

from fractions import Fraction

from domain.cluster import Cluster

PER_S = 10**9
FINE_S = 2**21
"""From here on, moments that are given as seconds are taken to the microsecond."""


def exact(number: float) -> Fraction:
    """Return a number as its shortest decimal says it."""
    return Fraction(repr(float(number)))


def whole(seconds: Fraction) -> int:
    """Return a duration in nanoseconds."""
    return round(seconds * PER_S)


def moment(seconds: Fraction) -> int:
    """Return a moment that is given in seconds since the start of the run."""
    return whole(seconds) if seconds < FINE_S else round(seconds * 10**6) * 1000


def slot_start(cluster: Cluster, slot: int) -> int:
    """Return when a slot begins."""
    return moment(slot * exact(cluster.slot_s))


def transfer(cluster: Cluster, a: int, b: int, size_bytes: Fraction) -> int:
    """Return how long so many bytes take from node a to node b."""
    if a == b:
        return 0
    return whole(exact(cluster.latency_s[a, b]) + size_bytes * exact(cluster.seconds_per_byte[a, b]))
