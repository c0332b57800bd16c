"""The gate that every decision passes: propose, check, one repair, fallback. No decision reaches the world beside it.

A decision kind is four things: a schema, a prompt, a list of rules and a fallback; a `Kind` has them, and a fifth agent
means a fifth kind and nothing else. The steps below work on a `Draft`, which is plain data, so that the graph can show
and checkpoint it between them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeVar

from domain.constraints import Violation
from domain.ledger import Attempt, Decision, Outcome, Reason, Role
from graph.gate.answers import AnswerError
from graph.gate.door import BrokenRules
from graph.gate.strict_json import MOST_BYTES
from graph.models.asking import Asker
from prompts.repair import repair_messages

T = TypeVar("T")
TOO_LONG = MOST_BYTES + 1
"""Characters of an answer that tell that it is too long to be read: of what is longer, no more travels on."""
MOST_KEPT = 20_000
"""Characters that are kept of an answer that broke rules; a model is shown no more of it for its repair."""
NOTHING = "fallback:none"
"""What the ledger says of the decision to change nothing, where every other breaks a rule or was refused."""
PREVIOUS = "fallback:previous"
"""What it says of the plan in force that goes on because a person refused another."""
PERSON = "person"
"""What it says of a decision that a person changed."""

ALIKE = 1e-6
"""Shares that differ by no more are the same to a person."""


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
        """Decide without a model, by the configured rule."""
        ...

    def fallbacks(self) -> Iterable[tuple[str, Callable[[], T]]]:
        """Names and ways to decide without a model: first the configured rule, then what stands behind it."""
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
    by_person: bool = False
    """True where a person changed the answer, or the decision."""

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
            "seal": self._seal(),
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
            by_person=data.get("by_person", False),
        )

    @classmethod
    def returned(cls, data: Mapping[str, Any]) -> Draft:
        """Read plain data back that may have been edited on its way: what a person changed is the person's.

        Raises:
            BrokenRules: it is no draft.
        """
        try:
            draft = cls.from_json(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BrokenRules(f"A draft in the state is not as a node writes it ({error!r}).") from None
        if data.get("seal") == draft._seal():
            return draft
        if not draft.settled:
            return draft._replace(by_person=True)
        changed = draft._replace(by_person=True, normalised=False, rehearsal=None)
        return changed._replace(outcome=Outcome.PERSON, decided_by=PERSON, reason=None)

    def _seal(self) -> str:
        """Digest of what must not change without being noticed."""
        answers = [attempt.answer for attempt in self.attempts]
        said = [self.decision, self.outcome, self.decided_by, self.by_person, answers]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

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
    return Draft(attempts=(_readable(await ask(kind.messages(), kind.schema(), 0)),))


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
    accepted = Outcome.ACCEPTED if len(draft.attempts) == 1 else Outcome.REPAIRED
    return draft._replace(
        decision=kind.to_json(decision),
        outcome=Outcome.PERSON if draft.by_person else accepted,
        decided_by=PERSON if draft.by_person else f"agent:{model}",
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
    return draft._replace(attempts=(*draft.attempts, _readable(await ask(messages, kind.schema(), 1))))


def fall_back(
    kind: Kind[T],
    draft: Draft,
    candidates: Iterable[tuple[str, Callable[[], T]]] | None = None,
    refused: Mapping[str, Any] | None = None,
) -> Draft:
    """Settle with the first fallback that breaks no rule; where each does, with changing nothing. Never raises.

    The attempts of the draft get one more, without a question, for each fallback that would not do: why.

    Args:
        kind: of the decision.
        draft: that did not pass.
        candidates: names and ways to decide; None takes the kind's.
        refused: form with names of what must not be taken.
    """
    attempts, reason = list(draft.attempts), draft.reason or Reason.INTERNAL
    for name, decided in kind.fallbacks() if candidates is None else candidates:
        try:
            decision = decided()
            broken, data = kind.rules(decision), kind.to_json(decision)
        except Exception as error:  # a rule that fails must not end the run: the next one is asked
            attempts.append(Attempt((), None, error=f"{Reason.INTERNAL}: {name}: {type(error).__name__}: {error}"))
            continue
        if broken:
            attempts.append(Attempt((), None, violations=(f"{name} breaks rules.", *map(str, broken))))
        elif refused is None or not _alike(data, refused):
            return draft._replace(
                attempts=tuple(attempts),
                decision=data,
                outcome=Outcome.FALLBACK,
                decided_by=f"fallback:{name}",
                reason=reason,
            )
    settled = draft._replace(attempts=tuple(attempts), decision={}, outcome=Outcome.FALLBACK)
    return settled._replace(decided_by=NOTHING, reason=reason)


def _alike(one: Any, other: Any) -> bool:
    """True where two decisions differ by rounding at most; a share of nothing may be left out."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(_alike(one.get(key, 0.0), other.get(key, 0.0)) for key in one.keys() | other.keys())
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(one - other) <= ALIKE
    return bool(one == other)


async def decide(kind: Kind[T], ask: Asker, model: str, *, apart: bool = False) -> Draft:
    """Take a decision through the whole gate in one go, as each deployer does.

    Args:
        kind: of the decision.
        ask: the model.
        model: its name.
        apart: let a fallback work in a thread: a planner takes seconds, in which others' questions would stand still.
    """
    draft = check(kind, await propose(kind, ask), model)
    if can_repair(draft):
        draft = check(kind, await repair(kind, draft, ask), model)
    if draft.settled:
        return draft
    return await asyncio.to_thread(fall_back, kind, draft) if apart else fall_back(kind, draft)


def _readable(attempt: Attempt) -> Attempt:
    """The attempt with no more of its answer than tells that it is too long to be read."""
    answer = attempt.answer
    return attempt if answer is None or len(answer) <= TOO_LONG else replace(attempt, answer=answer[:TOO_LONG])


def _broken(draft: Draft, sentences: list[str], reason: Reason) -> Draft:
    last = draft.attempts[-1]
    marked = replace(last, answer=_cut(last.answer or ""), violations=tuple(sentences))
    return draft._replace(attempts=(*draft.attempts[:-1], marked), reason=reason)


def _cut(answer: str) -> str:
    """An answer that broke rules, as the ledger keeps it."""
    return answer if len(answer) <= MOST_KEPT else f"{answer[:MOST_KEPT]}… (cut here: {len(answer) - MOST_KEPT} more)"


def _reason_of(attempt: Attempt) -> Reason:
    name = (attempt.error or "").partition(":")[0]
    return Reason(name) if name in set(Reason) else Reason.INTERNAL
