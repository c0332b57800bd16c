"""The lower bounds of a run, in a second process where the run is long enough to pay for starting one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from domain.cluster import Cluster
from domain.serving import Serving
from domain.workload import Arrivals
from runtime.results.own_dispatch import cluster_of
from runtime.results.summary import BoundFigures
from runtime.runs.aside import Aside

ASIDE_SLOTS = 1000
"""Slots of all families from which on a second process pays: starting one takes two seconds, its share of a slot one
or two milliseconds."""


def models(cluster: Cluster, families: Iterable[str]) -> list[Cluster]:
    """Return the cluster in each model that has a bound of its own: as the run serves, as P1, as a family brings it."""
    own = [cluster_of(cluster, family) for family in families]
    p1 = replace(cluster, serving=Serving())
    return list({model_words(each): each for each in (*own, p1, cluster)[::-1]}.values())


def model_words(cluster: Cluster) -> str:
    """Return what is not P1's in the model that a bound holds for: the age of news does not count."""
    return replace(cluster.serving, news_s=0.0).words


@contextmanager
def bounding(
    clusters: Sequence[Cluster], seed: int, arrivals: Arrivals, slots: int
) -> Iterator[Callable[[], list[BoundFigures]]]:
    """Begin to bound whatever decides on these requests; the call that is handed out waits for the results.

    Args:
        clusters: `models`, in whose order the results are.
        seed: of the requests.
        arrivals: all of them.
        slots: that the families take which run meanwhile.
    """
    if slots < ASIDE_SLOTS:
        yield lambda: all_bound_figures(clusters, seed, arrivals)
        return
    with Aside(all_bound_figures, clusters, seed, arrivals) as aside:
        yield aside.result


def all_bound_figures(clusters: Sequence[Cluster], seed: int, arrivals: Arrivals) -> list[BoundFigures]:
    """`bound_figures` of each cluster."""
    return [bound_figures(cluster, seed, arrivals) for cluster in clusters]


def bound_figures(cluster: Cluster, seed: int, arrivals: Arrivals) -> BoundFigures:
    """What no decisions can beat on these requests."""
    from twin.bound import bound  # SciPy takes its time to import, and mostly it is the second process that needs it

    return BoundFigures.of(cluster, seed, model_words(cluster), bound(cluster, arrivals))
