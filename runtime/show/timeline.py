"""Placement over time as a figure: a line for each LM of each node, or, in large clusters, of each kind of hardware."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.telemetry import Phase
from runtime.report.figures import settle
from runtime.report.plotting import Axes, Figure, Line2D, LinearSegmentedColormap, PolyCollection
from runtime.show.groups import MOST_NODES, by_hardware
from runtime.show.history import History, Spans, form

GPU, CPU, STARTING, STOPPING, PENDING = "#56B4E9", "#009E73", "#F0E442", "#BBBBBB", "#D55E00"
"""Okabe-Ito: a pod on vGPUs, on cores, one that starts, one that stops, one that waits for room."""
KINDS = (
    (GPU, "ready on vGPUs"),
    (CPU, "ready on cores"),
    (STARTING, "starting"),
    (STOPPING, "stopping"),
    (PENDING, "pending"),
)
MOST_LINES = 60
"""Lines of a figure; LMs beyond them are left out, those with the fewest pods first."""
LABEL_SHARE = 0.12
"""Share of the figure's width from which on a stretch says what its pod has."""


def timeline(history: History, pods: Spans) -> Figure:
    """Draw who kept what, slot by slot; `pods` are those of the history."""
    if history.cluster.n_nodes <= MOST_NODES:
        return _by_node(history, pods)
    return _by_hardware(history, pods)


def _by_node(history: History, pods: Spans) -> Figure:
    cluster, (phase, cores, vgpus) = history.cluster, pods.values
    lines = _lines(pods)
    figure, axes = _frame(history, len(lines))
    at = {cell: k for k, cell in enumerate(lines)}
    y = np.array([at.get(cell, -1) for cell in zip(pods.node.tolist(), pods.lm.tolist(), strict=True)], dtype=np.int64)
    drawn = (phase != Phase.OFF) & (y >= 0)
    kind = _kind(phase, vgpus)
    for k, (colour, _) in enumerate(KINDS):
        those = np.flatnonzero(drawn & (kind == k))
        left, right, top, bottom = pods.start[those], pods.end[those], y[those] - 0.4, y[those] + 0.4
        corners = np.stack([left, top, right, top, right, bottom, left, bottom], axis=1).reshape(-1, 4, 2)
        axes.add_collection(PolyCollection(list(corners), facecolors=colour, lw=0))
    wide = LABEL_SHARE * history.result.slots
    for j in np.flatnonzero(drawn & (phase == Phase.READY) & (pods.slots >= wide)).tolist():
        middle = (pods.start[j] + pods.end[j]) / 2
        axes.text(middle, y[j], form(int(cores[j]), int(vgpus[j])), ha="center", va="center", fontsize=7.5)
    axes.set_yticks(range(len(lines)), [cluster.lms[i].name for _, i in lines], fontsize=8)
    _name_blocks(axes, [cluster.nodes[n].name for n, _ in lines])
    handles = [
        Line2D([], [], ls="none", marker="s", ms=9, mfc=colour, mec="none", label=text) for colour, text in KINDS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(KINDS), frameon=False, fontsize=8.5)
    settle(figure)
    return figure


def _kind(phase: NDArray[np.int64], vgpus: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place in KINDS of each stretch that is not off."""
    of_phase = {Phase.STARTING: 2, Phase.TERMINATING: 3, Phase.PENDING: 4}
    kind = np.where(vgpus > 0, 0, 1)
    for value, k in of_phase.items():
        kind = np.where(phase == value, k, kind)
    return kind


def _lines(pods: Spans) -> list[tuple[int, int]]:
    """Node and LM of each line, from the top: those that ever had a pod."""
    on = pods.values[0] != Phase.OFF
    held: dict[tuple[int, int], int] = {}
    cells = zip(pods.node[on].tolist(), pods.lm[on].tolist(), pods.slots[on].tolist(), strict=True)
    for node, lm, slots in cells:
        held[node, lm] = held.get((node, lm), 0) + slots
    return sorted(sorted(held, key=lambda cell: -held[cell])[:MOST_LINES])


def _by_hardware(history: History, pods: Spans) -> Figure:
    """Share of the nodes of each kind of hardware on which an LM is ready, as shades."""
    cluster, groups = history.cluster, by_hardware(history.cluster)
    ready = pods.values[0] == Phase.READY
    change = np.zeros((len(groups.names), cluster.n_lms, history.result.slots + 1))
    where = (groups.of[pods.node[ready]], pods.lm[ready])
    np.add.at(change, (*where, pods.start[ready]), 1.0)
    np.add.at(change, (*where, pods.end[ready]), -1.0)
    share = np.cumsum(change, axis=2)[:, :, :-1] / groups.sizes[:, None, None]
    known = [(g, i) for g, i in np.ndindex(*share.shape[:2]) if share[g, i].any()]
    lines = sorted(sorted(known, key=lambda line: -share[line].sum())[:MOST_LINES])
    figure, axes = _frame(history, len(lines))
    shades = LinearSegmentedColormap.from_list("held", ["#FFFFFF", GPU, "#0072B2"])
    extent = (0.0, float(history.result.slots), len(lines) - 0.5, -0.5)
    values = np.array([share[line] for line in lines]) if lines else np.zeros((1, 1))
    image = axes.imshow(values, aspect="auto", interpolation="nearest", cmap=shades, vmin=0, vmax=1, extent=extent)
    axes.set_yticks(range(len(lines)), [cluster.lms[i].name for _, i in lines], fontsize=8)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    _name_blocks(axes, [f"{groups.names[g]}\n{groups.sizes[g]} nodes".replace(", ", "\n") for g, _ in lines])
    figure.colorbar(
        image, ax=axes, location="bottom", aspect=50, shrink=0.6, label="share of the nodes where it is ready"
    )
    settle(figure)
    return figure


def _frame(history: History, lines: int) -> tuple[Figure, Axes]:
    height = 1.7 + 0.21 * max(lines, 4)
    figure = Figure(figsize=(9.0, height), layout="constrained")
    axes = figure.add_subplot()
    slots, total = history.slots, history.result.slots
    axes.set_xlim(0, total)
    axes.set_ylim(max(lines, 1) - 0.4, -0.6)
    axes.set_xlabel(f"slot ({history.summary.slot_s:g} s each)")
    axes.set_title(f"{history.title}: what each node keeps", loc="left", fontsize=10, pad=18)
    axes.tick_params(axis="y", length=0)
    axes.axvline(slots, color="0.4", lw=0.9, ls=":")
    axes.text(slots, -0.62, " no new requests", fontsize=7.5, color="0.3", va="bottom", ha="left", clip_on=False)
    return figure, axes


def _name_blocks(axes: Axes, names: list[str]) -> None:
    """Name each block of lines to the left of their LMs, and part the blocks by thin lines."""
    first = [k for k, name in enumerate(names) if k == 0 or name != names[k - 1]]
    for start, end in zip(first, [*first[1:], len(names)], strict=True):
        if start:
            axes.axhline(start - 0.5, color="0.75", lw=0.6)
        middle = (start + end - 1) / 2
        axes.annotate(
            names[start],
            (0, middle),
            (-52, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8.5,
            fontweight="bold",
        )
