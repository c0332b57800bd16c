"""The gate that every decision passes: propose, check, one repair, fallback. No decision reaches the world beside it.

A decision kind is four things: a schema, a prompt, a list of rules and a fallback; a `Kind` has them, and a fifth agent
means a fifth kind and nothing else. The steps below work on a `Draft`, which is plain data, so that the graph can show
and checkpoint it between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeVar

from domain.constraints import Violation
from domain.ledger import Attempt, Decision, Outcome, Reason, Role
from graph.gate.answers import AnswerError
from graph.models.asking import Asker
from prompts.repair import repair_messages

T = TypeVar("T")


class Kind(Protocol[T]):
    """What makes a decision of one role (and, for a deployment, one node)."""

    @property
    def role(self) -> Role:
        """Whose decision it is."""
        ...

    @property
    def node(self) -> str | None:
        """The node that it is for, where it is for one."""
        ...

    @property
    def fallback_name(self) -> str:
        """The rule behind `fallback`."""
        ...

    def schema(self) -> dict[str, Any]:
        """JSON schema of an answer, for decoders that can be held to one."""
        ...

    def messages(self) -> list[dict[str, str]]:
        """The prompt."""
        ...

    def parse(self, text: str) -> tuple[T, bool]:
        """Answer to decision, and whether its shares had to be scaled; raises AnswerError."""
        ...

    def rules(self, decision: T, /) -> list[Violation]:
        """What the decision breaks."""
        ...

    def fallback(self) -> T:
        """Decide without a model."""
        ...

    def to_json(self, decision: T, /) -> dict[str, Any]:
        """Form with names."""
        ...

    def from_json(self, data: dict[str, Any]) -> T:
        """Read the form with names."""
        ...


class Draft(NamedTuple):
    """A decision on its way through the gate. A slot makes several for each node, so a tuple."""

    attempts: tuple[Attempt, ...] = ()
    decision: dict[str, Any] | None = None
    """Form with names, once something passed."""
    outcome: Outcome | None = None
    decided_by: str = ""
    reason: Reason | None = None
    normalised: bool = False
    rehearsal: dict[str, Any] | None = None
    """What was predicted, once it has been rehearsed."""

    @property
    def settled(self) -> bool:
        """True once there is a decision."""
        return self.decision is not None

    def to_json(self) -> dict[str, Any]:
        """Plain data for the graph's state."""
        return {
            **self._asdict(),
            "attempts": [attempt.to_json() for attempt in self.attempts],
            "outcome": None if self.outcome is None else self.outcome.value,
            "reason": None if self.reason is None else self.reason.value,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Draft:
        """Read plain data back."""
        return cls(
            attempts=tuple(Attempt.from_json(attempt) for attempt in data["attempts"]),
            decision=data["decision"],
            outcome=None if data["outcome"] is None else Outcome(data["outcome"]),
            decided_by=data["decided_by"],
            reason=None if data["reason"] is None else Reason(data["reason"]),
            normalised=data["normalised"],
            rehearsal=data.get("rehearsal"),
        )

    def kept(self, in_force: dict[str, Any]) -> Draft:
        """Settle with what is in force already."""
        return self._replace(decision=in_force, outcome=Outcome.FALLBACK, decided_by="fallback:previous")

    def entry(self, run: str, slot: int, role: Role, node: str | None) -> Decision:
        """The ledger's entry. Raises ValueError for a draft that is not settled."""
        if self.decision is None or self.outcome is None:
            raise ValueError(f"the {role} of slot {slot} has not been decided")
        return Decision(
            run=run,
            slot=slot,
            role=role,
            node=node,
            decided_by=self.decided_by,
            outcome=self.outcome,
            decision=self.decision,
            reason=self.reason,
            attempts=self.attempts,
            normalised=self.normalised,
            rehearsal=self.rehearsal,
        )


def settled_by_rule(kind: Kind[T], decision: T, name: str) -> Draft:
    """Settle with a rule's decision. It is checked like any other; a rule that breaks one falls back and says so."""
    broken = kind.rules(decision)
    if broken:
        attempt = Attempt(messages=(), answer=None, violations=tuple(map(str, broken)))
        return fall_back(kind, Draft(attempts=(attempt,), reason=Reason.VIOLATION))
    return Draft(decision=kind.to_json(decision), outcome=Outcome.RULE, decided_by=f"rule:{name}")


async def propose(kind: Kind[T], ask: Asker) -> Draft:
    """Ask the model for the first time."""
    return Draft(attempts=(await ask(kind.messages(), kind.schema(), 0),))


def check(kind: Kind[T], draft: Draft, model: str) -> Draft:
    """Parse the last answer and hold it against every rule; settle the draft where nothing is broken."""
    last = draft.attempts[-1]
    if last.answer is None:
        return draft._replace(reason=_reason_of(last))
    try:
        decision, normalised = kind.parse(last.answer)
    except AnswerError as error:
        return _broken(draft, list(error.violations), error.reason)
    broken = kind.rules(decision)
    if broken:
        return _broken(draft, [str(violation) for violation in broken], Reason.VIOLATION)
    return draft._replace(
        decision=kind.to_json(decision),
        outcome=Outcome.ACCEPTED if len(draft.attempts) == 1 else Outcome.REPAIRED,
        decided_by=f"agent:{model}",
        reason=None,
        normalised=normalised,
    )


def can_repair(draft: Draft) -> bool:
    """True where the model answered once and broke rules; trouble with the server is not repaired by asking again."""
    return not draft.settled and len(draft.attempts) == 1 and draft.attempts[0].answer is not None


async def repair(kind: Kind[T], draft: Draft, ask: Asker) -> Draft:
    """Ask once more, showing the model what its answer broke."""
    first = draft.attempts[0]
    messages = repair_messages(list(first.messages), first.answer or "", list(first.violations))
    return draft._replace(attempts=(*draft.attempts, await ask(messages, kind.schema(), 1)))


def fall_back(kind: Kind[T], draft: Draft) -> Draft:
    """Settle with the fallback. Raises ValueError where even that breaks a rule: then nothing must reach the world."""
    decision = kind.fallback()
    broken = kind.rules(decision)
    if broken:
        raise ValueError(f"the fallback {kind.fallback_name} of the {kind.role} breaks a rule: {broken[0]}")
    return draft._replace(
        decision=kind.to_json(decision),
        outcome=Outcome.FALLBACK,
        decided_by=f"fallback:{kind.fallback_name}",
        reason=draft.reason or Reason.INTERNAL,
    )


async def decide(kind: Kind[T], ask: Asker, model: str) -> Draft:
    """Take a decision through the whole gate in one go, as each deployer does."""
    draft = check(kind, await propose(kind, ask), model)
    if can_repair(draft):
        draft = check(kind, await repair(kind, draft, ask), model)
    return draft if draft.settled else fall_back(kind, draft)


def _broken(draft: Draft, sentences: list[str], reason: Reason) -> Draft:
    marked = replace(draft.attempts[-1], violations=tuple(sentences))
    return draft._replace(attempts=(*draft.attempts[:-1], marked), reason=reason)


def _reason_of(attempt: Attempt) -> Reason:
    name = (attempt.error or "").partition(":")[0]
    return Reason(name) if name in set(Reason) else Reason.INTERNAL
