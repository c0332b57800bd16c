"""Trials that an interrupted evaluation had finished: they take minutes, so none is asked for twice.

They stand beside the file that they will end in, one line each, under the settings that they were made with. The same
command takes them up; one with other settings, or other code, sets them aside and starts afresh. One evaluation at a
time may write a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from domain.errors import InputError, refusal
from runtime.agents.evaluation.trial import Trial
from runtime.results.differing import differences, told
from runtime.results.durable import move
from runtime.results.lines import Write, whole_lines, written_lines
from runtime.results.locks import try_lock


class Kept:
    """The trials so far; a context manager. Without a file they are kept until the end of the block."""

    def __init__(self, out: Path | None, identity: dict[str, Any]) -> None:
        """Keep trials beside `out` for who comes with the same identity, plain data."""
        self._out, self._path = out, None if out is None else _partial(out)
        self._identity = identity
        self._stack = ExitStack()
        self._write: Write | None = None
        self.trials: list[Trial] = []
        self.left: tuple[Path, str] | None = None
        """Where the trials of another evaluation are kept, as its --out, and in what it is another one."""

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
        assert self._out is not None
        identity, *rest = whole_lines(self._path) or ["{}"]
        other = differences(_files(json.loads(identity)), _files(self._identity))
        if not other or not rest:
            return [Trial.from_json(json.loads(line)) for line in rest]
        aside = next(_free(self._out))
        move(self._path, _partial(aside))
        self.left = aside, told(other)
        return []


def _partial(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")


def _free(out: Path) -> Iterator[Path]:
    """Names for an interrupted evaluation that nobody has."""
    for number in count(1):
        path = out.with_name(f"{out.stem}-interrupted{'' if number == 1 else f'-{number}'}{out.suffix}")
        if not path.exists() and not _partial(path).exists():
            yield path


def _files(identity: dict[str, Any]) -> dict[str, str]:
    """An identity as the texts by which runs are told apart."""
    rest = {name: value for name, value in identity.items() if name != "versions"}
    return {"settings": json.dumps(rest), "versions": str(identity.get("versions", "{}"))}
