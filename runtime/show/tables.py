"""What was decided over a whole run as tables of 80 columns: what nodes keep, and where prompts go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from domain.errors import InputError
from domain.serving import Dispatch
from runtime.show.groups import MOST_NODES, Groups, by_hardware, single
from runtime.show.history import History
from runtime.show.kept import Kept, flows_of, kept, near, percent, sent_to, shares

MOST_ROWS = 40
"""Rows of a table; of more, those with the most prompts are shown."""
BUSIEST = 10
"""Nodes that are shown of a cluster with too many."""
NOT_KEPT = (
    "The folder does not hold what its nodes kept, slot by slot: it is older than placements.parquet, or nothing was "
    "carried out. Run it again to see more."
)

LAST_PART = "A request whose prompts went to several nodes counts at the one whose part was back last."


def table(*columns: str, padding: int = 1) -> Table:
    """An empty table; a column whose header begins with '>' is a number."""
    made = Table(box=SIMPLE, pad_edge=False, padding=(0, padding, 0, 0))
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if right else "left", no_wrap=right, overflow="fold")
    return made


def overview(history: History, node: str | None = None) -> Iterator[Table | Text]:
    """What nodes kept and where prompts went in the slots with new requests.

    Args:
        history: of the run.
        node: show what concerns this node alone.

    Raises:
        InputError: there is no such node.
    """
    cluster = history.cluster
    if node is not None and node not in cluster.node_index:
        raise InputError(f"There is no node {node!r} in {history.folder}; its nodes are {_some(history)}.")
    yield Text(history.title, style="bold")
    if history.pods is None:
        yield Text(NOT_KEPT, style="yellow")
    rows = kept(history)
    if node is not None:
        yield from _one_node(history, rows, cluster.node_index[node])
    elif cluster.n_nodes <= MOST_NODES:
        yield Text(f"\nWhat each node kept, over {history.slots:,} slots with new requests")
        yield from _nodes(history, rows)
        yield Text("Where prompts went")
        yield from _flows(history)
    else:
        yield from _large(history, rows)
    yield Text(_note(history), style="dim")


def _note(history: History) -> str:
    lines = [
        f"ready: share of the slots ({history.summary.slot_s:g} s each) at whose end a pod was ready. "
        "longest: slots of the longest such stretch.",
        f"in time: share of the prompts that were answered within {history.summary.deadline_s:g} s.",
    ]
    if history.cluster.serving.dispatch is Dispatch.SPLIT:
        lines.append(LAST_PART)
    return "\n".join(lines if history.pods is not None else lines[1:])


def _some(history: History) -> str:
    names = history.summary.nodes
    return ", ".join(names) if len(names) <= MOST_NODES else f"{names[0]} … {names[-1]}"


def _nodes(history: History, rows: Sequence[Kept]) -> Iterator[Table | Text]:
    cluster = history.cluster
    shown, more = _busiest(rows)
    made = table("node", "LM", ">ready", "ready pods had", ">starts", ">longest", ">prompts", ">in time")
    before = -1
    for row in shown:
        name = cluster.nodes[row.node].name if row.node != before else ""
        made.add_row(name, cluster.lms[row.lm].name, *_cells(history, row))
        before = row.node
    yield made
    if more:
        yield Text(f"{more} more rows with fewer prompts; --node NAME shows all of a node.\n")


def _busiest(rows: Sequence[Kept]) -> tuple[list[Kept], int]:
    """The rows with the most prompts, in their order, and how many are left out."""
    if len(rows) <= MOST_ROWS:
        return list(rows), 0
    chosen = sorted(range(len(rows)), key=lambda k: -rows[k].prompts)[:MOST_ROWS]
    return [rows[k] for k in sorted(chosen)], len(rows) - MOST_ROWS


def _cells(history: History, row: Kept) -> Iterator[str]:
    known = history.pods is not None
    yield percent(row.ready) if known else "?"
    yield forms_of(row) if known else "?"
    yield f"{row.starts:,}" if known else "?"
    yield f"{row.longest:,}" if known else "?"
    yield f"{row.prompts:,}"
    yield share_of(row.served, row.prompts)


def forms_of(row: Kept, most: int = 2) -> str:
    """What ready pods had: '2 vGPUs', or '4 cores 60%, 1 vGPU 31%' of the slots where it changed."""
    if len(row.forms) == 1:
        return row.forms[0][0]
    shown = row.forms if len(row.forms) <= most + 1 else row.forms[:most]
    parts = [f"{text} {percent(share)}" for text, share in shown]
    if rest := len(row.forms) - len(shown):
        parts.append(f"{rest} more")
    return ", ".join(parts) or "never ready"


def share_of(part: int, whole: int) -> str:
    """A share in words; '–' where there is nothing to share."""
    return percent(part / whole) if whole else "–"


def _flows(history: History, node: int | None = None) -> Iterator[Table | Text]:
    """A row for each LM and origin: how many prompts came, and where they went."""
    groups = single(history.cluster)
    flows, served = flows_of(history, groups), flows_of(history, groups, served=True)
    origins = range(len(groups.names)) if node is None else [node]
    rows = [(i, k) for i in range(history.cluster.n_lms) for k in origins if flows[k, :, i].any()]
    shown = sorted(sorted(rows, key=lambda row: -flows[row[1], :, row[0]].sum())[:MOST_ROWS])
    made = table("LM", "from", ">prompts", "to", ">in time")
    before = -1
    for i, k in shown:
        own = flows[k, :, i].tolist()
        lm = history.cluster.lms[i].name if i != before else ""
        where = shares(groups.targets(k), own, 3)
        made.add_row(lm, groups.names[k], f"{sum(own):,}", where, share_of(int(served[k, :, i].sum()), sum(own)))
        before = i
    yield made
    if len(rows) > len(shown):
        yield Text(f"{len(rows) - len(shown)} more rows with fewer prompts; --node NAME shows all of a node.\n")


def _one_node(history: History, rows: Sequence[Kept], n: int) -> Iterator[Table | Text]:
    cluster = history.cluster
    name = cluster.nodes[n].name
    yield Text(f"\nWhat {name} kept, over {history.slots:,} slots with new requests")
    yield from _nodes(history, [row for row in rows if row.node == n])
    yield Text(f"Where the prompts of {name} went")
    yield from _flows(history, n)
    yield Text(f"Where the prompts that {name} was sent came from")
    records, made = history.records, table("LM", ">prompts", "from")
    names = ["itself" if k == n else node.name for k, node in enumerate(cluster.nodes)]
    for i, lm in enumerate(cluster.lms):
        own = (records.target == n) & (records.lm == i)
        came = np.bincount(records.origin[own], records.prompts[own], minlength=cluster.n_nodes)
        if came.any():
            made.add_row(lm.name, f"{came.sum():,.0f}", shares(names, came.tolist(), 4))
    yield made


def _large(history: History, rows: Sequence[Kept]) -> Iterator[Table | Text]:
    """By hardware, then the busiest nodes, then how far prompts went."""
    hardware = by_hardware(history.cluster)
    yield Text(f"\nWhat nodes kept, by hardware, over {history.slots:,} slots with new requests")
    yield _by_hardware(history, rows, hardware)
    yield Text(f"The {BUSIEST} nodes with the most prompts; --node NAME shows any")
    yield _busiest_nodes(history, rows)
    yield Text("Where prompts went, seen from the node where they came")
    yield _distances(history, hardware)


def _by_hardware(history: History, rows: Sequence[Kept], hardware: Groups) -> Table:
    made = table("hardware", ">nodes", "LM", ">ready", "ready pods had", ">prompts", ">in time")
    for k, name in enumerate(hardware.names):
        size = int(hardware.sizes[k])
        head = (name, f"{size:,}")
        for i, lm in enumerate(history.cluster.lms):
            own = [row for row in rows if row.lm == i and hardware.of[row.node] == k]
            if own:
                ready, forms, _, _, prompts, in_time = _cells(history, merged(own, size))
                made.add_row(*head, lm.name, ready, forms, prompts, in_time)
                head = ("", "")
    return made


def _busiest_nodes(history: History, rows: Sequence[Kept]) -> Table:
    made = table("node", "site", ">prompts", ">in time", "ready, share of the slots")
    sent = sent_to(history).sum(axis=1)
    for n in np.argsort(-sent, kind="stable")[:BUSIEST].tolist():
        node, own = history.cluster.nodes[n], [row for row in rows if row.node == n]
        ready = [f"{history.cluster.lms[row.lm].name} {percent(row.ready)}" for row in own if row.ready]
        served = share_of(sum(row.served for row in own), int(sent[n]))
        made.add_row(node.name, node.site, f"{sent[n]:,}", served, ", ".join(ready) or "–")
    return made


def _distances(history: History, hardware: Groups) -> Table:
    made = table("LM", ">prompts", ">stay", ">same site", ">other sites", ">nowhere", "to hardware")
    ranges, sent = near(history), sent_to(history)
    for i, lm in enumerate(history.cluster.lms):
        total = int(ranges[:, i].sum())
        by_kind = np.bincount(hardware.of, sent[:, i], minlength=len(hardware.names))
        far = (share_of(int(part), total) for part in ranges[:, i])
        made.add_row(lm.name, f"{total:,}", *far, shares(hardware.names, by_kind.tolist(), 3))
    return made


def merged(rows: Sequence[Kept], nodes: int) -> Kept:
    """The same LM on several of so many nodes as if it were one: shares are means over the nodes."""
    forms = dict[str, float]()
    for row in rows:
        for text, share in row.forms:
            forms[text] = forms.get(text, 0.0) + share / nodes
    ranked = tuple(sorted(forms.items(), key=lambda item: -item[1]))
    starts, longest = sum(row.starts for row in rows), max(row.longest for row in rows)
    ready, prompts = sum(row.ready for row in rows) / nodes, sum(row.prompts for row in rows)
    return Kept(rows[0].node, rows[0].lm, ready, ranked, starts, longest, prompts, sum(row.served for row in rows))
