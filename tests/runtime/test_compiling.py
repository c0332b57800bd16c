"""What is compiled ahead is all that any run needs."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace

import pytest

import policies
import twin
from domain.workload import Arrivals
from policies.families import FAMILIES, make
from runtime.runs.bounds import bound_figures
from runtime.runs.compiling import compile_all
from runtime.runs.loop import run_slots
from twin.compiled import KEPT
from twin.testbeds import generate
from twin.testbeds.build import to_cluster
from twin.twin import Twin
from twin.workloads import load_workload


@pytest.mark.usefixtures("small_effort")
def test_every_compiled_function_is_compiled_ahead_with_the_types_that_runs_call_it_with() -> None:
    for room in (twin, policies):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    assert compile_all() == len(KEPT)
    # Other tests compile functions of their own.
    ours = [function for function in KEPT if function.py_func.__module__.split(".")[0] in ("twin", "policies")]
    ahead = {function: tuple(function.signatures) for function in ours}
    assert all(ahead.values())
    cluster = replace(to_cluster(generate(3, seed=1)), deadline_s=60.0)
    for family in FAMILIES:
        workload = load_workload("p1", cluster, 2)
        assert len(list(run_slots(Twin(cluster), make(family, cluster), workload, 2, 2))) > 2
    bound_figures(cluster, 2, Arrivals.concatenate([load_workload("p1", cluster, 2).arrivals(0)]))
    assert {function: tuple(function.signatures) for function in ours} == ahead
