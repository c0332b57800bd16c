"""Open routing plans in the records of a run: kept with their weights, read back slot by slot, compared and shown."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.decisions import NOWHERE, RoutingPlan
from domain.errors import InputError
from domain.ledger import Decision, Outcome, Role
from domain.serving import Dispatch, Serving
from domain.telemetry import Records
from domain.workload import Arrivals
from memory import open_memory
from runtime.results.changes import ROUTES, ChangeWriter
from runtime.results.slots import SlotResult
from runtime.runs.dry_run import DryRun
from runtime.runs.shadowed import _differing
from runtime.show.flows import flow_grids
from runtime.show.history import History
from runtime.show.routes import Route, Routes, read_routes
from runtime.show.slot import one_slot
from runtime.show.tables import overview
from tests.clusters import tiny
from tests.histories import history, many, printed
from twin.testbed import TwinTestbed
from twin.twin import Twin
from twin.workloads import load_workload

SPLIT = Serving(Dispatch.SPLIT)
CLUSTER = tiny(deadline_s=60.0)
OPEN = replace(CLUSTER, serving=SPLIT)
EACH = RoutingPlan.open(np.array([[[1.0, 0.5], [0, 1]], [[0, 1], [0, 0]]]))
OTHER = RoutingPlan.open(np.array([[[1.0, 0.25], [0, 1]], [[0, 1], [0, 0]]]))
FOR_ALL = RoutingPlan.open(np.array([[[0.5, 1.0], [0, 0]]]))
FIXED = RoutingPlan(np.array([[0, 1], [1, NOWHERE]]))
PLANS = [FIXED, EACH, OTHER, OTHER, FOR_ALL, FOR_ALL, EACH, FIXED, FOR_ALL, OTHER, FOR_ALL, FIXED]


def write(folder: Path, cluster: Cluster, plans: list[RoutingPlan]) -> list[dict[str, Any]]:
    after, writer = Twin(cluster).observe(), ChangeWriter(folder, cluster, "RL", 1)
    for slot, plan in enumerate(plans):
        nothing = Arrivals.empty(), Records.concatenate([]), after
        writer.add(SlotResult(slot, *nothing, plan.targets, Counter(), None, weights=plan.weights))
    writer.flush()
    writer.close()
    rows: list[dict[str, Any]] = pq.read_table(folder / ROUTES).to_pylist()
    return rows


def read(folder: Path, cluster: Cluster = OPEN) -> Routes:
    routes = read_routes(folder / ROUTES, cluster, history(cluster).result)
    assert routes is not None
    return routes


def dense(routes: Routes, slot: int, cluster: Cluster) -> NDArray[np.float64]:
    """[N, I, N] weights; 1 for the one target of a fixed plan."""
    found = np.zeros((cluster.n_nodes, cluster.n_lms, cluster.n_nodes))
    for n, i in np.ndindex(*found.shape[:2]):
        route = routes.at(slot, n, i)
        for target, weight in zip(route.targets, route.weights or [1.0] * len(route.targets), strict=True):
            found[n, i, target] = weight
    return found


def test_every_slot_is_read_back_with_its_weights(tmp_path: Path) -> None:
    write(tmp_path, OPEN, PLANS)
    routes = read(tmp_path)
    for slot, plan in enumerate(PLANS):
        fixed = (plan.targets[:, :, None] == np.arange(2)).astype(float)
        expected = fixed if plan.weights is None else np.broadcast_to(plan.weights, fixed.shape)
        np.testing.assert_array_equal(dense(routes, slot, OPEN), expected, err_msg=str(slot))
    assert routes.at(1, 0, 0) == Route((0, 1), (1.0, 0.5))
    assert routes.at(4, 0, 0) == Route((1, 0), (1.0, 0.5)), "the largest weight first"
    assert routes.at(4, 0, 1) == Route((), None)
    assert routes.at(0, 1, 0) == Route((1,), None), "fixed"


def test_rows_are_those_of_what_changed_and_one_set_for_all_origins(tmp_path: Path) -> None:
    rows = write(tmp_path, OPEN, PLANS)
    assert [(row["origin"], row["lm"], row["target"], row["weight"]) for row in rows if row["slot"] == 2] == [
        ("north", "chat", "north", 1.0),
        ("north", "chat", "south", 0.25),
    ]
    assert [(row["origin"], row["lm"], row["target"], row["weight"]) for row in rows if row["slot"] == 4] == [
        (None, "chat", "north", 0.5),
        (None, "chat", "south", 1.0),
        (None, "draw", None, 0.0),
    ]
    assert not [row for row in rows if row["slot"] in (3, 5)]


def test_random_plans_are_read_back(tmp_path: Path) -> None:
    rng, cluster = np.random.default_rng(1), replace(many(4), serving=SPLIT)
    plans = []
    for _ in range(10):
        origins = int(rng.choice([0, 1, 4]))
        if origins:
            plans.append(RoutingPlan.open(rng.integers(0, 3, (origins, 2, 4)) / 2.0))
        else:
            plans.append(RoutingPlan(rng.integers(-1, 4, (4, 2))))
    write(tmp_path, cluster, plans)
    routes = read(tmp_path, cluster)
    for slot, plan in enumerate(plans):
        fixed = (plan.targets[:, :, None] == np.arange(4)).astype(float)
        expected = fixed if plan.weights is None else np.broadcast_to(plan.weights, fixed.shape)
        np.testing.assert_array_equal(dense(routes, slot, cluster), expected, err_msg=str(slot))


def test_where_routes_are_fixed_the_file_is_as_it_always_was(tmp_path: Path) -> None:
    rows = write(tmp_path, CLUSTER, [FIXED, FIXED])
    assert list(rows[0]) == ["family", "seed", "slot", "origin", "lm", "target"]
    assert read(tmp_path, CLUSTER).at(1, 0, 1) == Route((1,), None)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"weight": float("nan")}, "holds a weight of RL that is none"),
        ({"weight": -1.0}, "holds a weight of RL that is none"),
        ({"weight": 0.0}, "holds a change of RL twice"),
        ({"target": "north"}, "holds a change of RL twice"),
        ({"slot": 12}, "holds a slot of RL outside of the 12 slots of the run"),
        ({"target": "west"}, "names 'west' as target"),
    ],
)
def test_damaged_routes_are_named(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    rows = write(tmp_path, OPEN, [EACH])
    table = pq.read_table(tmp_path / ROUTES)
    at = next(
        k for k, row in enumerate(rows) if (row["origin"], row["lm"], row["target"]) == ("north", "chat", "south")
    )
    rows[at] |= changes
    pq.write_table(table.from_pylist(rows), tmp_path / ROUTES)
    with pytest.raises(InputError, match=sentence):
        read(tmp_path)


# Shown


def shown_history(tmp_path: Path) -> History:
    write(tmp_path, OPEN, [EACH] * 12)
    return replace(history(OPEN), routes=read(tmp_path))


def test_a_slot_shows_who_was_allowed_by_weight_and_where_prompts_went(tmp_path: Path) -> None:
    text = printed(one_slot(shown_history(tmp_path), 0, None))
    assert " chat  north  north 1, south 0.5" in text
    assert "       south  south 1\n" in text
    assert " draw  north  south 1\n" in text
    assert "       south  nowhere\n" in text
    assert "Where the prompts that came in this slot went" in text
    assert " chat  north        6  itself 100%     100%\n" in text
    assert "counts at the one whose part was back last" in " ".join(text.split())
    alone = printed(one_slot(shown_history(tmp_path), 0, None, "south"))
    assert "north 1, south 0.5" not in alone


def test_origins_with_the_same_choice_share_a_row(tmp_path: Path) -> None:
    write(tmp_path, OPEN, [FOR_ALL] * 12)
    text = printed(one_slot(replace(history(OPEN), routes=read(tmp_path)), 0, None))
    assert " chat  every node  south 1, north 0.5" in text
    assert " draw  every node  nowhere" in text
    cluster = replace(many(600), serving=SPLIT)
    plan = RoutingPlan.open(np.ones((1, 2, 600)))
    large = tmp_path / "large"
    large.mkdir()
    assert len(write(large, cluster, [plan] * 12)) == 2 * 600
    text = printed(one_slot(replace(history(cluster), routes=read(large, cluster)), 0, None))
    assert "node-000 1, node-001 1," in text
    assert "594 more" in text
    assert "590 more origins with fewer new prompts" in text


def test_tables_and_figures_say_what_a_target_is_where_requests_are_split() -> None:
    note = "A request whose prompts went to several nodes counts at the one whose part was back last."
    assert note in " ".join(printed(overview(history(OPEN))).split())
    assert note not in " ".join(printed(overview(history(CLUSTER))).split())
    title = flow_grids(history(OPEN)).get_suptitle()
    assert "each request at the node whose part was back last" in title


# Compared


def test_shadows_and_dry_runs_count_routes_whose_weights_differ() -> None:
    assert _differing(EACH, OTHER) == 1
    assert _differing(EACH, None) == 4
    lines = list[dict[str, Any]]()
    cluster = CLUSTER  # the twin is never told what a dry run decides
    testbed = DryRun(TwinTestbed(Twin(cluster), load_workload("poisson", cluster, 1)), lines.append)

    async def decide() -> None:
        for plan in (EACH, EACH, OTHER):
            await testbed.route(plan)
            await testbed.advance()

    asyncio.run(decide())
    assert testbed.moved == 3 + 0 + 1
    assert lines[2]["routes"]["north"]["chat"] == {"north": 1.0, "south": 0.25}


def test_a_ledger_gives_an_open_plan_back(tmp_path: Path) -> None:
    async def kept() -> dict[str, Any]:
        made = Decision("r", 0, Role.SCHEDULER, None, "rule:x", Outcome.RULE, FOR_ALL.to_json(OPEN))
        async with open_memory(tmp_path / "memory.sqlite") as memory:
            await memory.put_decisions([made])
            return (await memory.decisions("r"))[0].decision

    plan = RoutingPlan.from_json(OPEN, asyncio.run(kept()))
    assert plan.weights is not None
    assert FOR_ALL.weights is not None
    np.testing.assert_array_equal(plan.weights, FOR_ALL.weights)
