"""Compiles ahead what every run needs compiled, for an image whose users may not write beside it."""

from __future__ import annotations

from dataclasses import replace

from domain.serving import Dispatch, Serving
from domain.workload import Arrivals
from policies.families import make
from runtime.runs.bounds import bound_figures
from runtime.runs.loop import run_slots
from twin.compiled import KEPT
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

FAMILY, SLOTS, SEED = "RH", 2, 1
"""A run that calls every compiled function; all testbeds and families call them with the same types."""


def compile_all() -> int:
    """Call every compiled function, which keeps its machine code; return how many there are."""
    testbed = load_builtin("bristol")
    cluster = replace(testbed, deadline_s=2 * testbed.slot_s)  # so that the run is over soon
    workload = load_workload("p1", cluster, SEED)
    for serving in (Serving(), Serving(Dispatch.SPLIT)):
        served = replace(cluster, serving=serving)
        for _ in run_slots(Twin(served), make(FAMILY, served), workload, SLOTS, SEED):
            pass
    bound_figures(cluster, SEED, Arrivals.concatenate([workload.arrivals(slot) for slot in range(SLOTS)]))
    return len(KEPT)
