"""RH:split in --family: one family under several dispatches in one run, each on the cluster as it finds it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

import runtime.runs.experiment
from domain.serving import Dispatch
from runtime.agents.families import family_code, recipe_of
from runtime.report.figures import latency_and_fairness
from runtime.results.recording import open_recording
from runtime.results.summary import BoundFigures, Summary, load_summary
from runtime.runs.experiment import Experiment
from runtime.show.history import read_history
from tests.command_line import edgewise, refused
from tests.testbed_files import SMALL

pytestmark = pytest.mark.usefixtures("small_effort")
SHORT = "slot_s: 30\nepoch_slots: 2\ndeadline_s: 30\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "small.yaml").write_text(SMALL + SHORT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime.runs.experiment, "draw", lambda summary, folder: [])
    return tmp_path


def compared(families: str, *words: str) -> str:
    done = edgewise("compare", "--family", families, "--testbed", "small.yaml", "--slots", "3", *words)
    assert done.exit_code == 0, done.output
    return done.stdout


def records(folder: str, family: str) -> list[dict[str, object]]:
    table = pq.read_table(Path(folder) / "records.parquet", filters=[("family", "==", family)])
    return list(table.drop_columns(["family"]).to_pylist())


def test_a_family_with_a_dispatch_decides_as_in_a_run_of_that_dispatch(home: Path) -> None:
    shown = compared("rh, RH:Split,RH:arrival", "--out", "both")
    assert [bool(re.search(rf"^ *{name} +\d", shown, re.MULTILINE)) for name in ("RH", "RH split", "RH arrival")]
    assert yaml.safe_load((home / "both/settings.yaml").read_text())["families"] == ["RH", "RH:split", "RH:arrival"]
    for family, dispatch in (("RH", "fixed"), ("RH:split", "split"), ("RH:arrival", "arrival")):
        compared("RH", "--dispatch", dispatch, "--out", dispatch)
        assert records("both", family) == records(dispatch, "RH")
        both, alone = load_summary(home / "both"), load_summary(home / dispatch)
        ours, theirs = both.of(family)[0], alone.of("RH")[0]
        assert ours.telemetry == theirs.telemetry
        assert both.ratio(ours) == alone.ratio(theirs), "by the bound of its own dispatch"
        assert both.ratio_to_p1(ours) == alone.ratio_to_p1(theirs)


def test_j_is_told_over_the_bound_of_p1s_model_where_that_is_not_the_own_one(home: Path) -> None:
    shown = " ".join(compared("RH,RH:split", "--out", "out").split())
    summary = load_summary(home / "out")
    fixed, split = (summary.of(family)[0] for family in ("RH", "RH:split"))
    assert summary.ratio_to_p1(fixed) is None
    assert summary.ratio_to_p1(split) == split.telemetry.objective / summary.bounds[0].objective
    assert [bound.serving for bound in (*summary.bounds, *summary.other_bounds)] == ["", "dispatch split"]
    assert f"J over the bound of P1's own model: RH split {summary.ratio_to_p1(split):.2f}." in shown
    assert "bound of P1's own model" not in compared("RH", "--out", "plain")
    assert "bound of P1's own model: RH " in " ".join(compared("RH", "--dispatch", "split", "--out", "split").split())


def test_old_summaries_have_p1s_bound_only_where_the_run_served_as_p1(home: Path) -> None:
    compared("RL", "--out", "out")
    told = json.loads((home / "out/summary.json").read_text())
    del told["other_bounds"], told["bounds"][0]["serving"], told["results"][0]["serving"]
    (home / "out/summary.json").write_text(json.dumps(told))
    assert load_summary(home / "out").p1_bounds == load_summary(home / "out").bounds
    told["serving"] = "dispatch split"
    (home / "out/summary.json").write_text(json.dumps(told))
    assert load_summary(home / "out").p1_bounds == []


def test_figure_5_has_p1s_bound_as_a_line(home: Path) -> None:
    compared("RL,RL:split", "--out", "out")
    summary = load_summary(home / "out")

    def lines(of: Summary) -> list[str]:
        return [
            str(line.get_label()) for line in latency_and_fairness(of).axes[0].lines if line.get_linestyle() == "--"
        ]

    assert summary.bounds[0].mean_latency_s is not None
    assert [text.split(" s:")[0] for text in lines(summary)] == [f"{summary.bounds[0].mean_latency_s:.3g}"]
    unknown: list[BoundFigures] = [bound.model_copy(update={"serving": "copies"}) for bound in summary.bounds]
    assert lines(summary.model_copy(update={"serving": "copies", "bounds": unknown, "other_bounds": []})) == []


def test_show_and_what_if_take_such_a_family_by_its_name(home: Path) -> None:
    compared("RH,RH:split", "--out", "out")
    shown = " ".join(edgewise("show", "out", "--family", "rh:split").stdout.split())
    assert "RH split, seed 1" in shown
    assert (home / "out/figures/placement-RH-split.svg").is_file()
    assert edgewise("show", "out", "--family", "RH:split", "--slot", "1").exit_code == 0
    assert edgewise("show", "out", "--diff", "RH,RH:split").exit_code == 0
    history = read_history(open_recording(home / "out"), "RH:split", 1)
    assert history.cluster.serving.dispatch is Dispatch.SPLIT
    assert history.routes is not None
    for words, title in (
        (("--recorded", "RH:split", "--family", "RH"), "RH split again"),
        (("--recorded", "RH:split", "--dispatch", "fixed"), "RH for RH split, dispatch fixed"),
        (("--recorded", "RH", "--dispatch", "split"), "RH again, dispatch split"),
        (("--recorded", "RH:split", "--family", "RL"), "RL for RH split"),
    ):
        told = edgewise("whatif", "out", *words)
        assert told.exit_code == 0, told.output
        assert title in " ".join(told.stdout.split())
        assert "gives every recorded request again, bit for bit" in " ".join(told.stdout.split())


def test_what_cannot_be_is_refused_in_a_sentence(home: Path) -> None:
    sentence = refused("compare", "--family", "RH:spilt", "--testbed", "small.yaml")
    assert sentence.endswith("The dispatch of RH:spilt must be 'fixed', 'arrival' or 'split', not 'spilt'; did you "
                             "mean 'split'?")  # fmt: skip
    assert "'XX'" in refused("compare", "--family", "XX:split", "--testbed", "small.yaml")
    assert "twice" in refused("compare", "--family", "RH:split,rh:SPLIT", "--testbed", "small.yaml")
    for words in (("--family", "MA:split"), ("--family", "none+backlog+full:split"), ("--via-graph", "-f", "RH:split")):
        sentence = refused("run", "--testbed", "small.yaml", *words)
        assert sentence.endswith("--dispatch split.")
    compared("RH,RH:split", "--out", "out")
    assert refused("whatif", "out", "--recorded", "RH", "--family", "RH:split").endswith("give --dispatch split.")


def test_a_name_with_a_dispatch_keeps_who_fills_the_roles() -> None:
    assert family_code(" none+Backlog+full:Split ") == "none+backlog+full:split"
    assert recipe_of("RH:split") is recipe_of("RH")


def test_a_comparison_that_was_stopped_goes_on_with_the_families_that_are_left(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--family", "RL,RH:split,RH", "--testbed", "small.yaml", "--slots", "3")
    assert edgewise("compare", *words, "--out", "whole").exit_code == 0
    whole, ran = Experiment._run_family, list[str]()

    def stopped(self: Experiment, home: Path, folder: Path, family: str, *rest: Any) -> None:
        ran.append(family)
        if len(ran) == 3:
            raise KeyboardInterrupt
        whole(self, home, folder, family, *rest)

    monkeypatch.setattr(Experiment, "_run_family", stopped)
    assert edgewise("compare", *words, "--out", "out").exit_code == 130
    resumed = edgewise("run", "--resume", "out")
    assert resumed.exit_code == 0, resumed.output
    assert ran == ["RL", "RH:split", "RH", "RH"]
    for name in ("settings.yaml", "summary.json", "records.parquet", "routes.parquet"):
        assert (home / "out" / name).read_bytes() == (home / "whole" / name).read_bytes()
