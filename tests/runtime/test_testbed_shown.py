"""`edgewise testbed show` prints what a testbed is, and what in it is hardly meant."""

from pathlib import Path

import pytest

from runtime.cli.commands.looks import show_testbed
from tests.testbed_files import SMALL, write


def shown(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    show_testbed(str(write(folder, text)), None, 0, None, False)
    return capsys.readouterr().out


def test_a_deadline_that_no_node_can_meet_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(tmp_path, SMALL.replace("sites:", "deadline_s: 0.5\nsites:", 1), capsys)
    assert "Warning: No node can serve chat within the deadline of 0.5 s: the fastest, b, takes 0.6 s" in text
    assert "Warning" not in shown(tmp_path, SMALL, capsys)
