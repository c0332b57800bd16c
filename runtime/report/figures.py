"""P1's figures 5 and 6, drawn from the summary of a run, as PNG and SVG with the same bytes for the same summary.

Families keep their colour and marker in every figure. Colours are those of Okabe and Ito (Color Universal Design,
2008), which people with any form of colour blindness can tell apart; markers and hatches say the same in grey.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from runtime.report.plotting import Axes, Bbox, Figure, Line2D, mpl
from runtime.report.seeds import title_line
from runtime.results.intervals import Interval, interval
from runtime.results.labels import family_label
from runtime.results.summary import Summary

STYLES: dict[str, tuple[str, str, str]] = {
    "RR": ("#0072B2", "o", ""),
    "RL": ("#56B4E9", "s", "///"),
    "AL": ("#009E73", "^", "..."),
    "RF": ("#CC79A7", "D", "xxx"),
    "LL": ("#E69F00", "v", "\\\\\\"),
    "MA": ("#D55E00", "*", "***"),
    "MAL": ("#000000", "P", "---"),
    "DRL": ("#999999", "X", "+++"),
    "RH": ("#F0E442", "p", "ooo"),
}
"""Colour, marker and hatch of each family."""
OTHERS = (("#882255", "h", "OO"), ("#44AA99", "<", "||"), ("#332288", ">", "\\\\//"))
REPORTED = {"RF": (406.0, 0.62), "MA": (74.0, 0.90)}
"""(mean latency in seconds, F_norm) where P1 section VI gives both as numbers."""

Point = tuple[float, float]
LABEL_SIZE = 9
MOST_VALUES = 70
"""Bars up to which each one's value is written above it."""
REACHES = (9, 20, 32, 44)
"""Points of distance from a marker to its label, nearest first; beyond the first a line joins them."""
DIRECTIONS = ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


def draw(summary: Summary, folder: Path) -> list[Path]:
    """Draw both figures into `folder`, which must exist; return the four files."""
    return [
        file
        for name, figure in (("latency-fairness", latency_and_fairness), ("per-lm", per_lm))
        for file in save(folder, name, partial(figure, summary))
    ]


def save(folder: Path, name: str, figure: Callable[[], Figure]) -> list[Path]:
    """Draw a figure in the house's style; write it as PNG and SVG and return the two files."""
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever a user has set for figures of their own
        with mpl.rc_context(
            {
                "svg.hashsalt": "edgewise",
                "svg.fonttype": "path",
                "font.family": "DejaVu Sans",
                "font.size": 10.0,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "hatch.linewidth": 0.6,
                "axes.axisbelow": True,
            }
        ):
            drawn = figure()
            drawn.savefig(folder / f"{name}.png", dpi=150, metadata={"Software": None})
            drawn.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
    return [folder / f"{name}.png", folder / f"{name}.svg"]


def settle(figure: Figure) -> None:
    """Lay the figure out for good: to do it again for each file would take half of the time."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def _style(summary: Summary, family: str) -> tuple[str, str, str]:
    others = [code for code in summary.families if code not in STYLES]
    return STYLES[family] if family in STYLES else OTHERS[others.index(family) % len(OTHERS)]


def _key(marker: str, fill: str, label: str) -> Line2D:
    """What the legend shows of a marker."""
    return Line2D([], [], ls="none", marker=marker, ms=9, mfc=fill, mec="black", mew=0.6, label=label)


def _hollow(marker: str, colour: str, family: str) -> Line2D:
    """What the legend shows of a figure that P1 reports."""
    who = "the agents (MA)" if family == "MA" else family
    label = f"hollow: {who} in P1,\nas section VI reports it,\nno result of this run"
    return Line2D([], [], ls="none", marker=marker, ms=9, mfc="none", mec=colour, mew=1.6, label=label)


def latency_and_fairness(summary: Summary) -> Figure:
    """P1's figure 5: mean latency of served requests (x) and normalised Jain's index (y), one marker per family."""
    figure = Figure(figsize=(8.0, 4.8), layout="constrained")
    axes = figure.add_subplot()
    handles, points, labels = list[Line2D](), list[Point](), list[str]()
    arms, shown = list[tuple[Point, Point]](), list[Interval]()
    for family in summary.families:
        runs = [result.telemetry for result in summary.of(family)]
        x, y = (interval([getattr(run, name) for run in runs]) for name in ("global_mean_latency_s", "fairness"))
        colour, marker, _ = _style(summary, family)
        name = family_label(summary, family)
        handles.append(_key(marker, colour, name if x and y else f"{name} (served nobody)"))
        if x is None or y is None:
            continue
        shown += [x, y]
        if x.count > 1:
            arms += [((x.low, y.median), (x.high, y.median)), ((x.median, y.low), (x.median, y.high))]
            axes.errorbar(x.median, y.median, xerr=_arms(x), yerr=_arms(y), color=colour, capsize=3, lw=1.2)
        axes.plot(x.median, y.median, ls="none", marker=marker, ms=10, mfc=colour, mec="black", mew=0.6, zorder=3)
        points.append((x.median, y.median))
        labels.append(name)
    if summary.like_p1:
        for family, (x_s, fairness) in REPORTED.items():
            colour, marker, _ = _style(summary, family)
            axes.plot(x_s, fairness, ls="none", marker=marker, ms=10, mfc="none", mec=colour, mew=1.6, zorder=3)
            points.append((x_s, fairness))
            labels.append(f"{family} (P1)")
            handles.append(_hollow(marker, colour, family))
    least = interval([bound.mean_latency_s for bound in summary.p1_bounds])
    if least is not None:
        line = axes.axvline(least.median, color="0.35", lw=1.2, ls="--", zorder=1)
        line.set_label(f"{least.median:.3g} s: least that P1's\nmodel allows whoever\nserves all that it can")
        handles.append(line)
    axes.set_xlabel("mean end-to-end latency of served requests (s), less is better")
    axes.set_ylabel("normalised Jain's index $F_{norm}$, 1 is best")
    axes.set_title(_title(summary, shown), loc="left", fontsize=10)
    lowest = min((y for _, y in points), default=0.0)
    axes.set_ylim(max(-0.04, lowest - 0.2 * (1.05 - lowest)), 1.0 + 0.1 * (1.05 - lowest))
    axes.set_xlim(0, 1.12 * max((x for x, _ in points if x), default=1.0))
    axes.grid(color="0.88", lw=0.6)
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9, labelspacing=0.9)
    settle(figure)
    _label_points(axes, points, labels, arms)
    return figure


def _arms(value: Interval) -> list[list[float]]:
    return [[value.median - value.low], [value.high - value.median]]


def _label_points(
    axes: Axes, points: Sequence[Point], labels: Sequence[str], arms: Sequence[tuple[Point, Point]]
) -> None:
    """Write each label beside its point, where it covers no other label, marker or error bar, inside the axes."""
    if not points:
        return
    taken = [Bbox.from_bounds(x - 8, y - 8, 16, 16) for x, y in axes.transData.transform(points)]
    taken += [Bbox(axes.transData.transform(arm)).padded(3) for arm in arms]
    frame, pixel = axes.get_window_extent(), axes.figure.dpi / 72
    for (x, y), at, label in zip(axes.transData.transform(points), points, labels, strict=True):
        measured = axes.text(0, 0, label, fontsize=LABEL_SIZE)
        width, height = measured.get_window_extent().size
        measured.remove()
        places = [
            (
                reach * dx,
                reach * dy,
                Bbox.from_bounds(
                    x + reach * dx * pixel - (1 - dx) * width / 2,
                    y + reach * dy * pixel - (1 - dy) * height / 2,
                    width,
                    height,
                ),
            )
            for reach in REACHES
            for dx, dy in DIRECTIONS
        ]
        right, up, box = min(places, key=lambda place: _cost(place[2], taken, frame))
        taken.append(box)
        axes.annotate(
            label,
            at,
            (right, up),
            textcoords="offset points",
            fontsize=LABEL_SIZE,
            ha=("center", "left", "right")[np.sign(right)],
            va=("center", "bottom", "top")[np.sign(up)],
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": "0.4"}
            if max(abs(right), abs(up)) > REACHES[0]
            else None,
        )


def _cost(box: Bbox, taken: Sequence[Bbox], frame: Bbox) -> int:
    """Boxes that it overlaps; to leave the frame is as bad as two."""
    inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
    return sum(box.overlaps(other) for other in taken) + (0 if inside else 2)


def per_lm(summary: Summary) -> Figure:
    """P1's figure 6: (a) latency per LM and over all, (b) success ratio per LM and over all."""
    figure = Figure(figsize=(8.0, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1)
    groups = [*summary.lms, "all"]
    latency = {
        family: [interval([r.telemetry.mean_latency_s[lm] for r in summary.of(family)]) for lm in summary.lms]
        + [interval([r.telemetry.global_mean_latency_s for r in summary.of(family)])]
        for family in summary.families
    }
    success = {
        family: [interval([r.telemetry.success_ratio[lm] for r in summary.of(family)]) for lm in summary.lms]
        + [interval([r.telemetry.success for r in summary.of(family)])]
        for family in summary.families
    }
    shown = [value for row in (*latency.values(), *success.values()) for value in row]
    _bars(above, summary, groups, latency)
    above.set_ymargin(0.12)
    _values(above, latency)
    above.set_ylabel("mean end-to-end latency\nof served requests (s)")
    above.set_title(f"{_title(summary, shown)}\n\n(a) latency, less is better", loc="left", fontsize=10)
    _bars(below, summary, groups, success)
    below.set_ylabel(f"share of requests served\nwithin {summary.deadline_s:g} s")
    below.set_ylim(0, 1.08)
    below.set_title("(b) success ratio, more is better", loc="left", fontsize=10)
    figure.legend(
        *above.get_legend_handles_labels(),
        loc="outside right upper",
        frameon=False,
        fontsize=9,
        handlelength=2.4,
        handleheight=1.4,
        labelspacing=0.8,
    )
    settle(figure)
    return figure


def _bars(axes: Axes, summary: Summary, groups: Sequence[str], values: dict[str, list[Interval | None]]) -> None:
    """Grouped bars, one per family in each group; a cross on the ground where there is nothing to show."""
    width = 0.84 / len(values)
    for k, (family, row) in enumerate(values.items()):
        colour, _, hatch = _style(summary, family)
        at = np.arange(len(groups)) - 0.42 + (k + 0.5) * width
        heights = [value.median if value else 0.0 for value in row]
        axes.bar(
            at,
            heights,
            width,
            color=colour,
            hatch=hatch,
            edgecolor="black",
            lw=0.6,
            label=family_label(summary, family),
        )
        if len(summary.seeds) > 1:
            shown = [(x, value) for x, value in zip(at, row, strict=True) if value and value.count > 1]
            axes.errorbar(
                [x for x, _ in shown],
                [v.median for _, v in shown],
                ls="none",
                color="black",
                capsize=2,
                lw=0.9,
                yerr=np.array([[v.median - v.low, v.high - v.median] for _, v in shown]).reshape(-1, 2).T,
            )
        if nothing := [x for x, value in zip(at, row, strict=True) if value is None]:
            axes.plot(
                nothing,
                [0.03] * len(nothing),
                ls="none",
                marker="x",
                ms=6,
                color="black",
                transform=axes.get_xaxis_transform(),
            )
    axes.set_xticks(np.arange(len(groups)), groups)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.55, len(groups) - 0.45)
    if len(groups) > 1:
        axes.axvline(len(groups) - 1.5, color="0.6", lw=0.8, ls=":")
    axes.grid(axis="y", color="0.88", lw=0.6)


def _values(axes: Axes, values: dict[str, list[Interval | None]]) -> None:
    """Write above each bar what it stands for: beside one of hundreds of seconds, one of a second cannot be seen."""
    groups = max(map(len, values.values()))
    if len(values) * groups > MOST_VALUES:
        return
    width = 0.84 / len(values)
    for k, row in enumerate(values.values()):
        for group, value in enumerate(row):
            if value is not None:
                axes.annotate(
                    f"{value.median:.3g}" if value.median < 1000 else f"{value.median:,.0f}",
                    (group - 0.42 + (k + 0.5) * width, value.high),
                    (0, 3),
                    textcoords="offset points",
                    fontsize=7,
                    rotation=90,
                    ha="center",
                    va="bottom",
                )


def _title(summary: Summary, shown: Sequence[Interval | None]) -> str:
    seeds = "" if len(summary.seeds) == 1 else f"\n{title_line(len(summary.seeds), shown)}"
    load = "" if summary.load == 1.0 else f" times {summary.load:g}"
    served = f", {summary.serving}" if summary.serving else ""
    what = f"{summary.testbed}, workload {summary.workload}{load}{served}, {summary.slots} slots"
    return textwrap.fill(what, 64) + seeds
