"""YAML text to nodes and values, by the core schema of YAML 1.2, and back.

Only `true` and `false` are booleans, `1e-3` is a number, `12:30` and `2026-01-01` are text. Merge keys, tags (those of
YAML itself too) and numbers that are not finite are refused. Nodes keep their line, so that a mistake can be shown
where it stands.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from domain.errors import InputError

MOST_LEVELS = 50
"""Mappings and lists inside each other."""

MOST_EVENTS = 4_000_000
"""Keys, values, beginnings and ends in one file."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # PyYAML may lack the C parser
    """The parser of PyYAML with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "null": re.compile(r"^(?:~|null|Null|NULL|)$"),
    "bool": re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"),
    "int": re.compile(r"^[-+]?[0-9]+$"),
    "float": re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
}
for _name, _pattern in _SCALARS.items():
    _Loader.add_implicit_resolver(f"{TAG}{_name}", _pattern, None)


Place = tuple[int, int, bool]
"""Line and column, both from 0, and whether a scalar begins there: a mapping begins where its first key does."""


def compose(path: Path, text: str) -> tuple[yaml.Node, dict[Place, str]]:
    """Return the root node of `text`, the content of the file `path`, and the tags in it by the place of their node.

    Raises InputError where it is not YAML.
    """
    if odd := yaml.reader.Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise InputError(f"{path}:{line}: the file must be text without the control character {odd.group()!r}.")
    tags: dict[Place, str] = {}
    try:
        levels = 0
        for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
            # libyaml's compose overruns the stack on deep files, and a tree takes far more memory than its text
            levels += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if levels > MOST_LEVELS:
                line = line_of(event)
                raise InputError(f"{path}:{line}: the file must be at most {MOST_LEVELS} levels deep.")
            if count > MOST_EVENTS:
                raise InputError(f"{path}:{line_of(event)}: the file must have fewer keys and values than up to here.")
            if (tag := getattr(event, "tag", None)) is not None:
                tags[place_of(event)] = tag
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}" if mark else ""
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise InputError(f"{path}{where}: this is not valid YAML: {problem}.") from None
    if root is None:
        raise InputError(f"{path} is empty; it must hold fields, such as 'name: …'.")
    return root, tags


def scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    """Return the value of a scalar; raises ValueError, with what would be right, where it has none."""
    text, kind = node.value, node.tag.removeprefix(TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return str(text).lower() == "true"
    if kind in ("int", "float"):
        try:
            number = int(text) if kind == "int" else float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            finite = math.isfinite(number)
        except (OverflowError, ValueError):
            finite = False
        if not finite:
            raise ValueError(f"must be a finite number, not {text[:60]}")
        return number
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must be text that Unicode can write")
    return str(text)


def is_merge(key: yaml.ScalarNode) -> bool:
    """True for the merge key of YAML 1.1, which is no key of 1.2; between quotes it is text."""
    return bool(key.value == "<<" and not key.style)


def place_of(at: Any) -> Place:
    """Return where a node or an event begins."""
    return int(at.start_mark.line), int(at.start_mark.column), isinstance(at, yaml.ScalarNode | yaml.ScalarEvent)


def line_of(at: Any) -> int:
    """Return the line, from 1, on which a node or an event begins."""
    return int(at.start_mark.line) + 1


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # as above
    """Keeps short mappings and lists of scalars on one line, quotes what YAML 1.1 or 1.2 takes for no text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.Node:
        short = not any(isinstance(value, dict | list) for value in mapping.values()) and len(str(mapping)) < 100
        node: yaml.Node = super().represent_mapping(tag, mapping, flow_style=short)
        return node

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.Node:
        plain = not any(isinstance(value, dict | list) for value in sequence)
        node: yaml.Node = super().represent_sequence(tag, sequence, flow_style=plain)
        return node


for _name, _pattern in {**_SCALARS, "merge": re.compile(r"^<<$")}.items():
    _Dumper.add_implicit_resolver(f"{TAG}{_name}", _pattern, None)


def dump_yaml(data: Any) -> str:
    """Return plain data (dict, list, text, numbers) as YAML that reads back as the same data."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))
