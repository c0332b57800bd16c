"""How often the intervals of `edgewise whatif` hold the true difference: 95 of 100 times, if they are right.

The truth is the mean difference over all seeds. An interval is made from one seed, and from several that are drawn from
all of them.

    python -m benchmarks.whatif --seeds 60 --slots 150
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.moments import slots_at
from domain.telemetry import Records
from policies.families import make
from runtime.runs.loop import run_slots
from runtime.whatif.difference import differences, sums
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

PAIRS = (("LL", "RF"), ("LL", "RL"))
"""What was recorded, and what if."""
SIZES = (1, 2, 3, 6)
"""Seeds that an interval is made from."""
GROUPS = 200
"""Groups of several seeds that are drawn."""
Pair = tuple[NDArray[np.float64], NDArray[np.float64]]
SHOWN = ("J", "mean s", "F_norm", "served")


def table(cluster: Cluster, family: str, workload: str, seed: int, slots: int) -> NDArray[np.float64]:
    """Return the sums by slot of one run."""
    run = run_slots(Twin(cluster), make(family, cluster), load_workload(workload, cluster, seed), slots, seed)
    records = Records.concatenate([result.records for result in run])
    slot = slots_at(records.arrival_s, cluster.slot_s)
    return sums(records.lm, slot, records.success, records.latency_s, slots, cluster.n_lms)


def coverage(cluster: Cluster, tables: Sequence[Pair], size: int) -> dict[str, float]:
    """Return the share of groups of `size` seeds whose interval holds the mean difference of all seeds, by figure."""
    rng, found = np.random.default_rng(size), [differences([one], [two], cluster) for one, two in tables]
    truth = {row[0].figure: float(np.mean([d.value or 0.0 for d in row])) for row in zip(*found, strict=True)}
    alone = [[k] for k in range(len(tables))]
    groups = alone if size == 1 else [rng.choice(len(tables), size, False).tolist() for _ in range(GROUPS)]
    held = dict.fromkeys(truth, 0)
    for group in groups:
        for d in differences([tables[k][0] for k in group], [tables[k][1] for k in group], cluster):
            held[d.figure] += d.low is not None and d.high is not None and d.low <= truth[d.figure] <= d.high
    return {figure: count / len(groups) for figure, count in held.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--slots", type=int, default=150)
    parser.add_argument("--workload", default="p1")
    asked = parser.parse_args()
    cluster = load_builtin("bristol")
    print(f"{asked.workload}, {asked.seeds} seeds of {asked.slots} slots: share of 95 % intervals that hold the truth")
    print(f"{'':10}{'of seeds':>10}" + "".join(f"{name:>8}" for name in SHOWN))
    for base, other in PAIRS:
        tables: list[Pair] = []
        for seed in range(asked.seeds):
            one, two = (table(cluster, family, asked.workload, seed, asked.slots) for family in (base, other))
            tables.append((one, two))
        for size in SIZES:
            held = coverage(cluster, tables, size)
            print(f"{other} for {base} {size:10}" + "".join(f"{held[name]:8.2f}" for name in SHOWN), flush=True)


if __name__ == "__main__":
    main()
