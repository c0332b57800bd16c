"""One answer that is being read: its parts, and every mistake that was found on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.ledger import Reason
from graph.gate.strict_json import AnswerError, kind, strict_json
from prompts.quoting import listed, quoted

MOST_SENTENCES = 20
"""Mistakes that are spelt out; of the rest only the number is told."""
_NUMBERS = (int, float)  # what JSON gives; true and false are neither


class Reading:
    """One answer, and what is wrong with it so far."""

    def __init__(self, text: str, *parts: str, of: type = dict) -> None:
        """Read the text. Raises AnswerError where it is no object with those parts, each of the type `of` itself."""
        self._sentences: list[str] = []
        self._found = 0
        self._reason = Reason.VIOLATION
        self.parts: dict[str, Any] = {}
        answer = strict_json(text)
        known = ["reasoning", *parts]
        for key in answer:
            if key not in known:
                self.wrong(f"The key {quoted(key)} is not part of the answer; use {listed(known)}.")
        if not isinstance(answer.get("reasoning", ""), str):
            self.wrong(f'"reasoning" must be a text, not {kind(answer["reasoning"])}.')
        for part in parts:
            if part not in answer:
                self.wrong(f'The answer has no "{part}"; it must be there.')
            elif not isinstance(answer[part], of):
                self.wrong(f'"{part}" must be {kind(of())}, not {kind(answer[part])}.')
            else:
                self.parts[part] = answer[part]
        if len(self.parts) < len(parts):
            self.done()

    def wrong(self, sentence: str, reason: Reason = Reason.SCHEMA) -> None:
        """Note a mistake; one of form outweighs one of content."""
        self._found += 1
        if reason is Reason.SCHEMA:
            self._reason = reason
        if self._found <= MOST_SENTENCES:
            self._sentences.append(sentence)

    def unknown(self, what: str, name: str, where: str, known: Mapping[str, int]) -> None:
        """Note a name that is none."""
        if self._found >= MOST_SENTENCES:  # an answer may hold thousands: no sentence for those that are not shown
            self._found, self._reason = self._found + 1, Reason.SCHEMA
            return
        names = f"; use {listed(list(known))}" if len(known) <= 12 else ""
        self.wrong(f"{quoted(name)} in {where} is no {what}{names}.")

    def done(self) -> None:
        """Raise AnswerError with every mistake that was noted, if any was."""
        if self._found > MOST_SENTENCES:
            self._sentences.append(f"There are {self._found - MOST_SENTENCES} more mistakes like these.")
        if self._found:
            raise AnswerError(self._sentences, self._reason)


def is_number(value: Any) -> bool:
    """True for a number in JSON."""
    return type(value) in _NUMBERS
