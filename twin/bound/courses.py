"""How a request can be served, coarsely: the courses that it can take, and what a node can offer in one slot.

A *course* of an LM is: in one go on a GPU of one class of nodes, in one go on a CPU of one class, or with an
interruption. An interruption costs a shutdown and a start at least (docs/bound.md, claim 5). The pods that work on a
node in one slot are all held at its end, so they fit on the node together: they are its *pattern* (claim 4).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from domain.cluster import Cluster
from domain.constraints import TOLERANCE
from domain.serving import Batching, Dispatch
from twin.bound.batches import least_share, least_units
from twin.bound.menu import BoolArray, FloatArray, IntArray, Menu, Way, classes, ways

MOST_CLASSES = 8
"""Up to so many classes of nodes, each has courses of its own; beyond, those with the same GPU or CPU model share
them, which only lowers the bound."""
MOST_LMS = 5
"""LMs that are looked at together on a node. More are looked at in parts, which only lowers the bounds."""
Engine = tuple[bool, str | int | None]
"""Whether it is a GPU, and which: the class of nodes, or the model."""


@dataclass(frozen=True)
class Room:
    """What each node of a class can offer in one slot, to some of the LMs."""

    nodes: int
    """In the class."""
    held: FloatArray
    """[P, G] copies of each course in one go whose pod is in the pattern: the largest sets of pods that fit."""


@dataclass(frozen=True)
class Courses:
    """The G courses of a cluster, LM by LM."""

    lm: IntArray
    """[G]"""
    first: IntArray
    """[I + 1] LM i has the courses first[i] to first[i + 1] - 1; an LM that runs nowhere has none."""
    interrupted: BoolArray
    """[G] At most one of each LM, the last: of all ways in which a pod has one request in hand at a time."""
    apart: BoolArray
    """[G] True where prompts are computed apart, see `Menu.apart`: a request takes this course prompt by prompt."""
    seconds: FloatArray
    """[G] least seconds per unit."""
    pause_s: FloatArray
    """[G] least seconds without work between two prompts; 0 in one go."""
    ways: IntArray
    """The ways of course 0, then those of course 1 and so on."""
    way_start: IntArray
    """[G] where the ways of each course begin in `ways`."""
    rooms: list[Room]


def courses(cluster: Cluster, menu: Menu) -> Courses:
    """Collect the courses of a cluster."""
    kinds = classes(cluster)
    lm, first, pause, members = list[int](), [0], list[float](), list[IntArray]()
    interrupted = list[bool]()
    course_of = dict[tuple[int, Engine], int]()
    for i, model in enumerate(cluster.lms):
        mine = np.flatnonzero(menu.lm == i)
        engines = dict[Engine, list[int]]()
        for m in mine.tolist():
            engine = _engine(cluster, kinds, int(menu.kind[m]), menu.ways[m].on_gpu)
            engines.setdefault(engine, []).append(m)
        for engine, served in engines.items():
            course_of[i, engine] = len(lm)
            lm.append(i)
            pause.append(0.0)
            interrupted.append(False)
            members.append(np.array(served, dtype=np.int64))
        if not menu.apart[mine].all():
            start_s = min(model.start_gpu_s if on_gpu else model.start_cpu_s for on_gpu, _ in engines)
            lm.append(i)
            pause.append(model.stop_s + start_s)
            interrupted.append(True)
            members.append(mine[~menu.apart[mine]])
        first.append(len(lm))
    rooms = []
    for kind, nodes in enumerate(kinds):
        for part in _parts(cluster):
            patterns = _patterns(cluster, nodes[0], part)
            held = np.zeros((len(patterns), len(lm)))
            for row, pods in zip(held, patterns, strict=True):
                for i, way in pods:
                    row[course_of[i, _engine(cluster, kinds, kind, way.on_gpu)]] = way.copies
            rooms.append(Room(len(nodes), held))
    counts = np.array([len(served) for served in members], dtype=np.int64)
    return Courses(
        lm=np.array(lm, dtype=np.int64),
        first=np.array(first, dtype=np.int64),
        interrupted=np.array(interrupted, dtype=np.bool_),
        apart=np.array([menu.apart[served].any() for served in members], dtype=np.bool_),
        seconds=np.array([menu.seconds[served].min() for served in members]),
        pause_s=np.array(pause),
        ways=np.concatenate([np.empty(0, dtype=np.int64), *members]),
        way_start=np.cumsum(counts) - counts,
        rooms=rooms,
    )


@dataclass(frozen=True)
class Sizes:
    """What requests of 0, 1, 2 … K prompts come to in each course."""

    units: FloatArray
    """[G, K + 1] least units of a request; of each of its prompts where they are computed apart."""
    whole_s: FloatArray
    """[G, K + 1] seconds from the first start to the last end where prompts are computed apart, on one node."""
    lag_s: FloatArray
    """[G, K + 1] seconds from the mean end of the prompts of a request to the last, in the same case."""


def sizes(cluster: Cluster, menu: Menu, known: Courses, prompts: int) -> Sizes:
    """Work out what requests of up to so many prompts come to; 0 where nothing is known."""
    units = np.empty((len(known.lm), prompts + 1))
    whole_s, lag_s, counts = np.zeros_like(units), np.zeros_like(units), np.arange(prompts + 1)
    own = cluster.serving.batching is not Batching.QUEUE
    for g, served in enumerate(np.split(known.ways, known.way_start[1:])):
        pods = {(menu.ways[m].batch, menu.ways[m].copies) for m in served.tolist()}
        needed = [(least_units(curve, prompts), curve, copies) for curve, copies in pods]
        if not known.apart[g]:
            units[g] = np.min([least for least, _, _ in needed], axis=0)
            continue
        for k in range(prompts + 1):
            units[g, k] = min(least_share(curve, max(1, k) if own else curve.most) for curve, _ in pods)
        if cluster.serving.dispatch is not Dispatch.SPLIT:
            on_one = [(least, curve.most, -(-counts // copies)) for least, curve, copies in needed]  # copy, at least
            whole_s[g] = known.seconds[g] * np.min([least[most] for least, _, most in on_one], axis=0)
            before = np.min([least[np.maximum(0, most - batch)] for least, batch, most in on_one], axis=0)
            lag_s[g, 1:] = known.seconds[g] * np.cumsum(before[1:]) / counts[1:]
    return Sizes(units, whole_s, lag_s)


def _parts(cluster: Cluster) -> list[range]:
    """Return the LMs in parts of at most MOST_LMS."""
    return [range(i, min(i + MOST_LMS, cluster.n_lms)) for i in range(0, cluster.n_lms, MOST_LMS)]


def _engine(cluster: Cluster, kinds: list[list[int]], kind: int, on_gpu: bool) -> Engine:
    if len(kinds) <= MOST_CLASSES:
        return (on_gpu, kind)
    node = cluster.nodes[kinds[kind][0]]
    return (on_gpu, node.gpu_model if on_gpu else node.cpu_model)


def _patterns(cluster: Cluster, n: int, part: range) -> list[frozenset[tuple[int, Way]]]:
    """Return the largest sets of pods of some LMs that fit on node n together, each with the least that it needs."""
    choices = list[list[tuple[int, Way | None]]]()
    for i in part:
        mine = ways(cluster, n, i)
        on_cpu = [way for way in mine if not way.on_gpu][:1]  # fewest cores
        choices.append([(i, None)] + [(i, way) for way in on_cpu + [way for way in mine if way.on_gpu]])
    fits = [
        frozenset((i, way) for i, way in pods if way)
        for pods in itertools.product(*choices)
        if _fit(cluster, n, [(i, way) for i, way in pods if way])
    ]
    return [pods for pods in fits if not any(pods < other for other in fits)]


def _fit(cluster: Cluster, n: int, pods: list[tuple[int, Way]]) -> bool:
    """True where the pods fit on node n together: P1-1, with the fewest vGPUs for each pod on them."""
    node = cluster.nodes[n]
    return (
        sum(way.vgpus for _, way in pods) <= node.vgpus
        and sum(way.cores for _, way in pods) <= node.cpu_cores
        and sum(cluster.ram_gb(n, i, way.on_gpu) for i, way in pods) <= node.ram_gb + TOLERANCE
        and sum(cluster.vram_gb(n, i) for i, way in pods if way.on_gpu) <= node.vram_gb + TOLERANCE
    )
