"""How far a run is, on the error stream: a bar on a terminal, a line per finished family elsewhere.

Results go to the output stream and nothing else does, so that `edgewise compare > table.txt` keeps a clean table.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class RunProgress:
    """Counts the slots of all families and seeds of one comparison; a context manager."""

    def __init__(self, console: Console, title: str, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Show `slots` slots in all, on `console`; seconds come from `clock`."""
        self._console, self._title, self._clock = console, title, clock
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=slots)
        self._label, self._began, self._slots = "", 0.0, 0

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, label: str) -> None:
        """Say what runs now."""
        self._label, self._began, self._slots = label, self._clock(), 0
        self._bar.update(self._task, description=f"{self._title} · {label}")

    def slot(self) -> None:
        """Count one slot."""
        self._slots += 1
        self._bar.advance(self._task)

    def end(self) -> None:
        """Say what is done, and how long it took."""
        seconds = self._clock() - self._began
        self._say(f"{self._label}, {self._slots} slots in {seconds:.1f} s")

    def skip(self, label: str, slots: int) -> None:
        """Count a family that a killed run had finished."""
        self._bar.advance(self._task, slots)
        self._say(f"{label} kept from the interrupted run")

    def note(self, what: str) -> None:
        """Say something that is no result."""
        self._say(what)

    def _say(self, what: str) -> None:
        self._console.print(f"{self._title}: {what}", highlight=False, markup=False, soft_wrap=True)
