"""The slot graph: one run of it is one slot (DESIGN section 3; P1, figure 4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Send

from graph.gate.passage import Draft, can_repair
from graph.slot.act_node import ActNode
from graph.slot.deploy_nodes import DeployNodes
from graph.slot.deps import Deps
from graph.slot.ledger import Ledger
from graph.slot.nodes import SlotNodes
from graph.slot.plan_nodes import PlanNodes
from graph.slot.schedule_nodes import ScheduleNodes
from graph.slot.state import SlotInput, SlotState, SlotUpdate, merged

SlotGraph = CompiledStateGraph[SlotState, Any, SlotInput, SlotState]
Verdict = Literal["passed", "repair", "fallback"]
Way = Callable[[SlotState], str | list[Send]]
"""Where to go after a node, by the state that it left."""
Carry = Callable[[SlotState], str]
"""Packs the world of a slot that has passed, whose decisions the state holds."""


class Node(Protocol):
    """A node of the graph."""

    def __call__(self, state: SlotState) -> Awaitable[SlotUpdate]:
        """Work on the state."""
        ...


class LeadingNode(Protocol):
    """A node that also says where to go next."""

    def __call__(self, state: SlotState) -> Awaitable[Command[Any]]:
        """Work on the state."""
        ...


def build_graph(
    deps: Deps,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    approve: bool = False,
    *,
    context: type[Any] | None = None,
    carry: Carry | None = None,
    editable: bool = True,
) -> SlotGraph:
    """Compile the slot graph of a run.

    Args:
        deps: what the nodes work with.
        checkpointer: keeps the state between slots; None where the caller does.
        approve: ask a person before a macro-policy is adopted; that needs a checkpointer.
        context: form of the settings that come with each run, for Studio to draw; the nodes do not read it.
        carry: packs the world into the state after each slot; None where the world lives elsewhere.
        editable: choices of way are edges, which an edit of a thread follows, too. Where nobody edits, nodes say
            themselves where to go next: that saves reading the state once more, a fourteenth of a small cluster's slot.
    """
    ledger = Ledger(deps)
    slot, plan = SlotNodes(deps), PlanNodes(deps, ledger)
    schedule, deploy = ScheduleNodes(deps, ledger), DeployNodes(deps, ledger)
    carry_out = ActNode(deps, ledger, editable)
    epoch_slots = deps.testbed.cluster.epoch_slots
    planned = deps.planner is not None

    def begins(state: SlotState) -> str:
        due = state.get("macro_epoch", -1) != state["slot"] // epoch_slots
        return "planner" if planned and due else "scheduler"

    def ends(state: SlotState) -> str:
        return "remember" if slot.closes_epoch(state["slot"]) else END

    advance = _carrying(slot.advance, carry)

    async def act(state: SlotState) -> SlotUpdate:
        """Hand the deployments over and let the slot pass: one node, for each step of a graph costs time."""
        done = await carry_out.act(state)
        return {**done, **await advance(merged(state, done))}

    builder = StateGraph(SlotState, context_schema=context, input_schema=SlotInput)

    def choose(name: str, node: Node, way: Way, targets: Sequence[str]) -> None:
        """Add a node after which there are several ways."""
        if editable:
            builder.add_node(name, node)
            builder.add_conditional_edges(name, _asynchronous(way), list(targets))
        else:
            builder.add_node(name, _leading(node, way), destinations=tuple(targets))

    adopt = "approve_plan" if approve else "adopt_plan"
    plan_ways = {"passed": adopt, "repair": "repair_plan", "fallback": "fallback_plan"}
    routing_ways = {"passed": "dispatch", "repair": "repair_routing", "fallback": "fallback_routing"}
    builder.add_edge(START, "observe")
    choose("observe", slot.observe, begins, ("planner", "scheduler"))
    builder.add_node("planner", plan.planner)
    builder.add_edge("planner", "check_plan")
    choose("check_plan", plan.check_plan, lambda s: plan_ways[verdict(s["plan_draft"])], [*plan_ways.values()])
    builder.add_node("repair_plan", plan.repair_plan)
    builder.add_edge("repair_plan", "check_plan")
    builder.add_node("fallback_plan", plan.fallback_plan)
    builder.add_edge("fallback_plan", adopt)
    if approve:
        builder.add_node("approve_plan", plan.approve_plan)
        builder.add_edge("approve_plan", "adopt_plan")
    builder.add_node("adopt_plan", plan.adopt_plan)
    builder.add_edge("adopt_plan", "scheduler")
    builder.add_node("scheduler", schedule.scheduler)
    builder.add_edge("scheduler", "check_routing")
    choose(
        "check_routing",
        schedule.check_routing,
        lambda s: routing_ways[verdict(s["routing_draft"])],
        [*routing_ways.values()],
    )
    builder.add_node("repair_routing", schedule.repair_routing)
    builder.add_edge("repair_routing", "check_routing")
    builder.add_node("fallback_routing", schedule.fallback_routing)
    builder.add_edge("fallback_routing", "dispatch")
    choose("dispatch", schedule.dispatch, deploy.fan_out, ["deployer"])
    builder.add_node("deployer", deploy.deployer)
    builder.add_edge("deployer", "act")
    choose("act", act, ends, ("remember", END))
    builder.add_node("remember", _carrying(slot.remember, carry))
    builder.add_edge("remember", END)
    return builder.compile(name="slot", checkpointer=checkpointer)


def verdict(draft: dict[str, Any]) -> Verdict:
    """Where a draft goes after its check."""
    read = Draft.from_json(draft)
    if read.settled:
        return "passed"
    return "repair" if can_repair(read) else "fallback"


def _asynchronous(way: Way) -> Callable[[SlotState], Awaitable[str | list[Send]]]:
    """The same as a coroutine: LangGraph would send a plain function to a thread and wait for it."""

    async def asynchronous(state: SlotState) -> str | list[Send]:
        return way(state)

    return asynchronous


def _leading(node: Node, way: Way) -> LeadingNode:
    """A node that says itself where to go next."""

    async def leading(state: SlotState) -> Command[Any]:
        update = await node(state)
        return Command(update=update, goto=way(merged(state, update)))

    return leading


def _carrying(node: Node, carry: Carry | None) -> Node:
    if carry is None:
        return node

    async def carrying(state: SlotState) -> SlotUpdate:
        update = await node(state)
        return {**update, "world": carry(state)}

    return carrying
