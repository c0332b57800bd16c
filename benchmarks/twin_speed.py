"""How fast the twin is: requests per second of wall time, whole life cycle, beside SimPy on the same queues.

    python -m benchmarks.twin_speed            # a minute
    python -m benchmarks.twin_speed --long     # also 100,000 slots, watching memory

One core. Medians of five runs, and the best, since other work on the machine only ever adds time. The workload is P1's
(each slot, node and LM a batch of 0 to 8 prompts) at random feasible targets that change every slot. Pods live: each
slot one node in ten changes its deployment, so that pods stop, wait Pending, start and interrupt their requests. SimPy
gets the plainest part of it in its fastest shape: queues with servers that are always on (benchmarks/simpy_shape.py).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.simpy_shape import finish_times
from domain.cluster import Cluster
from domain.decisions import RoutingPlan
from domain.serving import Batching, Dispatch, Serving
from domain.telemetry import Outcome
from domain.workload import Arrivals
from policies.standard import catalogue
from twin.layout import Output, Schedule, allowed, output
from twin.testbeds import generate_testbed, load_builtin
from twin.twin import Twin

RUNS = 5
ALLOWED = 5
"""Nodes that an origin may use for an LM, where it chooses."""


def workload(cluster: Cluster, slots: int, rng: np.random.Generator) -> Arrivals:
    """P1's batches for `slots` slots."""
    n, i = cluster.n_nodes, cluster.n_lms
    count = slots * n * i
    times = np.repeat(np.arange(slots), n * i) * cluster.slot_s + rng.uniform(0, cluster.slot_s, count)
    origins, lms = np.tile(np.repeat(np.arange(n), i), slots), np.tile(np.arange(i), slots * n)
    return Arrivals.of(times, origins, lms, rng.integers(0, 9, count))


def schedule(cluster: Cluster, slots: int, rng: np.random.Generator) -> Schedule:
    """Random feasible routes every slot; at the start every node, later one in ten, gets a random feasible pattern."""
    shape = (slots, cluster.n_nodes, cluster.n_lms)
    targets = np.empty(shape, dtype=np.int64)
    for i in range(cluster.n_lms):
        targets[:, :, i] = rng.choice(np.flatnonzero(cluster.feasible[:, i]), size=shape[:2])
    cores, vgpus = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    decided = (rng.random(shape[:2]) < 0.1).astype(np.int64)
    decided[0] = 1
    patterns = catalogue(cluster)
    for t, n in np.argwhere(decided):
        full = rng.random() < 0.7  # mostly on: an idle cluster would be fast and mean nothing
        p = int(np.argmax(patterns[n].active.sum(axis=1))) if full else int(rng.integers(len(patterns[n].active)))
        for i, allocation in enumerate(patterns[n].deployment(int(n), p).allocations):
            cores[t, n, i], vgpus[t, n, i] = allocation.cores, allocation.vgpus
    return Schedule.fixed(targets, cores, vgpus, decided)


def open_schedule(cluster: Cluster, decisions: Schedule, rng: np.random.Generator) -> Schedule:
    """The same deployments; each origin may use ALLOWED nodes that can run the LM."""
    weights = np.zeros((cluster.n_nodes, cluster.n_lms, cluster.n_nodes))
    for o in range(cluster.n_nodes):
        for i in range(cluster.n_lms):
            able = np.flatnonzero(cluster.feasible[:, i])
            weights[o, i, rng.choice(able, size=min(ALLOWED, len(able)), replace=False)] = 1.0
    slots = len(decisions.targets)
    nodes, weight = (np.broadcast_to(array, (slots, *array.shape)) for array in allowed(weights))
    return decisions._replace(
        is_open=np.ones(slots, dtype=np.int64),
        allowed=np.ascontiguousarray(nodes),
        weight=np.ascontiguousarray(weight),
    )


def measure(work: Callable[[], int]) -> tuple[float, float]:
    """Median and best requests per second over RUNS runs, after one that compiles and warms."""
    work()
    rates = []
    for _ in range(RUNS):
        start = time.perf_counter()
        requests = work()
        rates.append(requests / (time.perf_counter() - start))
    return statistics.median(rates), max(rates)


def many_slots(fresh: Twin, arrivals: Arrivals, decisions: Schedule) -> int:
    """All slots in one compiled call."""
    twin = fresh.copy()
    records = twin.run(arrivals, decisions)
    if len(records) + twin.waiting != len(arrivals):
        raise AssertionError("requests were lost")
    return len(arrivals)


def streamed(fresh: Twin, arrivals: Arrivals, decisions: Schedule, step: int, room: Output) -> int:
    """One compiled call per `step` slots, records streamed through one buffer, as a long run or a rehearsal does."""
    twin, seen, slot_s = fresh.copy(), 0, fresh.cluster.slot_s
    for t in range(0, decisions.targets.shape[0], step):
        part = arrivals.between(t * slot_s, (t + step) * slot_s)
        seen += len(twin.run(part, decisions.slots(t, t + step), room))
    if seen + twin.waiting != len(arrivals):
        raise AssertionError("requests were lost")
    return len(arrivals)


def slot_by_slot(fresh: Twin, parts: list[Arrivals], decisions: Schedule) -> int:
    """One compiled call per slot, routed from Python, as a policy in the loop would."""
    twin = fresh.copy()
    for t, arrivals in enumerate(parts):
        twin.route(RoutingPlan(decisions.targets[t]))
        twin.run(arrivals, decisions.slots(t, t + 1))
    return sum(map(len, parts))


def best_seconds(cluster: Cluster, n: int, i: int) -> float:
    """Seconds per prompt of LM i on node n at its fastest there; 0 where it never goes."""
    known = [cluster.gpu_seconds(n, i) if cluster.runs_on_gpu(n, i) else np.inf]
    if cluster.runs_on_cpu(n, i):
        known.append(cluster.cpu_seconds(n, i, cluster.nodes[n].cpu_cores))
    return min(known) if np.isfinite(min(known)) else 0.0


def compare(name: str, cluster: Cluster, slots: int, simpy_slots: int) -> None:
    """Print one size of cluster."""
    rng = np.random.default_rng(7)
    arrivals, decisions = workload(cluster, slots, rng), schedule(cluster, slots, rng)
    parts = [arrivals.between(t * cluster.slot_s, (t + 1) * cluster.slot_s) for t in range(slots)]
    records = Twin(cluster).run(arrivals, decisions)
    good, cut = np.mean(records.outcome == int(Outcome.SUCCESS)), np.mean(records.interruptions > 0)
    print(f"\n{name}: {len(arrivals):,} requests in {slots:,} slots; {good:.0%} succeed, {cut:.1%} were interrupted")
    seconds = np.array([[best_seconds(cluster, n, i) for i in range(cluster.n_lms)] for n in range(cluster.n_nodes)])
    simpy_work = arrivals.between(0, simpy_slots * cluster.slot_s)
    fresh = Twin(cluster)
    step = max(1, 1200 // (cluster.n_nodes * cluster.n_lms))  # slots of about a thousand requests
    room = output(int(1.5 * max(map(len, parts)) * step) + 40 * max(map(len, parts)))
    rows = [
        ("twin, many slots a call, streamed", measure(lambda: streamed(fresh, arrivals, decisions, step, room))),
        ("twin, all slots in one call", measure(lambda: many_slots(fresh, arrivals, decisions))),
        ("twin, one call per slot", measure(lambda: slot_by_slot(fresh, parts, decisions))),
        (
            "SimPy, always-on servers",
            measure(lambda: len(finish_times(cluster, simpy_work, decisions.targets, seconds))),
        ),
    ]
    chosen = open_schedule(cluster, decisions, rng)
    for label, serving in (
        ("twin, arrival, streamed", Serving(Dispatch.ARRIVAL)),
        ("twin, split, streamed", Serving(Dispatch.SPLIT)),
        ("twin, split, news 1 s old, streamed", Serving(Dispatch.SPLIT, news_s=1.0)),
        ("twin, batches of a queue, streamed", Serving(Dispatch.SPLIT, batching=Batching.QUEUE)),
    ):
        chooser = Twin(dataclasses.replace(cluster, serving=serving))
        rows.insert(-1, (label, measure(functools.partial(streamed, chooser, arrivals, chosen, step, room))))
    slowest = rows[-1][1][0]
    print(f"  {'':36}{'median':>12}{'best':>12}   requests/s; times SimPy")
    for label, (median, best) in rows:
        print(f"  {label:36}{median:12,.0f}{best:12,.0f}   {median / slowest:6.1f}")


def memory(cluster: Cluster, slots: int) -> None:
    """Run slot by slot, dropping records as a stream would, and print how much memory the process has at most."""
    rng = np.random.default_rng(7)
    block = 1000
    arrivals, decisions = workload(cluster, block, rng), schedule(cluster, block, rng)
    twin, seen = Twin(cluster), 0
    print(f"\nMemory over {slots:,} slots of {cluster.name}, records streamed:")
    for start in range(0, slots, block):
        shifted = Arrivals(arrivals.time_s + start * cluster.slot_s, arrivals.origin, arrivals.lm, arrivals.prompts)
        for t in range(block):
            part = shifted.between((start + t) * cluster.slot_s, (start + t + 1) * cluster.slot_s)
            seen += len(twin.run(part, decisions.slots(t, t + 1)))
        if (start // block) % max(slots // block // 5, 1) == 0 or start + block >= slots:
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"  slot {start + block:>8,}: {seen:>10,} records, {most:7.1f} MiB at most")


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="also run 100,000 slots and watch memory")
    long = parser.parse_args().long
    bristol = load_builtin("bristol")
    compare("6 nodes x 4 LMs (bristol)", bristol, 3000, 1000)
    compare("600 nodes x 4 LMs", generate_testbed(600, seed=1), 60, 10)
    if long:
        memory(bristol, 100_000)


if __name__ == "__main__":
    main()
