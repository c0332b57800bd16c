"""The second and last question of the gate: the first one, its answer, and what was wrong with it."""

from __future__ import annotations

from collections.abc import Sequence

from prompts.messages import Message, MessageTemplate
from prompts.quoting import quoted

_TEMPLATE = MessageTemplate("repair")
MOST_ANSWER = 20_000
"""Characters of the answer that the model is shown again."""
MOST_VIOLATIONS, LONGEST_VIOLATION = 30, 400
"""Violations that it is told, and characters of each."""


def repair_messages(messages: Sequence[Message], answer: str, violations: Sequence[str]) -> list[Message]:
    """Return `messages` with the answer and its violations behind them.

    The sentences hold names from files and from the answer, so they are quoted like these; the answer is cut to a
    bounded length and to what can be encoded.
    """
    shown = answer if len(answer) <= MOST_ANSWER else answer[:MOST_ANSWER] + "…"
    shown = shown.encode("utf-8", "replace").decode() if shown.strip() else "(no text)"
    lines = [f"- {quoted(violation, LONGEST_VIOLATION)}" for violation in violations[:MOST_VIOLATIONS]]
    if len(violations) > MOST_VIOLATIONS:
        lines.append(f"- and {len(violations) - MOST_VIOLATIONS} more of the kind")
    return [*messages, {"role": "assistant", "content": shown}, _TEMPLATE.fill_user(violations="\n".join(lines))]
