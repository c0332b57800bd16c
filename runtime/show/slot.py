"""One slot of a run: each decision with the state it leaves, who made it, and why."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from domain.errors import InputError
from domain.ledger import Decision, Outcome, Role
from domain.telemetry import Phase
from policies.families import NOBODY
from runtime.agents.families import AGENT, has_agents, recipe_of, roles_of
from runtime.show.groups import MOST_NODES
from runtime.show.history import PHASE_WORDS, History, Spans, form
from runtime.show.slot_routes import slot_routes
from runtime.show.tables import BUSIEST, NOT_KEPT, table

MOST_TEXT = 600
"""Characters that are shown of a model's reasoning."""
ELSEWHERE = (
    "What agents said in this slot is in the memory that the run was given, not in its folder; who decided is said of "
    "the run as a whole.\n"
)
NO_PLANNER = "nobody: every node may host what it can run."


def one_slot(
    history: History, slot: int, decisions: Sequence[Decision] | None, node: str | None = None
) -> Iterator[Table | Text]:
    """Show what was decided in a slot.

    Args:
        history: of the run.
        slot: counted from 0, those without new requests at the end included.
        decisions: what the ledger holds of the slot, and the last macro-policy; None where the run has no ledger.
        node: show this node alone.

    Raises:
        InputError: there is no such slot or node.
    """
    cluster, last, slot_s = history.cluster, history.result.slots - 1, history.summary.slot_s
    if not 0 <= slot <= last:
        raise InputError(f"{history.folder} has slots 0 to {last}; there is no slot {slot}.")
    if node is not None and node not in cluster.node_index:
        names = ", ".join(history.summary.nodes[:MOST_NODES])
        raise InputError(f"There is no node {node!r} in {history.folder}; its nodes are {names}.")
    yield Text(history.title, style="bold")
    more = " (no new requests any more)" if slot >= history.slots else ""
    epoch = slot // history.summary.epoch_slots
    yield Text(f"Slot {slot}, from {slot * slot_s:g} s to {(slot + 1) * slot_s:g} s, epoch {epoch}{more}")
    recipe = recipe_of(history.family)
    yield Text(f"{recipe.title}. {recipe.summary}\n", style="dim")
    own = defaultdict[Role, list[Decision]](list)
    for decision in decisions or ():
        own[decision.role].append(decision)
    if decisions is None and has_agents(history.family):
        yield Text(ELSEWHERE, style="yellow")
    yield Text.assemble(("Planner: ", "bold"), _planned(history, own[Role.PLANNER], slot))
    yield Text.assemble(("\nScheduler: ", "bold"), _by(history, Role.SCHEDULER, own[Role.SCHEDULER]))
    if history.routes is None:
        yield Text("The folder does not hold the routes of a slot: it is older than routes.parquet.", style="yellow")
    else:
        yield from slot_routes(history, history.routes, slot, node)
    yield Text.assemble(("Deployers: ", "bold"), _by(history, Role.DEPLOYER, own[Role.DEPLOYER]))
    if history.pods is None:
        yield Text(NOT_KEPT, style="yellow")
    else:
        yield from _nodes(history, history.pods, slot, own[Role.DEPLOYER], node)


def _planned(history: History, decisions: Sequence[Decision], slot: int) -> str:
    """Who planned last, and what its macro-policy says."""
    who = _rule(history, Role.PLANNER)
    written = [made for made in history.policies if made <= slot]
    if decisions:
        made, policy, who, reasons = decisions[-1].slot, decisions[-1].decision, _who(decisions[-1]), why(decisions[-1])
    elif written:
        made, policy, reasons = max(written), history.policies[max(written)], list[str]()
    else:
        return NO_PLANNER if who == NOBODY else f"{who}; the folder does not hold its macro-policies."
    lines = [f"{who}, in slot {made}" + ("" if made == slot else ", still in force")]
    lines += [f"  {lm}: {_shares(row)}" for lm, row in policy.get("routing", {}).items()]
    return "\n".join([*lines, *reasons])


def _shares(row: Mapping[str, float]) -> str:
    ranked = sorted(row.items(), key=lambda item: -item[1])
    text = ", ".join(f"{name} {share:.0%}" for name, share in ranked[:MOST_NODES])
    return text + (f", {len(ranked) - MOST_NODES} more" if len(ranked) > MOST_NODES else "")


def _by(history: History, role: Role, decisions: Sequence[Decision]) -> str:
    """Who filled a role in the slot, and why a model decided so."""
    if not decisions:
        return _rule(history, role)
    if role is not Role.DEPLOYER:
        return "\n".join([_who(decisions[0]), *why(decisions[0])])
    makers = dict.fromkeys(_who(decision) for decision in decisions)
    return ", ".join(makers) if len(makers) <= 3 else f"{len(makers)} makers, node by node"


def _rule(history: History, role: Role) -> str:
    """Who decided where there is no ledger to ask: the rule of the family, or whoever stood in."""
    named = list(history.result.decided_by.get(role.value, {}))
    if not named:
        named = [roles_of(recipe_of(history.family))[role]]
    if len(named) > 1:
        return f"one of {', '.join(named)}"
    if named[0] == NOBODY or named[0] == AGENT or ":" in named[0]:
        return named[0].replace(":", " ")
    return f"rule {named[0]}"


def _who(decision: Decision) -> str:
    """'agent gpt-x (repaired)', 'rule lyapunov', 'fallback random (timeout)'."""
    kind, _, name = decision.decided_by.partition(":")
    who = f"{kind} {name}".strip()
    if decision.outcome is Outcome.RULE or decision.outcome.value == kind:
        return who + (f" ({decision.reason.value})" if decision.reason else "")
    detail = decision.outcome.value + (f": {decision.reason.value}" if decision.reason else "")
    return f"{who} ({detail})"


def why(decision: Decision) -> list[str]:
    """Lines on how a decision came about: the model's reasoning, what its answers broke, what was predicted."""
    lines = list[str]()
    for number, attempt in enumerate(decision.attempts, start=1):
        which = f"answer {number}" if len(decision.attempts) > 1 else "answer"
        if text := reasoning_of(attempt.answer):
            lines.append(f"  {which}, why: {text}")
        lines += [f"  {which} broke a rule: {sentence}" for sentence in attempt.violations]
        if attempt.error:
            lines.append(f"  {which} did not come: {attempt.error}")
    if decision.outcome is Outcome.OVERRULED:
        lines.append(_overruled(decision))
    if predicted := (decision.rehearsal or {}).get("predicted"):
        lines.append(f"  predicted: J {predicted['objective']:.3f}")
    return lines


def _overruled(decision: Decision) -> str:
    """Why an answer that kept to the rules was not taken, and what a deployer had proposed."""
    known = decision.rehearsal or {}
    text = "  overruled: the twin predicted it to be worse than what was taken"
    if "proposed_objective" in known and "incumbent_objective" in known:
        text += f" (J {known['proposed_objective']:.3f}, not {known['incumbent_objective']:.3f})"
    if decision.role is Role.DEPLOYER and isinstance(proposed := known.get("proposed"), dict):
        amounts = {
            lm: "off" if own == "off" else form(**{"cores": 0, "vgpus": 0, **own}) for lm, own in proposed.items()
        }
        text += f"; it was {', '.join(f'{lm} {amount}' for lm, amount in amounts.items())}"
    return text


def reasoning_of(answer: str | None) -> str | None:
    """The reasoning that a model wrote into its answer; None where there is none to be read."""
    if answer is None:
        return None
    start, end = answer.find("{"), answer.rfind("}")
    try:
        told: Any = json.loads(answer[start : end + 1])
    except ValueError:
        return None
    text = told.get("reasoning") if isinstance(told, dict) else None
    if not isinstance(text, str) or not text.strip():
        return None
    text = " ".join(text.split())
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"


def _nodes(
    history: History, pods: Spans, slot: int, decisions: Sequence[Decision], node: str | None
) -> Iterator[Table | Text]:
    """The state that the slot leaves on each node; a star where it is not that of the slot before."""
    cluster = history.cluster
    now, before = _states(pods, slot), _states(pods, slot - 1)
    made_by = {decision.node: decision for decision in decisions}
    changed = {n for (n, i), state in now.items() if state != before.get((n, i))}
    changed |= {n for (n, i), state in before.items() if state != now.get((n, i))}
    shown = list(range(cluster.n_nodes))
    if node is not None:
        shown = [cluster.node_index[node]]
    elif cluster.n_nodes > MOST_NODES:
        shown = sorted(sorted(shown, key=lambda n: n not in changed)[:BUSIEST])
    made = table("node", *(lm.name for lm in cluster.lms), "decided by")
    for n in shown:
        cells = [_cell(now.get((n, i)), before.get((n, i))) for i in range(cluster.n_lms)]
        decision = made_by.get(cluster.nodes[n].name)
        made.add_row(cluster.nodes[n].name, *cells, _who(decision) if decision else _rule(history, Role.DEPLOYER))
    yield made
    left = cluster.n_nodes - len(shown)
    if left and node is None:
        yield Text(f"{len(changed)} of {cluster.n_nodes} nodes changed; --node NAME shows any.")
    yield Text("Each cell is the state at the end of the slot; * where the slot changed it.", style="dim")
    for n in shown:
        decision = made_by.get(cluster.nodes[n].name)
        if decision is not None and (lines := why(decision)):
            yield Text.assemble((f"{cluster.nodes[n].name}\n", "bold"), "\n".join(lines))


def _states(pods: Spans, slot: int) -> dict[tuple[int, int], str]:
    """State of each pod at the end of a slot, in words; nothing where it is off."""
    known = pods.at(slot)
    states = dict[tuple[int, int], str]()
    columns = (known.node, known.lm, *known.values)
    for n, i, phase, cores, vgpus in zip(*(column.tolist() for column in columns), strict=True):
        if phase != Phase.OFF:
            amount = form(cores, vgpus)
            states[n, i] = amount if phase == Phase.READY else f"{amount}, {PHASE_WORDS[Phase(phase)]}"
    return states


def _cell(now: str | None, before: str | None) -> str:
    return (now or "off") + ("" if now == before else " *")
