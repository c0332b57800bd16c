"""A recorded slot as LangGraph's supersteps: the way that its decisions took through the slot graph, told again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.cluster import Cluster
from domain.ledger import Outcome, Role
from graph.gate.passage import PREVIOUS, Draft
from graph.slot.deps import GateSettings

Superstep = dict[str, Any]
"""{"updates": [{"values": …, "as_node": …}, …]} as threads.create of the LangGraph server takes it."""


@dataclass(frozen=True, slots=True)
class RecordedSlot:
    """What is known of a slot that has passed."""

    slot: int
    decisions: Sequence[Mapping[str, Any]]
    """Lines of the graph's state: ledger entries as plain data, or their short form on large clusters."""
    deployments: Sequence[Mapping[str, Any]]
    routing: Mapping[str, Any]
    before: Mapping[str, Any] = field(default_factory=dict)
    """State that `observe` wrote, or that was there before: snapshot, macro-policy in force."""
    after: Mapping[str, Any] = field(default_factory=dict)
    """State that `act` wrote: outcome, traffic, world."""
    remembered: Mapping[str, Any] = field(default_factory=dict)
    """State that `remember` wrote: world."""
    drafts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """plan_draft and routing_draft at the slot's end, where they are known."""


def supersteps(recorded: RecordedSlot, cluster: Cluster) -> list[Superstep]:
    """Return the slot step by step, from its input to its end."""
    slot = recorded.slot
    epoch, into = divmod(slot, cluster.epoch_slots)
    lines = {role: [line for line in recorded.decisions if line["role"] == role] for role in Role}
    steps = [
        _step("__input__", {"slot": slot}),
        _step("__start__", {"slot": slot}),
        _step("observe", {**recorded.before, "decisions": None, "deployments": None}),
    ]
    for line in lines[Role.PLANNER]:
        steps += [
            _step(_PLAN[stage], {"plan_draft": draft} if draft else {})
            for stage, draft in staged(line, recorded.drafts.get("plan_draft"))
        ]
        steps.append(_step("adopt_plan", {**_adopted(line, recorded, epoch), "decisions": [line]}))
    for line in lines[Role.SCHEDULER]:
        steps += [
            _step(_ROUTING[stage], {"routing_draft": draft} if draft else {})
            for stage, draft in staged(line, recorded.drafts.get("routing_draft"))
        ]
        steps.append(_step("dispatch", {"routing": recorded.routing, "decisions": [line]}))
    steps.append({"updates": _deployers(recorded, lines[Role.DEPLOYER], cluster)})
    steps.append(_step("act", {"world": "", **recorded.after, "completed": slot}))
    if into == cluster.epoch_slots - 1:
        steps.append(_step("remember", recorded.remembered))
    return steps


_PLAN = {"propose": "planner", "check": "check_plan", "repair": "repair_plan", "fallback": "fallback_plan"}
_ROUTING = {
    "propose": "scheduler",
    "check": "check_routing",
    "repair": "repair_routing",
    "fallback": "fallback_routing",
}


def staged(line: Mapping[str, Any], last: Mapping[str, Any] | None = None) -> list[tuple[str, dict[str, Any] | None]]:
    """Return the stages that a decision went through, each with the draft that it left; None: it changed nothing.

    Args:
        line: of the ledger; in its short form the attempts are only counted.
        last: the draft at the end, which the short form needs.
    """
    if not isinstance(line["attempts"], Sequence):
        return [("propose", dict(last or _draft([], {**line, "decision": {}}))), ("check", None)]
    attempts, outcome = [dict(attempt) for attempt in line["attempts"]], Outcome(line["outcome"])
    final = _draft(attempts, line)
    questions = [attempt for attempt in attempts if attempt["messages"]]  # the others are of rules that would not do
    if not questions or outcome is Outcome.REUSED:  # settled without a model
        return [("propose", final), ("check", None)]
    stages: list[tuple[str, dict[str, Any] | None]] = []
    for k in range(len(questions)):
        asked = [*questions[:k], {**questions[k], "violations": []}]
        stages.append(("propose" if k == 0 else "repair", _draft(asked)))
        passed = k == len(questions) - 1 and outcome is not Outcome.FALLBACK
        stages.append(("check", final if passed else _draft(questions[: k + 1])))
    return stages if outcome is not Outcome.FALLBACK else [*stages, ("fallback", final)]


def _draft(attempts: list[dict[str, Any]], line: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A draft as plain data; without a line it is not settled."""
    known = line or {}
    data = {
        "attempts": attempts,
        "decision": known.get("decision"),
        "outcome": known.get("outcome"),
        "decided_by": known.get("decided_by", ""),
        "reason": known.get("reason"),
        "normalised": known.get("normalised", False),
        "rehearsal": known.get("rehearsal"),
    }
    return Draft.from_json(data).to_json()


def _adopted(line: Mapping[str, Any], recorded: RecordedSlot, epoch: int) -> dict[str, Any]:
    decision = line.get("decision", recorded.before.get("macro_policy"))  # the short form of a line has none
    adopted: dict[str, Any] = {"macro_policy": decision or None, "macro_epoch": epoch}
    if line["outcome"] != Outcome.REUSED and line["decided_by"] != PREVIOUS:
        adopted["macro_by"] = line["decided_by"]
        adopted["macro_made"] = -1 if line["outcome"] == Outcome.FALLBACK else epoch
    return adopted


def _deployers(recorded: RecordedSlot, lines: Sequence[Mapping[str, Any]], cluster: Cluster) -> list[dict[str, Any]]:
    """One update per task of the graph: for a node, or for a shard of them; one where there is nothing to tell."""
    by_node, gate = {cluster.node_index[str(line["node"])]: line for line in lines}, GateSettings()
    told = {entry["node"]: entry for entry in recorded.deployments}
    size = 1 if cluster.n_nodes <= gate.shard_above else gate.shard_nodes
    shards = [range(n, min(n + size, cluster.n_nodes)) for n in range(0, cluster.n_nodes, size)]
    updates = [
        {
            "decisions": [by_node[n] for n in shard if n in by_node],
            "deployments": [told[n] for n in shard if n in told],
        }
        for shard in shards
        if any(n in by_node or n in told for n in shard)
    ]
    return [_update("deployer", update) for update in updates or [{"decisions": []}]]


def _update(node: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {"values": dict(values), "as_node": node}


def _step(node: str, values: Mapping[str, Any]) -> Superstep:
    return {"updates": [_update(node, values)]}
