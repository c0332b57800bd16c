"""What one node may run, with cores split in several ways: the choices that search and the steady deployer share.

Pods on vGPUs, each with the fewest that it needs, are spread over the GPUs of a node in the order of their admission.
So who shares a GPU with whom is decided by that order, and `admission` fixes it once for every set of LMs: the heaviest
computers get GPUs of their own first, and the heaviest is joined by the lightest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from domain.cluster import SLACK_GB, Cluster
from domain.constraints import check_deployment
from domain.decisions import OFF, Allocation, Deployment
from domain.gpus import Gpus

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MOST_SETS = 1500
"""Sets of LMs in modes of one node beyond which fewer LMs at once are considered."""
SPLITS: tuple[tuple[float, ...], ...] = ((0.2, 0.8), (0.35, 0.65), (0.5, 0.5), (0.65, 0.35), (0.8, 0.2))
"""Ways to split the cores of a node between two LMs."""


@dataclass(frozen=True)
class Menu:
    """Every choice of one kind of node, C of them; choice 0 is all off. Nodes of the same hardware share one."""

    cores: IntArray
    """[C, I]"""
    vgpus: IntArray
    """[C, I] the fewest that the LM needs, one for each copy, or 0."""
    gpu: IntArray
    """[C, I] physical GPUs of the pod: bit p is set where it has a vGPU of GPU p; 0 where it has none."""
    fixed_s: FloatArray
    """[C, I] seconds per prompt on a CPU, or on the host, over the copies; infinite where the LM is off."""
    compute_s: FloatArray
    """[C, I] seconds per prompt with kernels on the GPU, over the copies."""

    def __len__(self) -> int:
        return int(self.cores.shape[0])

    @cached_property
    def together(self) -> BoolArray:
        """[C, I, I] True where two LMs are on one GPU."""
        same = (self.gpu[:, :, None] & self.gpu[:, None, :]) != 0
        return np.asarray(same & ~np.eye(self.gpu.shape[1], dtype=np.bool_))

    @cached_property
    def on(self) -> BoolArray:
        """[C, I] True where the LM is on."""
        return np.asarray((self.cores > 0) | (self.vgpus > 0))

    def allocations(self, choice: int) -> tuple[Allocation, ...]:
        """Return a choice as allocations, one per LM."""
        return tuple(
            Allocation(cores=c, vgpus=g)
            for c, g in zip(self.cores[choice].tolist(), self.vgpus[choice].tolist(), strict=True)
        )

    def find(self, cores: IntArray, vgpus: IntArray) -> int | None:
        """Return the choice with these allocations ([I] each); None where the menu has none."""
        same = np.flatnonzero(((self.cores == cores) & (self.vgpus == vgpus)).all(axis=1))
        return int(same[0]) if same.size else None


def admission(cluster: Cluster, n: int, vgpus: Mapping[int, int]) -> dict[int, int]:
    """Return LM to physical GPUs, as bits, in the order in which node n should admit the pods.

    What order leads to what GPUs is twin.md's. The P heaviest LMs come first, lightest of them first; those that join
    come heaviest first. Where they do not fit on the GPUs in that order, they come in the order of LMs.

    Args:
        cluster: the cluster.
        n: node.
        vgpus: LMs that are on vGPUs, and how many each has.
    """
    node = cluster.nodes[n]
    if node.gpus == 1:
        return dict.fromkeys(_heaviest_first(cluster, n, vgpus), 1)
    heaviest = _heaviest_first(cluster, n, vgpus)
    orders = (heaviest[: node.gpus][::-1] + heaviest[node.gpus :], sorted(vgpus))
    placed = (_placed(cluster, n, {i: vgpus[i] for i in order}) for order in orders)
    return next((gpus for gpus in placed if all(gpus.values())), dict.fromkeys(orders[0], 0))


def _heaviest_first(cluster: Cluster, n: int, lms: Iterable[int]) -> list[int]:
    model = cluster.nodes[n].gpu_model or ""
    return sorted(lms, key=lambda i: (-cluster.lms[i].gpu_profiles[model].compute_s, i))


def _placed(cluster: Cluster, n: int, vgpus: Mapping[int, int]) -> dict[int, int]:
    """Return LM to GPUs, as bits, when node n admits them in this order; 0 where an LM does not fit."""
    gpus, bits = Gpus(cluster.nodes[n]), np.left_shift(1, np.arange(cluster.nodes[n].gpus, dtype=np.int64))
    found = {}
    for i, count in vgpus.items():
        taken = gpus.place(count, cluster.vram_gb(n, i))
        fits = int(taken.sum()) == count
        found[i] = int(bits[taken[0] > 0].sum()) if fits else 0
        if fits:
            gpus.hold(taken, cluster.vram_gb(n, i))
    return found


def admitted_next(cluster: Cluster, n: int, wanted: Mapping[int, int], running: BoolArray) -> list[int]:
    """Return which pods of `admission` may be created now: within a slot pods are admitted in the order of LMs.

    Args:
        cluster: the cluster.
        n: node.
        wanted: LMs that are to be on vGPUs, and how many each gets.
        running: [I] True where the LM's pod already holds its vGPUs.
    """
    last, now = -1, []
    for i in admission(cluster, n, wanted):
        if running[i]:
            continue
        if i < last:
            break
        now.append(i)
        last = i
    return now


def _splits(cluster: Cluster, n: int, lms: Sequence[int], free: int) -> Iterator[tuple[int, ...]]:
    """Return sizes for LMs on the CPU that together take at most `free` cores."""
    if not lms:
        yield ()
        return
    seconds = {i: [cluster.cpu_seconds(n, i, k) for k in range(1, cluster.nodes[n].cpu_cores + 1)] for i in lms}
    least = [cluster.least_cores(n, i) for i in lms]
    most = [next(k for k, s in enumerate(seconds[i], start=1) if s <= seconds[i][-1]) for i in lms]
    if sum(least) > free:
        return
    if len(lms) == 1:
        ways: Sequence[tuple[float, ...]] = ((1.0,),)
    elif len(lms) == 2:
        ways = SPLITS
    else:
        weights = [tuple(1.0 for _ in lms)] + [tuple(2.0 if a == b else 1.0 for a in lms) for b in lms]
        ways = [tuple(w / sum(row) for w in row) for row in weights]
    seen = set()
    for way in ways:
        sizes = [max(low, min(high, int(share * free))) for share, low, high in zip(way, least, most, strict=True)]
        for k in sorted(range(len(lms)), key=lambda k: -sizes[k]):  # what the least sizes took beyond their share
            sizes[k] = max(least[k], sizes[k] - max(0, sum(sizes) - free))
        for k in sorted(range(len(lms)), key=lambda k: -way[k]):  # what rounding and caps left over
            sizes[k] = min(most[k], sizes[k] + free - sum(sizes))
        if tuple(sizes) not in seen:
            seen.add(tuple(sizes))
            yield tuple(sizes)


def sizes_on_gpu(cluster: Cluster, n: int, i: int) -> list[int]:
    """Return numbers of vGPUs that LM i may have on node n: the fewest, and as many as GPUs where copies are held."""
    least, node = cluster.least_vgpus(n, i), cluster.nodes[n]
    if not least:
        return []
    most = node.gpus if cluster.serving.copies and least == 1 and not node.mig else least
    return list(range(least, most + 1))


def _most_at_once(lms: int) -> int:
    """Return how many of so many LMs are considered at once, as if each had two modes."""
    sets, most = 2 * lms, min(lms, 1)
    while most < lms:
        sets += math.comb(lms, most + 1) * 2 ** (most + 1)
        if sets > MOST_SETS:
            break
        most += 1
    return most


def _few_enough(modes: list[list[int]]) -> list[list[int]]:
    """Return the modes of LMs, with as many sizes of copies as make no more than MOST_SETS sets.

    All of them, else powers of two and the most, else the fewest and the most, else the fewest alone.
    """
    most = _most_at_once(sum(map(bool, modes)))
    for kept in (_all_sizes, _powers_of_two, _ends):
        fewer = [kept(sizes) for sizes in modes]
        sets = [1, *[0] * most]  # of so many LMs
        for sizes in fewer:
            for k in range(most, 0, -1):
                sets[k] += sets[k - 1] * len(sizes)
        if sum(sets[1:]) <= MOST_SETS:
            return fewer
    return [sizes[: 1 + (sizes[:1] == [0])] for sizes in modes]


def _all_sizes(sizes: list[int]) -> list[int]:
    return sizes


def _powers_of_two(sizes: list[int]) -> list[int]:
    return [size for size in sizes if size & (size - 1) == 0 or size == sizes[-1]]


def _ends(sizes: list[int]) -> list[int]:
    return [size for size in sizes if size in (0, 1, sizes[-1])]


def copies(cluster: Cluster, n: int, gpus: Mapping[int, int], on_cpu: Iterable[int]) -> dict[int, int]:
    """Return LM to the copies that its pod holds, where pods are on these GPUs (bits), admitted in this order.

    `on_cpu` are the LMs whose pods are on the CPU: what they hold is not there for copies.
    """
    node, held = cluster.nodes[n], np.zeros(cluster.nodes[n].gpus)
    found = dict.fromkeys(gpus, 1)
    for i, bits in gpus.items():
        on = (bits >> np.arange(node.gpus) & 1).astype(np.bool_)
        vram_gb, spans = cluster.vram_gb(n, i), int(on.sum())
        if cluster.serving.copies and spans > 1 and (held[on] + vram_gb <= node.gpu_vram_gb + SLACK_GB).all():
            found[i] = spans
        held[on] += vram_gb if found[i] > 1 else vram_gb / max(spans, 1)
    ram_gb = sum(count * cluster.ram_gb(n, i, True) for i, count in found.items())
    ram_gb += sum(cluster.ram_gb(n, i, False) for i in on_cpu)
    fits = ram_gb <= node.ram_gb + SLACK_GB and (held <= node.gpu_vram_gb + SLACK_GB).all()
    return found if fits else dict.fromkeys(gpus, 1)


def menu(cluster: Cluster, n: int) -> Menu:
    """Enumerate the choices of node n that meet P1-1 and fit on its GPUs."""
    node, lms = cluster.nodes[n], range(cluster.n_lms)
    modes = _few_enough([[0] * cluster.runs_on_cpu(n, i) + sizes_on_gpu(cluster, n, i) for i in lms])
    able = [i for i in lms if modes[i]]
    rows: list[tuple[tuple[Allocation, ...], dict[int, int]]] = [((OFF,) * cluster.n_lms, {})]
    for size in range(1, _most_at_once(len(able)) + 1):
        for chosen in itertools.combinations(able, size):
            for way in itertools.product(*(modes[i] for i in chosen)):
                on_gpu = {i: size for i, size in zip(chosen, way, strict=True) if size}
                if sum(on_gpu.values()) > node.vgpus:
                    continue
                gpus = admission(cluster, n, on_gpu) if on_gpu else {}
                on_cpu = [i for i, size in zip(chosen, way, strict=True) if not size]
                held = copies(cluster, n, gpus, on_cpu)
                if any(on_gpu[i] > cluster.least_vgpus(n, i) for i, count in held.items() if count == 1):
                    continue  # what a copy would bring is all that more vGPUs are good for
                hosts = sum(cluster.lms[i].host_cores for i in on_gpu)
                for sizes in _splits(cluster, n, on_cpu, node.cpu_cores - hosts):
                    cores = dict(zip(on_cpu, sizes, strict=True))
                    row = tuple(Allocation(cores.get(i, 0), on_gpu.get(i, 0)) for i in lms)
                    if not check_deployment(cluster, Deployment(n, row)):
                        rows.append((row, gpus))
    return _table(cluster, n, rows)


def _table(cluster: Cluster, n: int, rows: list[tuple[tuple[Allocation, ...], dict[int, int]]]) -> Menu:
    shape, model = (len(rows), cluster.n_lms), cluster.nodes[n].gpu_model or ""
    made = Menu(
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.full(shape, np.inf),
        np.zeros(shape),
    )
    for c, (row, gpus) in enumerate(rows):
        held = copies(cluster, n, gpus, [i for i, allocation in enumerate(row) if allocation.cores])
        for i, allocation in enumerate(row):
            made.cores[c, i], made.vgpus[c, i] = allocation.cores, allocation.vgpus
            made.gpu[c, i] = gpus.get(i, 0)
            if allocation.cores:
                made.fixed_s[c, i] = cluster.cpu_seconds(n, i, allocation.cores)
            elif allocation.vgpus:
                profile, count = cluster.lms[i].gpu_profiles[model], held[i]
                made.fixed_s[c, i], made.compute_s[c, i] = profile.fixed_s / count, profile.compute_s / count
    for array in (made.cores, made.vgpus, made.gpu, made.fixed_s, made.compute_s):
        array.setflags(write=False)
    return made


@dataclass(frozen=True)
class Menus:
    """The menus of a cluster: one for each kind of hardware."""

    kinds: tuple[Menu, ...]
    kind: IntArray
    """[N] which of them a node has."""

    @classmethod
    def of(cls, cluster: Cluster) -> Menus:
        """Enumerate the menu of each kind once."""
        numbers = dict[object, int]()
        kind, kinds = list[int](), list[Menu]()
        for n, node in enumerate(cluster.nodes):
            hardware = node.hardware
            if hardware not in numbers:
                numbers[hardware] = len(kinds)
                kinds.append(menu(cluster, n))
            kind.append(numbers[hardware])
        return cls(tuple(kinds), np.array(kind, dtype=np.int64))

    def __getitem__(self, n: int) -> Menu:
        return self.kinds[int(self.kind[n])]
