"""What must hold within the entries of nodes and LMs: fields that go together, and speeds that can be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from twin.sentences import one_of
from twin.testbeds.curves import curves
from twin.testbeds.schema import LmEntry, NodeEntry, Problem, Quantity, TestbedFile


def hardware(testbed: TestbedFile) -> Iterator[Problem]:
    """Yield what is wrong within nodes and LMs, and hardware that no LM knows."""
    for n, node in enumerate(testbed.nodes):
        yield from _gpus(n, node)
        if node.role == "worker":
            yield from _models(testbed, n, node)
    for i, lm in enumerate(testbed.lms):
        yield from _modes(i, lm)
        yield from _speeds(i, lm)
        yield from curves(i, lm)


def _gpus(n: int, node: NodeEntry) -> Iterator[Problem]:
    where = ("nodes", n)
    if not node.gpus:
        for field in ("gpu_model", "vgpus_per_gpu", "vram_gb", "unified_memory", "mig"):
            if field in node.model_fields_set and not _empty(getattr(node, field)):
                yield (*where, field), "must be left out, since the node has no GPUs (gpus is 0)"
        return
    if node.gpu_model is None:
        yield (*where, "gpu_model"), f"must be given, since the node has GPUs (gpus is {node.gpus})"
    if node.mig and node.vgpus_per_gpu != 1:
        yield (
            (*where, "vgpus_per_gpu"),
            f"must be 1, since the GPUs are MIG slices (mig is true), not {node.vgpus_per_gpu}; "
            "write as many gpus as there are slices",
        )
    if node.unified_memory:
        if not _empty(node.vram_gb):
            yield (
                (*where, "vram_gb"),
                "must be left out, since CPU and GPUs use one memory (unified_memory is true), which is ram_gb",
            )
    elif _empty(node.vram_gb):
        yield (
            (*where, "vram_gb"),
            f"must be given, since the node has GPUs (gpus is {node.gpus}); "
            "where they use the memory of the CPU, write unified_memory: true",
        )


def _empty(value: object) -> bool:
    return not value or (isinstance(value, Quantity) and value.value == 0)


def _models(testbed: TestbedFile, n: int, node: NodeEntry) -> Iterator[Problem]:
    """A model that no profile knows is, nearly always, a slip of the pen; a node would then silently lose a mode."""
    cpus = sorted({model for lm in testbed.lms for model in lm.cpu_profiles})
    gpus = sorted({model for lm in testbed.lms for model in lm.gpu_profiles})
    if cpus and node.cpu_model not in cpus:
        yield (
            ("nodes", n, "cpu_model"),
            "has no entry in any LM's cpu_profiles; it " + one_of(cpus, node.cpu_model),
        )
    if node.gpus and node.gpu_model is not None and node.gpu_model not in gpus:
        known = one_of(gpus, node.gpu_model) if gpus else "cannot be used; leave the GPU out or add a profile"
        yield ("nodes", n, "gpu_model"), f"has no entry in any LM's gpu_profiles; it {known}"


def _modes(i: int, lm: LmEntry) -> Iterator[Problem]:
    needed = {"vram_gb": "gpu_profiles", "start_gpu_s": "gpu_profiles"} if lm.gpu_profiles else {}
    if any(lm.cpu_profiles.values()) and not lm.gpu_only:
        needed["start_cpu_s"] = "cpu_profiles"
    for field, profiles in needed.items():
        if getattr(lm, field) is None:
            yield ("lms", i, field), f"must be given, since the LM has {profiles}"


def _speeds(i: int, lm: LmEntry) -> Iterator[Problem]:
    for model, points in lm.cpu_profiles.items():
        for (cores, seconds), (more, slower) in itertools.pairwise(points.items()):
            where = ("lms", i, "cpu_profiles", model, str(more))
            if more <= cores:
                yield where, f"must stand before {cores}, so that cores rise"
            elif slower.value > seconds.value:
                yield (
                    where,
                    f"must be at most {seconds.value:g}, the seconds with {cores}, not {slower.value:g}: "
                    "more cores make nothing slower",
                )
