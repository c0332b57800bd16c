"""What tells one run from another, in words: for who finds a run under the name of theirs that is not theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import yaml

from domain.serving import Serving

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TESTBED, CODE = "testbed.yaml", "code_sha256"
MOST_NAMED = 4
"""Differences that are told one by one."""
LONGEST = 80
"""Characters of a value that are told; of a longer one, where paths begin to differ, mostly its end."""
P1 = {f"serving.{f.name}": f.default for f in fields(Serving)}
"""Settings that files leave out where they are P1's."""
BEFORE = "before"
"""Entry of a file that names what its run was begun with; what runs now is what counts."""


def differences(kept: Mapping[str, str | None], now: Mapping[str, str]) -> list[str]:
    """Return what differs between the files of two runs, in order: 'slots was 4, is 8 now'.

    Args:
        kept: name to YAML or JSON, None where there is no such file.
        now: the same files of the other run.
    """
    found, known = list[str](), list[tuple[str, Any, Any]]()
    for name, text in now.items():
        if kept.get(name) == text:
            continue
        was, own = _flat(kept.get(name)), _flat(text)
        usual = {key: value for key, value in P1.items() if key in was or key in own}  # what is left out is P1's
        was, own = usual | was, usual | own
        differing = [key for key in [*own, *(k for k in was if k not in own)] if was.get(key) != own.get(key)]
        if "commit" in differing:  # of the same code a commit says nothing, of another one more than the digest does
            differing.remove(CODE if CODE in differing else "commit")
        title = "the testbed's " if name == TESTBED else ""
        for key in differing:
            change = (key, was.get(key), own.get(key))
            if change not in known:  # the settings tell some of the testbed's numbers, too
                found.append(f"{title}{key} was {_told(change[1])}, is {_told(change[2])} now")
            known.append(change)
    return found


def told(found: list[str]) -> str:
    """Return differences as one piece of a sentence."""
    left = len(found) - MOST_NAMED
    return "; ".join(found[:MOST_NAMED]) + (f"; and {left} more" if left > 0 else "")


def _flat(text: str | None) -> dict[str, Any]:
    try:
        value = None if text is None else yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError:
        value = text
    if isinstance(value, dict):
        value.pop(BEFORE, None)
    return dict(_leaves(value, ""))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        pairs = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        pairs = [(str(item.get("name", k)) if isinstance(item, dict) else str(k), item) for k, item in enumerate(value)]
    else:
        yield name, value
        return
    for key, item in pairs:
        yield from _leaves(item, f"{name}.{key}" if name else key)


def _told(value: Any) -> str:
    if value is None:
        return "none"
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 4]}…{text[-3 * LONGEST // 4 :]}"
