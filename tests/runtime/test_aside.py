import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.runs.aside import Aside

HOUSE = Path(__file__).parents[2]


def test_work_aside_comes_to_what_it_comes_to_here() -> None:
    with Aside(math.sqrt, 16.0) as aside:
        assert aside.result() == 4.0


def test_what_goes_wrong_aside_goes_wrong_here() -> None:
    with Aside(int, "many") as aside, pytest.raises(ValueError, match="'many'"):
        aside.result()


def test_a_helper_that_was_killed_is_missed() -> None:
    with Aside(os._exit, 3) as aside, pytest.raises(RuntimeError, match="exit status 3"):
        aside.result()


def test_ctrl_c_is_not_for_the_helper_however_early_it_comes() -> None:
    with Aside(math.sqrt, 16.0) as aside:
        pid = aside._process.pid
        assert pid is not None
        for _ in range(2):
            os.kill(pid, signal.SIGINT)
        assert aside.result() == 4.0


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_helper_ends_with_its_parent_however_that_ends(end: signal.Signals) -> None:
    script = (
        "import time\nfrom runtime.runs.aside import Aside\n"
        "if __name__ == '__main__':\n"
        "    with Aside(time.sleep, 3600) as aside:\n"
        "        print(aside._process.pid, flush=True)\n"
        "        aside.result()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=HOUSE
    ) as parent:
        assert parent.stdout is not None
        assert int(parent.stdout.readline()) > 0
        parent.send_signal(end)
        # Both can write to the pipe: reading comes to an end when both have ended, and neither has said a word.
        assert parent.stdout.read() == ""


def test_work_that_nobody_waits_for_any_more_is_ended() -> None:
    began = time.monotonic()
    with Aside(time.sleep, 3600) as aside:
        pid = aside._process.pid
        assert pid is not None
        os.kill(pid, signal.SIGINT)  # as Ctrl-C does, to both processes at once
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
