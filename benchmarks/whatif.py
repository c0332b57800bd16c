"""How often the intervals of `edgewise whatif` hold the true difference: 95 of 100 times, if they are right.

The truth is the mean difference over all seeds, each of which makes an interval of its own from its one run.

    python -m benchmarks.whatif --seeds 40 --slots 150
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.telemetry import Records
from policies.families import make
from runtime.runs.loop import run_slots
from runtime.whatif.difference import differences, sums
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

PAIRS = (("LL", "RF"), ("LL", "RL"))
"""What was recorded, and what if."""
SHOWN = ("J", "mean s", "F_norm", "served")


def table(cluster: Cluster, family: str, workload: str, seed: int, slots: int) -> NDArray[np.float64]:
    """Return the sums by slot of one run."""
    run = run_slots(Twin(cluster), make(family, cluster), load_workload(workload, cluster, seed), slots, seed)
    records = Records.concatenate([result.records for result in run])
    slot = (records.arrival_s // cluster.slot_s).astype(np.int64)
    return sums(records.lm, slot, records.success, records.latency_s, slots, cluster.n_lms)


def coverage(cluster: Cluster, base: str, other: str, workload: str, seeds: int, slots: int) -> dict[str, float]:
    """Return the share of seeds whose interval holds the mean difference of all seeds, by figure."""
    tables = [[table(cluster, family, workload, seed, slots) for family in (base, other)] for seed in range(seeds)]
    found = [differences([one], [two], cluster) for one, two in tables]
    shares = dict[str, float]()
    for k, figure in enumerate(each.figure for each in found[0]):
        values = [(d.value, d.low, d.high) for d in (row[k] for row in found)]
        known = [(v, low, high) for v, low, high in values if v is not None and low is not None and high is not None]
        true = float(np.mean([v for v, _, _ in known]))
        shares[figure] = float(np.mean([low <= true <= high for _, low, high in known]))
    return shares


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--slots", type=int, default=150)
    parser.add_argument("--workload", default="p1")
    asked = parser.parse_args()
    cluster = load_builtin("bristol")
    print(f"{asked.workload}, {asked.seeds} seeds of {asked.slots} slots: share of 95 % intervals that hold the truth")
    print(f"{'':10}" + "".join(f"{name:>8}" for name in SHOWN))
    for base, other in PAIRS:
        held = coverage(cluster, base, other, asked.workload, asked.seeds, asked.slots)
        print(f"{other} for {base} " + "".join(f"{held[name]:8.2f}" for name in SHOWN), flush=True)


if __name__ == "__main__":
    main()
