"""The differences of a what-if with their intervals, one panel a figure, one row a replay."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from runtime.report.plotting import Axes, Figure
from runtime.report.tables import MOST_LMS
from runtime.whatif.answer import Change, WhatIf
from runtime.whatif.difference import MEAN, OBJECTIVE, SERVED
from runtime.whatif.report import title

MARKERS = "o^sDvPX*"
PANELS = {
    OBJECTIVE: "objective J\n(less is better)",
    MEAN: "mean latency of served\nrequests, s (less is better)",
    SERVED: "share of requests served\n(more is better)",
}


def draw_differences(answer: WhatIf) -> Figure:
    """Draw what changes, and how sure that is; the twin's own error is a grey band around zero."""
    rows = len(answer.replays)
    figure = Figure(figsize=(9.0, 1.9 + 0.75 * rows), layout="constrained")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (name, label) in zip(panels, PANELS.items(), strict=True):
        lms = [f"{SERVED} {lm}" for lm in answer.lms] if len(answer.lms) <= MOST_LMS else []
        names = [*lms, SERVED] if name == SERVED else [name]
        _panel(axes, answer, names)
        axes.set_xlabel(label, fontsize=9)
    figure.axes[0].set_yticks(
        range(rows), [textwrap.fill(title(answer, replay), 24) for replay in answer.replays], fontsize=9
    )
    figure.axes[0].set_ylim(rows - 0.4, -0.6)
    figure.suptitle(
        textwrap.fill(
            f"{answer.run}, recorded with {answer.recorded_as or answer.recorded}: what if minus what was decided, "
            f"with {answer.confidence:.0%} intervals",
            90,
        ),
        x=0.01,
        ha="left",
        fontsize=10,
    )
    if len(answer.lms) > 1:
        figure.legend(*panels[-1].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    return figure


def _panel(axes: Axes, answer: WhatIf, names: Sequence[str]) -> None:
    """Differences of one or several figures, the latter one below the other in each row."""
    offsets = np.linspace(-0.26, 0.26, len(names)) if len(names) > 1 else np.zeros(1)
    error = max((abs(answer.error.get(name, 0.0)) for name in names), default=0.0)
    if error:
        axes.axvspan(-error, error, color="0.9", lw=0)
    axes.axvline(0.0, color="0.4", lw=0.8)
    for k, (name, offset) in enumerate(zip(names, offsets, strict=True)):
        known = [(row, found) for row, replay in enumerate(answer.replays) if (found := _of(replay.changes, name))]
        at = [row + offset for row, _ in known]
        values = np.array([change.difference for _, change in known], dtype=float)
        low, high = (np.array([getattr(change, end) for _, change in known], dtype=float) for end in ("low", "high"))
        arms = np.maximum([values - low, high - values], 0.0)  # no arms where there is no interval
        axes.errorbar(
            values,
            at,
            xerr=arms,
            ls="none",
            marker=MARKERS[k % len(MARKERS)],
            ms=5,
            color="black",
            mfc="white" if name != SERVED and len(names) > 1 else "#0072B2",
            capsize=2.5,
            lw=1.0,
            label=name,
        )
    axes.grid(axis="x", color="0.88", lw=0.6)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=3)


def _of(changes: Sequence[Change], name: str) -> Change | None:
    """The change of a figure, where it has a value."""
    return next((c for c in changes if c.figure == name and c.difference is not None), None)
