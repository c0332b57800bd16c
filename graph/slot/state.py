"""What a slot's graph carries from node to node, what its checkpoint keeps, and what Studio shows: plain data only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, cast

from typing_extensions import TypedDict


def collect(old: list[dict[str, Any]], new: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Append to the slot's list; None starts a new slot."""
    return [] if new is None else [*old, *new]


def last_lines(decisions: Iterable[dict[str, Any]]) -> dict[tuple[str, str | None], dict[str, Any]]:
    """Role and node to the line that holds: where a person changed what was decided before, theirs comes after it."""
    return {(line["role"], line["node"]): line for line in decisions}


COLLECTED = ("decisions", "proposals", "deployments")
"""Parts of the state to which updates add."""


class SlotInput(TypedDict):
    """What starts a slot."""

    slot: int


class SlotState(SlotInput):
    """What nodes read. The macro-policy and the traffic live on from slot to slot of a thread."""

    snapshot: dict[str, Any]
    """The cluster in words and numbers, as the deciders saw it."""
    macro_policy: dict[str, Any] | None
    """In force, form with names; None where no planner works."""
    macro_by: str
    """Who decided the macro-policy in force."""
    macro_epoch: int
    """Epoch that the macro-policy was made for; -1 before the first."""
    macro_made: int
    """Epoch in which it was written: before `macro_epoch` where it was reused; -1 for a fallback, which never is."""
    traffic: list[list[int]]
    """[N][I] prompts that have arrived in the epoch so far."""
    last_traffic: list[list[int]]
    """[N][I] prompts of the last whole epoch; empty before the first has passed."""
    plan_draft: dict[str, Any]
    """The macro-policy on its way through the gate."""
    routing_draft: dict[str, Any]
    """The routing plan on its way through the gate."""
    routing: dict[str, Any]
    """The routing plan in force, form with names; on a large cluster only the ledger has it."""
    decisions: Annotated[list[dict[str, Any]], collect]
    """The slot's decisions with every prompt and answer; on a large cluster those that were repaired or fell back."""
    proposals: Annotated[list[dict[str, Any]], collect]
    """The agents' deployments by node, until they have been rehearsed together."""
    deployments: Annotated[list[dict[str, Any]], collect]
    """The slot's deployments, one per node that got one; on a large cluster gone once they are acted on."""
    outcome: dict[str, Any]
    """What the slot came to."""
    foresight: dict[str, Any]
    """Predictions of adopted plans, what came out, and the correction; absent where nothing is predicted."""
    completed: int
    """The last slot that passed and, at the end of an epoch, was remembered; -1 before the first."""
    world: str
    """A simulated world, packed, where the thread has to carry it (Studio); absent or empty elsewhere."""


def has_passed(values: Mapping[str, Any]) -> bool:
    """True for a state between two slots: what a run can go on from. A run that was stopped leaves others, too."""
    return "completed" in values and values["completed"] == values.get("slot", -1)


class SlotUpdate(TypedDict, total=False):
    """What nodes return."""

    snapshot: dict[str, Any]
    macro_policy: dict[str, Any] | None
    macro_by: str
    macro_epoch: int
    macro_made: int
    traffic: list[list[int]]
    last_traffic: list[list[int]]
    plan_draft: dict[str, Any]
    routing_draft: dict[str, Any]
    routing: dict[str, Any]
    decisions: list[dict[str, Any]] | None
    proposals: list[dict[str, Any]] | None
    deployments: list[dict[str, Any]] | None
    foresight: dict[str, Any]
    outcome: dict[str, Any]
    completed: int
    world: str


class DeployerTask(TypedDict):
    """What one Send carries: the nodes that one deployer task decides for, one after the other at the same time."""

    slot: int
    nodes: list[int]
    macro_policy: dict[str, Any] | None


def merged(state: SlotState, update: SlotUpdate) -> SlotState:
    """The state as it is after an update, for a node that does two things one after the other."""
    before, added = cast("dict[str, Any]", state), cast("dict[str, Any]", update)
    collected = {name: collect(before.get(name, []), added[name]) for name in COLLECTED if name in added}
    return cast("SlotState", {**state, **update, **collected})
