"""Reading the YAML files that people write, and answering every mistake in one with one useful sentence.

It names the file, the line, the field and what would be right. Values follow the core schema of YAML
1.2: only `true` and `false` are booleans, `1e-3` is a number, `12:30` and `2026-01-01` are text. Anchors and
aliases work; merge keys (`<<`), tags and numbers that are not finite are refused.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from domain.errors import InputError, refusal
from twin.sentences import FieldPath, did_you_mean, field_name, known_fields, one_of, what_is_right
from twin.yaml_text import MOST_LEVELS, TAG, compose, dump_yaml, is_merge, line_of, place_of, scalar

__all__ = ["Document", "FieldPath", "FileModel", "WholeKey", "dump_yaml", "load_yaml", "read_document", "write_text"]

M = TypeVar("M", bound=BaseModel)
MOST_BYTES = 1 << 26
"""Bytes of one file; a testbed of 5,000 nodes has two million."""
MOST_VALUES = 1_000_000
"""Values in one file, aliases written out; a few nested aliases could otherwise stand for billions."""


def _plain_number(key: Any) -> Any:
    """Let `4` pass and nothing that is another text for it, so that no two keys of a file are one key of the model."""
    if isinstance(key, str):
        if not re.fullmatch(r"0|-?[1-9][0-9]{0,17}", key):
            raise ValueError(f"must be a whole number, not {key!r}")
        return int(key)
    return key


WholeKey = Annotated[int, BeforeValidator(_plain_number)]
"""A key that is a whole number, such as a number of cores, written as such: no `4.0`, `1_0` or `04`."""


class FileModel(BaseModel):
    """Base of the models of files: no unknown fields, no conversions (the text '3' is no number), no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Document:
    """A YAML file in memory that knows on which line each value stands."""

    def __init__(self, path: Path, text: str) -> None:
        """Read `text` as the content of the file `path`, whose name appears in errors; raises InputError."""
        self.path = path
        self._root, self._tags = compose(path, text)
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
        # An unknown field tells more than one missing beside it, an entry more than the list that it is in.
        misspelt = {d["loc"][:-1] for d in details if d["type"] == "extra_forbidden"}
        around = {d["loc"][:depth] for d in details for depth in range(len(d["loc"]))}
        telling = [
            d
            for d in details
            if not (d["type"] == "missing" and d["loc"][:-1] in misspelt)
            and not (d["type"] == "too_short" and d["loc"] in around)
        ]
        found = [self._translate(model, d) for d in telling]
        raise min(found, key=lambda pair: pair[0])[1]

    def line(self, field: FieldPath) -> int:
        """Return the line, counted from 1, of a field, or of the innermost part of it that is there."""
        return self._find(field)[1]

    def error(self, field: FieldPath, what: str) -> InputError:
        """Return an error at a field; `what` goes on from its name, such as 'must be 1 or more, not 0'."""
        return self._error(self.line(field), field, what)

    def _error(self, line: int, field: FieldPath, what: str) -> InputError:
        end = "" if what.endswith(("?", ".")) else "."
        return InputError(f"{self.path}:{line}: {field_name(field)} {what}{end}")

    def _find(self, field: FieldPath) -> tuple[tuple[str | int, ...], int]:
        """Walk to a field; steps that the file does not have (a union's tag, a missing key) are skipped."""
        node, line, found = self._root, line_of(self._root), []
        for step in field:
            if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
                node = node.value[step]
                line = line_of(node)
            elif isinstance(node, yaml.MappingNode) and (entry := _entry(node, str(step))):
                line, node = line_of(entry[0]), entry[1]
            else:
                continue
            found.append(step)
        return tuple(found), line

    def _value(self, node: yaml.Node, field: tuple[str | int, ...]) -> Any:
        self._count += 1
        if self._count > MOST_VALUES or len(field) > MOST_LEVELS:
            limit = f"{MOST_LEVELS} levels deep" if len(field) > MOST_LEVELS else f"{MOST_VALUES} values long"
            raise self._error(line_of(node), field[:3], f"must be at most {limit}, with its aliases written out")
        if (tag := self._tags.get(place_of(node))) is not None:
            plain = "plain text or a number" if isinstance(node, yaml.ScalarNode) else "a plain mapping or list"
            raise self._error(line_of(node), field, f"must be {plain} without a tag, not {tag.replace(TAG, '!!')!r}")
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*field, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            try:
                return scalar(node)
            except ValueError as error:
                raise self._error(line_of(node), field, str(error)) from None
        content: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or place_of(key) in self._tags:
                raise self._error(line_of(key), field, "must have plain names as keys, not lists, mappings or tags")
            if is_merge(key):
                raise self._error(line_of(key), field, "must not merge another mapping with '<<'; write its fields out")
            if key.value in content:
                first = self._find((*field, key.value))[1]
                raise self._error(line_of(key), (*field, key.value), f"is given twice, first on line {first}; keep one")
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
            return line, self._error(line, found, one_of(tags, context["tag"]))
        if kind == "extra_forbidden":
            known = sorted(known_fields(model, where[:-1], found))
            advice = did_you_mean(str(where[-1]), known) or f"; it may have {', '.join(known)}"
            what = f"has an unknown field {where[-1]!r}{advice}"
            return line, self._error(line, found[:-1], what)
        return line, self._error(line, found, what_is_right(details))


def read_document(path: Path) -> Document:
    """Read a YAML file; raises InputError where it is missing, a folder, not UTF-8, empty or not YAML."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; give the path of a YAML file.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give the path of a YAML file in it.") from None
    except OSError as error:
        raise refusal(f"{path} cannot be read", error) from None
    except ValueError as error:  # a path that cannot be one
        raise InputError(f"{path} cannot be read: {error}.") from None
    if len(raw) > MOST_BYTES:
        raise InputError(f"{path}: a YAML file must have at most {MOST_BYTES:,} bytes; traces are files of their own.")
    try:
        return Document(path, raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: the file must be UTF-8 text, and byte {error.start} is not.") from None


def load_yaml(path: Path, model: type[M]) -> M:
    """Read a YAML file as `model`; raises InputError with one sentence for whatever is wrong with it."""
    return read_document(path).validate(model)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: nobody ever reads half of it.

    Raises:
        InputError: the path is wrong.
        OSError: the machine cannot write it.
    """
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
        raise refusal(f"{path} cannot be written", error) from None


def _entry(node: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((key, value) for key, value in node.value if key.value == name), None)
