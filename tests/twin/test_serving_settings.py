"""How requests are served, in testbed files: settings, batch curves and MIG slices, read, checked and written back."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.errors import InputError
from domain.serving import BatchCurve, Batching, Dispatch, Serving
from domain.warnings import most_prompts, warnings_of
from tests.testbed_files import SMALL, equal, write
from twin.testbeds import (
    ServingEdit,
    generate,
    load_builtin,
    load_testbed,
    read_testbed,
    sources,
    to_yaml,
    write_testbed,
)
from twin.testbeds.build import to_cluster

BLOCK = "serving: {dispatch: split, news_s: {value: 1, kind: measured, source: A look.}, batching: queue, copies: true}"
FULL = (
    SMALL.replace("sites:", f"{BLOCK}\nsites:", 1)
    .replace("gpus: 1, vram_gb: 8", "gpus: 2, vram_gb: 16")
    .replace("compute_s: 0.1}", "compute_s: 0.1, batch: {1: 1, 8: {value: 1.3, kind: estimated, source: A guess.}}}")
    .replace("    gpu_profiles", "    cpu_batch: {C: {1: 1, 4: 1.5, 8: 2}}\n    gpu_profiles")
)


def test_settings_and_curves_are_read(tmp_path: Path) -> None:
    cluster = load_testbed(write(tmp_path, FULL))
    assert cluster.serving == Serving(Dispatch.SPLIT, 1.0, Batching.QUEUE, True)
    lm = cluster.lms[0]
    assert lm.gpu_profiles["G"].batch == BatchCurve(((1, 1.0), (8, 1.3)))
    assert [lm.cpu_profiles["C"].batch.units(size) for size in (1, 2, 4, 8)] == [1.0, pytest.approx(7 / 6), 1.5, 2.0]


def test_without_them_a_testbed_is_p1s(tmp_path: Path) -> None:
    cluster = load_testbed(write(tmp_path, SMALL))
    assert cluster.serving == Serving()
    assert cluster.serving.words == ""
    assert cluster.lms[0].gpu_profiles["G"].batch.most == cluster.lms[0].cpu_profiles["C"].batch.most == 1
    assert "serving" not in to_yaml(read_testbed(write(tmp_path, SMALL)))
    assert load_builtin("bristol").serving == Serving()


def test_what_is_written_reads_back_as_the_same(tmp_path: Path) -> None:
    testbed = read_testbed(write(tmp_path, FULL))
    again = tmp_path / "again.yaml"
    write_testbed(again, testbed)
    assert read_testbed(again) == testbed
    assert equal(load_testbed(again), to_cluster(testbed))


def test_a_generated_testbed_keeps_the_settings_and_curves_of_its_base(tmp_path: Path) -> None:
    base = ServingEdit("arrival", 2.0, "request", True).of(read_testbed("bristol"))
    path = tmp_path / "made.yaml"
    write_testbed(path, generate(12, 3, base))
    made = load_testbed(path)
    assert made.serving == Serving(Dispatch.ARRIVAL, 2.0, Batching.REQUEST, True)
    assert made.lms == to_cluster(base).lms


def test_numbers_of_settings_and_curves_carry_their_sources(tmp_path: Path) -> None:
    by_field = {row.field: row for row in sources(write(tmp_path, FULL))}
    assert (by_field["serving.news_s"].source, by_field["serving.news_s"].unit) == ("A look.", "s")
    batch = by_field["chat.gpu_profiles[G][batch][8]"]
    assert (batch.value, batch.kind, batch.source, batch.unit) == (1.3, "estimated", "A guess.", "times one prompt")
    assert by_field["chat.cpu_batch[C][8]"].kind == "stated"
    assert "chat.cpu_batch[C][1]" not in by_field, "1 by definition"


def test_curves_of_bristol_are_sound_and_say_where_they_are_from() -> None:
    for lm in load_builtin("bristol").lms:
        for curve in (lm.gpu_profiles["NVIDIA A5000"].batch, lm.cpu_profiles["AMD EPYC 7453"].batch):
            units = [curve.units(size) for size in range(1, curve.most + 1)]
            assert units == sorted(units)
            assert all(u <= size for size, u in enumerate(units, start=1))
    curves = [row for row in sources("bristol") if "batch" in row.field]
    assert {row.kind for row in curves if "gpu" in row.field} == {"estimated"}
    assert {row.kind for row in curves if "cpu" in row.field} == {"measured"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "dispatch: split",
            "dispatch: splt",
            "2: serving.dispatch must be 'fixed', 'arrival' or 'split', not 'splt'; did you mean 'split'?",
        ),
        ("dispatch: split", "dispatch: 3", "2: serving.dispatch must be 'fixed', 'arrival' or 'split', not 3."),
        (
            "batching: queue",
            "batching: queues",
            "2: serving.batching must be 'none', 'request' or 'queue', not 'queues'; did you mean 'queue'?",
        ),
        (
            "batching: queue",
            "batch: queue",
            "2: serving has an unknown field 'batch'; did you mean 'batching'?",
        ),
        ("copies: true", "copies: 2", "2: serving.copies must be true or false, not 2."),
        ("copies: true", "copies: all", "2: serving.copies must be true or false, not 'all'."),
        (BLOCK, "serving: split", "2: serving must be a mapping of fields, not 'split'."),
        ("value: 1, kind", "value: -1, kind", "2: serving.news_s must be from 0 to 1e12, not -1."),
        (
            "value: 1, kind",
            "value: 31, kind",
            "2: serving.news_s must be at most a slot, 30 s, not 31: "
            "decisions of a slot rest on news of the one before.",
        ),
        (
            "gpus: 2, vram_gb: 16",
            "gpus: 1, vram_gb: 16",
            "2: serving.copies must be false, or some worker must have several GPUs (not MIG slices) "
            "on which an LM fits whole on one, and RAM for two of it; none has.",
        ),
        ("vram_gb: 1\n", "vram_gb: 9\n", None),
        ("ram_gb: 3\n", "ram_gb: 9\n", None),
        ("gpus: 2, vram_gb: 16", "gpus: 2, vram_gb: 16, mig: true", None),
        (
            "{1: 1, 4: 1.5, 8: 2}",
            "{2: 1, 4: 1.5, 8: 2}",
            "26: lms[0].cpu_batch.C.2 must stand behind 1: 1, since a curve begins with one prompt.",
        ),
        (
            "{1: 1, 4: 1.5, 8: 2}",
            "{1: 1.2, 4: 1.5, 8: 2}",
            "26: lms[0].cpu_batch.C.1 must be 1, since curves count in what one prompt takes, not 1.2.",
        ),
        (
            "{1: 1, 4: 1.5, 8: 2}",
            "{1: 1, 8: 1.5, 4: 2}",
            "26: lms[0].cpu_batch.C.4 must stand before 8, so that sizes rise.",
        ),
        (
            "{1: 1, 4: 1.5, 8: 2}",
            "{1: 1, 4: 1.5, 8: 1.4}",
            "26: lms[0].cpu_batch.C.8 must be at least 1.5, what 4 take, not 1.4: a larger batch takes no less.",
        ),
        (
            "{1: 1, 4: 1.5, 8: 2}",
            "{1: 1, 4: 4.5, 8: 5}",
            "26: lms[0].cpu_batch.C.4 must be at most 4, what 4 prompts take one by one, not 4.5.",
        ),
        (
            "{1: 1, 4: 1.5, 8: 2}",
            "{1: 1, 8: 0}",
            "26: lms[0].cpu_batch.C.8 must be more than 0 and at most 1e12, not 0.",
        ),
        ("cpu_batch: {C:", "cpu_batch: {D:", "26: lms[0].cpu_batch.D must be 'C', not 'D'."),
        (
            "value: 1.3, kind: estimated",
            "value: 0.9, kind: estimated",
            "27: lms[0].gpu_profiles.G.batch.8 must be at least 1, what 1 take, not 0.9: a larger batch takes no less.",
        ),
        (
            "gpus: 2, vram_gb: 16",
            "gpus: 2, vram_gb: 16, mig: true, vgpus_per_gpu: 2",
            "9: nodes[1].vgpus_per_gpu must be 1, since the GPUs are MIG slices (mig is true), not 2; "
            "write as many gpus as there are slices.",
        ),
        (
            "right, cpu_model: C",
            "right, mig: true, cpu_model: C",
            "10: nodes[2].mig must be left out, since the node has no GPUs (gpus is 0).",
        ),
    ],
)
def test_a_mistake_is_one_sentence_at_its_line(old: str, new: str, expected: str | None, tmp_path: Path) -> None:
    assert FULL.count(old) == 1
    path = write(tmp_path, FULL.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_testbed(path)
    expected = expected or (
        "2: serving.copies must be false, or some worker must have several GPUs (not MIG slices) "
        "on which an LM fits whole on one, and RAM for two of it; none has."
    )
    assert str(caught.value) == f"{path}:{expected}"


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (
            ServingEdit(dispatch="splitt"),
            "--dispatch must be 'fixed', 'arrival' or 'split', not 'splitt'; did you mean 'split'?",
        ),
        (ServingEdit(batching="all"), "--batch must be 'none', 'request' or 'queue', not 'all'."),
        (ServingEdit(news_s=-1.0), "--news must be 0 or more seconds, not -1."),
        (ServingEdit(news_s=float("nan")), "--news must be 0 or more seconds, not nan."),
        (
            ServingEdit(news_s=31.0),
            "--news must be at most a slot, 30 s, not 31: decisions of a slot rest on news of the one before.",
        ),
        (
            ServingEdit(copies=True),
            "--copies must be false, or some worker must have several GPUs (not MIG slices) on which an LM fits whole "
            "on one, and RAM for two of it; none has.",
        ),
    ],
)
def test_what_the_command_line_asks_for_is_checked_alike(edit: ServingEdit, sentence: str, tmp_path: Path) -> None:
    testbed = read_testbed(write(tmp_path, SMALL))
    with pytest.raises(InputError) as caught:
        edit.of(testbed)
    assert str(caught.value) == sentence


def test_an_edit_changes_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    testbed = read_testbed(write(tmp_path, FULL))
    assert ServingEdit().of(testbed) is testbed
    edit = ServingEdit(batching="none", copies=False)
    assert to_cluster(edit.of(testbed)).serving == Serving(Dispatch.SPLIT, 1.0, Batching.NONE, False)
    assert edit.words() == ["batching none", "no copies"]
    assert edit.options() == ["--batch", "none", "--no-copies"]
    assert to_cluster(ServingEdit("fixed", 0.0).of(testbed)).serving.words == "batching queue, copies"


# What is warned of


def test_how_many_prompts_are_in_time_counts_batches_copies_and_parts(tmp_path: Path) -> None:
    text = SMALL.replace("sites:", "deadline_s: 6\nsites:", 1).replace("gpus: 1, vram_gb: 8", "gpus: 2, vram_gb: 16")
    text = text.replace("compute_s: 0.1}", "compute_s: 0.1, batch: {1: 1, 4: 2}}")
    testbed = read_testbed(write(tmp_path, text))

    def most(*words: object) -> int:
        return int(most_prompts(to_cluster(ServingEdit(*words).of(testbed)))[0])  # type: ignore[arg-type]  # words of unlike types

    assert most() == 10, "on the GPU, 0.6 s each; a CPU needs 2"
    assert most(None, None, "request") == 20, "five batches of four, 1.2 s each"
    assert most(None, None, None, True) == 20, "two copies"
    assert most("split") == 10 + 3 + 3, "the GPU and both CPUs"


def test_batching_without_a_curve_is_warned_of(tmp_path: Path) -> None:
    testbed = read_testbed(write(tmp_path, SMALL))
    assert warnings_of(to_cluster(ServingEdit(batching="queue").of(testbed))) == [
        "Batching is queue, but no LM says what a batch takes: pods take one prompt at a time. "
        "Give batch curves (batch, cpu_batch)."
    ]
    assert warnings_of(to_cluster(testbed)) == []


def test_news_that_nobody_chooses_by_is_warned_of(tmp_path: Path) -> None:
    testbed = read_testbed(write(tmp_path, SMALL))
    assert warnings_of(to_cluster(ServingEdit(news_s=1.0).of(testbed))) == [
        "News 1 s old change nothing while dispatch is fixed: origins choose with arrival and split alone."
    ]
    assert warnings_of(to_cluster(ServingEdit("arrival", 1.0).of(testbed))) == []


def test_the_mig_slices_of_the_documentation_are_a_node(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "testbeds.md").read_text("utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    start = page.index("    - {name: h1")
    node = page[start : page.index("mig: true}", start) + len("mig: true}")].replace("\n    ", "\n  ")
    text = example.replace("lms:\n", f"  {node.strip()}\nlms:\n", 1)
    text += "      H100 1g.10gb: {fixed_s: 0.5, compute_s: 0.4}\n"
    cluster = load_testbed(
        write(
            tmp_path,
            text.replace("sites: [tower, depot], l", "sites: [depot, depot], l", 1).replace(
                "links:\n", "links:\n  - {sites: [tower, depot], latency_s: 0.0002, gbit_per_s: 10}\n", 1
            ),
        )
    )
    assert [(node.name, node.vgpus, node.most_vgpus, node.gpu_vram_gb) for node in cluster.nodes[2:]] == [
        ("h1", 7, 1, 10.0)
    ]
