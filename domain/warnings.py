"""What a testbed may hold and a person hardly means: sentences to show beside whatever is computed from it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.serving import BatchCurve, Batching, Dispatch


def warnings_of(cluster: Cluster) -> list[str]:
    """Return one sentence for each thing of the cluster that makes its figures mean less than they seem to."""
    return _deadline(cluster) + _gpus(cluster) + _cores(cluster) + _news(cluster) + _batches(cluster)


def most_prompts(cluster: Cluster) -> NDArray[np.int64]:
    """Return [I] the prompts that a request of each LM can have at most and still be served before its deadline.

    On the node that serves the most, alone, without queue or transfer, in batches and copies where there are any; under
    `Dispatch.SPLIT` on all nodes together. 0 where not even one prompt can be, or where the LM runs nowhere.
    """
    return np.array([_prompts_in_time(cluster, i) for i in range(cluster.n_lms)], dtype=np.int64)


def _prompts_in_time(cluster: Cluster, i: int) -> int:
    kinds, counts = dict[object, int](), list[float]()
    for n, node in enumerate(cluster.nodes):
        if node.hardware not in kinds:
            kinds[node.hardware] = _prompts_there(cluster, n, i)
        counts.append(kinds[node.hardware])
    total = sum(counts) if cluster.serving.dispatch is Dispatch.SPLIT else max(counts, default=0)
    return int(min(total, 2.0**53))


def _prompts_there(cluster: Cluster, n: int, i: int) -> int:
    """Prompts of LM i that a pod on node n computes before the deadline, in its better mode."""
    node, lm = cluster.nodes[n], cluster.lms[i]
    most = 0
    if cluster.runs_on_cpu(n, i):
        profile = lm.cpu_profiles[node.cpu_model]
        most = _prompts_within(cluster, cluster.cpu_seconds(n, i, node.cpu_cores), profile.batch)
    if cluster.runs_on_gpu(n, i):
        copies = node.gpus if cluster.serving.copies and not node.mig else 1
        curve = lm.gpu_profiles[node.gpu_model or ""].batch
        most = max(most, copies * _prompts_within(cluster, cluster.gpu_seconds(n, i), curve))
    return most


def _prompts_within(cluster: Cluster, seconds: float, curve: BatchCurve) -> int:
    """Prompts that are computed one after the other, or in full batches and a last one, before the deadline."""
    units = min(cluster.deadline_s / seconds * (1.0 + 1e-12), 2.0**53)
    if cluster.serving.batching is Batching.NONE:
        return int(units)
    full = int(units / curve.units(curve.most))
    rest = units - full * curve.units(curve.most)
    return full * curve.most + max((b for b in range(1, curve.most) if curve.units(b) <= rest), default=0)


def _fastest(cluster: Cluster, i: int) -> tuple[float, int]:
    """Least seconds per prompt of LM i in any mode on any node, and that node."""
    known: dict[object, float] = {}
    best, fastest = math.inf, 0
    for n, node in enumerate(cluster.nodes):
        if node.hardware not in known:
            on_cpu = cluster.cpu_seconds(n, i, node.cpu_cores) if cluster.runs_on_cpu(n, i) else math.inf
            on_gpu = cluster.gpu_seconds(n, i) if cluster.runs_on_gpu(n, i) else math.inf
            known[node.hardware] = min(on_cpu, on_gpu)
        if known[node.hardware] < best:
            best, fastest = known[node.hardware], n
    return best, fastest


def _deadline(cluster: Cluster) -> list[str]:
    found = []
    for i, lm in enumerate(cluster.lms):
        seconds, n = _fastest(cluster, i)
        if math.isfinite(seconds) and not _prompts_in_time(cluster, i):
            found.append(
                f"No node can serve {lm.name} within the deadline of {cluster.deadline_s:g} s: the fastest, "
                f"{cluster.nodes[n].name}, takes {seconds:g} s for one prompt. No request of {lm.name} can succeed; "
                f"raise deadline_s, or give {lm.name} faster hardware."
            )
    return found


def _gpus(cluster: Cluster) -> list[str]:
    """GPUs that are too small for every LM that has a speed there and runs somewhere."""
    idle: dict[bool, list[str]] = {}
    lms = [(i, cluster.lms[i]) for i in np.flatnonzero(cluster.feasible.any(axis=0)).tolist()]
    for n, node in enumerate(cluster.nodes):
        known = [i for i, lm in lms if node.gpus and node.gpu_model in lm.gpu_profiles]
        if known and not any(cluster.runs_on_gpu(n, i) for i in known):
            idle.setdefault(node.unified_memory, []).append(node.name)
    shared = ": of a memory that CPU and GPUs share, an LM takes unified_gb, or ram_gb and vram_gb in sum"
    return [
        f"Nothing runs on the GPUs of {_names(names)}, since no LM that could fits there{shared if unified else ''}."
        for unified, names in idle.items()
    ]


def _news(cluster: Cluster) -> list[str]:
    serving = cluster.serving
    if not serving.news_s or serving.has_choice:
        return []
    return [
        f"News {serving.news_s:g} s old change nothing while dispatch is {serving.dispatch}: origins choose with "
        f"{Dispatch.ARRIVAL} and {Dispatch.SPLIT} alone."
    ]


def _batches(cluster: Cluster) -> list[str]:
    curves = [profile.batch for lm in cluster.lms for profile in lm.cpu_profiles.values()]
    curves += [profile.batch for lm in cluster.lms for profile in lm.gpu_profiles.values()]
    if cluster.serving.batching is Batching.NONE or any(curve.most > 1 for curve in curves):
        return []
    return [
        f"Batching is {cluster.serving.batching}, but no LM says what a batch takes: pods take one prompt at a time. "
        "Give batch curves (batch, cpu_batch)."
    ]


def _cores(cluster: Cluster) -> list[str]:
    """What is lost by giving whole cores."""
    groups: dict[tuple[int, float], list[str]] = {}
    for node in cluster.nodes:
        if node.spare_cores:
            groups.setdefault((node.cpu_cores, node.spare_cores), []).append(node.name)
    return [
        f"LMs get whole cores: of the {whole + spare:g} cores of {_names(names)} {spare:g} stay unused"
        + (". Nothing runs on its CPU; what arrives there is served elsewhere." if not whole else ".")
        for (whole, spare), names in groups.items()
    ]


def _names(names: list[str]) -> str:
    """'a', 'each of a and b' or 'each of a, b, c and 5 more'."""
    shown = names[:3] if len(names) > 4 else names[:-1]
    rest = f"{len(names) - 3} more" if len(names) > 4 else names[-1]
    return f"each of {', '.join(shown)} and {rest}" if shown else rest
