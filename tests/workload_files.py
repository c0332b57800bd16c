"""Workload files for tests, and what their workloads come to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from domain.cluster import Cluster
from domain.workload import Arrivals, Workload
from twin.testbeds import load_builtin
from twin.workloads import Streams, builtin_names, load_workload

BRISTOL = load_builtin("bristol")
BUILTIN = {name: load_workload(name, BRISTOL, seed=11) for name in builtin_names()}
SLOT_S = BRISTOL.slot_s


def write(tmp_path: Path, text: str, name: str = "workload.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def stream(tmp_path: Path, text: str, seed: int = 1, cluster: Cluster = BRISTOL) -> Streams:
    """A workload of one stream, written in YAML's flow style."""
    return load_workload(write(tmp_path, f"streams: [{text}]"), cluster, seed)


def first(workload: Workload, slots: int, start: int = 0) -> Arrivals:
    return Arrivals.concatenate([workload.arrivals(t) for t in range(start, start + slots)])


def same(a: Arrivals, b: Arrivals) -> bool:
    return all(np.array_equal(getattr(a, c), getattr(b, c)) for c in ("time_s", "origin", "lm", "prompts"))


def servegen(tmp_path: Path, windows: int = 6) -> None:
    rows = [f"m,{c},{600 * w},{(c + 1) * (w + 1) * 0.05},1.4,Gamma,0.5,1" for w in range(windows) for c in range(4)]
    write(
        tmp_path, "model,client,window_start_s,rate_per_s,cv,distribution,shape,scale\n" + "\n".join(rows), "rates.csv"
    )
