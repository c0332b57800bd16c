"""Trials that an interrupted evaluation had finished: they take minutes, so none is asked for twice.

They stand beside the file that they will end in, one line each, under the settings that they were made with; the same
command takes them up, one with other settings, or other code, starts afresh.
"""

from __future__ import annotations

import json
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any

from domain.errors import InputError
from runtime.evaluation.trial import Trial


class Kept:
    """The trials so far; a context manager. Without a file they are kept until the end of the block."""

    def __init__(self, out: Path | None, identity: dict[str, Any]) -> None:
        """Keep trials beside `out` for who comes with the same identity, plain data."""
        self._path = None if out is None else out.with_name(f".{out.name}.partial")
        self._identity = json.dumps(identity, sort_keys=True)
        self._file: TextIOWrapper | None = None
        self.trials: list[Trial] = []

    def __enter__(self) -> Kept:
        if self._path is None:
            return self
        try:
            lines = self._read()
            self._file = self._path.open("w", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{self._path.parent} cannot hold the trials: {error.strerror}.") from None
        self._write(self._identity)
        for line in lines:
            self.add(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, trial: Trial) -> None:
        """Keep a trial."""
        self.trials.append(trial)
        self._write(json.dumps(trial.to_json()))

    def done(self) -> None:
        """Forget the trials: they are written elsewhere now."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _write(self, line: str) -> None:
        if self._file is not None:
            self._file.write(line + "\n")
            self._file.flush()

    def _read(self) -> list[Trial]:
        """What an interrupted evaluation left; a line that it did not finish is left out."""
        assert self._path is not None
        if not self._path.exists():
            return []
        first, *rest = self._path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1] or [""]
        if first != self._identity:
            return []
        return [Trial.from_json(json.loads(line)) for line in rest]
