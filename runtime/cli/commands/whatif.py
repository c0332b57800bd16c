"""whatif: recorded requests under other rules or on another testbed, beside what was recorded."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from domain.errors import InputError
from policies.families import Recipe
from runtime.agents.families import family_code
from runtime.agents.request import memory_address
from runtime.cli.commands.experiments import command_name
from runtime.cli.commands.memory import left_behind
from runtime.report.tables import output_console
from runtime.results.own_dispatch import bare, own_dispatch
from runtime.results.recording import Recording, open_recording
from runtime.results.run_folder import RunFolder
from runtime.runs.interrupts import goes_on
from runtime.runs.progress import RunProgress
from runtime.whatif.answer import WhatIf
from runtime.whatif.edits import Edits, cluster_for, edited, origins
from runtime.whatif.replay import rules_of
from runtime.whatif.report import report
from runtime.whatif.study import Study, decided_by_rules

DIFFERENCES = "differences"
"""Name of the figure."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the command line asks."""

    run: Path
    families: Sequence[str] = ()
    """Codes or comma-separated lists of them; none means the recorded one."""
    recorded: str | None = None
    """None: the only one that was recorded, or the best."""
    edits: Edits = Edits()
    memory: str | None = None
    out: Path | None = None

    def words(self) -> list[str]:
        """The same question as words of the command line."""
        edits = self.edits
        options = [("--family", code) for code in self.families]
        options += [("--recorded", self.recorded or ""), ("--testbed", edits.testbed or "")]
        options += [("--add-node", text) for text in edits.add] + [("--remove-node", name) for name in edits.remove]
        options += [
            ("--split", str(edits.split or "")),
            ("--memory", self.memory or ""),
            ("--out", str(self.out or "")),
        ]
        words = [word for option in options if option[1] for word in option]
        return ["whatif", str(self.run), *words, *edits.serving.options()]


def what_if(question: Question) -> WhatIf:
    """Answer, print and, where there is an --out, write it.

    Raises:
        InputError: the run or what is asked of it is wrong; nothing was published.
    """
    study = prepare(question)
    console, errors = output_console(), Console(stderr=True)
    if (left := left_behind(question.run)) is not None:
        errors.print(left, soft_wrap=True, markup=False, highlight=False)
    with _folder(question.out) as folder:
        with RunProgress(errors, study.recording.folder.resolve().name, study.total_slots) as progress:
            answer = study.run(folder, progress)
            if question.out is not None:
                progress.begin("figure")
                _draw(answer, folder.path)
        place = None if question.out is None else folder.publish()
    for part in report(answer):
        console.print(part)
    if place is not None:
        console.print(f"\nWritten to {place} (numbers, records, slots, figure)", soft_wrap=True, markup=False)
    console.print(f"\nNext: {_next(question, answer)}\n", soft_wrap=True, markup=False)
    return answer


def prepare(question: Question) -> Study:
    """Read and check everything that is asked for, so that what is wrong is said before anything is played.

    Raises:
        InputError: the run folder is damaged, or what is asked of it is wrong.
    """
    recording = open_recording(question.run)
    recorded = _recorded(recording, question.recorded)
    recording = recording.of(recorded)
    codes = [_code(recorded, text, question) for texts in question.families for text in texts.split(",")]
    for code in codes:
        if codes.count(code) > 1:
            raise InputError(f"--family names {code} twice; name each family once.")
    if not codes and not question.edits:
        raise InputError(
            "What if what? Name other rules with --family, another testbed with --testbed, --add-node, --remove-node "
            "or --split, or another way to serve with --dispatch, --news, --batch or --copies."
        )
    if question.memory is not None and "://" not in question.memory and not Path(question.memory).is_file():
        raise InputError(f"--memory: there is no file {question.memory}.")
    by_rules = decided_by_rules(recording, recorded)
    own = rules_of(recorded, stood_in=True) if by_rules else None
    families = dict[str, Recipe]()
    for code in codes or [_code(recorded, bare(recorded), question)]:
        families[code] = rules_of(code, stood_in=code == recorded and by_rules)
    testbed = edited(recording.testbed, question.edits)
    cluster = cluster_for(testbed, recording.cluster) if question.edits else recording.cluster
    origins(recording.cluster, cluster)
    memory = memory_address(question.memory, os.environ)
    runs = [recording.read(recorded, seed) for seed in recording.summary.seeds]
    return Study(recording, recorded, runs, families, question.edits, testbed, cluster, memory, own)


def _code(recorded: str, text: str, question: Question) -> str:
    """Read the name of a family that is to decide; in the recorded way, the recorded one has the name it has there."""
    code, dispatch = family_code(text), question.edits.serving.dispatch
    if code == recorded and dispatch is None:
        return code
    if (own := own_dispatch(code)) is not None:
        raise InputError(f"--family {text}: all families of a what-if are dispatched alike; give --dispatch {own}.")
    return recorded if code == bare(recorded) and dispatch in (None, own_dispatch(recorded)) else code


def _recorded(recording: Recording, asked: str | None) -> str:
    if asked is None:
        return recording.best
    code = family_code(asked)
    if code not in recording.families:
        raise InputError(
            f"{recording.folder} holds no run of {code}; --recorded must be one of {', '.join(recording.families)}."
        )
    return code


@contextmanager
def _folder(out: Path | None) -> Iterator[RunFolder]:
    """The folder to work in: what --out names, built under a hidden name, or one that is gone afterwards."""
    if out is not None:
        with goes_on(), RunFolder.named(out) as folder:
            yield folder
        return
    with tempfile.TemporaryDirectory() as place, RunFolder.named(Path(place) / "whatif") as folder:
        yield folder


def _draw(answer: WhatIf, folder: Path) -> None:
    from runtime.report.figures import save  # Matplotlib takes its time to import
    from runtime.whatif.figure import draw_differences

    (folder / "figures").mkdir(exist_ok=True)
    save(folder / "figures", DIFFERENCES, lambda: draw_differences(answer))


def _next(question: Question, answer: WhatIf) -> str:
    """A command that goes further than this one."""
    codes = [code.upper() for text in question.families for code in text.split(",")]
    if "RH" not in (*codes, bare(answer.recorded)):
        question = replace(question, families=("RH",), out=None)
    elif not question.edits:
        gpus = [node.name for node in open_recording(question.run).cluster.nodes if node.gpus]
        question = replace(question, edits=Edits(add=tuple(gpus[:1]), split=None if gpus else 2), out=None)
    else:
        question = replace(question, out=question.run.with_name(f"{answer.run}-whatif"))
    return f"{command_name()} {shlex.join(question.words())}"
