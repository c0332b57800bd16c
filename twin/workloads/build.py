"""From a workload file to streams: names become indices of the cluster, mistakes become sentences with their line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.errors import InputError
from twin.files import Document
from twin.sentences import one_of
from twin.workloads import batches, schema
from twin.workloads.choice import Choice, HotSpot, Moving, Weighted
from twin.workloads.limits import too_many_in_slot
from twin.workloads.modulation import Bursts, Factor, Points, Wave
from twin.workloads.p1 import P1Stream
from twin.workloads.poisson import PoissonStream

Field = tuple[str | int, ...]


@dataclass(frozen=True)
class Site:
    """What a stream is built for: the cluster, its place in the file, and its random numbers."""

    document: Document
    field: Field
    cluster: Cluster
    load: float
    seed: int
    stream: int

    def error(self, field: Field, what: str) -> InputError:
        """Return an error at a field below the stream."""
        return self.document.error((*self.field, *field), what)

    def file(self, name: str) -> Path:
        """Return the path of a file that is named relative to the workload file."""
        return self.document.path.parent / Path(name).expanduser()

    def check_slot(self, requests: float, field: Field) -> None:
        """Raise InputError at a field where a slot would have more requests than memory should hold."""
        if wrong := too_many_in_slot(requests, self.load):
            raise self.error(field, wrong)

    def lm(self, name: str, field: Field) -> int:
        """Return the index of an LM; raises InputError where the cluster has none of that name."""
        return self._index(self.cluster.lm_index, name, field)

    def node(self, name: str, field: Field) -> int:
        """Return the index of a node; raises InputError where the cluster has none of that name."""
        return self._index(self.cluster.node_index, name, field)

    def lm_weights(self, weights: dict[str, float], field: Field) -> NDArray[np.float64]:
        """Return [I] weights."""
        return self._weights(self.cluster.lm_index, weights, field)

    def node_weights(self, weights: dict[str, float], field: Field) -> NDArray[np.float64]:
        """Return [N] weights."""
        return self._weights(self.cluster.node_index, weights, field)

    def increasing(self, at_s: Sequence[float], field: Field) -> Sequence[float]:
        """Return the times of points; raises InputError where one is not later than the one before."""
        for k in range(1, len(at_s)):
            if at_s[k] <= at_s[k - 1]:
                raise self.error(
                    (*field, k, "at_s"), f"must be later than the point before ({at_s[k - 1]:g}), not {at_s[k]:g}"
                )
        return at_s

    def origins(
        self,
        spec: schema.EvenOrigins
        | schema.NodeOrigins
        | schema.WeightedOrigins
        | schema.MovingOrigins
        | schema.HotSpotOrigins,
    ) -> Choice:
        """Return how nodes are picked."""
        nodes = self.cluster.n_nodes
        if isinstance(spec, schema.EvenOrigins):
            return Weighted(np.ones(nodes))
        if isinstance(spec, schema.NodeOrigins):
            return Weighted(np.arange(nodes) == self.node(spec.node, ("origins", "node")))
        if isinstance(spec, schema.WeightedOrigins):
            return Weighted(self.node_weights(spec.nodes, ("origins", "nodes")))
        if isinstance(spec, schema.HotSpotOrigins):
            return HotSpot(nodes, spec.share, spec.nodes, spec.stay_s)
        at_s = self.increasing([point.at_s for point in spec.points], ("origins", "points"))
        return Moving(
            at_s,
            [self.node_weights(point.nodes, ("origins", "points", k, "nodes")) for k, point in enumerate(spec.points)],
        )

    def _index(self, index: dict[str, int], name: str, field: Field) -> int:
        if name not in index:
            raise self.error(field, one_of(list(index), name))
        return index[name]

    def _weights(self, index: dict[str, int], weights: dict[str, float], field: Field) -> NDArray[np.float64]:
        array = np.zeros(len(index))
        for name, weight in weights.items():
            array[self._index(index, name, (*field, name))] = weight
        if not array.any():
            raise self.error(field, "must have a weight above 0")
        return array


def build_p1(entry: schema.P1Entry, site: Site) -> P1Stream:
    """Return the stream of P1 section V-B."""
    cluster = site.cluster
    lms = range(cluster.n_lms) if entry.lms is None else [site.lm(n, ("lms", k)) for k, n in enumerate(entry.lms)]
    if entry.lms is not None and len(set(lms)) < len(lms):
        raise site.error(("lms",), "must name each LM once")
    if entry.spread_s is not None and entry.spread_s > cluster.slot_s:
        raise site.error(("spread_s",), f"must be at most a slot ({cluster.slot_s:g} s), not {entry.spread_s:g}")
    site.check_slot(cluster.n_nodes * len(lms) * site.load, ())
    return P1Stream(
        cluster.n_nodes,
        np.array(lms, dtype=np.int64),
        cluster.slot_s,
        entry.most_prompts,
        entry.spread_s or cluster.slot_s,
        site.load,
        site.seed,
        site.stream,
    )


def build_poisson(entry: schema.PoissonEntry, site: Site) -> PoissonStream:
    """Return a Poisson stream."""
    cluster = site.cluster
    rate_s = entry.rate_s if entry.rate_s is not None else (entry.rate_per_node_s or 0.0) * cluster.n_nodes
    lms: Choice = Weighted(np.ones(cluster.n_lms))
    if entry.lms is not None:
        lms = Weighted(site.lm_weights(entry.lms, ("lms",)))
    if entry.lm_points is not None:
        at_s = site.increasing([point.at_s for point in entry.lm_points], ("lm_points",))
        lms = Moving(
            at_s, [site.lm_weights(point.lms, ("lm_points", k, "lms")) for k, point in enumerate(entry.lm_points)]
        )
    factors: list[Factor] = []
    if entry.rate_points is not None:
        at_s = site.increasing([point.at_s for point in entry.rate_points], ("rate_points",))
        factors.append(Points(at_s, [point.factor for point in entry.rate_points]))
    if entry.wave is not None:
        factors.append(Wave(entry.wave.amplitude, entry.wave.period_s, entry.wave.peak_s))
    if entry.bursts is not None:
        factors.append(Bursts(entry.bursts.quiet_s, entry.bursts.burst_s, entry.bursts.ratio, site.seed, site.stream))
    highest = math.prod([rate_s * site.load * cluster.slot_s, *(factor.highest for factor in factors)])
    site.check_slot(highest, ("rate_s" if entry.rate_s is not None else "rate_per_node_s",))
    return PoissonStream(
        rate_s * site.load,
        factors,
        lms,
        site.origins(entry.origins),
        batch_sizes(entry.prompts),
        cluster.slot_s,
        site.seed,
        site.stream,
    )


def batch_sizes(
    spec: schema.FixedPrompts | schema.UniformPrompts | schema.GeometricPrompts | schema.WeightedPrompts,
) -> batches.BatchSizes:
    """Return the distribution that a file asks for."""
    if isinstance(spec, schema.FixedPrompts):
        return batches.fixed(spec.prompts)
    if isinstance(spec, schema.UniformPrompts):
        return batches.uniform(spec.low, spec.high)
    if isinstance(spec, schema.GeometricPrompts):
        return batches.geometric(spec.mean, spec.most)
    return batches.BatchSizes(spec.weights)
