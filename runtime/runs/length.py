"""How long a run is where nobody says: a workload that ends is played to its end, as far as that takes about a minute.

What it costs: rules take 0.1 to 0.3 ms for a node and a slot, books and bound included 0.5; a rehearsed plan makes that
6 ms; the lower bound takes up to half a millisecond for a request (measured on two cores, `bristol`).
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.cluster import Cluster
from domain.errors import InputError
from domain.workload import Arrivals, Workload
from policies.families import FAMILIES
from runtime.results.own_dispatch import bare
from runtime.runs.settings import DEFAULT_EPOCHS
from twin.workloads.limits import MOST_REQUESTS

AFFORDABLE_S = 60.0
"""Seconds of work that a run takes upon itself without being told to."""
RULES_S, REHEARSED_S = 0.0005, 0.006
"""Seconds for a node and a slot of a family of rules, and of one that rehearses its plans."""
AFFORDABLE_REQUESTS = 150_000
"""Requests of all seeds together, for the bound."""


def affordable_slots(cluster: Cluster, workload: Workload, families: Sequence[str], seeds: int) -> int:
    """Return for how many slots families of rules play a workload in about a minute, in whole epochs; 10 at least."""
    each = [REHEARSED_S if FAMILIES[bare(code)].planner == "rehearsal" else RULES_S for code in families]
    slots, most = int(AFFORDABLE_S / (sum(each) * cluster.n_nodes * seeds)), AFFORDABLE_REQUESTS // seeds
    least, requests = DEFAULT_EPOCHS * cluster.epoch_slots, 0
    for slot in range(min(slots, workload.slots or slots)):
        requests += len(workload.arrivals(slot))
        if requests > most:
            slots = slot
            break
    return max(least, slots // cluster.epoch_slots * cluster.epoch_slots)


def all_arrivals(workload: Workload, slots: int) -> Arrivals:
    """Return the requests of the first slots; raises InputError where they are more than memory should hold."""
    parts, count = list[Arrivals](), 0
    for slot in range(slots):
        parts.append(workload.arrivals(slot))
        count += len(parts[-1])
        if count > MOST_REQUESTS:
            raise InputError(
                f"The run has more than {MOST_REQUESTS:,} requests in its first {slot + 1:,} slots of {slots:,}; "
                "give it a smaller --load, or fewer --slots."
            )
    return Arrivals.concatenate(parts)
