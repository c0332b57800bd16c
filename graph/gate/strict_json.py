"""Text of a model to one JSON object, strictly: whatever the text, the outcome is an object or a sentence about it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from domain.ledger import Reason
from graph.models.wrapping import bare_object
from prompts.quoting import quoted

MOST_BYTES = 256 * 1024
"""Length of an answer, in UTF-8."""
MOST_DIGITS = 20
"""Digits of an integer; what an answer counts needs four."""

Json = dict[str, Any]


class AnswerError(Exception):
    """An answer that cannot be read as a decision."""

    def __init__(self, violations: Iterable[str], reason: Reason) -> None:
        """Keep the sentences, one for each mistake, and INVALID_JSON, SCHEMA or VIOLATION."""
        self.violations = tuple(violations)
        self.reason = reason
        super().__init__(" ".join(self.violations))


def strict_json(text: str) -> Json:
    """Read one JSON object; thoughts, words or a Markdown fence around it are no harm (`graph.models.wrapping`).

    Raises:
        AnswerError: too long, not Unicode, not JSON, too deep, a key twice, NaN or Infinity (1e999 is Infinity too), an
            integer of more than 20 digits, or no object. Reason INVALID_JSON, SCHEMA for what is no object.
    """
    try:
        size = len(text) if len(text) > MOST_BYTES else len(text.encode())
    except UnicodeEncodeError as error:
        _invalid(f"The answer has half of a surrogate pair at character {error.start}; use whole characters only.")
    if size > MOST_BYTES:
        _invalid(f"The answer is longer than {MOST_BYTES // 1024} KiB; answer with the JSON object alone, and short.")
    body = _without_fence(bare_object(text)[0])
    try:
        value = _DECODER.decode(body)
    except json.JSONDecodeError as error:
        _invalid(_syntax(error, body))
    except RecursionError:
        _invalid("The answer is nested too deeply; use the form that was asked for.")
    if not isinstance(value, dict):
        raise AnswerError([f"The answer must be a JSON object, not {kind(value)}."], Reason.SCHEMA)
    return value


def kind(value: Any) -> str:
    """Name what stands there, in words of JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number", type(None): "null"}
    return names[type(value)]


def _invalid(sentence: str) -> NoReturn:
    raise AnswerError([sentence], Reason.INVALID_JSON) from None


def _without_fence(text: str) -> str:
    if not (text.startswith("```") and text.endswith("```")):
        return text
    return re.sub(r"\A[\w-]*", "", text[3:-3]).strip()


def _syntax(error: json.JSONDecodeError, body: str) -> str:
    if not body:
        return "The answer is empty; answer with the JSON object that was asked for."
    where = f"line {error.lineno}, column {error.colno}"
    if error.msg == "Extra data":
        return f"Something follows the JSON object at {where}; answer with the JSON object alone."
    if error.pos >= len(body) or error.msg.startswith("Unterminated string"):
        return f"The answer breaks off before the JSON object is complete ({where}); keep it short and close it."
    return f"The answer is no valid JSON: {error.msg} at {where}; answer with one JSON object and nothing else."


def _object(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                _invalid(f"The key {quoted(key)} stands twice in one object; give it once.")
            seen.add(key)
    return found


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        _invalid(f"The number {digits[:20]} is too large; use ordinary numbers.")
    return value


def _int(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        _invalid(f"The number {digits[:20]}… has {len(digits)} digits; use ordinary numbers.")
    return int(digits)


def _constant(name: str) -> NoReturn:
    _invalid(f"{name} is no number in JSON; use an ordinary number.")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_constant)
