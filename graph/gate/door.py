"""The one way into the world: `act` takes a checked decision and nothing else, and only the gate makes one.

A decision travels through the graph as plain data, which a person may edit between two nodes and which a checkpoint may
bring back. So what is carried out is never what once passed: it is read and held against the rules again at the door.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from domain.cluster import Cluster
from domain.constraints import Violation, check_deployment, check_routing
from domain.decisions import Deployment, RoutingPlan
from domain.errors import InputError
from domain.testbed import Testbed

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
D = TypeVar("D", RoutingPlan, Deployment)
SAID = 3
"""Rules that are spelt out where a decision breaks more."""
_GATE = object()


class BrokenRules(InputError):
    """A decision that was to be carried out breaks rules; nothing of it has reached the world."""


class Ruled(Protocol[T]):
    """The part of a decision kind that the door needs."""

    def rules(self, decision: T, /) -> list[Violation]:
        """What the decision breaks."""
        ...

    def from_json(self, data: dict[str, Any]) -> T:
        """Read the form with names."""
        ...


class Checked(Generic[T_co]):
    """A decision that keeps to the rules. Made by the functions of this module alone."""

    __slots__ = ("decision",)

    def __init__(self, decision: T_co, gate: object) -> None:
        """Refuse everybody but the gate. Raises TypeError."""
        if gate is not _GATE:
            raise TypeError("only the gate says of a decision that it is checked")
        self.decision = decision


def checked(kind: Ruled[T], data: dict[str, Any], what: str) -> Checked[T]:
    """Read a decision's form with names and hold it against every rule of its kind.

    Args:
        kind: of the decision.
        data: its form with names.
        what: it is, for the sentence of an error.

    Raises:
        BrokenRules: it is not in that form, or breaks a rule.
    """
    try:
        decision = kind.from_json(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BrokenRules(f"{what} is not in the form of a decision ({_named(error)}).") from None
    _refuse(kind.rules(decision), what)
    return Checked(decision, _GATE)


def recorded(cluster: Cluster, decision: D, what: str) -> Checked[D]:
    """Hold a decision of a slot that has passed against the rules that hold at any time: targets, modes, sums.

    Roles and Pending pods are of the moment in which it was made. Requests may have stayed where they arrived.

    Raises:
        BrokenRules: it breaks one: the record is not what was decided.
    """
    if isinstance(decision, RoutingPlan):
        _refuse(check_routing(cluster, decision, None, local=True), what)
    else:
        _refuse(check_deployment(cluster, decision), what)
    return Checked(decision, _GATE)


async def act(testbed: Testbed, passed: Checked[RoutingPlan | Deployment]) -> None:
    """Carry out a decision in the world. Raises TypeError for what the gate has not checked."""
    if not isinstance(passed, Checked):
        raise TypeError(f"the world takes checked decisions alone, not {type(passed).__name__}")
    if isinstance(passed.decision, RoutingPlan):
        await testbed.route(passed.decision)
    else:
        await testbed.deploy(passed.decision)


def _refuse(broken: Sequence[Violation], what: str) -> None:
    if broken:
        more = f" There are {len(broken) - SAID} more." if len(broken) > SAID else ""
        raise BrokenRules(f"{what} breaks rules: {' '.join(str(violation) for violation in broken[:SAID])}{more}")


def _named(error: Exception) -> str:
    return f"it lacks or does not know {error}" if isinstance(error, KeyError) else str(error)
