"""The deployment agents' prompts (P1 section IV-B2): short, for the node's hardware, its own state and role only."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.telemetry import Snapshot
from prompts import sentences, serving
from prompts.messages import Message, MessageTemplate
from prompts.quoting import quoted
from prompts.sentences import number, plural
from prompts.situation import Situation, Situations

_CPU_ONLY, _ONE_GPU, _SEVERAL_GPUS = (
    MessageTemplate("deployer_cpu"),
    MessageTemplate("deployer_gpu"),
    MessageTemplate("deployer_gpus"),
)


class DeployerPrompts:
    """The prompts of all nodes of one cluster; what stays the same from slot to slot is written once."""

    def __init__(self, cluster: Cluster, situations: Situations | None = None) -> None:
        """Write nothing yet: each node's instructions are written when they are first needed.

        `situations` are shared with others who are told of the same snapshots.
        """
        self._cluster, self._situations = cluster, situations or Situations(cluster)
        self._standing: dict[int, _Standing] = {}

    def messages(self, snapshot: Snapshot, n: int, roles_row: NDArray[np.bool_]) -> list[Message]:
        """Return the messages that ask for node n's deployment of slot `snapshot.slot`.

        `roles_row`, [I], is True for the LMs of the node's role.
        """
        standing = self._standing.get(n)
        if standing is None:
            standing = self._standing[n] = _standing(self._cluster, n)
        situation, roles = self._situations.of(snapshot), roles_row.tolist()
        meant = ", ".join([name for i, name in standing.names if roles[i]])
        user = standing.template.fill_user(
            slot=str(snapshot.slot),
            role=f"{meant or 'none'}. Everything else stays off.",
            headroom=f"Free: {situation.headroom(n)}.",
            pods=situation.stand(n, standing.names),
            notices=_notices(situation, n, self._cluster.slot_s),
        )
        return [standing.system, user]


def deployer_messages(cluster: Cluster, snapshot: Snapshot, n: int, roles_row: NDArray[np.bool_]) -> list[Message]:
    """Return what `DeployerPrompts.messages` does, for a caller that asks once."""
    return DeployerPrompts(cluster).messages(snapshot, n, roles_row)


class _Standing(NamedTuple):
    """What is the same for a node in every slot."""

    template: MessageTemplate
    system: Message
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
        together=serving.together(cluster, copies=False),
        spanning=serving.spanning(cluster, n),
    )
    return _Standing(template, system, names)


def _notices(situation: Situation, n: int, slot_s: float) -> str:
    """What binds the answer beyond the rules that always hold."""
    notices = ""
    if situation.has_pending(n):
        notices = "\nA pod is Pending: until it runs, each LM can only stay as it is above, or be turned off.\n"
    age = situation.age_s[n]
    if math.isnan(age):
        notices += "\nThe node could not be read, so the figures above may be wrong: keep each LM as it is.\n"
    elif age > slot_s:
        notices += f"\nThese figures are {plural(round(age), 'second')} old.\n"
    return notices
