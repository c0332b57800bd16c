"""A what-if for a terminal of 80 columns: how good the twin is, then a table for each replay."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from runtime.report.tables import MOST_LMS, NOTHING
from runtime.results.own_dispatch import words_of
from runtime.whatif.answer import Change, Replay, WhatIf
from runtime.whatif.difference import FAIRNESS, MEAN, OBJECTIVE, SERVED

DECIMALS = {MEAN: 1, OBJECTIVE: 4, FAIRNESS: 4}
LESS_IS_BETTER = (OBJECTIVE, MEAN)
FEW_SEEDS = 5
"""Below, Student's factor is more than half as large again as with many."""


def report(answer: WhatIf) -> Iterator[Table | Text]:
    """What to print."""
    seeds = f"seed {answer.seeds[0]}" if len(answer.seeds) == 1 else f"{len(answer.seeds)} seeds"
    recorded = answer.recorded_as or answer.recorded
    load = "" if answer.load == 1.0 else f" times {answer.load:g}"
    served = f", {answer.serving}" if answer.serving else ""
    yield Text(
        f"What if, on the {answer.requests:,} requests of {answer.run}: {answer.testbed}, workload "
        f"{answer.workload}{load}{served}, {answer.slots} slots, {seeds}, recorded with {recorded}",
        style="bold",
    )
    yield Text("\n".join([*answer.notes, *_warnings(answer), _about_the_twin(answer)]) + "\n")
    for replay in answer.replays:
        yield Text(title(answer, replay), style="bold")
        if replay.notes:
            yield Text("\n".join(replay.notes))
        yield _table(answer, replay)
    yield Text(_note(answer), style="dim")


def title(answer: WhatIf, replay: Replay) -> str:
    """Return what a replay changes, in words."""
    who, recorded = words_of(replay.family), words_of(answer.recorded)
    who = f"{who} again" if replay.family == answer.recorded else f"{who} for {recorded}"
    return ", ".join([who, *answer.edits])


def _warnings(answer: WhatIf) -> Iterator[str]:
    if answer.missing:
        yield (
            f"{answer.missing:,} of {answer.requests + answer.missing:,} requests have no record: they had not ended "
            "with the run. They are not played again, so the load here is lighter than it was."
        )
    for gone, places in answer.moves.items():
        yield f"Requests of {gone} come in at {_listed(places)}{' in turn' if len(places) > 1 else ''}."


def _listed(names: list[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _about_the_twin(answer: WhatIf) -> str:
    check = answer.check
    if check is None:
        return f"The twin was not checked: {answer.unchecked}. Differences are taken from what was recorded."
    under = "the recorded decisions" if check.how == "decisions" else f"the rules of {words_of(answer.recorded)}"
    if check.exact:
        return f"Checked: under {under} the twin gives every recorded request again, bit for bit."
    told, found = answer.recorded_figures, check.figures
    said = ", ".join(
        f"{name} {_plain(told[name], name)} recorded, {_plain(found[name], name)} in the twin"
        for name in (MEAN, OBJECTIVE)
    )
    why = (
        "The run took place elsewhere, or the code has changed since."
        if check.how == "rules"
        else "That is the twin's error."
    )
    return (
        f"Checked: under {under} the twin is not exact: {said}. {why} Differences are taken within the twin; one that "
        "is smaller than this error says nothing."
    )


def _table(answer: WhatIf, replay: Replay) -> Table:
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    inexact = answer.check is not None and not answer.check.exact
    middle = [f"twin,\nas {'decided' if answer.check and answer.check.how == 'decisions' else 'ruled'}"]
    for header in ("recorded", *(middle if inexact else []), "what if", "differs"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column(f"{answer.confidence:.0%} interval", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for change in _shown(answer, replay):
        name = change.figure
        table.add_row(
            name,
            _plain(answer.recorded_figures[name], name),
            *([_plain(change.base, name)] if inexact else []),
            _plain(change.other, name),
            _signed(change.difference, name),
            NOTHING
            if change.low is None or change.high is None
            else f"{_signed(change.low, name)} to {_signed(change.high, name)}",
            verdict(change, answer.error.get(name, 0.0)),
        )
    return table


def _shown(answer: WhatIf, replay: Replay) -> list[Change]:
    """All figures, or, with many LMs, those of the LMs that change most."""
    lms = [change for change in replay.changes if change.figure.startswith(f"{SERVED} ")]
    most = sorted(lms, key=lambda change: -abs(change.difference or 0.0))[:MOST_LMS]
    return [change for change in replay.changes if change not in lms or change in most]


def verdict(change: Change, error: float) -> str:
    """Say in a word what a difference is worth, given how far the twin is off in this figure."""
    if change.difference is None:
        return ""
    if change.low is None or change.high is None:
        return "unsure" if change.difference else "same"
    if change.low <= 0.0 <= change.high or abs(change.difference) <= abs(error):
        return "unsure"
    return "better" if (change.difference < 0.0) == (change.figure in LESS_IS_BETTER) else "worse"


def _plain(value: float | None, name: str) -> str:
    return NOTHING if value is None else f"{value:.{DECIMALS.get(name, 3)}f}"


def _signed(value: float | None, name: str) -> str:
    if value is None:
        return NOTHING
    text = f"{value:+.{DECIMALS.get(name, 3)}f}"
    return text if float(text) else text[1:]  # no sign before zero


def _of_the_interval(answer: WhatIf) -> str:
    changes = [change for replay in answer.replays for change in replay.changes]
    if any(change.difference is not None and change.low is None for change in changes):
        nothing = f" {NOTHING}: nothing varied, or there is too little to tell."
    else:
        nothing = ""
    if len(answer.seeds) > 1:
        few = " So few seeds leave it wide; more of them would narrow it." if len(answer.seeds) < FEW_SEEDS else ""
        return (
            f"Figures are means over {len(answer.seeds)} seeds, and the interval is Student's over them.{few}{nothing}"
        )
    blocks = max(1, answer.slots // answer.block_slots)
    return (
        f"The interval is a jackknife's over {blocks} blocks of {answer.block_slots} slots of one seed: what differs "
        f"from seed to seed is not in it, and takes a run of several.{nothing}"
    )


def _note(answer: WhatIf) -> str:
    what = "the twin's replay of what was decided" if answer.check is not None else "what was recorded"
    lines = [
        "mean s: end-to-end latency of served requests. served: share of requests served within "
        f"{answer.deadline_s:g} s.",
        f"J: {answer.latency_weight:g} latency + {1 - answer.latency_weight:g} unfairness (P1, eq. 10), 0 is best.",
        f"differs: what if minus {what}. unsure: the interval holds 0, or the twin's error is larger.",
        _of_the_interval(answer),
    ]
    if len(answer.lms) > MOST_LMS:
        lines.append(f"Of {len(answer.lms)} LMs the {MOST_LMS} that change most are shown.")
    return "\n".join(lines)
