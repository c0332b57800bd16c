"""Run folders of every way to make one, and questions to them: for tests of what-ifs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import runtime.cli.commands.whatif
import runtime.runs.experiment
from runtime.cli.program import app
from runtime.whatif.answer import Change, WhatIf
from tests.agent_server import decides, serving, sound_answers
from tests.effort import little_effort
from twin.testbeds import load_builtin, read_testbed, to_yaml

BRISTOL = load_builtin("bristol")
DRAW = runtime.cli.commands.whatif._draw


def edgewise(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, prog_name="edgewise", env={"COLUMNS": "80", "MONGODB_URI": ""})


@contextmanager
def in_little_time() -> Iterator[None]:
    """Drawing takes longer than everything else in a small run."""
    with pytest.MonkeyPatch.context() as patched, little_effort():
        patched.setattr(runtime.runs.experiment, "draw", lambda summary, folder: [])
        patched.setattr(runtime.cli.commands.whatif, "_draw", lambda answer, folder: None)
        yield


def record(home: Path) -> Path:
    """Make runs: plain, several, through the graph, agents, stand-ins, a dry run."""

    def ran(*arguments: str) -> None:
        done = edgewise(*arguments)
        assert done.exit_code == 0, done.output

    short = home / "short.yaml"
    short.write_text("deadline_s: 120\n" + re.sub(r"\bdeadline_s: .*", "", to_yaml(read_testbed("bristol"))))
    with in_little_time():
        ran("run", "--family", "RL", "--slots", "12", "--lambda", "0.7", "--out", str(home / "plain"))
        ran("compare", "--family", "RR,LL", "--slots", "8", "--seeds", "1,2", "--out", str(home / "several"))
        brief = ("--testbed", str(short), "--slots", "3")
        ran("run", "--family", "RL", *brief, "--shadow", "RF", "--out", str(home / "graph"))
        ran("run", "--family", "MA", *brief, "--out", str(home / "stand-ins"))
        ran("run", "--family", "RL", *brief, "--dry-run", "--out", str(home / "dry"))
        with serving(decides(sound_answers(BRISTOL))) as server:
            model = ("--base-url", server.base_url, "--model", "scripted")
            ran("run", "--family", "MA", *brief, *model, "--out", str(home / "agents"))
            shared = ("--memory", str(home / "shared.sqlite"))
            ran(
                "run", "--family", "MAL", *brief, *model, *shared, "--rehearse", "off", "--out", str(home / "elsewhere")
            )
    return home


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def asked(run: Path, out: Path, *arguments: str) -> WhatIf:
    """What a what-if came to; the run folder stays as it was."""
    before = digests(run)
    result = edgewise("whatif", str(run), *arguments, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert digests(run) == before
    return WhatIf.model_validate_json((out / "whatif.json").read_bytes())


def refused(*arguments: str) -> str:
    """The sentence that a what-if was refused with."""
    result = edgewise("whatif", *arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    sentence = result.stderr.strip()
    assert re.fullmatch(r"edgewise: [^\n]+[.?]", sentence), sentence
    return sentence


def of(answer: WhatIf, figure: str, replay: int = 0) -> Change:
    return next(change for change in answer.replays[replay].changes if change.figure == figure)
