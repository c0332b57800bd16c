"""What is kept of a decision and of an epoch: the ledger entry, and the case of P1-11.

All of it is plain data that any store can hold and any reader can check: how a slot went the way it did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

SCHEMA_VERSION = 1
"""Version of the stored forms below."""


class Role(StrEnum):
    """Who decides what (P1 section IV)."""

    PLANNER = "planner"
    SCHEDULER = "scheduler"
    DEPLOYER = "deployer"


class Outcome(StrEnum):
    """How a decision came about. Counted per role in every report."""

    ACCEPTED = "accepted"
    """An agent's first answer passed every rule."""
    REPAIRED = "repaired"
    """An agent's second answer, given its violations, passed."""
    FALLBACK = "fallback"
    """No answer of the agent passed; the configured fallback decided. `reason` says why."""
    RULE = "rule"
    """The role is filled by a rule; no model was asked."""
    OVERRULED = "overruled"
    """An agent's answer passed, but rehearsal predicted it to be worse than the incumbent, which was taken instead."""
    REUSED = "reused"
    """The last plan was kept because telemetry had not moved."""
    PERSON = "person"
    """A person changed it (in Studio): whoever decided before, it is the person's."""


class Reason(StrEnum):
    """Why an agent's decision fell back."""

    INVALID_JSON = "invalid_json"
    SCHEMA = "schema"
    VIOLATION = "violation"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    RATE_LIMIT = "rate_limit"
    REFUSAL = "refusal"
    TRUNCATED = "truncated"
    MISPLACED = "misplaced"
    """The answer came where none is read: as reasoning, or as a call of a tool that nobody offered."""
    REJECTED_BY_SERVER = "rejected_by_server"
    BREAKER_OPEN = "breaker_open"
    BUDGET = "budget"
    DISAPPROVED = "disapproved"
    UNREAD = "unread"
    """The node could not be read, so nobody was asked and it stays as it is."""
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One question to a model and what came back."""

    messages: tuple[dict[str, str], ...]
    """Role and content of each message, as sent."""
    answer: str | None
    """Raw text of the answer; None where none came."""
    violations: tuple[str, ...] = ()
    """Sentences of the rules that it broke, shape and syntax included."""
    error: str | None = None
    """Reason value and detail where no answer came."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data; messages are shared with this attempt, not copied."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**plain, "messages": list(self.messages), "violations": list(self.violations)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Attempt:
        """Read plain data back. Raises KeyError or TypeError where it is not an attempt."""
        return cls(**{**data, "messages": tuple(data["messages"]), "violations": tuple(data["violations"])})


NOTHING = "rule:nothing runs here"
"""Who decided for a node on which no LM can run: nobody was asked, and nobody is counted."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One entry of the ledger. Its key is (run, slot, role, node): written once, never decided twice."""

    run: str
    slot: int
    role: Role
    node: str | None
    """Node name for a deployment, else None."""
    decided_by: str
    """'agent:MODEL', 'rule:NAME', 'fallback:NAME', 'rehearsal:NAME', 'reused', 'person' or NOTHING."""
    outcome: Outcome
    decision: dict[str, Any]
    """The decision in its form with names, as it was applied."""
    reason: Reason | None = None
    attempts: tuple[Attempt, ...] = ()
    normalised: bool = False
    """True where shares were scaled to sum to one, within the tolerance of the gate."""
    rehearsal: dict[str, Any] | None = None
    """What was predicted of it and of what it was compared with (docs/agents.md); None where nothing was rehearsed."""
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """Plain data; what is nested is shared with this entry, not copied."""
        return {
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "role": self.role.value,
            "outcome": self.outcome.value,
            "reason": None if self.reason is None else self.reason.value,
            "attempts": [attempt.to_json() for attempt in self.attempts],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Decision:
        """Read plain data back. Raises KeyError, TypeError or ValueError where it is not a decision."""
        attempts = tuple(Attempt.from_json(attempt) for attempt in data["attempts"])
        reason = None if data["reason"] is None else Reason(data["reason"])
        return cls(
            **{
                **data,
                "role": Role(data["role"]),
                "outcome": Outcome(data["outcome"]),
                "reason": reason,
                "attempts": attempts,
            }
        )


@dataclass(frozen=True, slots=True)
class Case:
    """One episode, h of P1-11: what traffic came, which macro-policy ruled, what came of it."""

    run: str
    epoch: int
    testbed: str
    """Name, and how it served requests where that was not P1's way (`Cluster.setting`)."""
    family: str
    decided_by: str
    """Who decided the macro-policy, as in the ledger."""
    traffic: dict[str, dict[str, float]]
    """Prompts per slot of each LM at each origin node: {LM: {node: prompts per slot}}."""
    macro_policy: dict[str, Any]
    """Form with names."""
    success_ratio: dict[str, float | None]
    """rho_i per LM; None where nothing arrived."""
    mean_latency_s: dict[str, float | None]
    """Success-only mean per LM; None where nothing succeeded."""
    global_mean_latency_s: float | None
    fairness: float
    """F_norm of P1-8."""
    latency_norm: float
    """T_norm of P1-9."""
    objective: float
    """J of P1-10."""
    off_role_ratio: float
    """Share of requests that were routed to a node without the role."""
    ended: int
    """Requests that ended in the epoch, on which the figures rest."""
    predicted_objective: float | None = None
    """What the rehearsal expected, where there was one."""
    extra: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Case:
        """Read plain data back. Raises TypeError where it is not a case."""
        return cls(**data)
