"""How the order of P1's families hangs on two numbers of `bristol` that are estimated: start-up time and LM4's speed.

Every row is the demo's first workload on a testbed in which one of them is so many times what it is. Families stand
in order of J, the best first.

    python -m benchmarks.sensitivity --seeds 3
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

import numpy as np

from domain.cluster import Cluster
from domain.large_model import LargeModel
from domain.objective import summarise
from domain.telemetry import EpochTelemetry, Records
from policies.families import make
from runtime.runs.loop import run_slots
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

FAMILIES = ("RR", "RL", "AL", "RF", "LL")
SLOTS = 500
SLOW = "LM4"
CASES: tuple[tuple[str, float, float], ...] = (
    ("as it is", 1.0, 1.0),
    ("half of the start-up", 0.5, 1.0),
    ("a tenth of the start-up", 0.1, 1.0),
    ("twice the start-up", 2.0, 1.0),
    ("half of LM4's time", 1.0, 0.5),
    ("1.5 times LM4's time", 1.0, 1.5),
    ("twice LM4's time", 1.0, 2.0),
)
"""What is changed, the factor of all start-up times, and that of LM4's seconds per prompt on a GPU."""


def changed(cluster: Cluster, start: float, slow: float) -> Cluster:
    """Return the testbed with all start-up times and LM4's seconds per prompt times their factors."""

    def lm_of(lm: LargeModel) -> LargeModel:
        factor = slow if lm.name == SLOW else 1.0
        profiles = {
            name: dataclasses.replace(p, fixed_s=p.fixed_s * factor, compute_s=p.compute_s * factor)
            for name, p in lm.gpu_profiles.items()
        }
        return dataclasses.replace(
            lm, start_cpu_s=lm.start_cpu_s * start, start_gpu_s=lm.start_gpu_s * start, gpu_profiles=profiles
        )

    return dataclasses.replace(cluster, lms=tuple(map(lm_of, cluster.lms)))


def figures(cluster: Cluster, family: str, seed: int) -> EpochTelemetry:
    """Return what a family comes to over one run."""
    workload = load_workload("p1", cluster, seed)
    run = run_slots(Twin(cluster), make(family, cluster), workload, SLOTS, seed)
    records = Records.concatenate([result.records for result in run])
    return summarise(records, cluster.n_lms, cluster.deadline_s, cluster.latency_weight)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="seeds, from 1 on; each number is their mean")
    seeds = range(1, parser.parse_args(arguments).seeds + 1)
    base = load_builtin("bristol")
    print(f"bristol, workload p1, {SLOTS} slots, mean of {len(seeds)} seeds: family J (share of {SLOW} served in time)")
    for title, start, slow in CASES:
        cluster = changed(base, start, slow)
        place = cluster.lm_index[SLOW]
        known = {}
        for family in FAMILIES:
            told = [figures(cluster, family, seed) for seed in seeds]
            known[family] = np.mean([(t.objective, t.success_ratio[place]) for t in told], axis=0)
        order = sorted(known, key=lambda family: float(known[family][0]))
        print(f"{title:24}", ", ".join(f"{f} {known[f][0]:.3f} ({known[f][1]:.2f})" for f in order), flush=True)


if __name__ == "__main__":
    main()
