"""memory store, and what is said of a run that leaves a journal behind."""

from __future__ import annotations

import asyncio
import os
import shlex
from pathlib import Path

from domain.errors import InputError, MachineError
from runtime.report.tables import output_console
from runtime.results.run_folder import JOURNAL, RunFolder


def store_journal(run: Path, memory: str | None) -> None:
    """Store what waits in a run's journal, and say how much it was.

    Raises:
        InputError: there is no such run, or no memory is named, or it cannot be used.
        MachineError: the memory is away.
    """
    from memory import MemoryAway, drain_journal, waiting_in

    journal = RunFolder.place_of(run) / JOURNAL
    target = memory or os.environ.get("MONGODB_URI", "").strip()
    console = output_console()
    if not journal.exists():
        console.print(f"Nothing of {run} waits: it has no journal.", soft_wrap=True, markup=False)
        return
    if not target:
        raise InputError(
            f"{journal} waits for the memory that the run was given; name it with --memory or MONGODB_URI."
        )
    try:
        drained = asyncio.run(drain_journal(journal, target))
    except MemoryAway as error:
        raise MachineError(f"{error} {waiting_in(journal)} documents still wait in {journal}.") from None
    lines = [f"Stored {drained.stored} documents of {run}."]
    if drained.refused:
        lines.append(f"{drained.refused} were refused and are in {journal}.refused.")
    console.print(" ".join(lines), soft_wrap=True, markup=False)


def left_behind(run: Path) -> str | None:
    """What to say of a run whose journal still holds something; None where it does not."""
    if not (run / JOURNAL).exists():
        return None
    from memory import waiting_in  # brings numpy and SQLite, which most runs of rules need not

    waiting = waiting_in(run / JOURNAL)
    return (
        f"{waiting:,} documents of this run are not in its memory yet; they wait in {run / JOURNAL}. To store them, "
        f"with --memory as the run was given it: edgewise memory store {shlex.quote(str(run))}"
    )
