"""Families that bring a dispatch of their own into a comparison: `RH:split` is RH, under `split`.

So the same requests can be served in several ways within one run. Everything else is as the run has it.
"""

from __future__ import annotations

from dataclasses import replace

from domain.cluster import Cluster
from domain.serving import Dispatch
from twin.testbeds import ServingEdit
from twin.testbeds.schema import TestbedFile

MARK = ":"
"""Between the code of a family and its dispatch."""


def bare(family: str) -> str:
    """The family's code or mix, without a dispatch."""
    return family.partition(MARK)[0]


def own_dispatch(family: str) -> str | None:
    """The dispatch that a family brings, as it is written; None where it takes that of the run."""
    return family.partition(MARK)[2] if MARK in family else None


def words_of(family: str) -> str:
    """What tables and figures call it, such as 'RH split'."""
    return family.replace(MARK, " ")


def cluster_of(cluster: Cluster, family: str) -> Cluster:
    """The cluster as this family finds it."""
    dispatch = own_dispatch(family)
    if dispatch is None:
        return cluster
    return replace(cluster, serving=replace(cluster.serving, dispatch=Dispatch(dispatch)))


def testbed_of(testbed: TestbedFile, family: str) -> TestbedFile:
    """The same of a testbed file."""
    return ServingEdit(dispatch=own_dispatch(family)).of(testbed)
