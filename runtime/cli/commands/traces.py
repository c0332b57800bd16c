"""trace inspect: what a trace holds, and whether a testbed knows its names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, get_args

from domain.errors import InputError
from runtime.report.tables import output_console
from twin.sentences import one_of
from twin.testbeds import read_testbed
from twin.testbeds.build import to_cluster
from twin.traces import KINDS, ROLES, Role, Unit, inspect_trace, unknown_names

MOST_NAMES = 10
"""Names that no testbed knows which are spelt out."""
T = TypeVar("T", bound=str)


def show_trace(file: Path, columns: Sequence[str], unit: str | None, form: str | None, testbed: str | None) -> None:
    """Print what a trace holds, and then, where a testbed is given, which of its names a run would refuse.

    Raises:
        InputError: it cannot be used, or has such names.
    """
    console = output_console()
    cluster = None if testbed is None else to_cluster(read_testbed(testbed))
    summary = inspect_trace(
        file,
        _one_of("--format", form, KINDS),
        columns=_columns(columns),
        unit=_one_of("--time-unit", unit, get_args(Unit)),
    )
    for line in summary.lines():
        console.print(line, markup=False, soft_wrap=True)
    if cluster is None:
        return
    wrong = list(unknown_names(summary, list(cluster.lm_index), list(cluster.node_index)))
    for sentence in wrong[1 : MOST_NAMES + 1]:
        console.print(sentence, markup=False, soft_wrap=True)
    if len(wrong) > MOST_NAMES + 1:
        console.print(f"and {len(wrong) - MOST_NAMES - 1:,} names more", markup=False, soft_wrap=True)
    if wrong:
        raise InputError(wrong[0])
    known = [what for what, names in (("LMs", summary.lms), ("origins", summary.origins)) if names]
    console.print(
        f"{cluster.name} has all {' and '.join(known)} that it names"
        if known
        else f"it names no LM and no origin, so a workload file says which of {cluster.name} they are",
        markup=False,
        soft_wrap=True,
    )


def _one_of(flag: str, given: str | None, known: Sequence[T]) -> T | None:
    found = next((value for value in known if value == given), None)
    if given is not None and found is None:
        what = one_of(known, given)
        raise InputError(f"{flag} {what}{'' if what.endswith('?') else '.'}")
    return found


def _columns(given: Sequence[str]) -> dict[Role, str]:
    """Read time=Timestamp,lm=Model; raises InputError."""
    found: dict[Role, str] = {}
    for pair in (pair for text in given for pair in text.split(",")):
        name, equals, column = pair.partition("=")
        if not equals or not column.strip():
            raise InputError(f"--columns must be pairs such as time=Timestamp,lm=Model, not {pair!r}.")
        role = _one_of("--columns: a role", name.strip(), ROLES)
        assert role is not None
        if role in found:
            raise InputError(f"--columns names a column for {role} twice; name one.")
        found[role] = column.strip()
    return found
