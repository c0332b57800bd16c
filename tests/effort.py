"""Rehearsals and bounds that cost little: for what holds of a decision or of a table however good it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import pytest

import twin.bound.limits
from graph.rehearsal.plans import RehearsalSettings
from policies.rehearsal.planner import Effort


@contextmanager
def little_effort() -> Iterator[None]:
    """Rehearse with little effort where nothing else is said, and bound what is possible loosely."""
    with pytest.MonkeyPatch.context() as patched:
        _cheaper(patched, Effort, evaluations=400, candidates=2, samples=1, horizon_slots=10)
        _cheaper(patched, RehearsalSettings, futures=2, runs=8)
        patched.setattr(twin.bound.limits, "MOST_STEPS", 8)
        yield


def _cheaper(patched: pytest.MonkeyPatch, kind: type[Any], **defaults: int) -> None:
    """Other defaults for fields of a dataclass all of whose fields have one."""
    given = kind.__init__.__defaults__
    values = tuple(defaults.get(field.name, value) for field, value in zip(fields(kind), given, strict=True))
    patched.setattr(kind.__init__, "__defaults__", values)
