"""Works something out in a second process, beside the slots: where there are two cores it takes no time of its own."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.resource_tracker import ensure_running
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from runtime.agents.helper_process import end_with_parent

T = TypeVar("T")


class Aside(Generic[T]):
    """One call in a process of its own, from here to `result`; a context manager that leaves no process behind."""

    def __init__(self, work: Callable[..., T], *arguments: Any) -> None:
        """Begin; `work` is a function of a module, and it, its arguments and its result can be pickled."""
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        # A daemon: it ends with this process, and where this one is killed it sees that for itself.
        self._process = context.Process(target=_answer, args=(theirs,), daemon=True)
        # Ctrl-C is for the process that a person talks to, which ends this one: masked until that one ignores it.
        ensure_running()  # which would unmask it, were it not running
        unmasked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)
        theirs.close()
        with suppress(OSError):  # it was killed; `result` says so
            self._line.send((work, arguments))

    def result(self) -> T:
        """Wait for what the work came to; raises what it raised, or RuntimeError where its process was killed."""
        try:
            value, error = self._line.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise RuntimeError(f"a helper process was killed (exit status {self._process.exitcode})") from None
        if error is not None:
            raise error
        return cast("T", value)

    def __enter__(self) -> Aside[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()
        self._process.close()
        self._line.close()


def _answer(line: Connection) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    end_with_parent(parent.sentinel)
    with suppress(EOFError, ConnectionError):  # nobody asks, or nobody waits any more
        work, arguments = line.recv()
        try:
            reply: tuple[Any, Exception | None] = (work(*arguments), None)
        except Exception as error:
            reply = (None, error)
        line.send(reply)
