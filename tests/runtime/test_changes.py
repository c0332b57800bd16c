"""What nodes keep and where requests go, as a row for each change: whoever adds the changes up gets every slot back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import runtime.results.changes
from domain.decisions import NOWHERE
from policies.families import make
from runtime.results.changes import PHASE_NAMES, PLACEMENTS, POLICIES, ROUTES, ChangeWriter
from runtime.results.slots import SlotResult
from runtime.runs.loop import run_slots
from tests.clusters import tiny
from twin.twin import Twin
from twin.workloads import load_workload

CLUSTER = tiny(deadline_s=60.0)
SLOTS = 12


def results(family: str) -> list[SlotResult]:
    workload = load_workload("poisson", CLUSTER, 1)
    return list(run_slots(Twin(CLUSTER), make(family, CLUSTER), workload, SLOTS, 1))


def write(folder: Path, family: str) -> list[SlotResult]:
    done, writer = results(family), ChangeWriter(folder, CLUSTER, family, 1)
    for result in done:
        writer.add(result)
    writer.flush()
    writer.close()
    return done


@pytest.mark.parametrize("family", ["RR", "LL", "RF"])
@pytest.mark.parametrize("rows_in_group", [1, 200_000])
def test_the_changes_give_back_every_slot(
    family: str, rows_in_group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.results.changes, "ROWS_IN_GROUP", rows_in_group)
    done = write(tmp_path, family)
    placements, routes = (pq.read_table(tmp_path / name).to_pylist() for name in (PLACEMENTS, ROUTES))
    phase, cores, vgpus = np.zeros((3, CLUSTER.n_nodes, CLUSTER.n_lms), dtype=np.int64)
    targets = np.full((CLUSTER.n_nodes, CLUSTER.n_lms), NOWHERE)
    for result in done:
        for row in placements:
            if row["slot"] == result.slot:
                at = CLUSTER.node_index[row["node"]], CLUSTER.lm_index[row["lm"]]
                phase[at], cores[at], vgpus[at] = PHASE_NAMES.index(row["phase"]), row["cores"], row["vgpus"]
        for row in routes:
            if row["slot"] == result.slot:
                where = CLUSTER.node_index[row["target"]] if row["target"] else NOWHERE
                targets[CLUSTER.node_index[row["origin"]], CLUSTER.lm_index[row["lm"]]] = where
        for found, known in ((phase, result.after.phase), (cores, result.after.cores), (vgpus, result.after.vgpus)):
            np.testing.assert_array_equal(found, known)
        np.testing.assert_array_equal(targets, result.targets)


def test_the_macro_policies_of_rules_are_kept_and_no_file_is_made_where_nobody_plans(
    tmp_path: Path, small_effort: None
) -> None:
    done = write(tmp_path, "RH")
    rows = pq.read_table(tmp_path / POLICIES).to_pylist()
    planned = {result.slot: result.policy for result in done if result.policy is not None}
    assert {0, 4, 8} <= planned.keys()
    assert {row["slot"]: json.loads(row["policy"]) for row in rows} == {
        slot: policy.to_json(CLUSTER) for slot, policy in planned.items()
    }
    (tmp_path / POLICIES).unlink()
    write(tmp_path, "LL")
    assert not (tmp_path / POLICIES).exists()


def test_what_never_changes_takes_no_rows(tmp_path: Path) -> None:
    write(tmp_path, "RF")
    placements = pq.read_table(tmp_path / PLACEMENTS).to_pylist()
    # Full activation decides once: a pod is off, starts, and is ready for good.
    assert len(placements) <= 2 * CLUSTER.n_nodes * CLUSTER.n_lms
    write(tmp_path, "LL")
    routes = pq.read_table(tmp_path / ROUTES).to_pylist()
    assert {row["slot"] for row in routes} == {0}


def test_a_run_without_a_change_has_the_files_all_the_same(tmp_path: Path) -> None:
    writer = ChangeWriter(tmp_path, CLUSTER, "RF", 1)
    writer.flush()
    writer.close()
    for name in (PLACEMENTS, ROUTES):
        assert pq.read_table(tmp_path / name).num_rows == 0
