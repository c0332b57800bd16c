"""What each way of serving brings: dispatch, news, batches and copies, alone and together (docs/dispatch.md).

Medians over seeds with 95 % intervals; ratios are taken seed by seed, on the same requests. RH is the policy that
rehearses; RR to LL are P1's; `plain` loads everything everywhere and looks no further than the least work
(none+backlog+full); `wide` does so too, and puts each pod that has a vGPU on all GPUs of its node, a copy on each. J is
also put over what no policy can beat in P1's model, and over the same for the setting itself.

    python -m benchmarks.dispatch --part p1 --seeds 3 --slots 100
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context

import numpy as np

from benchmarks.rehearsal import BASELINES, FIRST_SEED, interval, requests, run
from domain.cluster import Cluster
from domain.decisions import Deployment, MacroPolicy
from domain.serving import Batching, Dispatch, Serving
from domain.telemetry import Snapshot
from policies.families import Family, make
from policies.full import FullDeployer
from runtime.agents.families import recipe_of
from twin.bound import Bound, bound
from twin.testbeds import load_builtin

PLAIN = "none+backlog+full"
"""Everything loaded, least work: no planner, the backlog-aware scheduler, P1's full deployer."""
WIDE = "wide"
NAMES = {PLAIN: "plain"}
SPLIT = Serving(Dispatch.SPLIT)
LOADS = (0.2, 0.6, 1.0, 1.5)


@dataclass(frozen=True)
class Way:
    """A family under one way of serving."""

    serving: Serving = Serving()
    family: str = "RH"

    @property
    def name(self) -> str:
        """What the table calls it."""
        words = [str(self.serving.dispatch)]
        words += [f"news {self.serving.news_s:g} s"] if self.serving.news_s else []
        words += [f"batch {self.serving.batching}"] if self.serving.batching is not Batching.NONE else []
        words += ["copies"] if self.serving.copies else []
        return f"{NAMES.get(self.family, self.family)} {', '.join(words)}"


FIXED = Way()
ALL = (
    FIXED,
    Way(Serving(Dispatch.ARRIVAL)),
    Way(SPLIT),
    Way(replace(SPLIT, news_s=1.0)),
    Way(replace(SPLIT, news_s=30.0)),
    Way(replace(SPLIT, batching=Batching.REQUEST)),
    Way(replace(SPLIT, batching=Batching.QUEUE)),
    Way(replace(SPLIT, copies=True)),
    Way(replace(SPLIT, batching=Batching.REQUEST, copies=True)),
    Way(replace(SPLIT, batching=Batching.QUEUE, copies=True)),
)
RULES = (
    *(Way(family=code) for code in BASELINES),
    Way(family=PLAIN),
    Way(Serving(Dispatch.ARRIVAL), PLAIN),
    Way(SPLIT, PLAIN),
    Way(replace(SPLIT, batching=Batching.REQUEST, copies=True), PLAIN),
    Way(replace(SPLIT, batching=Batching.QUEUE, copies=True), PLAIN),
    Way(replace(SPLIT, copies=True), WIDE),
    Way(replace(SPLIT, batching=Batching.REQUEST, copies=True), WIDE),
    Way(replace(SPLIT, batching=Batching.QUEUE, copies=True), WIDE),
)
UNDER_LOAD = (*ALL[:3], *ALL[-2:], Way(SPLIT, PLAIN), *RULES[-2:])


@dataclass(frozen=True)
class Part:
    """A table: ways on one workload."""

    workload: str
    load: float
    ways: tuple[Way, ...]


PARTS = {
    "p1": Part("p1", 1.0, ALL + RULES),
    "real": Part("real", 1.0, ALL + RULES),
    **{f"load-{load:g}": Part("p1", load, UNDER_LOAD) for load in LOADS},
}


@dataclass(frozen=True)
class Outcome:
    """What one run came to."""

    mean_s: float
    objective: float
    over_p1: float
    """J over the least that P1's model allows, at the same service."""
    over_own: float
    """J over the least that the setting allows, at the same service."""
    fairness: float
    success: float
    """Of the LM that is served worst."""
    seconds: float
    """Of the processor, bounds not counted."""


class WideDeployer(FullDeployer):
    """Full activation, but pods on vGPUs have one of each GPU of their node."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._nodes = cluster.nodes

    def deploy(self, snapshot: Snapshot, node: int, policy: MacroPolicy, rng: np.random.Generator) -> Deployment | None:
        """Return the widened deployment; None as the full deployer."""
        full, gpus = super().deploy(snapshot, node, policy, rng), self._nodes[node].gpus
        if full is None or gpus < 2:
            return full
        return Deployment(node, tuple(replace(a, vgpus=gpus) if a.vgpus else a for a in full.allocations))


def family_of(way: Way, cluster: Cluster) -> Family:
    """Return who decides."""
    if way.family != WIDE:
        return make(way.family, cluster, {way.family: recipe_of(way.family)})
    return replace(make(PLAIN, cluster, {PLAIN: recipe_of(PLAIN)}), deployer=WideDeployer(cluster))


def outcomes(part: Part, seed: int, slots: int) -> list[Outcome]:
    """Run all ways of a part on one seed."""
    return [outcome(part, way, seed, slots) for way in part.ways]


def outcome(part: Part, way: Way, seed: int, slots: int) -> Outcome:
    """Run one family in one way on one seed."""
    cluster = replace(load_builtin("bristol"), serving=way.serving)
    family = family_of(way, cluster)
    begun = time.process_time()
    told = run(cluster, family, part.workload, slots, seed, part.load)
    seconds = time.process_time() - begun
    where = (part.workload, slots, seed, part.load)
    p1, own = limit(Serving(), *where), limit(_bounded(way.serving), *where)
    return Outcome(
        told.global_mean_latency_s,
        told.objective,
        told.objective / p1.objective_at(np.minimum(told.succeeded, p1.max_success)),
        told.objective / own.objective_at(told.succeeded),
        told.fairness,
        float(np.nanmin(told.success_ratio)),
        seconds,
    )


def _bounded(serving: Serving) -> Serving:
    """Return the setting whose bound holds: neither the age of news nor a choice at arrival changes it."""
    dispatch = Dispatch.FIXED if serving.dispatch is Dispatch.ARRIVAL else serving.dispatch
    return replace(serving, dispatch=dispatch, news_s=0.0)


@lru_cache(maxsize=16)
def limit(serving: Serving, workload: str, slots: int, seed: int, load: float) -> Bound:
    """Return the bound of a setting on the requests of a run."""
    cluster = load_builtin("bristol")
    return bound(cluster, requests(cluster, workload, slots, seed, load), serving=serving)


def played(name: str, seeds: Sequence[int], slots: int, jobs: int) -> dict[Way, list[Outcome]]:
    """Return the outcomes of a part's ways, seed by seed; tells on the error stream how far it is."""
    part, begun, found = PARTS[name], time.monotonic(), dict[int, list[Outcome]]()
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        tasks = {pool.submit(outcomes, part, seed, slots): seed for seed in seeds}
        for task in as_completed(tasks):
            found[tasks[task]] = task.result()
            left = (time.monotonic() - begun) / len(found) * (len(tasks) - len(found))
            print(f"\r{name}: {len(found)} of {len(tasks)} seeds, {left / 60:.0f} min left ", end="", file=sys.stderr)
    print(file=sys.stderr)
    return {way: [found[seed][k] for seed in seeds] for k, way in enumerate(part.ways)}


def table(name: str, told: dict[Way, list[Outcome]], seeds: int, slots: int) -> None:
    """Print the table of a part."""
    print(f"\n{name}: {seeds} seeds, {slots} slots: median [95 % interval]; (worst seed)")
    heads = ("mean latency s", "of RH fixed", "J of RH fixed", "J over P1's bound", "J over its own bound")
    print(f"{'':36}" + "".join(f"{head:24}" for head in heads) + f"{'F_norm':16}{'least success':16}seconds")
    fixed = told[FIXED]
    for way, runs in told.items():
        pairs = list(zip(runs, fixed, strict=True))
        columns = (
            interval([r.mean_s for r in runs]),
            interval([r.mean_s / f.mean_s for r, f in pairs]),
            interval([r.objective / f.objective for r, f in pairs]),
            interval([r.over_p1 for r in runs]),
            interval([r.over_own for r in runs]),
        )
        worst = max(r.objective / f.objective for r, f in pairs)
        print(
            f"{way.name:36}"
            + "".join(f"{text:24}" for text in columns)
            + f"{_least(runs, lambda r: r.fairness):16}{_least(runs, lambda r: r.success):16}"
            + f"{np.median([r.seconds for r in runs]):7.1f}   J of fixed, worst seed {worst:.3f}",
            flush=True,
        )


def _least(runs: Sequence[Outcome], get: Callable[[Outcome], float]) -> str:
    values = [get(run) for run in runs]
    return f"{np.median(values):.3f} ({min(values):.3f})"


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="may be repeated; all unless given")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--slots", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    asked = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + asked.seeds)
    for name in asked.part or PARTS:
        table(name, played(name, seeds, asked.slots, asked.jobs), asked.seeds, asked.slots)


if __name__ == "__main__":
    main()
