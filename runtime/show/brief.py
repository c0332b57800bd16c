"""The decision in a few lines, for the end of a run: where each LM is kept, and where its prompts go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from runtime.results.own_dispatch import words_of
from runtime.show.groups import MOST_NODES, by_hardware, single
from runtime.show.history import History
from runtime.show.kept import Kept, kept, near, percent, sent_to, shares
from runtime.show.tables import forms_of, merged, share_of, table

SHOWN = 2
"""Nodes that are named for each LM."""


def brief(history: History) -> Iterator[Table | Text]:
    """Where each LM was ready longest, on what, and who got its prompts; by hardware where nodes are many."""
    cluster = history.cluster
    few = cluster.n_nodes <= MOST_NODES
    groups = single(cluster) if few else by_hardware(cluster)
    seed = "" if len(history.summary.seeds) == 1 else f", seed {history.result.seed}"
    yield Text(f"What {words_of(history.family)} decided{seed}", style="bold")
    made = table("LM", ">pods", "ready most" if few else "on", ">stay", "prompts go to")
    rows, sent, ranges = kept(history), sent_to(history), near(history)
    for i, lm in enumerate(cluster.lms):
        own = sorted((row for row in rows if row.lm == i and row.ready), key=lambda row: -row.ready)
        pods = f"{sum(row.ready for row in own):,.1f}" if history.pods is not None else "?"
        to = np.bincount(groups.of, sent[:, i], minlength=len(groups.names)).tolist()
        stay = share_of(int(ranges[0, i]), int(ranges[:, i].sum()))
        made.add_row(lm.name, pods, _ready(history, own, few), stay, shares(groups.names, to, SHOWN))
    yield made
    yield Text(
        "pods: mean number that are ready. "
        + ("ready most: the nodes where they are longest, on what, and in which share of the slots. " if few else "")
        + "stay: share of the prompts that are answered where they come.",
        style="dim",
    )


def _ready(history: History, rows: Sequence[Kept], few: bool) -> str:
    """Pods of one LM, the longest ready first."""
    if not rows:
        return "–"
    if not few:
        return forms_of(merged(rows, len(rows)))
    where = list[str]()
    for row in rows[:SHOWN]:
        mostly = "mostly " if len(row.forms) > 1 else ""
        where.append(f"{history.cluster.nodes[row.node].name} {mostly}{row.forms[0][0]} {percent(row.ready)}")
    return ", ".join([*where, *([f"{len(rows) - SHOWN} more"] if len(rows) > SHOWN else [])])
