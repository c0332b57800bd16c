"""Decisions in their form with names: read back as they were written, refused where something is missing."""

import numpy as np
import pytest

from domain.decisions import NOWHERE, RoutingPlan
from tests.clusters import tiny


def test_a_routing_plan_reads_back_as_it_was_written() -> None:
    plan = RoutingPlan(np.array([[0, 1], [1, NOWHERE]]))
    assert RoutingPlan.from_json(tiny(), plan.to_json(tiny())).targets.tolist() == plan.targets.tolist()


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"north": {"chat": "north", "draw": "south"}}, "south -> chat"),
        ({"north": {"chat": "north", "draw": None}, "south": {"draw": "south"}}, "south -> chat"),
        ({"north": {"chat": "nroth", "draw": None}, "south": {"chat": None, "draw": None}}, "nroth"),
        ({"north": {"chta": "north", "draw": None}, "south": {"chat": None, "draw": None}}, "chta"),
        ({"nroth": {"chat": None, "draw": None}, "south": {"chat": None, "draw": None}}, "nroth"),
        ({}, "north -> chat"),
    ],
)
def test_a_missing_pair_and_an_unknown_name_are_refused_by_name(
    table: dict[str, dict[str, str | None]], named: str
) -> None:
    with pytest.raises(KeyError, match=named):
        RoutingPlan.from_json(tiny(), table)
