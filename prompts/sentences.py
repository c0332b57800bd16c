"""The cluster, its state and its past as sentences, in the way of P1 section V-D2, for every agent's prompt."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster, Node
from domain.ledger import Case
from domain.serving import BatchCurve, Batching
from prompts.quoting import listed, quoted

MANY_NODES = 12
"""Nodes beyond which a line names the largest and counts the rest."""


def number(value: float) -> str:
    """Three significant digits, never with an exponent."""
    if 0.0001 <= value < 100.0:  # nearly all of them, and there the format of three digits has no exponent
        return f"{value:.3g}"
    if not math.isfinite(value):
        return "unknown"
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}".rstrip("0").rstrip(".")


def percent(share: float) -> str:
    """A share as a whole percentage."""
    return "<1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def plural(count: int, word: str) -> str:
    """Count with a noun."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def at_once(cluster: Cluster) -> bool:
    """True where a pod may compute several prompts at once."""
    return cluster.serving.batching is not Batching.NONE or cluster.serving.copies


# What is: nodes and LMs


def capacity(node: Node) -> str:
    """C_n, M_n, G_n and V_n of one node, and what each of its GPUs has of V_n."""
    cores = f"{node.cpu_cores} cores of {quoted(node.cpu_model)}"
    if not node.vgpus:
        return f"{cores}, {number(node.ram_gb)} GB RAM, no GPU"
    gpus, vgpus = f"{plural(node.gpus, 'GPU')} {quoted(node.gpu_model or '')}", plural(node.vgpus, "vGPU")
    if node.unified_memory:
        return f"{cores}, {number(node.ram_gb)} GB of memory for CPU and GPU together, {gpus}, {vgpus}"
    each = " each" if node.gpus > 1 else " in all"
    return f"{cores}, {number(node.ram_gb)} GB RAM, {gpus}, {number(node.gpu_vram_gb)} GB vRAM{each}, {vgpus}"


def nodes_by_hardware(cluster: Cluster) -> str:
    """One line for each kind of node, with the names of those that are of it."""
    kinds: dict[str, list[str]] = {}
    for node in cluster.nodes:
        kinds.setdefault(capacity(node), []).append(node.name)
    return "\n".join(
        f"- {listed(names, len(names))}: {'each ' if len(names) > 1 else ''}{kind}" for kind, names in kinds.items()
    )


def lm_lines(cluster: Cluster, nodes: Sequence[int] | None = None, needs: bool = True) -> str:
    """One line for each LM that some of `nodes` (all of them, for None) can run: what it needs, and how fast it is."""
    among = range(cluster.n_nodes) if nodes is None else nodes
    lines = []
    for i in range(cluster.n_lms):
        able = [n for n in among if cluster.feasible[n, i]]
        if able:
            lines.append(f"- {_lm_line(cluster, i, able, needs)}")
    return "\n".join(lines)


def _lm_line(cluster: Cluster, i: int, nodes: Sequence[int], needs: bool) -> str:
    lm = cluster.lms[i]
    parts = [quoted(lm.name)]
    if needs:
        parts[0] += f" ({quoted(lm.model)}, {lm.modalities})"
        parts.append(f"{number(lm.ram_gb)} GB RAM")
    if lm.gpu_only:
        parts.append("needs a GPU")
    cpus = [cluster.nodes[n] for n in nodes if cluster.runs_on_cpu(n, i)]
    for model in dict.fromkeys(node.cpu_model for node in cpus):
        most = max(node.cpu_cores for node in cpus if node.cpu_model == model)
        name = f" {quoted(model)}" if len({node.cpu_model for node in cpus}) > 1 else ""
        (first, slowest), *points = [point for point in lm.cpu_profiles[model].points if point[0] <= most]
        sizes = [f"{number(slowest)} s per prompt with {plural(first, 'core')}"]
        sizes += [f"{number(seconds)} with {cores}" for cores, seconds in points]
        sizes += _batch(cluster, lm.cpu_profiles[model].batch)
        parts.append(f"on CPU{name} {', '.join(sizes)}, start {number(lm.start_cpu_s)} s")
    gpus = [n for n in nodes if cluster.runs_on_gpu(n, i)]
    models = list(dict.fromkeys(cluster.nodes[n].gpu_model or "" for n in gpus))
    for gpu in models:
        own = [n for n in gpus if cluster.nodes[n].gpu_model == gpu]
        name = f" {quoted(gpu)}" if len(models) > 1 else ""
        takes = f" ({_on_gpu(cluster, i, own)})" if needs else ""
        profile = lm.gpu_profiles[gpu]
        parts.append(
            f"on GPU{name}{takes} {number(profile.seconds_per_prompt)} s per prompt alone, "
            f"{', '.join([f'{number(profile.compute_s)} of them on the GPU', *_batch(cluster, profile.batch)])}, "
            f"start {number(lm.start_gpu_s)} s"
        )
    return f"{'; '.join(parts)}; stop {number(lm.stop_s)} s"


def _batch(cluster: Cluster, curve: BatchCurve) -> list[str]:
    """What the largest batch takes, where the cluster computes batches and the LM takes them."""
    if cluster.serving.batching is Batching.NONE or curve.most == 1:
        return []
    return [f"a batch of {curve.most} as long as {number(curve.units(curve.most))} prompts"]


def _on_gpu(cluster: Cluster, i: int, nodes: Sequence[int]) -> str:
    """What LM i takes on vGPUs of nodes with the same model of GPU."""
    lm, unified = cluster.lms[i], {cluster.nodes[n].unified_memory for n in nodes}
    memory = [f"{number(lm.vram_gb)} GB vRAM"] if False in unified else []
    memory += [f"{number(lm.unified_memory_gb)} GB where CPU and GPU use one memory"] if True in unified else []
    fewest = sorted({cluster.least_vgpus(n, i) for n in nodes})
    if fewest[-1] > 1:
        memory.append(f"at least {' or '.join(map(str, fewest))} vGPUs{', by node' if len(fewest) > 1 else ''}")
    return ", ".join([*memory, plural(lm.host_cores, "host core")])


# What happens now


def heaviest(names: Sequence[str], values: NDArray[Any], most: int = MANY_NODES) -> str:
    """Names with their values where these are above zero: all of them in order, or the `most` largest."""
    order = np.flatnonzero(values > 0)
    if order.size > most:
        order = order[np.argsort(-values[order], kind="stable")]
    chosen = zip(order[:most].tolist(), values[order[:most]].tolist(), strict=True)
    shown = ", ".join([f"{quoted(names[k])} {number(value)}" for k, value in chosen])
    rest = float(values[order[most:]].sum())
    return f"{shown}, {order.size - most} more nodes {number(rest)}" if order.size > most else shown


# What was


def by_lm(ratios: Mapping[str, float | None], latencies: Mapping[str, float | None]) -> str:
    """Success ratio and success-only mean latency of each LM."""
    parts = []
    for lm, ratio in ratios.items():
        latency = latencies.get(lm)
        seconds = "" if latency is None else f", {number(latency)} s"
        parts.append(f"{quoted(lm)} {'no requests' if ratio is None else number(ratio)}{seconds}")
    return "; ".join(parts)


def outcome(case: Case) -> str:
    """M_e, F_norm and T_norm of P1-11 and the objective, as P1 section V-D2 renders them."""
    latency = case.global_mean_latency_s
    overall = "No request succeeded" if latency is None else f"All together {number(latency)} s"
    predicted = case.predicted_objective
    rehearsal = "" if predicted is None else f" (rehearsal expected {number(predicted)})"
    return (
        f"Success ratio and mean latency: {by_lm(case.success_ratio, case.mean_latency_s)}. "
        f"{overall}, T {number(case.latency_norm)}, "
        f"F {number(case.fairness)}, J {number(case.objective)}{rehearsal}; "
        f"{number(100 * case.off_role_ratio)} % of the requests went to a node without the role."
    )


def shares(routing: Mapping[str, Mapping[str, float]], most: int = MANY_NODES) -> str:
    """P_e of P1-12 in short: of each LM the nodes with a share, the largest first."""
    lines = []
    for lm, row in routing.items():
        order = sorted((node for node in row if row[node] > 0), key=lambda node: -row[node])
        shown = ", ".join(f"{quoted(node)} {percent(row[node])}" for node in order[:most])
        rest = sum(row[node] for node in order[most:])
        more = f", {len(order) - most} more nodes {percent(rest)}" if len(order) > most else ""
        lines.append(f"{quoted(lm)} to {shown}{more}" if shown else f"{quoted(lm)} nowhere")
    return "; ".join(lines)


def roles(named: Mapping[str, Iterable[str]], most: int = MANY_NODES) -> str:
    """R_e of P1-13 in short: nodes with the same roles together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for node, lms in named.items():
        groups.setdefault(tuple(lms), []).append(node)
    parts = [
        f"{listed(nodes, most)} {'+'.join(map(quoted, lms)) or 'nothing'}" for lms, nodes in list(groups.items())[:most]
    ]
    return "; ".join(parts) + (f"; {len(groups) - most} more sets of roles" if len(groups) > most else "")


def policy(macro_policy: Mapping[str, Any]) -> str:
    """A macro-policy, in its form with names, in short."""
    return f"Shares: {shares(macro_policy['routing'])}. Roles: {roles(macro_policy['roles'])}."


def totals(traffic: Mapping[str, Mapping[str, float]]) -> str:
    """Prompts per slot of each LM, all origins together."""
    return ", ".join(f"{quoted(lm)} {number(sum(row.values()))}" for lm, row in traffic.items())
