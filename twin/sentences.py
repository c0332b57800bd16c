"""Sentences about fields: what is wrong with a value in a file and what would be right, from pydantic's findings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

FieldPath = Sequence[str | int]
"""Where a value is: the keys and indices that lead to it, such as ("nodes", 3, "cpu_cores")."""


def field_name(field: FieldPath) -> str:
    """Return ('nodes', 3, 'cpu_cores') as nodes[3].cpu_cores; without steps it is the file itself."""
    text = ""
    for step in field:
        if isinstance(step, int) or not re.fullmatch(r"[\w-]+", step):
            text += f"[{show(step)}]"
        else:
            text += f".{step}" if text else step
    return text or "the file"


def show(value: Any) -> str:
    """Return a value as a sentence quotes it, cut where it is long."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_of(options: Sequence[str], given: str) -> str:
    """Return "must be 'a' or 'b', not 'c'", with the option that was meant where one is close."""
    shown = [repr(option) for option in options[:8]] + (["one of the others"] if len(options) > 8 else [])
    text = " or ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)
    return f"must be {text}, not {show(given)}" + did_you_mean(given, options)


def did_you_mean(given: str, options: Sequence[str]) -> str:
    """Return a question to end a sentence with, or nothing where no option is close to what was given."""
    close = get_close_matches(given, options, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "string_type": "text (quotes make it so)",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "model_type": "a mapping of fields",
    "dict_type": "a mapping of fields",
    "model_attributes_type": "a mapping of fields",
    "finite_number": "a finite number",
}


def what_is_right(details: ErrorDetails) -> str:
    """What would be right, as it goes on from the name of the field."""
    kind, message = details["type"], details["msg"]
    if kind in ("value_error", "assertion_error"):
        return str(details["ctx"]["error"])
    if kind in ("too_short", "too_long"):
        word, limit = ("least", "min_length") if kind == "too_short" else ("most", "max_length")
        bound, length = details["ctx"][limit], details["ctx"]["actual_length"]
        return f"must have at {word} {bound} {'entry' if bound == 1 else 'entries'}, not {length}"
    if kind in _EXPECTED:
        message = f"must be {_EXPECTED[kind]}"
    elif message.startswith("Input should "):
        message = f"must {message.removeprefix('Input should ')}"
    else:
        return f"is wrong: {message}"
    value = details["input"]
    if kind in ("enum", "literal_error") and isinstance(value, str):
        return one_of(re.findall(r"'([^']*)'", details["ctx"]["expected"]), value)
    return f"{message}, not {show(value)}"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def known_fields(model: type[BaseModel], where: FieldPath, found: FieldPath) -> set[str]:
    """Return the fields of the model, or of the union's models, that stands at `where` below `model`."""
    models = [model]
    for step in where:
        if any(step in m.model_fields for m in models):
            models = [
                inner
                for m in models
                if step in m.model_fields
                for inner in _models(m.model_fields[str(step)].annotation)
            ]
        elif step not in found:
            tagged = [m for m in models if any(step in get_args(f.annotation) for f in m.model_fields.values())]
            models = tagged or models
    return {name for m in models for name in m.model_fields}
