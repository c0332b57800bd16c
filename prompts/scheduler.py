"""The scheduling agent's prompt (P1 section IV-B1): the planner's split and the state of the cluster, in short."""

from __future__ import annotations

from domain.cluster import Cluster
from domain.constraints import MOST_WEIGHT
from domain.decisions import EVERYBODY, MacroPolicy
from domain.serving import Dispatch
from domain.telemetry import Snapshot
from prompts import sentences, serving
from prompts.messages import Message, MessageTemplate
from prompts.quoting import quoted
from prompts.sentences import number
from prompts.situation import Situation, Situations

_FIXED, _OPEN = MessageTemplate("scheduler"), MessageTemplate("scheduler_open")
MOST_ORIGINS = 32
"""Nodes of a cluster whose origins may be told of other nodes than the rest; in a larger one all are told the same."""


class SchedulerPrompts:
    """The prompts of one cluster; what stays the same from slot to slot is written once."""

    def __init__(self, cluster: Cluster, situations: Situations | None = None) -> None:
        """Write the instructions; `situations` are shared with others who are told of the same snapshots."""
        self._cluster, self._situations = cluster, situations or Situations(cluster)
        self._names = [quoted(node.name) for node in cluster.nodes]
        self._servable = [i for i in range(cluster.n_lms) if cluster.feasible[:, i].any()]
        servable = [cluster.lms[i].name for i in self._servable]
        told = {
            "slot_s": number(cluster.slot_s),
            "deadline_s": number(cluster.deadline_s),
            "lms": sentences.lm_lines(cluster, needs=False),
            "together": serving.together(cluster, copies=True),
        }
        if cluster.serving.dispatch is Dispatch.FIXED:
            self._template = _FIXED
            origins = f"the {sentences.plural(cluster.n_nodes, 'node')}"
            self._system = _FIXED.fill_system(**told, origins=origins, form=_form(cluster, servable))
        else:
            self._template = _OPEN
            self._system = _OPEN.fill_system(
                **told,
                choice=serving.choice(cluster),
                origins=_OWN_ENTRIES if cluster.n_nodes <= MOST_ORIGINS else "",
                most_weight=number(MOST_WEIGHT),
                form=_open_form(cluster, servable),
            )
        self._last: tuple[MacroPolicy, str, list[str]] | None = None

    def messages(self, snapshot: Snapshot, policy: MacroPolicy) -> list[Message]:
        """Return the messages that ask for the routing matrix of slot `snapshot.slot`."""
        situation = self._situations.of(snapshot)
        shares, roles = self._told(policy)
        user = self._template.fill_user(
            shares=shares,
            nodes="\n".join([self._node(situation, n, own) for n, own in enumerate(roles)]),
            arrivals=self._arrivals(snapshot),
            slot=str(snapshot.slot),
        )
        return [self._system, user]

    def _told(self, policy: MacroPolicy) -> tuple[str, list[str]]:
        """Shares, and roles of each node; those of the last policy are kept, since it rules for an epoch."""
        if self._last is None or self._last[0] is not policy:
            cluster, lines = self._cluster, []
            for i in self._servable:
                row = policy.probabilities[i].tolist()
                given = {node.name: share for node, share in zip(cluster.nodes, row, strict=True) if share > 0}
                lines.append(f"- {sentences.shares({cluster.lms[i].name: given}, cluster.n_nodes)}")
            names = self._situations.lms
            roles = [
                "+".join([name for name, own in zip(names, row, strict=True) if own]) or "none"
                for row in policy.roles.tolist()
            ]
            self._last = (policy, "\n".join(lines), roles)
        return self._last[1:]

    def _node(self, situation: Situation, n: int, roles: str) -> str:
        """Roles, pods, queues and headroom of one node; LMs without pod and queue are left out."""
        states = [
            f"{lm} {pod}; {queue}" if pod and queue else f"{lm} {pod or queue}"
            for lm, pod, queue in zip(self._situations.lms, situation.pods(n), situation.queues(n), strict=True)
            if pod or queue
        ]
        state = " | ".join(states) or "nothing on, nothing waiting"
        reading = situation.reading(n)
        line = f"- {self._names[n]}: roles {roles} | {state} | free {situation.headroom(n)}"
        return f"{line} | {reading}" if reading else line

    def _arrivals(self, snapshot: Snapshot) -> str:
        """Prompts of the last slot by LM and origin."""
        lines = []
        for lm, arrived in zip(self._situations.lms, snapshot.arrived_prompts.T.tolist(), strict=True):
            if any(arrived):
                origins = zip(self._names, arrived, strict=True)
                lines.append(
                    f"- {lm}: {', '.join([f'{name} {number(prompts)}' for name, prompts in origins if prompts])}"
                )
        return "\n".join(lines) if lines else "None."


def scheduler_messages(cluster: Cluster, snapshot: Snapshot, policy: MacroPolicy) -> list[Message]:
    """Return what `SchedulerPrompts.messages` does, for a caller that asks once."""
    return SchedulerPrompts(cluster).messages(snapshot, policy)


_OWN_ENTRIES = (
    '\n- The entry with the origin "*" is for all origins. Give one an entry of its own only where it should use other '
    "nodes; that one then holds for it alone."
)


def _open_form(cluster: Cluster, lms: list[str]) -> str:
    able = [node.name for n, node in enumerate(cluster.nodes) if cluster.feasible[n, cluster.lm_index[lms[0]]]][:2]
    weights = ", ".join(f"{quoted(name)}: <weight>" for name in able)
    rows = ", ".join([f"{quoted(lms[0])}: {{{weights}, …}}", *(f"{quoted(lm)}: {{…}}" for lm in lms[1:])])
    return f'{{"reasoning": "<why>", "routes": [{{"origin": "{EVERYBODY}", "nodes": {{{rows}}}}}]}}'


def _form(cluster: Cluster, lms: list[str]) -> str:
    row = ", ".join(f'{quoted(lm)}: "<node>"' for lm in lms)
    return f'{{"reasoning": "<why>", "routes": {{{quoted(cluster.nodes[0].name)}: {{{row}}}, …}}}}'
