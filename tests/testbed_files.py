"""A small testbed file for tests to read and to spoil."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np

from domain.cluster import Cluster

SMALL = """\
name: small
sites: [left, right]
links:
  - {sites: [left, left], latency_s: 0.001, gbit_per_s: 8}
  - {sites: [left, right], latency_s: 0.002, gbit_per_s: 4}
nodes:
  - {name: a, site: left, cpu_model: C, cpu_cores: 8, ram_gb: 16}
  - {name: b, site: left, cpu_model: C, cpu_cores: 8, ram_gb: 16, gpu_model: G, gpus: 1, vram_gb: 8}
  - {name: c, site: right, cpu_model: C, cpu_cores: 4, ram_gb: 8}
  - {name: head, site: left, role: control, cpu_model: any, cpu_cores: 2, ram_gb: 2}
lms:
  - name: chat
    model: GPT-2
    modality_in: text
    modality_out: text
    ram_gb: 3
    vram_gb: 1
    image_gb: 7.5
    uplink_bytes: 1000
    downlink_bytes: 2000
    start_cpu_s: 8
    start_gpu_s: 9
    stop_s: 3
    cpu_profiles: {C: {1: 4, 4: 2}}
    gpu_profiles: {G: {fixed_s: 0.5, compute_s: 0.1}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "small.yaml"
    path.write_text(text)
    return path


def equal(one: Cluster, two: Cluster) -> bool:
    return all(np.array_equal(getattr(one, f.name), getattr(two, f.name)) for f in fields(Cluster))
