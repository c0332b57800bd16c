"""Tables of a run for a terminal: 100 columns where there are so many, 80 where there are not."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from rich.box import SIMPLE
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from domain.ledger import Role
from runtime.report.seeds import notes
from runtime.results.intervals import Interval, interval
from runtime.results.labels import HALF, MOSTLY, family_label
from runtime.results.own_dispatch import words_of
from runtime.results.summary import FamilyResult, PredictionFigures, RoleFigures, Summary

NOTHING = "–"
WIDE = 100
"""Columns from which on there is room for who decided."""
OUTCOMES = ("accepted", "repaired", "overruled", "reused", "person")
"""Outcomes of agents' decisions beside fallbacks; all but the first two are shown where there are any."""
NOT_SHOWN = ("breaker_open", "budget")
"""Reasons whose sentences say no more than they do."""
MOST_LMS = 6
"""LMs that get a column each; with more of them the table shows the worst served one and the share of all requests."""


Column = tuple[Callable[[FamilyResult], float | None], int, bool]
"""How to get the number from one run, its decimals, and whether its interval over seeds is shown."""


def report(summary: Summary, width: int, explain: bool = True) -> Iterator[Table | Text]:
    """What to print about a run in `width` columns: warnings, its table, and what else there is to say of the workload.

    Args:
        summary: of the run.
        width: columns of the terminal.
        explain: say what the columns are.
    """
    seeds = f"seed {summary.seeds[0]}" if len(summary.seeds) == 1 else f"{len(summary.seeds)} seeds"
    said = dict.fromkeys(note for run in summary.results for note in run.notes)
    if said:
        yield Text("\n".join(said) + "\n")
    if summary.warnings:
        yield Text("\n".join(f"Warning: {sentence}" for sentence in summary.warnings) + "\n", style="yellow")
    load = "" if summary.load == 1.0 else f" times {summary.load:g}"
    requests = sum(sum(run.telemetry.arrived.values()) for run in summary.of(summary.families[0]))
    served = f", {summary.serving}" if summary.serving else ""
    yield Text(
        f"{summary.testbed}, workload {summary.workload}{load}{served}: {summary.slots} slots, {seeds}, "
        f"{requests:,} requests",
        style="bold",
    )
    wide = width >= WIDE
    deciders = [_decided_by(summary.of(family)) for family in summary.families]
    beside = wide and _is_room(summary, deciders, width)
    yield _table(summary, wide, deciders if beside else None)
    yield from _over_p1(summary)
    if not beside:
        lines = [
            f"{family_label(summary, family)}: {who}" for family, who in zip(summary.families, deciders, strict=True)
        ]
        yield Text("Decided by\n" + "\n".join(lines) + "\n")
    if any(run.agents for run in summary.results):
        yield from _agents(summary, wide)
    if any(run.predictions for run in summary.results):
        yield predictions(summary)
    if any(run.shadows for run in summary.results):
        yield _shadows(summary)
    if explain:
        yield Text(_note(summary), style="dim")
    if summary.notes:
        yield Text("\nOf the workload\n" + "\n".join(summary.notes), style="dim")


def _columns(summary: Summary) -> dict[str, Column]:
    columns: dict[str, Column] = {
        "mean s": (lambda r: r.telemetry.global_mean_latency_s, 1, True),
        "P95 s": (lambda r: r.telemetry.global_p95_latency_s, 1, False),
    }
    if len(summary.lms) <= MOST_LMS:
        columns |= {lm: (partial(_success, lm), 2, False) for lm in summary.lms}
    else:
        columns |= {"worst LM": (_worst, 2, False), "all": (lambda r: r.telemetry.success, 2, False)}
    return columns | {
        "F_norm": (lambda r: r.telemetry.fairness, 3, False),
        "J": (lambda r: r.telemetry.objective, 3, True),
        "J/bound": (summary.ratio, 2, False),
    }


def _success(lm: str, run: FamilyResult) -> float | None:
    return run.telemetry.success_ratio[lm]


def _worst(run: FamilyResult) -> float | None:
    return min((ratio for ratio in run.telemetry.success_ratio.values() if ratio is not None), default=None)


def _is_room(summary: Summary, deciders: list[str], width: int) -> bool:
    """Whether the table has room for every name of a decider in one piece."""
    table = _table(summary, True, [who.replace(" ", "\n") for who in deciders])
    unbounded = Console(width=10 * width)
    return Measurement.get(unbounded, unbounded.options, table).maximum <= width


def _table(summary: Summary, wide: bool, deciders: list[str] | None) -> Table:
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1 if wide else 0, 0, 0))
    columns = _columns(summary)
    table.add_column("family", no_wrap=True)
    for header in columns:
        table.add_column(header, justify="right", no_wrap=True)
    if deciders:
        table.add_column("decided by")
    best = _best(summary)
    for i, family in enumerate(summary.families):
        runs = summary.of(family)
        cells = [_cell([value(run) for run in runs], decimals, shown) for value, decimals, shown in columns.values()]
        who = [deciders[i]] if deciders else []
        table.add_row(_label(summary, family, wide), *cells, *who, style="bold" if family == best else None)
    return table


def _over_p1(summary: Summary) -> Iterator[Text]:
    """How families that are not served as P1 serves compare with what P1's model allows."""
    ratios = {family: interval([summary.ratio_to_p1(run) for run in summary.of(family)]) for family in summary.families}
    told = [f"{family_label(summary, family)} {value.median:.2f}" for family, value in ratios.items() if value]
    if told:
        yield Text(f"J over the bound of P1's own model: {', '.join(told)}. Below 1: no decisions there do as well.\n")


def _label(summary: Summary, family: str, wide: bool) -> str:
    """The family's label, on two lines where columns are few."""
    label = family_label(summary, family)
    return label if wide else label.replace(" (", "\n(")


def _best(summary: Summary) -> str | None:
    """The family with the least median J, where there is a choice."""
    medians = {family: interval([run.telemetry.objective for run in summary.of(family)]) for family in summary.families}
    known = {family: value.median for family, value in medians.items() if value}
    return min(known, key=lambda family: known[family]) if len(known) > 1 else None


def _cell(values: list[float | None], decimals: int, with_interval: bool) -> str:
    value = interval(values)
    if value is None:
        return NOTHING
    if value.count == 1 or not with_interval:
        return f"{value.median:.{decimals}f}"
    return f"{value.median:.{decimals}f}\n{_range(value, decimals)}"


def _range(value: Interval, decimals: int) -> str:
    return f"{value.low:.{decimals}f}–{value.high:.{decimals}f}"


def _decided_by(runs: list[FamilyResult]) -> str:
    counts: Counter[str] = Counter()
    for run in runs:
        for makers in run.decided_by.values():
            counts.update(makers)
    return ", ".join(f"{who} {count:,}" for who, count in sorted(counts.items(), key=lambda item: -item[1]))


def _agents(summary: Summary, wide: bool) -> Iterator[Table | Text]:
    """Who decided where models were asked, role by role, what that took, and why fallbacks decided."""
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1 if wide else 0, 0, 0))
    for header in ("family", "role", *(["model"] if wide else [])):
        table.add_column(header, overflow="fold", no_wrap=header != "model")
    priced = any(role.cost_usd is not None for run in summary.results for role in run.agents.values())
    shown = tuple(name for name in OUTCOMES if name in ("accepted", "repaired") or _has(summary, name))
    for header in (*shown, "fallback", "asked", "tokens", "s each", *(["USD"] if priced else [])):
        table.add_column(header, justify="right", no_wrap=True)
    why = list[str]()
    for family in summary.families:
        roles = {role for run in summary.of(family) for role in run.agents}
        for role in (role for role in map(str, Role) if role in roles):
            runs = [run.agents[role] for run in summary.of(family)]
            model = ", ".join(dict.fromkeys(run.model for run in runs))
            table.add_row(family, role, *([model] if wide else []), *_agent_cells(runs, shown, priced))
            why += [f"{family} {role}: {reasons}" for reasons in [_reasons(runs)] if reasons]
            why += _said(runs)
    yield table
    if why:
        yield Text("Reasons\n" + "\n".join(why) + "\n")


def _reasons(runs: list[RoleFigures]) -> str:
    counts = Counter[str]()
    for run in runs:
        counts.update(run.reasons)
        counts["unwrapped"] += run.unwrapped
        counts["not rehearsed"] += run.not_rehearsed
        counts["overruled"] += run.outcomes.get("overruled", 0)
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common() if count)


def _said(runs: list[RoleFigures]) -> list[str]:
    """What came with the reasons, the first of each, indented below them."""
    first = {reason: said for run in reversed(runs) for reason, said in run.said.items()}
    return [f"  {reason}: {said}" for reason, said in first.items() if reason not in NOT_SHOWN]


def _has(summary: Summary, outcome: str) -> bool:
    return any(outcome in role.outcomes for run in summary.results for role in run.agents.values())


def _agent_cells(runs: list[RoleFigures], shown: tuple[str, ...], priced: bool) -> Iterator[str]:
    outcomes = Counter[str]()
    for run in runs:
        outcomes.update(run.outcomes)
    questions, total = sum(run.questions for run in runs), sum(outcomes.values())
    yield from (f"{outcomes[name]:,}" for name in shown)
    share = outcomes["fallback"] / total if total else 0.0
    yield f"{outcomes['fallback']:,} ({share:.0%})"
    yield f"{questions:,}"
    yield f"{sum(run.prompt_tokens + run.completion_tokens for run in runs):,}"
    yield f"{sum(run.seconds for run in runs) / questions:.2f}" if questions else NOTHING
    costs = [run.cost_usd for run in runs if run.cost_usd is not None]
    if priced:
        yield f"{sum(costs):.4f}" if len(costs) == len(runs) else NOTHING


def predictions(summary: Summary) -> Table:
    """What adopted plans were predicted to come to, and what came out; means over the plans of all seeds."""
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("family", no_wrap=True)
    for header in ("plans", "pred. s", "came out", "error", "pred. J", "came out", "error", "F error"):
        table.add_column(header, justify="right", no_wrap=True)
    for family in summary.families:
        known = [run.predictions for run in summary.of(family) if run.predictions is not None]
        if known:
            table.add_row(_label(summary, family, False), f"{sum(p.plans for p in known):,}", *_prediction_cells(known))
    return table


def _prediction_cells(known: list[PredictionFigures]) -> Iterator[str]:
    plans = sum(p.plans for p in known)

    def mean(value: Callable[[PredictionFigures], float | None], decimals: int) -> str:
        values = [(v, p.plans) for p in known if (v := value(p)) is not None]
        total = sum(weight for _, weight in values)
        return f"{sum(v * weight for v, weight in values) / total:.{decimals}f}" if total == plans else NOTHING

    yield mean(lambda p: p.predicted_mean_latency_s, 1)
    yield mean(lambda p: p.mean_latency_s, 1)
    yield mean(lambda p: p.latency_error_s, 1)
    yield mean(lambda p: p.predicted_objective, 4)
    yield mean(lambda p: p.objective, 4)
    yield mean(lambda p: p.objective_error, 4)
    yield mean(lambda p: p.fairness_error, 4)


def _shadows(summary: Summary) -> Table:
    """What other families would have decided."""
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for header in ("acting", "shadow"):
        table.add_column(header)
    for header in ("slots", "routes differ", "deployments differ", "predicted regret in J"):
        table.add_column(header, justify="right")
    for run in summary.results:
        for shadow in run.shadows:
            regret = NOTHING if shadow.predicted_regret is None else f"{shadow.predicted_regret:+.3f}"
            table.add_row(
                _label(summary, run.family, False),
                shadow.family,
                f"{shadow.slots:,}",
                f"{shadow.routes_differ:.0%}",
                f"{shadow.deployments_differ:.0%}",
                regret,
            )
    return table


def _note(summary: Summary) -> str:
    lms = ", ".join(summary.lms) if len(summary.lms) <= MOST_LMS else "worst LM, all"
    lines = [
        "mean s, P95 s: end-to-end latency of served requests, seconds.",
        f"{lms}: share of requests served within {summary.deadline_s:g} s.",
        f"F_norm: fairness between LMs, 1 is best. J: {summary.latency_weight:g} latency + "
        f"{1 - summary.latency_weight:g} unfairness (P1, eq. 10), 0 is best.",
        "J/bound: J over a lower bound on J for whoever serves all of these requests that can be served.",
        "decided by: who made how many decisions, all seeds together."
        if len(summary.seeds) > 1
        else "decided by: who made how many decisions.",
    ]
    if any(run.agents for run in summary.results):
        lines.append(
            "accepted, repaired: the model's first or second answer passed every rule; "
            + ("reused: the last plan was kept; " if _has(summary, "reused") else "")
            + "fallback: a rule decided, and why. docs/agents.md explains every reason."
        )
    if any(family_label(summary, family) != words_of(family) for family in summary.families):
        lines.append(
            f"A family is called by its code alone where agents made {MOSTLY:.0%} of the decisions in their roles or "
            f"more, and {HALF:.0%} in each; else their share stands beside it."
        )
    if any(role.unwrapped for run in summary.results for role in run.agents.values()):
        lines.append("unwrapped: answers that were read although something stood around their JSON object.")
    if _has(summary, "overruled"):
        lines.append("overruled: the answer passed, but was predicted to be worse than the rule's, which was taken.")
    if any(run.predictions for run in summary.results):
        lines.append(
            "pred., came out: mean latency and J of the plans that were adopted, over the requests of their horizon; "
            "error: mean absolute difference, plan by plan."
        )
    if any(run.shadows for run in summary.results):
        lines.append("predicted regret: J of the acting decisions minus J of the shadow's, in the twin, mean per slot.")
    if len(summary.seeds) > 1:
        shown = {header: value for header, (value, _, interval_too) in _columns(summary).items() if interval_too}
        lines += notes(
            len(summary.seeds),
            {
                (header, family): [value(run) for run in summary.of(family)]
                for header, value in shown.items()
                for family in summary.families
            },
        )
    return "\n".join(lines)


def output_console() -> Console:
    """Console for results: the terminal's width, or 100 columns and no control characters in a file or pipe."""
    measured = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, width=None if measured else 100)
