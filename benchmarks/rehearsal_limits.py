"""How much there is left to gain for a policy that routes a slot ahead, beside what rehearsal (RH) comes to.

The capacity bound (docs/bound.md) holds for policies that know every request beforehand and may serve queues in any
order. Two more figures say what can be had without that. *Alone*: the LM that computes most has the whole testbed to
itself, a pod on every node, routed by backlog, and every other LM is answered at once by the fastest pod that there is.
*Hindsight*: the best placement that hill climbing in the twin finds on the very requests of the run, kept from first
to last slot. Both are what was reached, not what is proven; the first leaves out that LMs have to share.

    python -m benchmarks.rehearsal_limits --seeds 3
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from benchmarks.rehearsal import BASELINES, FIRST_SEED, interval, run
from domain.cluster import Cluster
from domain.decisions import MacroPolicy
from domain.objective import summarise
from domain.telemetry import EpochTelemetry, Records
from domain.workload import Arrivals
from policies.backlog import BacklogScheduler
from policies.families import make
from policies.rehearsal.forecast import Forecast, Traffic
from policies.rehearsal.menu import Menus
from policies.steady import SteadyDeployer
from runtime.runs.loop import drain_slots
from twin.bound import bound
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

SETTLING = 8
"""Slots within which a placement is reached, however many pods of a node have to come one after the other."""
Choices = tuple[int, ...]


class Stage:
    """Plays the requests of one run under placements that never change."""

    def __init__(self, cluster: Cluster, arrivals: list[Arrivals]) -> None:
        self._cluster, self._arrivals = cluster, arrivals
        self.menus = Menus.of(cluster)
        self._deployer = SteadyDeployer(cluster, self.menus)
        self._traffic = self._learned()

    def _learned(self) -> Traffic:
        forecast, twin = Forecast(self._cluster), Twin(self._cluster)
        for arrivals in self._arrivals:
            twin.advance(arrivals)
            forecast.watch(twin.observe())
        return forecast.traffic()

    def play(self, choices: Choices) -> EpochTelemetry:
        """Return what the run comes to when node n runs choice n of its menu throughout."""
        cluster, scheduler, twin = self._cluster, BacklogScheduler(self._cluster), Twin(self._cluster)
        roles = np.array([self.menus[n].on[choice] for n, choice in enumerate(choices)])
        policy = MacroPolicy(roles.T / np.maximum(roles.T.sum(axis=1, keepdims=True), 1), roles)
        parts = list[Records]()
        for t in range(len(self._arrivals) + drain_slots(cluster)):
            more = t < len(self._arrivals)
            if not more and not twin.waiting:
                break
            if more:
                snapshot = twin.observe()
                if t < SETTLING:
                    for n in range(cluster.n_nodes):
                        deployment = self._deployer.step(snapshot, n, policy, choices[n])
                        if deployment is not None:
                            twin.deploy(deployment)
                twin.route(scheduler.route(snapshot, policy, self._traffic))
            parts.append(twin.advance(self._arrivals[t] if more else Arrivals.empty()))
        return summarise(Records.concatenate(parts), cluster.n_lms, cluster.deadline_s, cluster.latency_weight)


def climb(stage: Stage, cluster: Cluster, placements: int, rng: np.random.Generator) -> float:
    """Return the least mean latency of full service among placements that differ step by step from the best so far."""
    menus = stage.menus
    best = tuple(int(np.argmax(menus[n].on.sum(axis=1))) for n in range(cluster.n_nodes))
    least, tried = stage.play(best), {best}
    for _ in range(placements):
        choices = list(best)
        for n in rng.choice(cluster.n_nodes, size=int(rng.integers(1, 3)), replace=False).tolist():
            choices[n] = int(rng.integers(len(menus[n])))
        if tuple(choices) in tried:
            continue
        tried.add(tuple(choices))
        told = stage.play(tuple(choices))
        if told.objective < least.objective:
            best, least = tuple(choices), told
    return least.global_mean_latency_s


def pick(arrivals: Arrivals, rows: NDArray[np.bool_]) -> Arrivals:
    """Return some of the requests."""
    return Arrivals.of(arrivals.time_s[rows], arrivals.origin[rows], arrivals.lm[rows], arrivals.prompts[rows])


def alone(cluster: Cluster, arrivals: list[Arrivals], heaviest: int) -> float:
    """Return the mean latency of all requests where one LM has everything and the others wait for nothing."""

    def only(mine: bool) -> list[Arrivals]:
        return [pick(part, (part.lm == heaviest) == mine) for part in arrivals]

    stage = Stage(cluster, only(True))
    choices = []
    for n in range(cluster.n_nodes):
        table = stage.menus[n]
        single = table.on[:, heaviest] & (table.on.sum(axis=1) == 1)
        fastest = np.where(single, table.fixed_s[:, heaviest] + table.compute_s[:, heaviest], np.inf)
        choices.append(int(np.argmin(fastest)) if single.any() else 0)
    own, others = stage.play(tuple(choices)), Arrivals.concatenate(only(False))
    total = int(own.arrived.sum()) * own.global_mean_latency_s + len(others) * bound(cluster, others).solo_mean_s
    return total / (int(own.arrived.sum()) + len(others))


def report(cluster: Cluster, workload: str, seeds: int, slots: int, placements: int) -> None:
    """Print mean latencies, medians over seeds: the goals, the limits, and RH."""
    heaviest = max(range(cluster.n_lms), key=lambda i: max(p.compute_s for p in cluster.lms[i].gpu_profiles.values()))
    columns: dict[str, list[float]] = {}
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        source = load_workload(workload, cluster, seed, 1.0)
        arrivals = [source.arrivals(slot) for slot in range(slots)]
        best = min(run(cluster, make(code, cluster), workload, slots, seed).global_mean_latency_s for code in BASELINES)
        least = bound(cluster, Arrivals.concatenate(arrivals)).capacity_mean_s
        told = {
            "bound": least,
            "1.5 times the bound": 1.5 * least,
            "a quarter of the best baseline": best / 4.0,
            f"{cluster.lms[heaviest].name} alone, others at once": alone(cluster, arrivals, heaviest),
            f"best of {placements} placements in hindsight": climb(
                Stage(cluster, arrivals), cluster, placements, np.random.default_rng(seed)
            ),
            "RH": run(cluster, make("RH", cluster), workload, slots, seed).global_mean_latency_s,
        }
        for name, value in told.items():
            columns.setdefault(name, []).append(value)
    print(f"\n{workload}, {seeds} seeds, {slots} slots: mean latency in seconds, median [95 % interval]")
    for name, values in columns.items():
        print(f"{name:40} {interval(values)}", flush=True)


def main() -> None:
    """Run both workloads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--slots", type=int, default=200)
    parser.add_argument("--placements", type=int, default=600, help="placements that hindsight tries")
    asked = parser.parse_args()
    for workload in ("p1", "real"):
        report(load_builtin("bristol"), workload, asked.seeds, asked.slots, asked.placements)


if __name__ == "__main__":
    main()
