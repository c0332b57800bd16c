"""What a year of slots leaves on disk: a run of rules through the slot graph, and what a second stretch of it adds.

    python -m benchmarks.year                  1,500 slots on bristol, then 1,500 more
    python -m benchmarks.year --slots 3000     longer stretches

The first stretch holds what a run takes once, the last checkpoints among it; what the second adds is taken for each of
the slots of a year.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console

from domain.cluster import Cluster
from runtime.agents.settings import CHECKPOINTS, AgentSettings
from runtime.runs import graph_families
from runtime.runs.graph_families import GraphFamilies
from runtime.runs.progress import RunProgress
from twin.testbeds import load_builtin
from twin.workloads import load_workload

FAMILY, SEED, YEAR_S = "AL", 1, 365 * 86_400


def sizes(cluster: Cluster, slots: int, keep: int | None) -> dict[str, int]:
    """Bytes of each file that a run of so many slots leaves."""
    settings = AgentSettings(models=None, via_graph=True, checkpoints=keep)
    families = GraphFamilies(cluster, settings, lambda seed: load_workload("p1", cluster, seed), slots, environ={})
    with tempfile.TemporaryDirectory() as folder:
        home, draft = Path(folder), Path(folder, "draft")
        draft.mkdir()
        with RunProgress(Console(quiet=True), "", 1) as progress:
            families.run(home, draft, FAMILY, SEED, load_workload("p1", cluster, SEED), progress)
        return {name: (home / name).stat().st_size for name in (graph_families.MEMORY, graph_families.CHECKPOINTS)}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=1_500, help="of each stretch")
    asked = parser.parse_args()
    cluster = load_builtin("bristol")
    year = round(YEAR_S / cluster.slot_s)
    print(
        f"{FAMILY} on {cluster.name}, p1: bytes after {asked.slots:,} and {2 * asked.slots:,} slots; a year is {year:,}"
    )
    for keep in (CHECKPOINTS, None):
        first, second = (sizes(cluster, slots, keep) for slots in (asked.slots, 2 * asked.slots))
        for name, before in first.items():
            each = (second[name] - before) / asked.slots
            told = f"{before:12,} {second[name]:12,} {each:8,.0f} a slot {each * year / 1e9:6.2f} GB more a year"
            print(f"  --checkpoints {'all' if keep is None else keep:<5} {name:20} {told}", flush=True)


if __name__ == "__main__":
    main()
