"""Agents' drafts of a slot through its rehearsal: kept, or overruled by the rule, or counted as not rehearsed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from domain.decisions import Deployment, MacroPolicy, RoutingPlan
from domain.ledger import Outcome
from domain.telemetry import Snapshot
from graph.gate.passage import Draft, Kind
from graph.rehearsal.plans import overruled
from graph.rehearsal.slots import SlotRehearser

NOT_REHEARSED = {"verdict": "not_rehearsed", "why": "the cluster is too large"}


def is_open(draft: Draft) -> bool:
    """True where a model's answer passed the gate and has not been rehearsed."""
    return draft.outcome in (Outcome.ACCEPTED, Outcome.REPAIRED) and draft.rehearsal is None


def not_rehearsed(draft: Draft) -> Draft:
    """Say of an agent's decision that it is taken as it is."""
    return draft._replace(rehearsal=NOT_REHEARSED) if is_open(draft) else draft


async def rehearse_routing(
    slots: SlotRehearser, kind: Kind[RoutingPlan], draft: Draft, snapshot: Snapshot, policy: MacroPolicy
) -> Draft:
    """Keep the agent's routes, or take those of the rule backlog."""
    if not is_open(draft) or draft.decision is None:
        return draft
    if not slots.futures:
        return not_rehearsed(draft)
    proposed = kind.from_json(draft.decision)
    rule, compared = await asyncio.to_thread(slots.routes, snapshot, policy, proposed)
    about = dict(compared.about)
    if compared.kept:
        return draft._replace(rehearsal=about)
    if kind.rules(rule):
        return draft._replace(rehearsal={**about, "verdict": "kept", "why": "the rule's own break a rule"})
    return overruled(draft, kind.to_json(rule), "backlog", {**about, "proposed": draft.decision})


async def rehearse_deployments(
    slots: SlotRehearser,
    kinds: Mapping[int, Kind[Deployment]],
    drafts: Mapping[int, Draft],
    snapshot: Snapshot,
    policy: MacroPolicy,
    routes: RoutingPlan,
) -> dict[int, Draft]:
    """Keep the agents' deployments together, or those that do no harm; the other nodes take the rule steady's.

    Args:
        slots: where they are rehearsed.
        kinds: of each node that has a draft.
        drafts: settled, by node; what no model decided is taken as given.
        snapshot: the present.
        policy: in force.
        routes: of the slot, as they were adopted.
    """
    opened = [n for n, draft in sorted(drafts.items()) if is_open(draft)]
    if not opened:
        return dict(drafts)
    if not slots.futures:
        return {n: not_rehearsed(draft) for n, draft in drafts.items()}
    proposed = {n: kinds[n].from_json(drafts[n].decision or {}) for n in opened}
    fixed = [kinds[n].from_json(d.decision) for n, d in sorted(drafts.items()) if d.decision and n not in proposed]
    rule = {n: slots.steady(snapshot, n, policy) for n in opened}
    for n in opened:
        step = rule[n]
        if step is not None and kinds[n].rules(step):
            rule[n] = None
    compared = await asyncio.to_thread(slots.deployments, snapshot, policy, routes, proposed, rule, fixed)
    done = dict(drafts)
    for n in opened:
        if n in compared.kept:
            done[n] = drafts[n]._replace(rehearsal={**compared.about, "verdict": "kept"})
            continue
        step = rule[n]
        decision = {} if step is None else kinds[n].to_json(step)
        about = {**compared.about, "verdict": "overruled", "proposed": drafts[n].decision}
        done[n] = overruled(drafts[n], decision, "steady", about)
    return done
