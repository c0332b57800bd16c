"""Where prompts go as a figure: for each LM a grid of origins and targets, shaded by share of the origin's prompts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from domain.serving import Dispatch
from runtime.report.figures import settle
from runtime.report.plotting import Axes, Colormap, Figure, LinearSegmentedColormap, Rectangle
from runtime.show.groups import Groups, coarse
from runtime.show.history import History
from runtime.show.kept import flows_of

MOST_PANELS = 6
"""LMs that get a grid of their own; of more, those with the most prompts do."""
COLUMNS = 2
LONG_NAME = 10
"""Characters from which on names below the grids are slanted."""


def flow_grids(history: History) -> Figure:
    """Draw the flows of the LMs with the most prompts."""
    cluster = history.cluster
    what, groups = coarse(cluster)
    flows = flows_of(history, groups)
    totals = flows.sum(axis=(0, 1))
    chosen = sorted(np.argsort(-totals, kind="stable")[:MOST_PANELS].tolist())
    columns = min(COLUMNS, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    size = 1.4 + 0.3 * max(len(groups.names), 3)
    figure = Figure(figsize=(9.0, 0.9 + rows * size), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    shades = LinearSegmentedColormap.from_list("sent", ["#FFFFFF", "#56B4E9", "#0072B2"])
    for axes in panels.ravel()[len(chosen) :]:
        axes.set_visible(False)
    for axes, i in zip(panels.ravel(), chosen, strict=False):
        _grid(axes, groups, flows[:, :, i], shades)
        axes.set_title(f"{cluster.lms[i].name}: {totals[i]:,} prompts", loc="left", fontsize=9.5)
    left_out = f" (the {len(chosen)} LMs with the most prompts)" if len(chosen) < cluster.n_lms else ""
    split = cluster.serving.dispatch is Dispatch.SPLIT
    parts = ", each request at the node whose part was back last" if split else ""
    figure.suptitle(
        f"{history.title}: where prompts go, between {what}{left_out}\nnumbers: % of the origin's prompts{parts}",
        x=0.01,
        ha="left",
        fontsize=10,
    )
    settle(figure)
    return figure


def _grid(axes: Axes, groups: Groups, flows: NDArray[np.int64], shades: Colormap) -> None:
    count = len(groups.names)
    lost = bool(flows[:, count].any())
    shown = flows if lost else flows[:, :count]
    share = shown / np.maximum(flows.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap=shades, vmin=0, vmax=1, aspect="auto")
    for k, g in np.ndindex(*share.shape):
        if share[k, g] >= 0.005:
            colour = "white" if share[k, g] > 0.75 else "black"
            axes.text(g, k, f"{100 * share[k, g]:.0f}", ha="center", va="center", fontsize=7.5, color=colour)
    for k in range(count):
        axes.add_patch(Rectangle((k - 0.5, k - 0.5), 1, 1, fill=False, ec="0.45", lw=0.8))
    names = [name.replace(", ", ",\n") for name in (*groups.names, *(["nowhere"] if lost else []))]
    slanted = max(len(line) for name in names for line in name.split("\n")) > LONG_NAME
    axes.set_xticks(range(shown.shape[1]), names, fontsize=8)
    if slanted:
        axes.tick_params(axis="x", rotation=45)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), names[:count], fontsize=8)
    axes.tick_params(length=0)
    axes.set_xlabel("to", fontsize=8.5)
    axes.set_ylabel("from", fontsize=8.5)
    axes.set_xlim(-0.5, shown.shape[1] - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
