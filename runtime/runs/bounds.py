"""The lower bound of a run, in a second process where the run is long enough to pay for starting one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from domain.cluster import Cluster
from domain.workload import Arrivals
from runtime.results.summary import BoundFigures
from runtime.runs.aside import Aside

ASIDE_SLOTS = 1000
"""Slots of all families from which on a second process pays: starting one takes two seconds, its share of a slot one
or two milliseconds."""


@contextmanager
def bounding(cluster: Cluster, seed: int, arrivals: Arrivals, slots: int) -> Iterator[Callable[[], BoundFigures]]:
    """Begin to bound whatever decides on these requests; the call that is handed out waits for the result.

    `slots` is how many slots the families take that run meanwhile.
    """
    if slots < ASIDE_SLOTS:
        yield lambda: bound_figures(cluster, seed, arrivals)
        return
    with Aside(bound_figures, cluster, seed, arrivals) as aside:
        yield aside.result


def bound_figures(cluster: Cluster, seed: int, arrivals: Arrivals) -> BoundFigures:
    """What no decisions can beat on these requests."""
    from twin.bound import bound  # SciPy takes its time to import, and mostly it is the second process that needs it

    return BoundFigures.of(cluster, seed, bound(cluster, arrivals))
