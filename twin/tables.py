"""The static side of a cluster as the compiled engine reads it: whole nanoseconds, dense arrays; never written."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from domain.cluster import Cluster
from domain.serving import BatchCurve, Batching, Dispatch
from twin.layout import FloatArray, IntArray, whole_ns

N_CORES, N_GPUS, N_REPLICAS, N_KIND = range(4)
N_RAM, N_VRAM, N_GPU_GB = range(3)
L_HOST_CORES = 0
L_START, L_STOP, L_UPLINK, L_DOWNLINK = 0, 2, 3, 4


class Tables(NamedTuple):
    """A cluster as the engine reads it; never written."""

    node_i: IntArray
    """[N, 4] N_CORES, N_GPUS, N_REPLICAS (vGPUs of each GPU), N_KIND (the same for the same models of CPU and GPU)."""
    node_f: FloatArray
    """[N, 3] N_RAM, N_VRAM, N_GPU_GB (vRAM of one GPU), GB."""
    pod_gb: FloatArray
    """[N, I, 3] what a pod holds: RAM on the CPU, RAM on vGPUs, vRAM on vGPUs, GB."""
    lm_i: IntArray
    """[I, 1] L_HOST_CORES."""
    lm_f: FloatArray
    """[I, 5] L_START on the CPU and, next, on vGPUs, L_STOP, ns; L_UPLINK, L_DOWNLINK, bytes per prompt."""
    cpu_ns: FloatArray
    """[N, I, cores + 1] for a prompt, infinite where the LM does not run."""
    gpu_ns: FloatArray
    """[N, I, 2] fixed and compute part of a prompt, infinite where the LM does not run."""
    network: FloatArray
    """[N, N, 2] latency in seconds and seconds per byte, origin first."""
    units: FloatArray
    """[kinds, I, 2, most + 1] units of a batch by its size, on the CPU and on vGPUs; [.., 0] is 0."""
    most: IntArray
    """[kinds, I, 2] prompts of the largest batch; 1 without batching."""
    slot_s: float
    """Length of a slot, seconds: slot t begins at the nanosecond nearest to t * slot_s."""
    deadline_ns: float
    pending_timeout_ns: float
    news_ns: float
    split: bool
    """True where prompts are dealt one by one."""
    by_request: bool
    """True where a batch holds prompts of one request alone."""
    by_prompt: bool
    """True where a batch is one prompt."""
    by_batch: bool
    """True where pods take batches, or may have copies: they are served from batch to batch (twin.batches)."""
    copies: bool


def tables(cluster: Cluster) -> Tables:
    """Lay a cluster out for the engine; a prompt takes at least a nanosecond."""
    nodes, lms, serving = cluster.nodes, cluster.lms, cluster.serving
    most = max(node.cpu_cores for node in nodes)
    cpu = np.full((len(nodes), len(lms), most + 1), np.inf)
    gpu = np.full((len(nodes), len(lms), 2), np.inf)
    pod_gb = np.tile(np.array([[lm.ram_gb, lm.ram_gb, lm.vram_gb] for lm in lms], dtype=np.float64), (len(nodes), 1, 1))
    pod_gb[[node.unified_memory for node in nodes], :, 1:] = [[lm.unified_memory_gb, 0.0] for lm in lms]
    known: dict[tuple[str, str | None, int], int] = {}
    for n, node in enumerate(nodes):
        twin = known.setdefault((node.cpu_model, node.gpu_model, node.cpu_cores), n)
        if twin < n:
            cpu[n], gpu[n] = cpu[twin], gpu[twin]
            continue
        for i, lm in enumerate(lms):
            if not lm.gpu_only:
                cpu[n, i, 1 : node.cpu_cores + 1] = [cluster.cpu_seconds(n, i, c) for c in range(1, node.cpu_cores + 1)]
            profile = lm.gpu_profiles.get(node.gpu_model) if node.gpu_model else None
            if profile is not None:
                gpu[n, i] = profile.fixed_s, profile.compute_s
    models = list(dict.fromkeys((node.cpu_model, node.gpu_model) for node in nodes))
    curves = [[_curves(cluster, i, *model) for i in range(len(lms))] for model in models]
    return Tables(
        node_i=np.array(
            [
                [node.cpu_cores, node.gpus, node.vgpus_per_gpu, models.index((node.cpu_model, node.gpu_model))]
                for node in nodes
            ],
            dtype=np.int64,
        ),
        node_f=np.array([[node.ram_gb, node.vram_gb, node.gpu_vram_gb] for node in nodes], dtype=np.float64),
        pod_gb=pod_gb,
        lm_i=np.array([[lm.host_cores] for lm in lms], dtype=np.int64),
        lm_f=np.array(
            [
                [*whole_ns([lm.start_cpu_s, lm.start_gpu_s, lm.stop_s]), lm.uplink_bytes, lm.downlink_bytes]
                for lm in lms
            ],
            dtype=np.float64,
        ),
        cpu_ns=np.maximum(whole_ns(cpu), 1.0),
        gpu_ns=np.maximum(whole_ns(gpu), [0.0, 1.0]),
        network=np.ascontiguousarray(np.stack([cluster.latency_s, cluster.seconds_per_byte], axis=2), dtype=np.float64),
        units=_units(curves),
        most=np.array([[[curve.most for curve in pair] for pair in row] for row in curves], dtype=np.int64),
        slot_s=float(cluster.slot_s),
        deadline_ns=float(whole_ns(cluster.deadline_s)),
        pending_timeout_ns=float(whole_ns(cluster.pending_timeout_s)),
        news_ns=float(whole_ns(serving.news_s)),
        split=serving.dispatch is Dispatch.SPLIT,
        by_request=serving.batching is not Batching.QUEUE,
        by_prompt=serving.batching is Batching.NONE,
        by_batch=serving.batching is not Batching.NONE or serving.copies,
        copies=serving.copies,
    )


def _curves(cluster: Cluster, i: int, cpu_model: str, gpu_model: str | None) -> tuple[BatchCurve, BatchCurve]:
    """What batches of LM i take on the CPU and on vGPUs; prompt by prompt without batching."""
    lm, one = cluster.lms[i], BatchCurve()
    if cluster.serving.batching is Batching.NONE:
        return one, one
    cpu, gpu = lm.cpu_profiles.get(cpu_model), lm.gpu_profiles.get(gpu_model or "")
    return one if cpu is None else cpu.batch, one if gpu is None else gpu.batch


def _units(curves: list[list[tuple[BatchCurve, BatchCurve]]]) -> FloatArray:
    most = max(curve.most for row in curves for pair in row for curve in pair)
    units = np.zeros((len(curves), len(curves[0]), 2, most + 1))
    for k, row in enumerate(curves):
        for i, pair in enumerate(row):
            for mode, curve in enumerate(pair):
                units[k, i, mode, 1 : curve.most + 1] = [curve.units(b) for b in range(1, curve.most + 1)]
    return units
