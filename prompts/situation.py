"""One snapshot as the phrases in which scheduler and deployers are told of it.

Both are told of the same pods, queues and headroom, of hundreds of nodes before every slot. So each phrase is written
once, and from plain rows of numbers: picking single values out of NumPy arrays takes longer than all of the writing.
Pods and headroom of most nodes are what they were a slot before, and so are their phrases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from domain.cluster import Cluster, Node
from domain.telemetry import Phase, Snapshot
from prompts.quoting import quoted
from prompts.sentences import at_once, number, plural

_OFF, _STARTING, _READY, _TERMINATING, _PENDING = map(int, Phase)  # plain numbers compare ten times as fast
_SERVING = (_STARTING, _READY)
_Pods = tuple[list[int], list[int], list[int], list[float]]
"""Phase, cores, vGPUs and seconds left of the pods of one node, of each LM."""
_Free = tuple[int, float, int, float]
"""Cores, GB RAM, vGPUs and GB vRAM that no pod of one node holds."""


class Situations:
    """Makes the situations of one cluster, and keeps the last one for whoever is told of the same snapshot."""

    def __init__(self, cluster: Cluster) -> None:
        """Write down what is the same in every slot."""
        self.cluster = cluster
        self.lms = tuple(quoted(lm.name) for lm in cluster.lms)
        """Names of the LMs, quoted."""
        self.limits = tuple(map(_limits, cluster.nodes))
        """What stands behind each figure of a node's headroom."""
        self.slot_s = number(cluster.slot_s)
        self.one_by_one = " one by one" if at_once(cluster) else ""
        """Said of seconds of work that pods may do in less, for they compute several prompts at once."""
        self.pods: list[tuple[_Pods, list[str]] | None] = [None] * cluster.n_nodes
        """Of each node what its pods were last, and their phrases."""
        self.headroom: list[tuple[_Free, str] | None] = [None] * cluster.n_nodes
        """The same of its headroom."""
        self._last: Situation | None = None

    def of(self, snapshot: Snapshot) -> Situation:
        """Return the situation of a snapshot, whose arrays must not change any more."""
        if self._last is None or self._last.snapshot is not snapshot:
            self._last = Situation(self, snapshot)
        return self._last


class Situation:
    """A snapshot in phrases."""

    def __init__(self, kept: Situations, snapshot: Snapshot) -> None:
        """Take the snapshot apart; phrases are written when they are first asked for."""
        self._kept, self.snapshot = kept, snapshot
        self.age_s: list[float] = snapshot.age_s.tolist()
        self._phase: list[list[int]] = snapshot.phase.tolist()
        self._left_s: list[list[float]] = snapshot.phase_left_s.tolist()
        self._cores: list[list[int]] = snapshot.cores.tolist()
        self._vgpus: list[list[int]] = snapshot.vgpus.tolist()
        self._backlog: list[list[int]] = snapshot.backlog_prompts.tolist()
        self._oldest_s: list[list[float]] = snapshot.oldest_wait_s.tolist()
        self._busy_s: list[list[float]] = snapshot.busy_s.tolist()
        self._free: list[_Free] = list(
            zip(
                snapshot.free_cores.tolist(),
                snapshot.free_ram_gb.tolist(),
                snapshot.free_vgpus.tolist(),
                snapshot.free_vram_gb.tolist(),
                strict=True,
            )
        )
        nodes = len(self._phase)
        self._queues: list[list[str] | None] = [None] * nodes

    def pods(self, n: int) -> list[str]:
        """Of each LM the pod on node n: how much it has or wants, and its phase; empty where there is none."""
        now, known = (self._phase[n], self._cores[n], self._vgpus[n], self._left_s[n]), self._kept.pods[n]
        if known is None or known[0] != now:
            known = self._kept.pods[n] = now, [_pod(*row) if row[0] else "" for row in zip(*now, strict=True)]
        return known[1]

    def queues(self, n: int) -> list[str]:
        """Of each LM the queue at node n, and the work in it at the present speed; empty where nothing waits."""
        known = self._queues[n]
        if known is None:
            known = self._queues[n] = [self._queue(n, i) if waits else "" for i, waits in enumerate(self._backlog[n])]
        return known

    def _queue(self, n: int, i: int) -> str:
        prompts = self._backlog[n][i]
        seconds = prompts * self._seconds_per_prompt(n, i)
        work = f" = {number(seconds)} s of work{self._kept.one_by_one}" if math.isfinite(seconds) else ""
        return f"{plural(prompts, 'prompt')}{work}, oldest {number(self._oldest_s[n][i])} s"

    def _seconds_per_prompt(self, n: int, i: int) -> float:
        """Seconds per prompt of the pod as it is, alone on its GPU; infinity where it serves nothing."""
        if self._phase[n][i] not in _SERVING:
            return math.inf
        cluster = self._kept.cluster
        return cluster.gpu_seconds(n, i) if self._vgpus[n][i] else cluster.cpu_seconds(n, i, self._cores[n][i])

    def headroom(self, n: int) -> str:
        """What no pod of node n holds, of what it has."""
        now, known = self._free[n], self._kept.headroom[n]
        if known is None or known[0] != now:
            parts = zip(now, self._kept.limits[n], strict=False)
            known = self._kept.headroom[n] = now, ", ".join([f"{number(free)}{limit}" for free, limit in parts])
        return known[1]

    def reading(self, n: int) -> str:
        """How far the figures of node n can be trusted; empty where they are of the last slot's end."""
        age = self.age_s[n]
        if math.isnan(age):
            return "not read, figures unknown"
        return f"read {number(age)} s ago" if age > self._kept.cluster.slot_s else ""

    def has_pending(self, n: int) -> bool:
        """True where a Pending pod binds node n."""
        return _PENDING in self._phase[n]

    def stand(self, n: int, lms: Sequence[tuple[int, str]]) -> str:
        """How LMs, number and quoted name each, stand on node n, line by line, with the pods in the form of an answer.

        Where a pod is ready, the line says how long it was busy in the last slot.
        """
        pods, queues, lines = self.pods(n), self.queues(n), []
        phases, cores, vgpus = self._phase[n], self._cores[n], self._vgpus[n]
        for i, name in lms:
            phase, queue = phases[i], queues[i] or "nothing waits"
            if phase == _OFF:
                lines.append(f'- {name} {{"mode": "off", "amount": 0}}: {queue}')
                continue
            on = phase != _TERMINATING
            now = allocation_json(cores[i], vgpus[i]) if on else allocation_json(0, 0)
            busy = ""
            if phase == _READY:
                busy = f"; busy {number(self._busy_s[n][i])} of {self._kept.slot_s} s"
            lines.append(f"- {name} {now}: {pods[i]}{busy}; {queue}")
        return "\n".join(lines)


def allocation_json(cores: int, vgpus: int) -> str:
    """An allocation in the form in which a deployer answers."""
    mode, amount = ("gpu", vgpus) if vgpus else ("cpu", cores) if cores else ("off", 0)
    return f'{{"mode": "{mode}", "amount": {amount}}}'


def _pod(phase: int, cores: int, vgpus: int, left_s: float) -> str:
    size = plural(vgpus, "vGPU") if vgpus else plural(cores, "core")
    if phase == _READY:
        return f"on {size}, ready"
    if phase == _PENDING:
        return f"Pending for {size}"
    left = number(left_s)
    return f"on {size}, ready in {left} s" if phase == _STARTING else f"shutting down from {size}, {left} s left"


def _limits(node: Node) -> tuple[str, ...]:
    memory = "GB for CPU and GPU" if node.unified_memory else "GB RAM"
    limits = [f" of {node.cpu_cores} cores", f" of {number(node.ram_gb)} {memory}"]
    limits += [f" of {node.vgpus} vGPUs"] if node.vgpus else []
    return (*limits, *([f" of {number(node.vram_gb)} GB vRAM"] if node.vgpus and not node.unified_memory else []))
