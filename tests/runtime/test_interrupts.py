"""Ctrl-C and SIGTERM end work in the same way, and say that the same command goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from runtime.runs.interrupts import Interrupted, goes_on


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_marked_work_with_a_sentence_and_a_status(number: signal.Signals, status: int) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def wait() -> None:
        os.kill(os.getpid(), number)
        signal.pause()

    with pytest.raises(Interrupted, match="nothing is lost") as caught, goes_on("nothing is lost"):
        wait()
    assert caught.value.status == status
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_under_way_is_cancelled_and_cleans_up(number: signal.Signals) -> None:
    cleaned = list[str]()

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    with pytest.raises(Interrupted), goes_on():
        asyncio.run(work())
    assert cleaned == ["up"]


def test_work_in_another_thread_leaves_signals_alone() -> None:
    done = list[int]()

    def work() -> None:
        with goes_on():
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]
