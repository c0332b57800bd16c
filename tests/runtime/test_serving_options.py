"""--dispatch, --news, --batch, --copies: in place of the testbed's, kept with the run, part of what run it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import runtime.runs.experiment
from domain.serving import Batching, Dispatch, Serving
from runtime.cli.commands.requests import Request, read_request, to_resume
from runtime.cli.commands.whatif import Question
from runtime.results.differing import differences
from runtime.results.recording import open_recording
from runtime.results.summary import load_summary
from runtime.runs.settings import Settings
from runtime.whatif.answer import WhatIf
from runtime.whatif.edits import Edits
from tests.command_line import edgewise, refused
from tests.testbed_files import SMALL
from twin.testbeds import ServingEdit, load_testbed, read_testbed, to_cluster, to_yaml

pytestmark = pytest.mark.usefixtures("small_effort")
TWO_GPUS = SMALL.replace("gpus: 1, vram_gb: 8", "gpus: 2, vram_gb: 16").replace(
    "compute_s: 0.1}", "compute_s: 0.1, batch: {1: 1, 8: 1.3}}"
)
SHORT = "slot_s: 30\nepoch_slots: 2\ndeadline_s: 30\n"
ALL = ("--dispatch", "split", "--news", "1", "--batch", "request", "--copies")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "small.yaml").write_text(TWO_GPUS + SHORT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime.runs.experiment, "draw", lambda summary, folder: [])
    return tmp_path


def ran(*words: str) -> str:
    done = edgewise(*words, "--testbed", "small.yaml", "--slots", "3")
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("command", ["run", "compare"])
def test_a_run_folder_holds_the_settings_and_its_table_names_them(command: str, home: Path) -> None:
    shown = ran(command, "--family", "RL", *ALL, "--out", "out")
    words = "dispatch split, news 1 s old, batching request, copies"
    assert words in " ".join(shown.split())
    assert load_testbed(home / "out/testbed.yaml").serving == Serving(Dispatch.SPLIT, 1.0, Batching.REQUEST, True)
    settings = yaml.safe_load((home / "out/settings.yaml").read_text())
    assert settings["serving"] == {"dispatch": "split", "news_s": 1.0, "batching": "request", "copies": True}
    assert load_summary(home / "out").serving == words
    assert words in " ".join(edgewise("report", "out").stdout.split())
    assert words in " ".join(edgewise("show", "out", "--no-figures").stdout.split())


def test_without_the_options_the_testbeds_own_hold_and_one_option_changes_one(home: Path) -> None:
    own = ServingEdit("arrival", 2.0, "queue", True).of(read_testbed(home / "small.yaml"))
    (home / "small.yaml").write_text(to_yaml(own))
    ran("run", "--out", "own")
    assert load_testbed(home / "own/testbed.yaml").serving == Serving(Dispatch.ARRIVAL, 2.0, Batching.QUEUE, True)
    ran("run", "--no-copies", "--news", "0", "--out", "two")
    assert load_testbed(home / "two/testbed.yaml").serving == Serving(Dispatch.ARRIVAL, 0.0, Batching.QUEUE, False)


def test_a_run_that_serves_as_p1_says_nothing_of_it(home: Path) -> None:
    told = ran("run", "--dispatch", "fixed", "--news", "0", "--batch", "none", "--out", "out")
    assert not [line for line in told.splitlines() if "dispatch" in line and "/" not in line]  # but in paths
    assert "serving" not in (home / "out/settings.yaml").read_text() + (home / "out/testbed.yaml").read_text()
    summary = json.loads((home / "out/summary.json").read_text())
    assert summary.pop("serving") == ""
    (home / "out/summary.json").write_text(json.dumps(summary))
    assert open_recording(home / "out").cluster.serving == Serving(), "as folders that know of no such settings"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--dispatch", "spilt"),
            "--dispatch must be 'fixed', 'arrival' or 'split', not 'spilt'; did you mean 'split'?",
        ),
        (("--batch", "every"), "--batch must be 'none', 'request' or 'queue', not 'every'."),
        (("--news", "-1"), "--news must be 0 or more seconds, not -1."),
        (
            ("--news", "31"),
            "--news must be at most a slot, 30 s, not 31: decisions of a slot rest on news of the one before.",
        ),
    ],
)
@pytest.mark.parametrize("command", [("run",), ("compare",), ("whatif", "recorded")])
def test_what_cannot_be_is_refused_by_the_name_of_the_flag(
    command: tuple[str, ...], words: tuple[str, str], sentence: str
) -> None:
    if command[0] == "whatif":
        ran("run", "--out", "recorded")
    else:
        command = (*command, "--testbed", "small.yaml")
    assert refused(*command, *words) == f"edgewise: {sentence}"
    assert not Path("runs").exists()


def test_copies_that_fit_nowhere_are_refused(home: Path) -> None:
    (home / "small.yaml").write_text(SMALL + SHORT)
    sentence = refused("run", "--testbed", "small.yaml", "--copies")
    assert sentence.startswith("edgewise: --copies must be false, or some worker must have several GPUs")


def test_the_folder_of_a_run_without_a_name_tells_the_settings(home: Path) -> None:
    ran("run", "--family", "RL", *ALL)
    ran("run", "--family", "RL")
    assert sorted(path.name for path in (home / "runs").iterdir()) == [
        "small-p1-RL-3slots-seed1",
        "small-p1-RL-split-news1-batch-request-copies-3slots-seed1",
    ]


def test_what_was_asked_for_is_there_to_go_on_by_and_old_requests_are_p1s(home: Path) -> None:
    request = Request("bristol", serving=ServingEdit("split", 1.0, None, True))
    assert read_request(to_resume(request), home).serving == request.serving
    old = json.loads(to_resume(Request("bristol")))
    del old["serving"]
    assert read_request(json.dumps(old), home) == read_request(to_resume(Request("bristol")), home)


def test_another_setting_is_another_run_and_that_is_said_once(home: Path) -> None:
    def files(edit: ServingEdit) -> dict[str, str]:
        testbed = edit.of(read_testbed("bristol"))
        serving = to_cluster(testbed).serving.to_json()
        settings = Settings("bristol", "p1", {}, 1.0, ("RL",), (1,), 4, 30, 30.0, 50, 900.0, 0.5, serving)
        return {"settings.yaml": settings.to_yaml(), "testbed.yaml": to_yaml(testbed)}

    plain, split = files(ServingEdit()), files(ServingEdit("split", 1.0))
    assert differences(plain, split) == [
        "serving.dispatch was fixed, is split now",
        "serving.news_s was 0.0, is 1.0 now",
    ]
    assert differences(split, plain) == [
        "serving.dispatch was split, is fixed now",
        "serving.news_s was 1.0, is 0.0 now",
    ]
    assert differences(plain, plain) == []
    assert "serving" not in plain["settings.yaml"] + plain["testbed.yaml"]


def test_a_what_if_asks_how_it_were_if_requests_were_served_otherwise(home: Path) -> None:
    ran("run", "--family", "RL", "--dispatch", "arrival", "--out", "run")
    done = edgewise("whatif", "run", "--dispatch", "split", "--batch", "queue", "--no-copies", "--out", "other")
    assert done.exit_code == 0, done.output
    answer = WhatIf.model_validate_json((home / "other/whatif.json").read_bytes())
    assert answer.edits == ["dispatch split", "batching queue", "no copies"]
    assert answer.serving == "dispatch arrival"
    assert answer.check is not None
    assert answer.check.exact
    assert load_testbed(home / "other/testbed.yaml").serving == Serving(Dispatch.SPLIT, 0.0, Batching.QUEUE)
    assert "RL again, dispatch split, batching queue, no copies" in done.stdout


def test_a_what_if_tells_its_question_in_words_of_the_command_line() -> None:
    edits = Edits(serving=ServingEdit("split", 0.5, "request", True))
    assert Question(Path("run"), edits=edits).words() == [
        *("whatif", "run", "--dispatch", "split", "--news", "0.5", "--batch", "request", "--copies"),
    ]


def test_a_split_of_gpus_leaves_mig_slices_alone(home: Path) -> None:
    sliced = TWO_GPUS.replace("vram_gb: 16}", "vram_gb: 16, mig: true}")
    (home / "small.yaml").write_text(sliced + SHORT)
    ran("run", "--out", "run")
    assert refused("whatif", "run", "--split", "2").endswith(
        "--split: no node of testbed small has a GPU that pods share."
    )


def test_a_family_of_fixed_plans_is_said_to_leave_nobody_a_choice(home: Path) -> None:
    said = "RL gives fixed routing plans: dispatch split leaves its origins no choice"
    assert said in " ".join(ran("run", "--family", "RL", "--dispatch", "split", "--out", "split").split())
    assert said in " ".join(ran("run", "--via-graph", "--dispatch", "split", "--out", "graph").split())
    assert said not in " ".join(ran("run", "--family", "RL", "--out", "fixed").split())
    asked = edgewise("whatif", "fixed", "--dispatch", "split")
    assert said in " ".join(asked.stdout.split())
