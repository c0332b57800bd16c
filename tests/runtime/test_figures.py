from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from runtime.report.figures import OTHERS, STYLES, draw, latency_and_fairness, per_lm
from runtime.results.summary import BoundFigures, FamilyResult, Summary, Telemetry

LMS = ["LM1", "LM2", "LM3"]


def telemetry(mean_s: float | None, fairness: float) -> Telemetry:
    return Telemetry(
        arrived=dict.fromkeys(LMS, 10),
        succeeded=dict.fromkeys(LMS, 0 if mean_s is None else 8),
        success_ratio=dict.fromkeys(LMS, 0.0 if mean_s is None else 0.8),
        mean_latency_s=dict.fromkeys(LMS, mean_s),
        p95_latency_s=dict.fromkeys(LMS, mean_s),
        global_mean_latency_s=mean_s,
        global_p95_latency_s=mean_s,
        fairness=fairness,
        latency_norm=1.0 if mean_s is None else mean_s / 900,
        objective=0.5,
    )


def summary(
    points: dict[str, tuple[float | None, float]], seeds: Sequence[int] = (1,), workload: str = "p1"
) -> Summary:
    return Summary(
        testbed="bristol",
        workload=workload,
        load=1.0,
        nodes=["VM2"],
        lms=LMS,
        slots=500,
        slot_s=30.0,
        epoch_slots=50,
        deadline_s=900.0,
        latency_weight=0.5,
        families=list(points),
        seeds=list(seeds),
        results=[
            FamilyResult(
                family=family,
                seed=seed,
                slots=530,
                telemetry=telemetry(None if mean_s is None else mean_s * (1 + 0.1 * seed), fairness),
                epochs=[],
                decided_by={},
            )
            for seed in seeds
            for family, (mean_s, fairness) in points.items()
        ],
        bounds=[
            BoundFigures(
                seed=seed,
                full_service=True,
                max_success=dict.fromkeys(LMS, 10),
                solo_mean_s=10.0,
                mean_latency_s=20.0,
                objective=0.1,
                objective_any=0.01,
            )
            for seed in seeds
        ],
    )


CROWD: dict[str, tuple[float | None, float]] = {
    "RR": (200.0, 0.67),
    "RL": (55.0, 0.99),
    "AL": (56.0, 0.99),
    "RF": (54.0, 1.0),
    "LL": (57.0, 0.985),
    "MA": (53.0, 0.98),
}


def annotations(figure: Figure) -> list[Annotation]:
    return [text for text in figure.axes[0].texts if isinstance(text, Annotation)]


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_labels_of_crowded_points_overlap_neither_each_other_nor_the_frame(seeds: Sequence[int]) -> None:
    figure = latency_and_fairness(summary(CROWD, seeds))
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in annotations(figure)]
    assert len(boxes) == len(CROWD) + 2
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    frame = figure.axes[0].get_window_extent()
    for box in boxes:
        assert frame.x0 <= box.x0 <= box.x1 <= frame.x1
        assert frame.y0 <= box.y0 <= box.y1 <= frame.y1


@pytest.mark.parametrize("figure_of", [latency_and_fairness, per_lm])
def test_the_legend_lies_outside_the_data_and_inside_the_figure(figure_of: object) -> None:
    assert callable(figure_of)
    figure = figure_of(summary(CROWD, (1, 2)))
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert legend.x1 <= figure.bbox.x1
    for axes in figure.axes:
        assert not axes.get_window_extent().overlaps(legend)
        assert axes.title.get_window_extent().x1 <= figure.bbox.x1
        assert not axes._left_title.get_window_extent().overlaps(legend)


def test_what_p1_reports_is_drawn_where_its_testbed_and_workload_are_meant() -> None:
    texts = [label.get_text() for label in annotations(latency_and_fairness(summary(CROWD)))]
    assert {"RF (P1)", "MA (P1)"} <= set(texts)
    texts = [label.get_text() for label in annotations(latency_and_fairness(summary(CROWD, workload="real")))]
    assert sorted(texts) == sorted(CROWD)


def test_the_legend_says_of_each_hollow_marker_whose_figures_it_shows() -> None:
    handles = latency_and_fairness(summary(CROWD)).legends[0].legend_handles
    hollow = {
        handle.get_marker(): str(handle.get_label())
        for handle in handles
        if isinstance(handle, Line2D) and handle.get_markerfacecolor() == "none"
    }
    assert set(hollow) == {"D", "*"}
    assert "the agents (MA) in P1" in hollow["*"]
    assert "RF in P1" in hollow["D"]
    assert all("no result of this run" in text for text in hollow.values())


def test_each_latency_bar_says_its_value_however_small_it_is() -> None:
    points: dict[str, tuple[float | None, float]] = {"RR": (616.4, 0.7), "RF": (1.44, 1.0), "LL": (None, 0.0)}
    above = per_lm(summary(points, seeds=(0,))).axes[0]
    texts = [text.get_text() for text in above.texts]
    assert texts == ["616"] * 4 + ["1.44"] * 4
    ground = {round(text.xy[1], 2) for text in above.texts if isinstance(text, Annotation)}
    assert ground == {616.4, 1.44}


def test_a_family_that_served_nobody_has_no_point_and_says_so() -> None:
    figure = latency_and_fairness(summary({"RR": (None, 0.0), "RL": (55.0, 1.0)}, workload="real"))
    assert [label.get_text() for label in annotations(figure)] == ["RL"]
    assert "RR (served nobody)" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_run_in_which_nobody_was_served_can_be_drawn(tmp_path: Path) -> None:
    for path in draw(summary({"RR": (None, 0.0)}, workload="real"), tmp_path):
        assert path.stat().st_size > 1000


def test_both_figures_are_written_in_both_forms(tmp_path: Path) -> None:
    files = draw(summary(CROWD, (1, 2)), tmp_path)
    assert {path.name for path in files} == {
        f"{name}.{form}" for name in ("latency-fairness", "per-lm") for form in ("png", "svg")
    }
    for path in files:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG" if path.suffix == ".png" else b"<?xml")
        assert len(content) > 10_000


def test_bars_stand_for_every_family_in_every_group() -> None:
    above, below = per_lm(summary(CROWD)).axes
    assert [label.get_text() for label in below.get_xticklabels()] == [*LMS, "all"]
    heights = [[bar.get_height() for bar in group] for group in below.containers]
    assert heights == [[pytest.approx(0.8)] * 4] * len(CROWD)
    assert above.get_ylabel().endswith("(s)")


def test_families_can_be_told_apart_without_colour() -> None:
    markers = [marker for _, marker, _ in [*STYLES.values(), *OTHERS]]
    hatches = [hatch for _, _, hatch in [*STYLES.values(), *OTHERS]]
    assert len(set(markers)) == len(markers)
    assert len(set(hatches)) == len(hatches)
    colours = [to_rgb(colour) for colour, _, _ in [*STYLES.values(), *OTHERS]]
    assert len(set(colours)) == len(colours)


def test_a_family_keeps_its_looks_whoever_is_beside_it() -> None:
    alone, crowd = (latency_and_fairness(summary(points)) for points in ({"LL": CROWD["LL"]}, CROWD))
    looks = [
        [(h.get_marker(), h.get_markerfacecolor()) for h in f.legends[0].legend_handles
         if isinstance(h, Line2D) and h.get_label() == "LL"]
        for f in (alone, crowd)
    ]  # fmt: skip
    assert len(looks[0]) == 1
    assert looks[0] == looks[1]
