"""Two families, or two runs, side by side: on what their nodes keep other LMs, and where prompts go elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from domain.errors import InputError
from runtime.results.own_dispatch import words_of
from runtime.show.groups import coarse
from runtime.show.history import History, Ints, Spans
from runtime.show.kept import flows_of, kept, percent, shares
from runtime.show.tables import NOT_KEPT, forms_of, table

MOST_ROWS = 20
"""Rows of a table of differences, the largest first."""
SAME = 0.05
"""Share of a node's slots, or of an origin's prompts, up to which two count as alike."""


def difference(one: History, other: History) -> Iterator[Table | Text]:
    """Show where placements and routes of two runs differ.

    Raises:
        InputError: they took place on clusters with other nodes or LMs.
    """
    for what, own, others in (
        ("nodes", one.summary.nodes, other.summary.nodes),
        ("LMs", one.summary.lms, other.summary.lms),
    ):
        if own != others:
            raise InputError(f"{one.folder} and {other.folder} have other {what}: they cannot be compared.")
    first, second = _names(one, other)
    yield Text(f"{one.title}  against  {other.title}", style="bold")
    yield Text("\nWhat nodes keep, the largest differences first")
    if one.pods is None or other.pods is None:
        yield Text(NOT_KEPT, style="yellow")
    else:
        yield from _placements(one, other, one.pods, other.pods, first, second)
    yield Text("Where prompts go, the largest differences first")
    yield from _routes(one, other, first, second)


def _names(one: History, other: History) -> tuple[str, str]:
    """What to call the two: by family where that tells them apart, else by seed or folder."""
    if one.family != other.family:
        return words_of(one.family), words_of(other.family)
    if one.result.seed != other.result.seed:
        return f"seed {one.result.seed}", f"seed {other.result.seed}"
    return one.folder.name, other.folder.name


def _placements(
    one: History, other: History, own: Spans, others: Spans, first: str, second: str
) -> Iterator[Table | Text]:
    slots = min(one.slots, other.slots)
    apart = _apart(one, own, others, slots)
    yield Text(f"In {percent(float(apart.mean()))} of all slots, nodes and LMs the two keep something else.")
    rows = [{(row.node, row.lm): row for row in kept(history)} for history in (one, other)]
    cells = [(n, i) for n, i in np.ndindex(*apart.shape) if apart[n, i] > SAME]
    shown = sorted(cells, key=lambda cell: -apart[cell])[:MOST_ROWS]
    made = table("node", "LM", ">differ", f"{first}: ready", f"{second}: ready")
    for cell in shown:
        texts = []
        for known in rows:
            row = known.get(cell)
            ready = row is not None and row.ready > 0
            texts.append(f"{percent(row.ready)}, {forms_of(row)}" if row is not None and ready else "never")
        node, lm = one.cluster.nodes[cell[0]].name, one.cluster.lms[cell[1]].name
        made.add_row(node, lm, percent(float(apart[cell])), *texts)
    yield from _closing(made, len(shown), len(cells))


def _apart(history: History, own: Spans, others: Spans, slots: int) -> NDArray[np.float64]:
    """[N, I] share of the slots at whose end the two states of a pod differ."""
    shape = (history.cluster.n_nodes, history.cluster.n_lms)
    out = np.zeros(shape)
    states = [_by_cell(spans, slots) for spans in (own, others)]
    for cell in states[0].keys() | states[1].keys():
        lines = [_line(known.get(cell, []), slots) for known in states]
        out[cell] = float((lines[0] != lines[1]).any(axis=0).mean())
    return out


def _by_cell(spans: Spans, slots: int) -> dict[tuple[int, int], list[tuple[int, ...]]]:
    cells: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    cut = spans.until(slots)
    columns = (cut.node, cut.lm, cut.start, cut.end, *cut.values)
    for node, lm, *rest in zip(*(column.tolist() for column in columns), strict=True):
        cells.setdefault((node, lm), []).append(tuple(rest))
    return cells


def _line(spans: Sequence[tuple[int, ...]], slots: int) -> Ints:
    """[3, slots] phase, cores and vGPUs of one pod, slot by slot."""
    line = np.zeros((3, slots), dtype=np.int64)
    for start, end, *values in spans:
        line[:, start:end] = np.array(values)[:, None]
    return line


def _routes(one: History, other: History, first: str, second: str) -> Iterator[Table | Text]:
    _, groups = coarse(one.cluster)
    flows = [flows_of(history, groups) for history in (one, other)]
    if (moved := _moved(one, other)) is not None:
        yield Text(f"Of the same requests, {percent(moved)} go to another node.")
    totals = [np.maximum(flow.sum(axis=1), 1) for flow in flows]
    parts = [flow / total[:, None, :] for flow, total in zip(flows, totals, strict=True)]
    apart = np.abs(parts[0] - parts[1]).sum(axis=1) / 2
    weight = flows[0].sum(axis=1)
    cells = [(k, i) for k, i in np.ndindex(*apart.shape) if apart[k, i] > SAME]
    shown = sorted(cells, key=lambda cell: -apart[cell] * weight[cell])[:MOST_ROWS]
    made = table("LM", "from", ">differ", f"{first}: to", f"{second}: to")
    for k, i in shown:
        texts = [shares(groups.targets(k), flow[k, :, i].tolist(), 2) for flow in flows]
        made.add_row(one.cluster.lms[i].name, groups.names[k], percent(float(apart[k, i])), *texts)
    yield from _closing(made, len(shown), len(cells))


def _moved(one: History, other: History) -> float | None:
    """Share of the requests that the two sent to different nodes; None where they did not have the same requests."""
    mine, yours = one.records, other.records
    if len(mine) != len(yours) or not len(mine):
        return None
    a, b = np.argsort(mine.request, kind="stable"), np.argsort(yours.request, kind="stable")
    same = (getattr(mine, name)[a] == getattr(yours, name)[b] for name in ("request", "arrival_s", "lm", "origin"))
    if not all(np.all(column) for column in same):
        return None
    return float((mine.target[a] != yours.target[b]).mean())


def _closing(made: Table, shown: int, all_of_them: int) -> Iterator[Table | Text]:
    if not all_of_them:
        yield Text(f"No row differs in more than {percent(SAME)}.\n")
        return
    yield made
    if all_of_them > shown:
        yield Text(f"{all_of_them - shown} more rows differ less.\n")
