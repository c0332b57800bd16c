"""Who decided in a run of the slot graph, counted per role from the ledger: nothing passes for a model's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from domain.ledger import NOTHING, Attempt, Decision, Outcome, Role
from graph.models.budget import Price
from graph.models.wrapping import bare_object
from runtime.results.summary import RoleFigures


@dataclass
class RoleTally:
    """What one role came to."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    said: dict[str, tuple[tuple[int, str], str]] = field(default_factory=dict)
    """Reason to the first sentence that came with it, and where that was: slot and node."""
    unwrapped: int = 0
    not_rehearsed: int = 0
    questions: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


def decider(decided_by: str, outcome: Outcome) -> str:
    """Name who decided: 'lyapunov' for a rule, 'agent:gpt-5', 'agent:gpt-5 repaired', 'fallback:random', 'reused'."""
    if outcome is Outcome.RULE:
        return decided_by.removeprefix("rule:")
    return f"{decided_by} repaired" if outcome is Outcome.REPAIRED else decided_by


class DecisionTally:
    """Adds up the decisions of one run."""

    def __init__(self) -> None:
        self.decided_by: Counter[tuple[str, str]] = Counter()
        """(role, who) to how many."""
        self._roles: dict[Role, RoleTally] = {}

    def add(self, decisions: Iterable[Decision]) -> None:
        """Count ledger entries."""
        for decision in decisions:
            if decision.decided_by == NOTHING:
                continue
            self.decided_by[str(decision.role), decider(decision.decided_by, decision.outcome)] += 1
            tally = self._roles.setdefault(decision.role, RoleTally())
            tally.outcomes[str(decision.outcome)] += 1
            if decision.reason is not None:
                tally.reasons[str(decision.reason)] += 1
                _keep_said(tally, decision)
            if (decision.rehearsal or {}).get("verdict") == "not_rehearsed":
                tally.not_rehearsed += 1
            asked = [attempt for attempt in decision.attempts if attempt.messages]
            tally.unwrapped += sum(map(_is_unwrapped, asked))
            tally.questions += len(asked)
            tally.prompt_tokens += sum(attempt.prompt_tokens for attempt in asked)
            tally.completion_tokens += sum(attempt.completion_tokens for attempt in asked)
            tally.seconds += sum(attempt.seconds for attempt in asked)

    def figures(self, models: Mapping[Role, str], prices: Mapping[str, Price]) -> dict[str, RoleFigures]:
        """Return the figures of the roles that models fill: role to figures.

        Args:
            models: role to the name of its model.
            prices: of models, where they are known.
        """
        found = {}
        for role, model in models.items():
            tally, price = self._roles.get(role, RoleTally()), prices.get(model)
            cost = None if price is None else price.cost_usd(tally.prompt_tokens, tally.completion_tokens)
            found[str(role)] = RoleFigures(
                model=model,
                outcomes=dict(sorted(tally.outcomes.items())),
                reasons=dict(sorted(tally.reasons.items())),
                said={reason: said for reason, (_, said) in sorted(tally.said.items())},
                unwrapped=tally.unwrapped,
                not_rehearsed=tally.not_rehearsed,
                questions=tally.questions,
                prompt_tokens=tally.prompt_tokens,
                completion_tokens=tally.completion_tokens,
                seconds=tally.seconds,
                cost_usd=cost,
            )
        return found


def _keep_said(tally: RoleTally, decision: Decision) -> None:
    """Keep what was said with the reason: that of the first slot and node, in whatever order decisions come."""
    reason, at = str(decision.reason), (decision.slot, decision.node or "")
    if reason in tally.said and tally.said[reason][0] <= at:
        return
    said = [a.error.partition(": ")[2] for a in decision.attempts if a.error and a.error.startswith(f"{reason}: ")]
    if said:
        tally.said[reason] = at, said[-1]


def _is_unwrapped(attempt: Attempt) -> bool:
    return attempt.answer is not None and bare_object(attempt.answer)[1]
