import math
import os
import signal
import time

import pytest

from runtime.runs.aside import Aside


def test_work_aside_comes_to_what_it_comes_to_here() -> None:
    with Aside(math.sqrt, 16.0) as aside:
        assert aside.result() == 4.0


def test_what_goes_wrong_aside_goes_wrong_here() -> None:
    with Aside(int, "many") as aside, pytest.raises(ValueError, match="'many'"):
        aside.result()


def test_a_helper_that_was_killed_is_missed() -> None:
    with Aside(os._exit, 3) as aside, pytest.raises(RuntimeError, match="exit status 3"):
        aside.result()


def test_work_that_nobody_waits_for_any_more_is_ended() -> None:
    began = time.monotonic()
    with Aside(time.sleep, 3600) as aside:
        pid = aside._process.pid
        assert pid is not None
        os.kill(pid, signal.SIGINT)  # as Ctrl-C does, to both processes at once
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
