"""What if the testbed were another: nodes more and less, other splits, and where requests come in then."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from domain.cluster import Cluster
from domain.workload import Arrivals
from runtime.whatif.edits import Edits, edited, moved, moves
from tests.recordings import BRISTOL, asked, of
from twin.testbeds import read_testbed, to_yaml
from twin.testbeds.build import to_cluster

pytestmark = pytest.mark.usefixtures("little_time")


def test_a_node_more_a_node_less_and_another_split_are_what_the_testbed_says(
    recorded_runs: Path, tmp_path: Path
) -> None:
    edits = ("--add-node", "VM4", "--add-node", "gpu=VM7", "--remove-node", "VM3", "--split", "3")
    answer = asked(recorded_runs / "plain", tmp_path / "out", "--family", "RF", *edits)
    cluster = to_cluster(read_testbed(tmp_path / "out/testbed.yaml"))
    assert [node.name for node in cluster.nodes] == ["VM2", "VM4", "VM5", "VM6", "VM7", "VM4-2", "gpu"]
    assert [node.vgpus for node in cluster.nodes] == [0, 3, 3, 3, 6, 3, 6]
    four, more = (cluster.nodes[cluster.node_index[name]] for name in ("VM4", "VM4-2"))
    assert dataclasses.replace(more, name="VM4") == four
    assert answer.edits == ["one more VM4", "one more VM7", "no VM3", "3 vGPUs per GPU"]
    assert answer.moves == {"VM3": ["VM2"]}
    targets = pq.read_table(tmp_path / "out/records.parquet").column("target").to_pylist()
    assert "VM3" not in targets
    assert "gpu" in targets


def test_without_rules_those_of_the_run_decide_on_the_other_testbed(recorded_runs: Path, tmp_path: Path) -> None:
    answer = asked(recorded_runs / "plain", tmp_path / "out", "--add-node", "VM7")
    assert [replay.family for replay in answer.replays] == ["RL"]
    assert answer.check is not None
    assert answer.check.exact
    assert of(answer, "J").difference != 0.0


def test_another_testbed_of_the_same_hardware_changes_nothing(recorded_runs: Path, tmp_path: Path) -> None:
    other = read_testbed("bristol").model_copy(update={"name": "twin-of-bristol"})
    file = tmp_path / "other.yaml"
    file.write_text(to_yaml(other))
    answer = asked(recorded_runs / "plain", tmp_path / "out", "--testbed", str(file))
    assert of(answer, "J").difference == 0.0, "lambda is that of the run, 0.7"
    assert answer.latency_weight == 0.7


def test_requests_of_a_node_that_is_gone_come_in_near_it() -> None:
    def without(*names: str) -> Cluster:
        return to_cluster(edited(read_testbed("bristol"), Edits(remove=names)))

    assert moves(BRISTOL, without("VM2")) == {"VM2": ["VM3"]}, "at its site"
    apart = moves(BRISTOL, without("VM2", "VM3"))
    assert apart == {name: ["VM4", "VM5", "VM6", "VM7"] for name in ("VM2", "VM3")}, "all as near: in turn"
    came = Arrivals.of(np.arange(8.0), [0] * 8, [1] * 8, [2] * 8)
    found = moved(came, BRISTOL, without("VM2", "VM3"))
    assert found.origin.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert found.lm.tolist() == [1] * 8


def test_lms_are_found_by_name_whatever_their_order() -> None:
    testbed = read_testbed("bristol")
    other = to_cluster(testbed.model_copy(update={"lms": testbed.lms[::-1]}))
    came = Arrivals.of([0.0, 1.0], [0, 1], [0, 3], [1, 1])
    assert moved(came, BRISTOL, other).lm.tolist() == [3, 0]


def test_links_of_a_node_are_those_of_one_more_like_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    text = to_yaml(read_testbed("bristol")).replace(
        "links:\n", "links:\n- nodes: [VM4, VM2]\n  latency_s: 0.5\n  gbit_per_s: 1\n"
    )
    file.write_text(text)
    cluster = to_cluster(edited(read_testbed(file), Edits(add=("far=VM4",))))
    far, vm2, vm4 = (cluster.node_index[name] for name in ("far", "VM2", "VM4"))
    assert cluster.latency_s[far, vm2] == cluster.latency_s[vm2, far] == 0.5
    assert cluster.latency_s[far, vm4] == 0.0001, "within their site"
