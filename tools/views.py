"""A snapshot in names, units and plain data, with nothing in it that is zero or off: what the looking tools answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from domain.cluster import Cluster
from domain.telemetry import Phase, Snapshot


def cluster_view(cluster: Cluster, snapshot: Snapshot, most_nodes: int) -> dict[str, Any]:
    """All LMs in sums, then the nodes: all of them, or the `most_nodes` with the most prompts waiting."""
    order = np.argsort(-snapshot.backlog_prompts.sum(axis=1), kind="stable")
    shown = sorted(order[:most_nodes].tolist()) if cluster.n_nodes > most_nodes else range(cluster.n_nodes)
    left_out = cluster.n_nodes - len(shown)
    return {
        "slot": snapshot.slot,
        "lms": {
            lm.name: {
                "backlog_prompts": int(snapshot.backlog_prompts[:, i].sum()),
                "oldest_wait_s": float(snapshot.oldest_wait_s[:, i].max(initial=0.0)),
                "arrived_prompts": int(snapshot.arrived_prompts[:, i].sum()),
                "ready_pods": int((snapshot.phase[:, i] == Phase.READY).sum()),
                "pending_pods": int((snapshot.phase[:, i] == Phase.PENDING).sum()),
            }
            for i, lm in enumerate(cluster.lms)
        },
        "nodes": {cluster.nodes[n].name: node_view(cluster, snapshot, n) for n in shown},
        **({"nodes_left_out": left_out, "nodes_shown": "those with most prompts waiting"} if left_out else {}),
    }


def node_view(cluster: Cluster, snapshot: Snapshot, n: int) -> dict[str, Any]:
    """One node: how old the reading is, what is free, and each LM that has a pod, a queue or arrivals there."""
    age = float(snapshot.age_s[n])
    if np.isnan(age):
        return {"reading": "none: the node could not be read, its figures are unknown"}
    cells = {lm.name: _cell(snapshot, n, i) for i, lm in enumerate(cluster.lms)}
    unified, ram_gb = cluster.nodes[n].unified_memory, float(snapshot.free_ram_gb[n])
    return {
        "reading_age_s": age,
        "free": {
            "cores": int(snapshot.free_cores[n]),
            "cpu_and_gpu_memory_gb" if unified else "ram_gb": ram_gb,
            "vgpus": int(snapshot.free_vgpus[n]),
            **({} if unified else {"vram_gb": float(snapshot.free_vram_gb[n])}),
        },
        "lms": {name: cell for name, cell in cells.items() if cell},
    }


def _cell(snapshot: Snapshot, n: int, i: int) -> dict[str, Any]:
    phase = Phase(int(snapshot.phase[n, i]))
    figures: dict[str, Any] = {
        "backlog_prompts": int(snapshot.backlog_prompts[n, i]),
        "backlog_requests": int(snapshot.backlog_requests[n, i]),
        "oldest_wait_s": float(snapshot.oldest_wait_s[n, i]),
        "arrived_prompts": int(snapshot.arrived_prompts[n, i]),
        "busy_s": float(snapshot.busy_s[n, i]),
        "cores": int(snapshot.cores[n, i]),
        "vgpus": int(snapshot.vgpus[n, i]),
        "phase_left_s": float(snapshot.phase_left_s[n, i]),
    }
    pod = {} if phase is Phase.OFF else {"pod": phase.name}
    return pod | {name: value for name, value in figures.items() if value}
