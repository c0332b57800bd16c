"""Reading the YAML files that people write, and answering every mistake in one with one useful sentence.

It names the file, the line, the field and what would be right. Values follow the core schema of YAML
1.2: only `true` and `false` are booleans, `1e-3` is a number, `12:30` and `2026-01-01` are text. Anchors and
aliases work; merge keys (`<<`), tags and numbers that are not finite are refused.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from domain.errors import InputError

M = TypeVar("M", bound=BaseModel)
FieldPath = Sequence[str | int]
"""Where a value is: the keys and indices that lead to it, such as ("nodes", 3, "cpu_cores")."""

MOST_VALUES = 1_000_000
"""Values in one file, aliases written out; a few nested aliases could otherwise stand for billions."""
MOST_LEVELS = 50
"""Mappings and lists inside each other."""


class FileModel(BaseModel):
    """Base of the models of files: no unknown fields, no conversions (the text '3' is no number), no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Document:
    """A YAML file in memory that knows on which line each value stands."""

    def __init__(self, path: Path, text: str) -> None:
        """Read `text` as the content of the file `path`, whose name appears in errors; raises InputError."""
        self.path = path
        self._root = _compose(path, text)
        self._count = 0
        self.data: Any = self._value(self._root, ())
        """The content: dict (keys are text), list, str, int, float, bool, None."""

    def validate(self, model: type[M]) -> M:
        """Return the content as `model`; raises InputError for the error that stands first in the file."""
        try:
            # By way of JSON, where strict refuses text for a number, but takes a list for a tuple.
            return model.model_validate_json(json.dumps(self.data), strict=True)
        except ValidationError as error:
            details = error.errors()
        misspelt = {d["loc"][:-1] for d in details if d["type"] == "extra_forbidden"}
        found = [
            self._translate(model, d)
            for d in details
            if d["type"] != "missing" or d["loc"][:-1] not in misspelt  # the unknown field tells more
        ]
        raise min(found, key=lambda pair: pair[0])[1]

    def line(self, field: FieldPath) -> int:
        """Return the line, counted from 1, of a field, or of the innermost part of it that is there."""
        return self._find(field)[1]

    def error(self, field: FieldPath, what: str) -> InputError:
        """Return an error at a field; `what` goes on from its name, such as 'must be 1 or more, not 0'."""
        return self._error(self.line(field), field, what)

    def _error(self, line: int, field: FieldPath, what: str) -> InputError:
        return InputError(f"{self.path}:{line}: {_name(field)} {what.rstrip('.')}.")

    def _find(self, field: FieldPath) -> tuple[tuple[str | int, ...], int]:
        """Walk to a field; steps that the file does not have (a union's tag, a missing key) are skipped."""
        node, line, found = self._root, _line(self._root), []
        for step in field:
            if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = _line(node)
            elif isinstance(node, yaml.MappingNode) and (entry := _entry(node, str(step))):
                line, node = _line(entry[0]), entry[1]
            else:
                continue
            found.append(step)
        return tuple(found), line

    def _value(self, node: yaml.Node, field: tuple[str | int, ...]) -> Any:
        self._count += 1
        if self._count > MOST_VALUES or len(field) > MOST_LEVELS:
            limit = f"{MOST_LEVELS} levels deep" if len(field) > MOST_LEVELS else f"{MOST_VALUES} values long"
            raise self._error(
                _line(node), field[:3], f"must be at most {limit}, with its aliases written out"
            )
        if not isinstance(node, yaml.ScalarNode) and node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            raise self._error(
                _line(node), field, f"must be a plain mapping or list, not the tag {node.tag!r}"
            )
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*field, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            try:
                return _scalar(node)
            except ValueError as error:
                raise self._error(_line(node), field, str(error)) from None
        content: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(_line(key), field, "must have plain names as keys, not lists or mappings")
            if key.value in content:
                first = self._find((*field, key.value))[1]
                raise self._error(
                    _line(key), (*field, key.value), f"is given twice, first on line {first}; keep one"
                )
            content[key.value] = self._value(value, (*field, key.value))
        return content

    def _translate(self, model: type[BaseModel], details: ErrorDetails) -> tuple[int, InputError]:
        kind, where, context = details["type"], details["loc"], details.get("ctx", {})
        found, line = self._find(where)
        if kind == "missing":
            return line, self._error(line, found, f"must have the field {where[-1]!r}")
        if kind == "union_tag_not_found":
            return line, self._error(line, found, f"must have the field {context['discriminator']}")
        if kind == "union_tag_invalid":
            found, line = self._find((*where, context["discriminator"].strip("'")))
            tags = re.findall(r"'([^']*)'", context["expected_tags"])
            return line, self._error(line, found, f"must be {_one_of(tags)}, not {_show(context['tag'])}")
        if kind == "extra_forbidden":
            known = sorted(_known_fields(model, where[:-1], found))
            close = get_close_matches(str(where[-1]), known, 1)
            advice = f"did you mean {close[0]!r}?" if close else f"it may have {', '.join(known)}"
            parent = _name(found[:-1])
            return line, InputError(
                f"{self.path}:{line}: {parent} has an unknown field {where[-1]!r}; {advice.rstrip('?')}"
                + ("?" if close else ".")
            )
        return line, self._error(line, found, _what(details))


def read_document(path: Path) -> Document:
    """Read a YAML file; raises InputError where it is missing, a folder, not UTF-8, empty or not YAML."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; give the path of a YAML file.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give the path of a YAML file in it.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {reason}.") from None
    try:
        return Document(path, raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: the file must be UTF-8 text, and byte {error.start} is not."
        ) from None


def load_yaml(path: Path, model: type[M]) -> M:
    """Read a YAML file as `model`; raises InputError with one sentence for whatever is wrong with it."""
    return read_document(path).validate(model)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: nobody ever reads half of it; raises InputError where it cannot."""
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        try:
            with draft.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The parser of PyYAML with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


_TAG = "tag:yaml.org,2002:"
_Loader.add_implicit_resolver(f"{_TAG}null", re.compile(r"^(?:~|null|Null|NULL|)$"), None)
_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), None)
_Loader.add_implicit_resolver(f"{_TAG}int", re.compile(r"^[-+]?[0-9]+$"), None)
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    None,
)


def _compose(path: Path, text: str) -> yaml.Node:
    try:
        levels = 0
        for event in yaml.parse(text, Loader=_Loader):  # libyaml's compose overruns the stack on deep files
            levels += isinstance(event, yaml.CollectionStartEvent) - isinstance(
                event, yaml.CollectionEndEvent
            )
            if levels > MOST_LEVELS:
                line = _line(event)
                raise InputError(f"{path}:{line}: the file must be at most {MOST_LEVELS} levels deep.")
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}" if mark else ""
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise InputError(f"{path}{where}: this is not valid YAML: {problem}.") from None
    except (yaml.YAMLError, UnicodeEncodeError):
        raise InputError(f"{path}: the file must be YAML text without control characters.") from None
    if root is None:
        raise InputError(f"{path} is empty; it must hold fields, such as 'name: …'.")
    return root


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    text, kind = node.value, node.tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return str(text).lower() == "true"
    if kind in ("int", "float"):
        try:
            number = (
                int(text)
                if kind == "int"
                else float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            )
            finite = math.isfinite(number)
        except (OverflowError, ValueError):
            finite = False
        if not finite:
            raise ValueError(f"must be a finite number, not {_show(text, quotes=False)}")
        return number
    if kind != "str":
        raise ValueError(f"must be plain text or a number, not the tag {node.tag!r}")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must be text that Unicode can write")
    return str(text)


def _line(at: Any) -> int:
    """Return the line, from 1, on which a node or an event begins."""
    return int(at.start_mark.line) + 1


def _entry(node: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((key, value) for key, value in node.value if key.value == name), None)


def _name(field: FieldPath) -> str:
    """('nodes', 3, 'cpu_cores') as nodes[3].cpu_cores; the file itself where there are no steps."""
    text = ""
    for step in field:
        if isinstance(step, int) or not re.fullmatch(r"[\w-]+", step):
            text += f"[{_show(step)}]"
        else:
            text += f".{step}" if text else step
    return text or "the file"


def _show(value: Any, quotes: bool = True) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value) if quotes else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_of(options: Sequence[str]) -> str:
    shown = [repr(option) for option in options]
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text (quotes make it so)",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "model_type": "a mapping of fields",
    "dict_type": "a mapping of fields",
    "finite_number": "a finite number",
}


def _what(details: ErrorDetails) -> str:
    """What would be right, as it goes on from the name of the field."""
    kind, message = details["type"], details["msg"]
    if kind in ("value_error", "assertion_error"):
        return str(details["ctx"]["error"])
    if kind in _EXPECTED:
        message = f"must be {_EXPECTED[kind]}"
    elif message.startswith("Input should "):
        message = f"must {message.removeprefix('Input should ')}"
    else:
        return f"is wrong: {message}"
    value = details["input"]
    return f"{message}, not {_show(value)}"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _known_fields(model: type[BaseModel], where: FieldPath, found: FieldPath) -> set[str]:
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
            tagged = [
                m for m in models if any(step in get_args(f.annotation) for f in m.model_fields.values())
            ]
            models = tagged or models
    return {name for m in models for name in m.model_fields}
