"""The deployment agents' prompts (P1 section IV-B2): short, for the node's hardware, its own state and role only."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.decisions import OFF
from domain.telemetry import Phase, Snapshot
from prompts import sentences
from prompts.messages import Message, MessageTemplate
from prompts.quoting import quoted
from prompts.sentences import number, plural

_CPU_ONLY, _ONE_GPU, _SEVERAL_GPUS = (
    MessageTemplate("deployer_cpu"),
    MessageTemplate("deployer_gpu"),
    MessageTemplate("deployer_gpus"),
)


class DeployerPrompts:
    """The prompts of all nodes of one cluster; what stays the same from slot to slot is written once."""

    def __init__(self, cluster: Cluster) -> None:
        """Write nothing yet: each node's instructions are written when they are first needed."""
        self._cluster = cluster
        self._standing: dict[int, _Standing] = {}

    def messages(self, snapshot: Snapshot, n: int, roles_row: NDArray[np.bool_]) -> list[Message]:
        """Return the messages that ask for node n's deployment of slot `snapshot.slot`.

        `roles_row`, [I], is True for the LMs of the node's role.
        """
        cluster = self._cluster
        if n not in self._standing:
            self._standing[n] = _standing(cluster, n)
        template, system, names = self._standing[n]
        meant = ", ".join(name for i, name in names if roles_row[i])
        user = template.fill_user(
            slot=str(snapshot.slot),
            role=f"{meant or 'none'}. Everything else stays off.",
            headroom=f"Free: {sentences.headroom(cluster, snapshot, n)}.",
            pods="\n".join(f"- {name} {_pod(cluster, snapshot, n, i)}" for i, name in names),
            notices="".join(f"\n{notice}\n" for notice in _notices(cluster, snapshot, n)),
        )
        return [{"role": "system", "content": system}, user]


def deployer_messages(cluster: Cluster, snapshot: Snapshot, n: int, roles_row: NDArray[np.bool_]) -> list[Message]:
    """Return what `DeployerPrompts.messages` does, for a caller that asks once."""
    return DeployerPrompts(cluster).messages(snapshot, n, roles_row)


class _Standing(NamedTuple):
    """What is the same for a node in every slot."""

    template: MessageTemplate
    system: str
    names: list[tuple[int, str]]
    """Index and quoted name of the LMs that the node can run."""


def _standing(cluster: Cluster, n: int) -> _Standing:
    node = cluster.nodes[n]
    template = _CPU_ONLY if not node.vgpus else _ONE_GPU if node.gpus == 1 else _SEVERAL_GPUS
    names = [(int(i), quoted(cluster.lms[i].name)) for i in np.flatnonzero(cluster.feasible[n])]
    cells = ", ".join(f'{name}: {{"mode": "<mode>", "amount": <n>}}' for _, name in names)
    system = template.fill_system(
        slot_s=number(cluster.slot_s),
        deadline_s=number(cluster.deadline_s),
        node=f"{quoted(node.name)}: {sentences.capacity(node)}",
        lms=sentences.lm_lines(cluster, [n]),
        form=f'{{"reasoning": "<why>", "deployment": {{{cells}}}}}',
    )
    return _Standing(template, system["content"], names)


def _pod(cluster: Cluster, snapshot: Snapshot, n: int, i: int) -> str:
    """How the LM stands, in the form of an answer, and what waits for it."""
    phase = int(snapshot.phase[n, i])
    queue = sentences.waiting(cluster, snapshot, n, i) or "nothing waits"
    if phase == Phase.OFF:
        return f"{sentences.allocation_json(0, 0)}: {queue}"
    allocation = snapshot.allocation(n, i)
    now = allocation if phase != Phase.TERMINATING else OFF
    busy = (
        f"; busy {number(float(snapshot.busy_s[n, i]))} of {number(cluster.slot_s)} s" if phase == Phase.READY else ""
    )
    return f"{sentences.allocation_json(now.cores, now.vgpus)}: {sentences.pod(snapshot, n, i)}{busy}; {queue}"


def _notices(cluster: Cluster, snapshot: Snapshot, n: int) -> list[str]:
    """What binds the answer beyond the rules that always hold."""
    notices = []
    if snapshot.has_pending(n):
        notices.append("A pod is Pending: until it runs, each LM can only stay as it is above, or be turned off.")
    age = float(snapshot.age_s[n])
    if math.isnan(age):
        notices.append("The node could not be read, so the figures above may be wrong: keep each LM as it is.")
    elif age > cluster.slot_s:
        notices.append(f"These figures are {plural(round(age), 'second')} old.")
    return notices
