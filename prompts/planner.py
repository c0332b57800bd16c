"""The planning agent's prompt (P1 section IV-A): objective, cluster, LMs, cases, telemetry, baseline, traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from domain.cluster import Cluster
from domain.ledger import Case
from domain.telemetry import Snapshot
from prompts import sentences, serving
from prompts.messages import Message, MessageTemplate, count
from prompts.quoting import quoted
from prompts.sentences import number

_TEMPLATE = MessageTemplate("planner")
_FIGURES = {
    "mean_latency_s": ("mean latency", " s", 1),
    "fairness": ("F", "", -1),
    "objective": ("J", "", 1),
}
"""Key of a figure, its name, its unit, and 1 where more of it is worse."""


class Recalled(Protocol):
    """Cases for the planner, each list with the most telling first."""

    @property
    def best(self) -> tuple[Case, ...]:
        """Smallest objective."""
        ...

    @property
    def worst(self) -> tuple[Case, ...]:
        """Largest objective: negative precedents."""
        ...

    @property
    def nearest(self) -> tuple[Case, ...]:
        """Traffic most like the present."""
        ...


def planner_messages(
    cluster: Cluster,
    *,
    snapshot: Snapshot,
    traffic: Mapping[str, Mapping[str, float]],
    last: Case | None,
    baseline: Mapping[str, float] | None,
    recalled: Recalled | None,
    candidates: Sequence[Mapping[str, Any]] | None = None,
    margin: float | None = None,
    token_budget: int = 6000,
) -> list[Message]:
    """Return the messages that ask for the macro-policy of the epoch that begins at `snapshot.slot`.

    Args:
        cluster: what the planner plans for.
        snapshot: what is known now; the planner is told the backlog.
        traffic: prompts per slot by LM and origin node in the last epoch; empty where none has passed.
        last: the run's last episode.
        baseline: of the random policy, `mean_latency_s`, `fairness` (F_norm) and `objective`, any of them.
        recalled: cases from memory.
        candidates: rehearsed policies, the incumbent first: `name`, `macro_policy` (form with names) and `predicted`,
            with keys as in `baseline`, `success_ratio` by LM and `spread`, the standard deviation of J.
        margin: share of the incumbent's J by which the answer may be worse in its own rehearsal and still be adopted;
            None where it is not rehearsed.
        token_budget: approximate tokens that all messages together may take. Cases alone are left out to stay within
            it, from the end of this order: best, worst, nearest, second best, second worst, second nearest … What is
            not a case is always told.
    """
    system = _TEMPLATE.fill_system(
        epoch_slots=str(cluster.epoch_slots),
        slot_s=number(cluster.slot_s),
        deadline_s=number(cluster.deadline_s),
        latency_weight=number(cluster.latency_weight),
        fairness_weight=number(1.0 - cluster.latency_weight),
        nodes=sentences.nodes_by_hardware(cluster),
        lms=sentences.lm_lines(cluster),
        form=_form(cluster),
        scheduling=serving.planned(cluster),
        together=serving.together(cluster, copies=True),
    )
    fields = {
        "slot": str(snapshot.slot),
        "last": _last_epoch(last, baseline, recalled),
        "traffic": _traffic(cluster, traffic),
        "backlog": _backlog(cluster, snapshot),
        "candidates": _candidates(candidates or (), margin),
    }
    ranked = _ranked(recalled, last)
    for most in range(len(ranked), -1, -1):
        messages = [system, _TEMPLATE.fill_user(**fields, cases=_cases(ranked, most, last))]
        if count(messages) <= token_budget:
            break
    return messages


def _form(cluster: Cluster) -> str:
    lms = [lm.name for i, lm in enumerate(cluster.lms) if cluster.feasible[:, i].any()]
    i = cluster.lm_index[lms[0]]
    able = [node.name for n, node in enumerate(cluster.nodes) if cluster.feasible[n, i]][:2]
    shares = ", ".join(f"{quoted(name)}: <share>" for name in able)
    nodes = [cluster.nodes[n].name for n in np.flatnonzero(cluster.feasible.any(axis=1))]
    return (
        f'{{"reasoning": "<why>", "routing": {{{quoted(lms[0])}: {{{shares}, …}}, …}}, '
        f'"roles": {{{quoted(nodes[0])}: [{quoted(lms[0])}, …], …}}}}'
    )


def _last_epoch(last: Case | None, baseline: Mapping[str, float] | None, recalled: Recalled | None) -> str:
    lines = []
    if last is None:
        lines.append("This is the first epoch of the run.")
    else:
        lines.append(f"{sentences.outcome(last)} The policy in force: {sentences.policy(last.macro_policy)}")
        if recalled is not None and _key(last) in map(_key, recalled.best):
            lines.append("It is among the best that memory holds.")
        if recalled is not None and _key(last) in map(_key, recalled.worst):
            lines.append("It is among the worst that memory holds.")
    if baseline:
        lines.append(f"For reference, a random macro-policy on this cluster came to {_figures(baseline)}.")
        lines.append(_against(last, baseline) if last is not None else "Stay well below that latency and that J.")
    return "\n".join(lines)


def _figures(values: Mapping[str, Any]) -> str:
    known = [f"{name} {number(float(values[key]))}{unit}" for key, (name, unit, _) in _FIGURES.items() if key in values]
    return ", ".join(known)


def _against(last: Case, baseline: Mapping[str, float]) -> str:
    """Demand what P1 expects of a planner whose last epoch fell behind the random baseline."""
    reached = {
        "mean_latency_s": float("inf") if last.global_mean_latency_s is None else last.global_mean_latency_s,
        "fairness": last.fairness,
        "objective": last.objective,
    }
    behind = [
        name
        for key, (name, _, sign) in _FIGURES.items()
        if key in baseline and sign * reached[key] > sign * baseline[key]
    ]
    if behind:
        return (
            f"The last epoch did worse than that in {' and '.join(behind)}. Corrective action is due: change "
            f"shares and roles markedly where requests failed or were slow; small adjustments are not enough."
        )
    return "The last epoch did better than that throughout: keep what works and improve it in small steps."


def _traffic(cluster: Cluster, traffic: Mapping[str, Mapping[str, float]]) -> str:
    if not traffic:
        return "No epoch has passed yet, so nothing is known."
    lines = ["Prompts per slot in the last epoch, by LM and origin:"]
    names = [node.name for node in cluster.nodes]
    for lm, row in traffic.items():
        total = sum(row.values())
        origins = sentences.heaviest(names, np.array([row.get(name, 0.0) for name in names]))
        i = cluster.lm_index.get(lm)
        load = "" if i is None or not total else _load(cluster, i, total)
        lines.append(f"- {quoted(lm)} {number(total)}{load}" + (f"; from {origins}" if origins else ""))
    return "\n".join(lines)


def _load(cluster: Cluster, i: int, prompts: float) -> str:
    """Say how many pods the prompts of one slot keep busy, on the fastest hardware of each kind."""
    nodes = range(cluster.n_nodes)
    on_gpu = min((cluster.gpu_seconds(n, i) for n in nodes if cluster.runs_on_gpu(n, i)), default=None)
    on_cpu = min(
        (cluster.cpu_seconds(n, i, cluster.nodes[n].cpu_cores) for n in nodes if cluster.runs_on_cpu(n, i)),
        default=None,
    )
    parts = [
        f"{number(prompts * seconds / cluster.slot_s)} {pods}"
        for seconds, pods in ((on_gpu, "pods alone on a GPU"), (on_cpu, "pods on all cores of a node"))
        if seconds is not None
    ]
    one_by_one = ", prompts one by one" if sentences.at_once(cluster) else ""
    return f", work for {' or '.join(parts)}{one_by_one}" if parts else ""


def _backlog(cluster: Cluster, snapshot: Snapshot) -> str:
    names = [node.name for node in cluster.nodes]
    lines = []
    for i, lm in enumerate(cluster.lms):
        queue = snapshot.backlog_prompts[:, i]
        if queue.any():
            oldest = number(float(snapshot.oldest_wait_s[:, i].max()))
            total, where = int(queue.sum()), sentences.heaviest(names, queue)
            lines.append(f"- {quoted(lm.name)} {sentences.plural(total, 'prompt')}, oldest {oldest} s; at {where}")
    return "\n".join(lines) if lines else "Nothing."


def _candidates(candidates: Sequence[Mapping[str, Any]], margin: float | None) -> str:
    if not candidates:
        return ""
    first = quoted(str(candidates[0]["name"]))
    lines = ["", "# Rehearsed in the digital twin", ""]
    lines.append("Policies that were tried on likely futures from the present state. Adopt one, mix them, or improve:")
    for candidate in candidates:
        name, predicted = quoted(str(candidate["name"])), _predicted(candidate["predicted"])
        lines.append(f"- {name}: expected {predicted}. {sentences.policy(candidate['macro_policy'])}")
    if margin is not None:
        lines.append(
            f"Your answer is tried on the same futures. It is adopted where its J is at most {number(100 * margin)} % "
            f"above that of {first}; otherwise {first} is."
        )
    return "\n".join([*lines, ""])


def _predicted(values: Mapping[str, Any]) -> str:
    parts = [_figures(values)]
    if "spread" in values:
        parts[0] += f" ± {number(float(values['spread']))}"
    ratios = values.get("success_ratio") or {}
    told = [f"{quoted(lm)} {number(float(ratio))}" for lm, ratio in ratios.items() if ratio is not None]
    return ", ".join([*parts, *(["success " + ", ".join(told)] if told else [])])


def _key(case: Case) -> tuple[str, int]:
    return case.run, case.epoch


_KINDS = ("Best", "Worst, to be avoided", "Like the present")


def _ranked(recalled: Recalled | None, last: Case | None) -> list[tuple[str, Case]]:
    """Cases with what they are good for, each once, in the order in which they are worth their tokens."""
    if recalled is None:
        return []
    lists = (recalled.best, recalled.worst, recalled.nearest)
    seen = set() if last is None else {_key(last)}
    ranked = []
    for place in range(max(map(len, lists))):
        for kind, cases in zip(_KINDS, lists, strict=True):
            if place < len(cases) and _key(cases[place]) not in seen:
                seen.add(_key(cases[place]))
                ranked.append((kind, cases[place]))
    return ranked


def _cases(ranked: Sequence[tuple[str, Case]], most: int, last: Case | None) -> str:
    """Tell the first of the cases in rank, kind by kind. Names of runs say nothing, and change from run to run."""
    own = None if last is None else last.run
    if not ranked:
        return "None yet."
    lines = [
        f"- {kind}: epoch {case.epoch} of {'this' if case.run == own else 'another'} run, "
        f"decided by {quoted(case.decided_by)}. "
        f"{sentences.outcome(case)} Prompts per slot: {sentences.totals(case.traffic)}. "
        f"{sentences.policy(case.macro_policy)}"
        for told in _KINDS
        for kind, case in ranked[:most]
        if kind == told
    ]
    left_out = len(ranked) - most
    return "\n".join(lines + ([f"({left_out} more left out for their length)"] if left_out else []))
