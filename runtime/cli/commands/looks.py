"""Commands that only look: families, report, testbed show."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from domain.cluster import Cluster, Node
from domain.errors import InputError
from domain.large_model import LargeModel
from domain.serving import Dispatch, Serving
from domain.warnings import warnings_of
from runtime.agents.families import all_families
from runtime.report.tables import output_console, report
from runtime.results.summary import load_summary
from twin.testbeds import SourcedNumber, generate, read_testbed, sources, write_testbed
from twin.testbeds.build import to_cluster

MOST_NODES = 24
"""Nodes that get a row each; of more, nodes of the same hardware share one."""
MOST_FIELDS = 3
"""Fields named beside each source."""


def _table(*columns: str) -> Table:
    """A table; a column whose header begins with '>' is a number."""
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if right else "left", no_wrap=right, overflow="fold")
    return table


def show_families() -> None:
    """Print the policy families."""
    table = _table("code", "planner", "scheduler", "deployer", "what it does")
    for code, recipe in all_families().items():
        table.add_row(code, recipe.planner, recipe.scheduler, recipe.deployer, f"{recipe.title}. {recipe.summary}")
    output_console().print(table)


def show_report(run: Path) -> None:
    """Print the table of a finished run; raises InputError where there is none."""
    summary, console = load_summary(run), output_console()
    for part in report(summary, console.width):
        console.print(part)


def show_testbed(name: str, generated: int | None, seed: int, out: Path | None, with_sources: bool) -> None:
    """Print a testbed, and write it where `out` says; raises InputError."""
    testbed = read_testbed(name) if generated is None else generate(generated, seed)
    if with_sources and generated is not None and out is None:
        raise InputError("--sources reads the testbed's file; add --out FILE to write the generated one.")
    if out is not None:
        write_testbed(out, testbed)
    cluster, console = to_cluster(testbed), output_console()
    console.print(
        f"Testbed {cluster.name}: {cluster.n_nodes} nodes, {cluster.n_lms} LMs, slots of {cluster.slot_s:g} s, "
        f"epochs of {cluster.epoch_slots} slots, deadline {cluster.deadline_s:g} s, "
        f"lambda {cluster.latency_weight:g}\n"
    )
    console.print(_served(cluster.serving), soft_wrap=True)
    console.print(_nodes(cluster), _lms(cluster))
    console.print("Seconds per prompt, by cores; on a GPU, alone", _speeds(cluster))
    if (curves := _curves(cluster)).row_count:
        console.print("What a batch takes, in units of what one prompt takes, by prompts", curves)
    off_diagonal = cluster.latency_s[cluster.latency_s > 0]
    if off_diagonal.size:
        console.print(f"One way between nodes: {1e3 * off_diagonal.min():.3g} to {1e3 * off_diagonal.max():.3g} ms\n")
    for sentence in warnings_of(cluster):
        console.print(f"Warning: {sentence}\n", soft_wrap=True, markup=False)
    if with_sources or generated is None:
        _show_sources(console, sources(out if generated is not None and out is not None else name), with_sources)
    if out is not None:
        console.print(f"Written to {out}", soft_wrap=True, markup=False)


def _served(serving: Serving) -> str:
    news = f", news of other nodes {serving.news_s:g} s old" if serving.dispatch is not Dispatch.FIXED else ""
    copies = "a copy on each GPU of a pod" if serving.copies else "no copies"
    usual = " (P1's)" if serving == Serving() else ""
    return f"Served{usual}: dispatch {serving.dispatch}{news}, batching {serving.batching}, {copies}\n"


def _nodes(cluster: Cluster) -> Table:
    many = cluster.n_nodes > MOST_NODES
    table = _table(
        ">how many" if many else "node",
        "sites" if many else "site",
        "CPU",
        ">cores",
        ">RAM GB",
        "GPU",
        ">vGPUs",
        ">vRAM GB",
    )
    kinds: dict[object, list[Node]] = {}
    for n, node in enumerate(cluster.nodes):
        kinds.setdefault(node.hardware if many else n, []).append(node)
    for nodes in kinds.values():
        node = nodes[0]
        first = [str(len(nodes)), str(len({each.site for each in nodes}))] if many else [node.name, node.site]
        table.add_row(
            *first,
            node.cpu_model,
            f"{node.cpu_cores} of {node.cpu_cores + node.spare_cores:g}" if node.spare_cores else str(node.cpu_cores),
            f"{node.ram_gb:g}",
            f"{node.gpus} x {node.gpu_model}{', MIG' if node.mig else ''}" if node.gpus else "–",
            str(node.vgpus),
            _vram(node),
        )
    return table


def _vram(node: Node) -> str:
    """By GPU, since each must hold what lies on it."""
    if node.unified_memory:
        return "in RAM"
    return f"{node.gpus} x {node.gpu_vram_gb:g}" if node.gpus > 1 else f"{node.vram_gb:g}"


def _lms(cluster: Cluster) -> Table:
    table = _table(
        "LM", "model", "in -> out", ">RAM GB", ">vRAM GB", "runs on", ">start s CPU", ">start s GPU", ">stop s"
    )
    for lm in cluster.lms:
        on_cpu, on_gpu = bool(lm.cpu_profiles) and not lm.gpu_only, bool(lm.gpu_profiles)
        table.add_row(
            lm.name,
            lm.model,
            f"{', '.join(lm.modality_in)} -> {lm.modality_out}",
            f"{lm.ram_gb:g}",
            f"{lm.vram_gb:g}" if on_gpu else "–",
            "CPU, GPU" if on_cpu and on_gpu else "CPU" if on_cpu else "GPU only",
            f"{lm.start_cpu_s:g}" if on_cpu else "–",
            f"{lm.start_gpu_s:g}" if on_gpu else "–",
            f"{lm.stop_s:g}",
        )
    return table


def _speeds(cluster: Cluster) -> Table:
    table = _table("LM", "hardware", "seconds")
    cpus = list(dict.fromkeys(node.cpu_model for node in cluster.nodes))
    gpus = list(dict.fromkeys(node.gpu_model for node in cluster.nodes if node.gpu_model))
    for lm in cluster.lms:
        for cpu in cpus:
            table.add_row(lm.name, cpu, _cpu_seconds(lm, cpu))
        for gpu in gpus:
            profile = lm.gpu_profiles.get(gpu)
            table.add_row(
                lm.name,
                gpu,
                "does not run"
                if profile is None
                else f"{profile.seconds_per_prompt:.3g}, {profile.compute_s:.3g} of them on the GPU",
            )
    return table


def _curves(cluster: Cluster) -> Table:
    table = _table("LM", "hardware", "units")
    for lm in cluster.lms:
        cpus = {node.cpu_model for node in cluster.nodes} if not lm.gpu_only else set[str]()
        gpus = {node.gpu_model for node in cluster.nodes if node.gpu_model}
        known = [(model, lm.cpu_profiles[model].batch) for model in lm.cpu_profiles if model in cpus]
        known += [(model, lm.gpu_profiles[model].batch) for model in lm.gpu_profiles if model in gpus]
        for model, curve in known:
            if curve.most > 1:
                table.add_row(lm.name, model, ", ".join(f"{size}: {units:.3g}" for size, units in curve.points))
    return table


def _cpu_seconds(lm: LargeModel, cpu: str) -> str:
    profile = lm.cpu_profiles.get(cpu)
    if lm.gpu_only or profile is None or math.isinf(profile.seconds_per_prompt(10**6)):
        return "does not run"
    return ", ".join(f"{cores}: {seconds:.3g}" for cores, seconds in profile.points)


def _show_sources(console: Console, numbers: Sequence[SourcedNumber], in_full: bool) -> None:
    kinds = Counter(number.kind for number in numbers)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    console.print(
        f"{len(numbers)} numbers carry their source: {counts}" + ("" if in_full else " (--sources lists them)") + "\n"
    )
    if not in_full:
        return
    table = _table("kind", "numbers", "source")
    groups: dict[tuple[str, str], list[str]] = {}
    for number in numbers:
        groups.setdefault((number.kind, number.source), []).append(
            f"{number.field} = {number.value:g} {number.unit}".rstrip()
        )
    for (kind, source), fields in sorted(groups.items()):
        more = f"\nand {len(fields) - MOST_FIELDS} more" if len(fields) > MOST_FIELDS else ""
        table.add_row(kind, "\n".join(fields[:MOST_FIELDS]) + more, source or "none given")
    console.print(table)
