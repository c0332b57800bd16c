"""show: what was decided in a run, from its folder alone; and the short form of it at the end of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from domain.errors import InputError, refusal
from runtime.agents.families import family_code
from runtime.report.tables import output_console
from runtime.results.own_dispatch import words_of
from runtime.results.recording import Recording, open_recording
from runtime.show.brief import brief
from runtime.show.diff import difference
from runtime.show.history import History, read_history
from runtime.show.ledger import decisions_of
from runtime.show.slot import one_slot
from runtime.show.tables import overview

FIGURES = "figures"
MOST_REQUESTS = 2_000_000
"""Requests of a family up to which a run ends with its short form: to read one takes some 100 bytes of memory."""


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    run: Path
    family: str | None = None
    seed: int | None = None
    slot: int | None = None
    node: str | None = None
    diff: str | None = None
    figures: bool = True


def show(asked: Asked) -> None:
    """Print what was decided; raises InputError where the folder or the question is wrong."""
    if asked.diff is not None and (asked.slot is not None or asked.node is not None):
        raise InputError("--diff compares whole runs; leave out --slot and --node.")
    recording, console = open_recording(asked.run), output_console()
    if asked.diff is not None:
        _print(console, difference(*_two(recording, asked, asked.diff)))
        return
    history = _history(recording, asked.family, asked.seed)
    if asked.slot is not None:
        decisions = decisions_of(recording, history.family, history.result.seed, asked.slot)
        _print(console, one_slot(history, asked.slot, decisions, asked.node))
        return
    _print(console, overview(history, asked.node))
    others = [code for code in recording.families if code != history.family]
    if asked.family is None and others:
        console.print(
            f"{words_of(history.family)} has the least J; --family shows {', '.join(others)}.", soft_wrap=True
        )
    if asked.figures and asked.node is None:
        _draw(console, history)


def show_brief(folder: Path, console: Console) -> None:
    """Print the decision of the best family of a run in short."""
    recording = open_recording(folder)
    requests = max(sum(run.telemetry.arrived.values()) for run in recording.summary.results)
    if requests <= MOST_REQUESTS:
        _print(console, brief(_history(recording, None, None)))


def _history(recording: Recording, family: str | None, seed: int | None) -> History:
    code = recording.best if family is None else family_code(family)
    return read_history(recording, code, recording.summary.seeds[0] if seed is None else seed)


def _two(recording: Recording, asked: Asked, text: str) -> tuple[History, History]:
    """The two sides of --diff: two families, or one and the same in another run."""
    if Path(text).is_dir() or os.sep in text:
        one, there = _history(recording, asked.family, asked.seed), open_recording(Path(text))
        family = one.family if one.family in there.families else None
        return one, _history(there, family, asked.seed)
    families = [code.strip() for code in text.split(",")]
    if len(families) == 1:
        families = [asked.family or recording.best, *families]
    if len(families) != 2:
        raise InputError(f"--diff compares two; {text!r} names {len(families)} families.")
    one, other = (_history(recording, family, asked.seed) for family in families)
    if one.family == other.family:
        raise InputError(f"--diff {text} compares {one.family} with itself; name another family or another run.")
    return one, other


def _print(console: Console, parts: Iterable[Table | Text]) -> None:
    for part in parts:
        console.print(part)


def _draw(console: Console, history: History) -> None:
    from runtime.show.drawing import draw  # Matplotlib takes its time to import

    folder = history.folder / FIGURES
    try:
        folder.mkdir(exist_ok=True)
        files = draw(history, folder)
    except OSError as error:
        raise refusal(f"Figures cannot be written to {folder} (--no-figures leaves them out)", error) from None
    names = dict.fromkeys(file.stem for file in files)
    console.print(f"Figures: {', '.join(f'{folder / name}.png' for name in names)} (and .svg)", soft_wrap=True)
