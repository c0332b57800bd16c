"""evaluate-model: the fixed decision cases through a model, as a table and as JSON."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shlex
from collections import Counter
from functools import partial
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from domain.errors import InputError
from domain.ledger import Role
from graph.models.preflight import preflight
from runtime.agents.evaluation.cases import CaseFile, DecisionCase, load_cases
from runtime.agents.evaluation.kept import Kept
from runtime.agents.evaluation.trial import HORIZON, RoleScore, Trial, score, trials
from runtime.agents.filling import open_models
from runtime.agents.request import AgentRequest
from runtime.agents.settings import AgentSettings, read_request
from runtime.report.tables import output_console
from runtime.results.versions import versions
from runtime.runs.interrupts import GOES_ON, goes_on
from twin.files import write_text

SLOT_S = 30.0
"""Seconds that the questions of one case may take where nothing else is said: P1's slot."""


def evaluate(request: AgentRequest, roles: list[str], out: Path | None) -> None:
    """Try a model on the cases and print what came of it; raises InputError where there is none to ask."""
    file, settings = load_cases(), read_request(request, SLOT_S, os.environ)
    if settings.models is None:
        raise InputError(
            "There is no model to evaluate: set OPENAI_API_KEY, or give --base-url URL --model NAME, or --llm local."
        )
    known = [str(role) for role in Role]
    for role in roles:
        if role not in known:
            raise InputError(f"--role must be one of {', '.join(known)}, not {role!r}.")
    cases = [case for case in file.cases if not roles or case.role in roles]
    made = {"cases": file.version, "names": [case.name for case in cases], "agents": settings.to_json()}
    told = GOES_ON if out is not None else "nothing was kept; with --out FILE the same command would go on."
    with goes_on(told), Kept(out, made | {"versions": versions()}) as kept:
        if kept.left is not None:
            aside, differs = kept.left
            Console(stderr=True, highlight=False).print(
                f"An interrupted evaluation is kept, which is another one: {differs}. This one starts afresh. "
                f"To go on with that one: its own command with --out {shlex.quote(str(aside))}",
                soft_wrap=True,
                markup=False,
            )
        asyncio.run(_run(settings, cases, kept))
    done = kept.trials
    names = {role: own.model for role, own in settings.models.items()}
    scores = [score(role, own) for role in known if (own := [trial for trial in done if trial.role == role])]
    if out is not None:
        write_text(out, json.dumps(_to_json(file, names, scores, done), indent=1) + "\n")
        kept.done()
    _show(file, names, scores, done, out)


async def _run(settings: AgentSettings, cases: list[DecisionCase], kept: Kept) -> None:
    errors, known = Console(stderr=True, highlight=False), {trial.case for trial in kept.trials}
    left = [case for case in cases if case.name not in known]
    if known:
        errors.print(f"{len(known)}/{len(cases)} cases kept from the interrupted evaluation")
    if not left:
        return
    async with open_models(settings) as models:
        if settings.local is None and settings.replay_tape is None:
            say = partial(errors.print, soft_wrap=True, markup=False)
            asked = {role: agent for role, agent in models.agents.items() if role in {case.role for case in left}}
            await preflight(asked, settings.patience_s, say)
        async for trial in trials(models, left):
            kept.add(trial)
            why = f" ({trial.reason})" if trial.reason else ""
            errors.print(
                f"{len(kept.trials)}/{len(cases)} {trial.case}: {trial.outcome}{why}, {trial.seconds:.1f} s",
                markup=False,
            )


def _to_json(file: CaseFile, names: dict[Role, str], scores: list[RoleScore], done: list[Trial]) -> dict[str, object]:
    return {
        "cases_version": file.version,
        "horizon_slots": HORIZON,
        "models": {str(role): name for role, name in names.items()},
        "roles": [dataclasses.asdict(one) for one in scores],
        "cases": [trial.to_json() for trial in done],
    }


def _show(file: CaseFile, names: dict[Role, str], scores: list[RoleScore], done: list[Trial], out: Path | None) -> None:
    console = output_console()
    console.print(f"{len(done)} decision cases, version {file.version}", style="bold")
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for header in ("role", "model"):
        table.add_column(header, overflow="fold")
    for header in (
        "cases",
        "valid\nfirst",
        "after\nrepair",
        "fall-\nback",
        "J",
        "J of\nrandom",
        "tokens\nin",
        "tokens\nout",
        "s",
    ):
        table.add_column(header, justify="right")
    for one in scores:
        table.add_row(
            one.role,
            names[Role(one.role)],
            str(one.cases),
            f"{one.valid_first:.0%}",
            f"{one.valid_after_repair:.0%}",
            f"{one.fallback:.0%}",
            f"{one.objective:.3f}",
            f"{one.random_objective:.3f}",
            f"{one.prompt_tokens:.0f}",
            f"{one.completion_tokens:.0f}",
            f"{one.seconds:.1f}",
        )
    console.print(table)
    reasons = Counter(f"{trial.role} {trial.reason}" for trial in done if trial.reason)
    if reasons:
        console.print("Fallbacks: " + ", ".join(f"{why} {count}" for why, count in reasons.most_common()), markup=False)
    console.print(
        "J: of the decisions as carried out in the twin, the random policy's where the model's did not pass; "
        "0 is best. Tokens and seconds: mean per case.",
        style="dim",
    )
    if out is not None:
        console.print(f"Written to {out}", markup=False, soft_wrap=True)
