"""Works something out in a second process, beside the slots: where there are two cores it takes no time of its own."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class Aside(Generic[T]):
    """One call in a process of its own, from here to `result`; a context manager that leaves no process behind."""

    def __init__(self, work: Callable[..., T], *arguments: Any) -> None:
        """Begin; `work` is a function of a module, and it, its arguments and its result can be pickled."""
        context = multiprocessing.get_context("spawn")
        self._answer, theirs = context.Pipe(duplex=False)
        # A daemon: it ends with this process, however this one ends.
        self._process = context.Process(target=_answer, args=(theirs, work, arguments), daemon=True)
        # Ctrl-C is for the process that a person talks to, which ends this one.
        unmasked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)
        theirs.close()

    def result(self) -> T:
        """Wait for what the work came to; raises what it raised, or RuntimeError where its process was killed."""
        try:
            value, error = self._answer.recv()
        except EOFError:
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
        self._answer.close()


def _answer(answer: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        reply: tuple[Any, Exception | None] = (work(*arguments), None)
    except Exception as error:
        reply = (None, error)
    answer.send(reply)
