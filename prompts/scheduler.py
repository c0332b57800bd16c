"""The scheduling agent's prompt (P1 section IV-B1): the planner's split and the state of the cluster, in short."""

from __future__ import annotations

import numpy as np

from domain.cluster import Cluster
from domain.decisions import MacroPolicy
from domain.telemetry import Snapshot
from prompts import sentences
from prompts.messages import Message, MessageTemplate
from prompts.quoting import quoted
from prompts.sentences import number

_TEMPLATE = MessageTemplate("scheduler")


class SchedulerPrompts:
    """The prompts of one cluster; what stays the same from slot to slot is written once."""

    def __init__(self, cluster: Cluster) -> None:
        """Write the instructions."""
        self._cluster = cluster
        self._servable = [i for i in range(cluster.n_lms) if cluster.feasible[:, i].any()]
        self._system = _TEMPLATE.fill_system(
            slot_s=number(cluster.slot_s),
            deadline_s=number(cluster.deadline_s),
            lms=sentences.lm_lines(cluster, needs=False),
            origins=f"the {sentences.plural(cluster.n_nodes, 'node')}",
            form=_form(cluster, [cluster.lms[i].name for i in self._servable]),
        )

    def messages(self, snapshot: Snapshot, policy: MacroPolicy) -> list[Message]:
        """Return the messages that ask for the routing matrix of slot `snapshot.slot`."""
        cluster, shares = self._cluster, []
        for i in self._servable:
            row = policy.probabilities[i].tolist()
            given = {node.name: share for node, share in zip(cluster.nodes, row, strict=True) if share > 0}
            shares.append(f"- {sentences.shares({cluster.lms[i].name: given}, cluster.n_nodes)}")
        user = _TEMPLATE.fill_user(
            shares="\n".join(shares),
            nodes="\n".join(_node(cluster, snapshot, policy, n) for n in range(cluster.n_nodes)),
            arrivals=_arrivals(cluster, snapshot),
            slot=str(snapshot.slot),
        )
        return [self._system, user]


def scheduler_messages(cluster: Cluster, snapshot: Snapshot, policy: MacroPolicy) -> list[Message]:
    """Return what `SchedulerPrompts.messages` does, for a caller that asks once."""
    return SchedulerPrompts(cluster).messages(snapshot, policy)


def _form(cluster: Cluster, lms: list[str]) -> str:
    row = ", ".join(f'{quoted(lm)}: "<node>"' for lm in lms)
    return f'{{"reasoning": "<why>", "routes": {{{quoted(cluster.nodes[0].name)}: {{{row}}}, …}}}}'


def _node(cluster: Cluster, snapshot: Snapshot, policy: MacroPolicy, n: int) -> str:
    """Roles, pods, queues and headroom of one node; LMs without pod and queue are left out."""
    states = []
    for i, lm in enumerate(cluster.lms):
        state = [text for text in (sentences.pod(snapshot, n, i), sentences.waiting(cluster, snapshot, n, i)) if text]
        if state:
            states.append(f"{quoted(lm.name)} {'; '.join(state)}")
    names = "+".join(quoted(lm.name) for i, lm in enumerate(cluster.lms) if policy.roles[n, i])
    parts = [
        f"roles {names or 'none'}",
        " | ".join(states) or "nothing on, nothing waiting",
        f"free {sentences.headroom(cluster, snapshot, n)}",
        sentences.reading(snapshot, n, cluster.slot_s),
    ]
    return f"- {quoted(cluster.nodes[n].name)}: " + " | ".join(part for part in parts if part)


def _arrivals(cluster: Cluster, snapshot: Snapshot) -> str:
    names = [node.name for node in cluster.nodes]
    lines = []
    for i, lm in enumerate(cluster.lms):
        arrived = snapshot.arrived_prompts[:, i]
        if np.any(arrived):
            lines.append(f"- {quoted(lm.name)}: {sentences.heaviest(names, arrived, cluster.n_nodes)}")
    return "\n".join(lines) if lines else "None."
