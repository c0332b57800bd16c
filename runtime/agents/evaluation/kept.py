"""Trials that an interrupted evaluation had finished: they take minutes, so none is asked for twice.

They stand beside the file that they will end in, one line each, under the settings that they were made with; the same
command takes them up, one with other settings, or other code, starts afresh. One evaluation at a time may write a file.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from domain.errors import InputError, refusal
from runtime.agents.evaluation.trial import Trial
from runtime.results.lines import Write, line_of, whole_lines, written_lines
from runtime.results.locks import try_lock


class Kept:
    """The trials so far; a context manager. Without a file they are kept until the end of the block."""

    def __init__(self, out: Path | None, identity: dict[str, Any]) -> None:
        """Keep trials beside `out` for who comes with the same identity, plain data."""
        self._out, self._path = out, None if out is None else out.with_name(f".{out.name}.partial")
        self._identity = identity
        self._stack = ExitStack()
        self._write: Write | None = None
        self.trials: list[Trial] = []

    def __enter__(self) -> Kept:
        if self._path is None or self._out is None:
            return self
        try:
            self._hold(self._out)
            self.trials = self._read()
            start = [self._identity, *(trial.to_json() for trial in self.trials)]
            self._write = self._stack.enter_context(written_lines(self._path, start))
        except OSError as error:
            self._stack.close()
            raise refusal(f"{self._path.parent} cannot hold the trials", error) from None
        return self

    def _hold(self, out: Path) -> None:
        """Keep other evaluations away from the file."""
        if (lock := try_lock(out.with_name(f".{out.name}.lock"))) is None:
            raise InputError(f"{out} is being written by another evaluation; wait for it or choose another --out.")
        self._stack.callback(lock.release)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, trial: Trial) -> None:
        """Keep a trial."""
        self.trials.append(trial)
        if self._write is not None:
            self._write(trial.to_json())

    def done(self) -> None:
        """Forget the trials: they are written elsewhere now."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self) -> list[Trial]:
        """What an interrupted evaluation left; a line that it did not finish is left out."""
        assert self._path is not None
        identity, *rest = whole_lines(self._path) or [""]
        if identity != line_of(self._identity):
            return []
        return [Trial.from_json(json.loads(line)) for line in rest]
