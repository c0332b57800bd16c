"""Adds up who kept what, and where prompts went: plain numbers for tables and figures, no layout."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.decisions import NOWHERE
from domain.telemetry import Phase
from runtime.show.groups import Groups
from runtime.show.history import History, Spans, form


@dataclass(frozen=True)
class Kept:
    """One LM on one node, over the slots with new requests."""

    node: int
    lm: int
    ready: float
    """Share of the slots at whose end its pod was ready."""
    forms: tuple[tuple[str, float], ...]
    """What a ready pod had ('2 vGPUs') and for which share of the slots, longest first."""
    starts: int
    """Times that a pod came up: it started, or was ready at once."""
    longest: int
    """Slots of the longest stretch in which it was ready."""
    prompts: int
    """Prompts that were sent there."""
    served: int
    """Of those, how many were answered in time."""

    @property
    def in_time(self) -> float | None:
        """Share of the prompts that were answered in time; None where none were sent."""
        return self.served / self.prompts if self.prompts else None


def kept(history: History) -> list[Kept]:
    """Every LM on every node where there was a pod, or where prompts were sent; by node, then LM."""
    sent, served = sent_to(history), sent_to(history, served=True)
    cells = _cells(None if history.pods is None else history.pods.until(history.slots))
    rows = list[Kept]()
    for n, i in np.ndindex(*sent.shape):
        own = cells.get((n, i), [])
        if own or sent[n, i]:
            rows.append(_kept(n, i, own, history.slots, int(sent[n, i]), int(served[n, i])))
    return rows


_Span = tuple[int, int, int, int, int]
"""Start, end, phase, cores, vGPUs."""


def _cells(pods: Spans | None) -> dict[tuple[int, int], list[_Span]]:
    cells = defaultdict[tuple[int, int], list[_Span]](list)
    if pods is not None:
        columns = (pods.node, pods.lm, pods.start, pods.end, *pods.values)
        for node, lm, start, end, phase, cores, vgpus in zip(*(column.tolist() for column in columns), strict=True):
            cells[node, lm].append((start, end, phase, cores, vgpus))
    return cells


def _kept(node: int, lm: int, spans: Sequence[_Span], slots: int, sent: int, served: int) -> Kept:
    lengths, starts, longest, unbroken = dict[str, int](), 0, 0, 0
    before = int(Phase.OFF)
    for start, end, phase, cores, vgpus in spans:
        up = phase in (Phase.STARTING, Phase.READY)
        starts += phase == Phase.STARTING or (up and before not in (Phase.STARTING, Phase.READY))
        unbroken = (unbroken if before == Phase.READY else 0) + end - start if phase == Phase.READY else 0
        longest, before = max(longest, unbroken), phase
        if phase == Phase.READY:
            lengths[form(cores, vgpus)] = lengths.get(form(cores, vgpus), 0) + end - start
    forms = sorted(((text, length / slots) for text, length in lengths.items()), key=lambda item: -item[1])
    return Kept(node, lm, sum(share for _, share in forms), tuple(forms), starts, longest, sent, served)


def sent_to(history: History, served: bool = False) -> NDArray[np.int64]:
    """[N, I] prompts that were sent to each node; `served`: only those that were answered in time."""
    records, sent = history.records, np.zeros((history.cluster.n_nodes, history.cluster.n_lms), dtype=np.int64)
    chosen = records.success if served else records.target != NOWHERE
    np.add.at(sent, (records.target[chosen], records.lm[chosen]), records.prompts[chosen])
    return sent


def flows_of(history: History, groups: Groups, served: bool = False) -> NDArray[np.int64]:
    """[G, G + 1, I] prompts from origin to target, by group; the last target is nowhere.

    Args:
        history: of the run.
        groups: of its nodes.
        served: count only those that were answered in time.
    """
    records, count = history.records, len(groups.names)
    flows = np.zeros((count, count + 1, history.cluster.n_lms), dtype=np.int64)
    target = np.append(groups.of, count)[records.target]  # NOWHERE is the last
    chosen = records.success if served else np.ones(len(records), dtype=np.bool_)
    where = (groups.of[records.origin][chosen], target[chosen], records.lm[chosen])
    np.add.at(flows, where, records.prompts[chosen])
    return flows


def near(history: History) -> NDArray[np.int64]:
    """[4, I] prompts that were sent nowhere else, to another node of the site, to another site, and nowhere."""
    records, cluster = history.records, history.cluster
    _, site = np.unique([node.site for node in cluster.nodes], return_inverse=True)
    there = np.where(site[records.target] == site[records.origin], 1, 2)
    kind = np.where(records.target == records.origin, 0, there)
    kind = np.where(records.target == NOWHERE, 3, kind)
    out = np.zeros((4, cluster.n_lms), dtype=np.int64)
    np.add.at(out, (kind, records.lm), records.prompts)
    return out


def shares(names: Sequence[str], amounts: Sequence[float], most: int) -> str:
    """'VM3 45%, VM2 30%, 4 more 25%': the largest of some amounts as shares of all; '–' where all are 0."""
    total = sum(amounts)
    if not total:
        return "–"
    ranked = sorted(((amount, -k) for k, amount in enumerate(amounts) if amount), reverse=True)
    shown = ranked if len(ranked) <= most + 1 else ranked[:most]
    parts = [f"{names[-k]} {percent(amount / total)}" for amount, k in shown]
    if rest := ranked[len(shown) :]:
        parts.append(f"{len(rest)} more {percent(sum(amount for amount, _ in rest) / total)}")
    return ", ".join(parts)


def percent(share: float) -> str:
    """A share in words; what is neither nothing nor all never reads as if it were."""
    if 0.0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1.0:
        return ">99%"
    return f"{100 * share:.0f}%"
