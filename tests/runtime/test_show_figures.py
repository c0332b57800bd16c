"""Figures of a decision: a line for each pod over time, a grid of origins and targets for each LM."""

from __future__ import annotations

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb

from runtime.show.flows import flow_grids
from runtime.show.timeline import CPU, GPU, MOST_LINES, STARTING, timeline
from tests.histories import READY, SLOTS, history, many


def test_a_timeline_has_a_bar_for_each_stretch_in_the_colour_of_its_kind() -> None:
    told = history()
    assert told.pods is not None
    axes = timeline(told, told.pods).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["chat", "chat", "draw"]
    bars = {
        tuple(np.asarray(own.get_facecolor())[0, :3].tolist()): len(own.get_paths())
        for own in axes.collections
        if isinstance(own, PolyCollection) and len(own.get_paths())
    }
    assert bars == {to_rgb(GPU): 2, to_rgb(CPU): 2, to_rgb(STARTING): 1}
    texts = [text.get_text() for text in axes.texts]
    assert {"4 cores", "1 vGPU", "2 cores", "2 vGPUs", "north", "south"} <= set(texts)


def test_a_large_cluster_is_drawn_by_hardware() -> None:
    cluster = many(600)
    told = history(
        cluster,
        pods=[(n, 0, 0, SLOTS, READY, 0, 1) for n in range(150)],
        requests=[(0, 0, n, n, 1, True) for n in range(600)],
    )
    assert told.pods is not None
    axes = timeline(told, told.pods).axes[0]
    shown = axes.images[0].get_array()
    assert shown is not None
    assert shown.shape == (1, 12)
    assert shown[0, 0] == 0.25
    assert len(axes.get_yticklabels()) <= MOST_LINES
    grid = flow_grids(told).axes[0]
    assert [label.get_text() for label in grid.get_yticklabels()] == ["site-0", "site-1"]


def test_a_grid_says_the_share_of_each_target_in_numbers() -> None:
    chat, draw = flow_grids(history()).axes[:2]
    assert chat.get_title(loc="left") == "chat: 15 prompts"
    assert [text.get_text() for text in chat.texts] == ["80", "20", "100"]
    assert [text.get_text() for text in draw.texts] == ["100", "100"]
