"""How far rehearsal (RH) leaves the baselines behind, and how near it comes to what no policy can beat.

With no arguments 20 seeds of 200 slots; `--fast` takes 3 seeds of 100 slots, `--part` one of families, load, error,
ideas and time. Times are of CPU, on one core, with all code compiled before.

    python -m benchmarks.rehearsal --fast --part load
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.decisions import MacroPolicy
from domain.objective import objective
from domain.telemetry import EpochTelemetry, Snapshot
from domain.workload import Arrivals
from policies.backlog import BacklogScheduler
from policies.families import Family, make
from policies.rehearsal.forecast import Forecast, Traffic
from policies.rehearsal.planner import Effort, RehearsalPlanner
from policies.roles import DEPLOYER, PLANNER, SCHEDULER, generator
from policies.steady import SteadyDeployer
from runtime.results.tally import Tally
from runtime.runs.loop import run_slots
from twin.bound import Bound, bound, nonanticipating_mean_s
from twin.testbeds import generate_testbed, load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

BASELINES = ("RR", "RL", "AL", "RF", "LL")
FIRST_SEED = 100
"""The constants of the rules were chosen while looking at seeds below 10: those would flatter."""
LOADS = (0.2, 0.5, 0.8, 1.0, 1.2, 1.5)


@dataclass(frozen=True)
class Size:
    """How much to run."""

    seeds: int
    slots: int
    workloads: tuple[str, ...] = ("p1", "real")

    @property
    def all_seeds(self) -> range:
        """Seeds of the runs."""
        return range(FIRST_SEED, FIRST_SEED + self.seeds)


class WrongForecast(Forecast):
    """A forecast whose rates are off by a factor for each LM."""

    def __init__(self, cluster: Cluster, factors: NDArray[np.float64]) -> None:
        super().__init__(cluster)
        self._factors = factors

    def traffic(self) -> Traffic:
        """Return the wrong rates; what is learned stays right, so that the error is lasting."""
        return super().traffic().scaled(self._factors)


def run(cluster: Cluster, family: Family, workload: str, slots: int, seed: int, load: float = 1.0) -> EpochTelemetry:
    """Return what one run came to, its requests all ended."""
    tally = Tally(cluster)
    for result in run_slots(Twin(cluster), family, load_workload(workload, cluster, seed, load), slots, seed):
        tally.add(result)
    return tally.telemetry()


def requests(cluster: Cluster, workload: str, slots: int, seed: int, load: float = 1.0) -> Arrivals:
    """Return all requests of a run."""
    source = load_workload(workload, cluster, seed, load)
    return Arrivals.concatenate([source.arrivals(slot) for slot in range(slots)])


def limits(cluster: Cluster, workload: str, slots: int, seed: int, load: float = 1.0) -> Bound:
    """Return what no policy can beat on the requests of a run."""
    return bound(cluster, requests(cluster, workload, slots, seed, load))


def blind_limit(cluster: Cluster, workload: str, slots: int, seed: int) -> tuple[float, float]:
    """Return J and mean latency that no policy without foresight can expect to beat that completes every request."""
    mean_s = nonanticipating_mean_s(cluster, requests(cluster, workload, slots, seed))
    return objective(mean_s / cluster.deadline_s, 1.0, cluster.latency_weight), mean_s


def interval(values: Sequence[float]) -> str:
    """Return the median and an interval that holds it with 95 % probability, by resampling."""
    array = np.asarray(values)
    resampled = np.random.default_rng(0).choice(array, size=(2000, array.size))
    low, high = np.percentile(np.median(resampled, axis=1), [2.5, 97.5])
    return f"{np.median(array):.4g} [{low:.4g}, {high:.4g}]"


def families(cluster: Cluster, size: Size) -> None:
    """RH, the baselines and the bound on P1's workload and on the real traces."""
    for workload in size.workloads:
        print(f"\n{workload}, {size.seeds} seeds, {size.slots} slots: median [95 % interval]")
        print(f"{'':6} {'J':28} {'mean latency s':26} {'F_norm':24} least success of an LM")
        told: dict[str, list[EpochTelemetry]] = {}
        for code in (*BASELINES, "RH"):
            told[code] = [run(cluster, make(code, cluster), workload, size.slots, s) for s in size.all_seeds]
            columns: list[Callable[[EpochTelemetry], float]] = [
                lambda t: t.objective,
                lambda t: t.global_mean_latency_s,
                lambda t: t.fairness,
                lambda t: float(np.nanmin(t.success_ratio)),
            ]
            print(f"{code:6} " + "  ".join(f"{interval([get(t) for t in told[code]]):26}" for get in columns))
        found = [limits(cluster, workload, size.slots, s) for s in size.all_seeds]
        least = [(limit.objective_full, limit.capacity_mean_s) for limit in found]
        blind = [blind_limit(cluster, workload, size.slots, s) for s in size.all_seeds]
        for name, values in (("bound", least), ("blind", blind)):
            print(f"{name:6} {interval([j for j, _ in values]):26}  {interval([mean for _, mean in values]):26}")
        ours = told["RH"]
        best_j = [min(told[code][k].objective for code in BASELINES) for k in range(size.seeds)]
        best_s = [min(told[code][k].global_mean_latency_s for code in BASELINES) for k in range(size.seeds)]
        by_j = [
            min((told[code][k] for code in BASELINES), key=lambda t: t.objective).global_mean_latency_s
            for k in range(size.seeds)
        ]
        print(f"J over the best baseline's J: {interval([t.objective / j for t, j in zip(ours, best_j, strict=True)])}")
        print(
            "mean latency over the least of the baselines': "
            f"{interval([t.global_mean_latency_s / s for t, s in zip(ours, best_s, strict=True)])}"
        )
        print(
            "mean latency over that of the baseline with the best J: "
            f"{interval([t.global_mean_latency_s / s for t, s in zip(ours, by_j, strict=True)])}"
        )
        for name, values in (("the bound", least), ("the bound without foresight (blind)", blind)):
            ratios = [t.objective / j for t, (j, _) in zip(ours, values, strict=True)]
            print(f"J over {name}: {interval(ratios)}, mean {np.mean(ratios):.4g}")


def load(cluster: Cluster, size: Size) -> None:
    """J and fairness of RH beside the best baseline, from low load to overload."""
    print(f"\np1 at several loads, {size.seeds} seeds, {size.slots} slots")
    print(f"{'load':6} {'RH: J':30} {'best baseline: J':30} worst ratio   {'RH: F_norm':26} RH: J over the bound")
    for factor in LOADS:
        ours, best, over = list[EpochTelemetry](), list[float](), list[float]()
        for seed in size.all_seeds:
            ours.append(run(cluster, make("RH", cluster), "p1", size.slots, seed, factor))
            theirs = [run(cluster, make(code, cluster), "p1", size.slots, seed, factor) for code in BASELINES]
            best.append(min(t.objective for t in theirs))
            limit = limits(cluster, "p1", size.slots, seed, factor)
            over.append(ours[-1].objective / limit.objective_at(ours[-1].succeeded))
        ratio = max(t.objective / j for t, j in zip(ours, best, strict=True))
        print(
            f"{factor:4}   {interval([t.objective for t in ours]):30} {interval(best):30} {ratio:8.3f}      "
            f"{interval([t.fairness for t in ours]):26} {interval(over)}",
            flush=True,
        )


def error(cluster: Cluster, size: Size) -> None:
    """What it costs when every LM's rate is forecast 30 % too high or too low, at random."""
    print(f"\np1 with rates wrong by 30 %, {size.seeds} seeds, {size.slots} slots")
    ratios = []
    for seed in size.all_seeds:
        right = run(cluster, make("RH", cluster), "p1", size.slots, seed)
        factors = np.random.default_rng(seed).choice([0.7, 1.3], size=cluster.n_lms)
        planner, scheduler = RehearsalPlanner(cluster), BacklogScheduler(cluster)
        deployer = SteadyDeployer(cluster)
        for rule in (planner, scheduler, deployer):
            rule.forecast = WrongForecast(cluster, factors)
        family = replace(make("RH", cluster), planner=planner, scheduler=scheduler, deployer=deployer)
        ratios.append(run(cluster, family, "p1", size.slots, seed).objective / right.objective)
    print(f"J over J with the right rates: {interval(ratios)}")


def ideas(cluster: Cluster, size: Size) -> None:
    """What each part brings: J with one of them taken away, over J with all."""
    print(f"\np1 with one idea less, {size.seeds} seeds, {size.slots} slots: J over J of RH")
    variants: dict[str, tuple[float, Callable[[Family], Family]]] = {
        "random routing in place of backlog-aware": (
            1.0,
            lambda f: replace(f, scheduler=make("RF", cluster).scheduler),
        ),
        "full activation in place of steady deployment": (
            1.0,
            lambda f: replace(f, planner=None, deployer=make("RF", cluster).deployer),
        ),
        "no planner: even shares, every role": (1.0, lambda f: replace(f, planner=None)),
        "the yardstick's best plan, unrehearsed": (
            1.0,
            lambda f: replace(f, planner=RehearsalPlanner(cluster, Effort(seconds=-1.0))),
        ),
        "no new plan before the epoch ends": (1.0, lambda f: replace(f, planner=Patient(cluster))),
        "overload spread evenly, load 1.5": (
            1.5,
            lambda f: replace(f, scheduler=BacklogScheduler(cluster, patience=1e9)),
        ),
    }
    whole = dict[tuple[float, int], float]()
    for name, (factor, changed) in variants.items():
        ratios = []
        for seed in size.all_seeds:
            if (factor, seed) not in whole:
                whole[factor, seed] = run(cluster, make("RH", cluster), "p1", size.slots, seed, factor).objective
            less = run(cluster, changed(make("RH", cluster)), "p1", size.slots, seed, factor).objective
            ratios.append(less / whole[factor, seed])
        print(f"{name:48} {interval(ratios)}", flush=True)


class Patient(RehearsalPlanner):
    """Never asks for a plan before the epoch ends."""

    def watch(self, snapshot: Snapshot) -> bool:
        """Learn only."""
        super().watch(snapshot)
        return False


def seconds(cluster: Cluster, workload: str) -> None:
    """Time the decisions of the first slots on one cluster."""
    start = time.process_time()
    planner, scheduler, deployer = RehearsalPlanner(cluster), BacklogScheduler(cluster), SteadyDeployer(cluster)
    made = time.process_time() - start
    twin, source = Twin(cluster), load_workload(workload, cluster, 0, 1.0)
    plans, routes, deploys = list[float](), list[float](), list[float]()
    policy, snapshot = MacroPolicy.unrestricted(cluster), twin.observe()
    for slot in range(6):
        for rule in (planner, scheduler, deployer):
            rule.watch(snapshot)
        if slot in (0, 4):
            # The defaults bind the loop's variables; mypy infers no type for a lambda that has some.
            policy, spent = timed(lambda s=snapshot, t=slot: planner.plan(s, [], generator(0, PLANNER, t)))  # type: ignore[misc]
            plans.append(spent)
        start = time.process_time()
        twin.route(scheduler.schedule(snapshot, policy, generator(0, SCHEDULER, slot)))
        routes.append(time.process_time() - start)
        deploys.append(deploy_all(twin, deployer, snapshot, policy, slot))
        twin.advance(source.arrivals(slot))
        snapshot = twin.observe()
    print(
        f"{cluster.n_nodes:4} nodes: construction {made:.2f} s, first plan {plans[0]:.2f} s, "
        f"a plan later {plans[1]:.2f} s, "
        f"a slot's routing {1000 * max(routes[1:]):.0f} ms, its deployments {1000 * max(deploys):.0f} ms"
    )


def timed(work: Callable[[], MacroPolicy]) -> tuple[MacroPolicy, float]:
    """Return what the work came to and the seconds that it took."""
    start = time.process_time()
    return work(), time.process_time() - start


def deploy_all(twin: Twin, deployer: SteadyDeployer, snapshot: Snapshot, policy: MacroPolicy, slot: int) -> float:
    """Decide all nodes' deployments and apply them; return the seconds that deciding took."""
    start = time.process_time()
    made = [deployer.deploy(snapshot, n, policy, generator(0, DEPLOYER, slot, n)) for n in range(twin.cluster.n_nodes)]
    spent = time.process_time() - start
    for deployment in made:
        if deployment is not None:
            twin.deploy(deployment)
    return spent


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="3 seeds of 100 slots")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--slots", type=int)
    parser.add_argument("--workload", choices=("p1", "real"), help="of the families; both unless given")
    parser.add_argument("--part", choices=("families", "load", "error", "ideas", "time"))
    asked = parser.parse_args()
    size = Size(asked.seeds or (3 if asked.fast else 20), asked.slots or (100 if asked.fast else 200))
    if asked.workload:
        size = replace(size, workloads=(asked.workload,))
    cluster = load_builtin("bristol")
    if asked.part in (None, "time"):
        seconds(cluster, "p1")  # compiles
        for each in (cluster, generate_testbed(60, 1), generate_testbed(600, 1)):
            seconds(each, "p1")
    for name, part in (("families", families), ("load", load), ("error", error), ("ideas", ideas)):
        if asked.part in (None, name):
            part(cluster, size)


if __name__ == "__main__":
    main()
