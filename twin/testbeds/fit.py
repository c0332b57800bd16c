"""Whether every LM of a testbed fits on some worker and every worker can run some LM; and if not, what is short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from domain.cluster import Cluster, Node
from domain.large_model import CpuProfile, LargeModel
from twin.testbeds.build import lm_of, node_of
from twin.testbeds.schema import Problem, TestbedFile

_NOWHERE = CpuProfile(())


def fit(testbed: TestbedFile) -> Iterator[Problem]:
    """Every LM needs a worker that can run it, and every worker an LM that it can run."""
    workers = {n: node_of(node) for n, node in enumerate(testbed.nodes) if node.role == "worker"}
    classes = tuple({node.hardware: node for node in workers.values()}.values())
    nothing = np.zeros((len(classes), len(classes)))
    lms = tuple(map(lm_of, testbed.lms))
    feasible = Cluster("", classes, lms, nothing, nothing).feasible
    homeless = [i for i in range(len(lms)) if not feasible[:, i].any()]
    for i in homeless:
        field, why = _why_nowhere(list(workers.values()), lms[i])
        yield ("lms", i, field), why
    # An LM that fits nowhere is the reason, not the many workers that then have nothing to run. A worker with less than
    # one core says itself that it is a place where prompts come from.
    idle = {kind.hardware for kind, row in zip(classes, feasible, strict=True) if kind.cpu_cores and not row.any()}
    for n, node in workers.items():
        if not homeless and node.hardware in idle:
            yield ("nodes", n), "can run none of the LMs; make it larger, or give it the role 'control'"


def _why_nowhere(workers: Sequence[Node], lm: LargeModel) -> tuple[str, str]:
    """The field of the LM that keeps it off every worker, and why."""
    largest = max(workers, key=lambda node: node.ram_gb)
    if lm.ram_gb > largest.ram_gb:
        return "ram_gb", (
            f"must be at most {largest.ram_gb:g}, the RAM of the largest worker ({largest.name}), "
            f"not {lm.ram_gb:g}; no worker can hold {lm.name}"
        )
    on_gpus = [node for node in workers if node.gpus and node.gpu_model in lm.gpu_profiles]
    if lm.gpu_only and not any(node.gpus for node in workers):
        return "gpu_only", f"must be false, or some worker must have a GPU; none has one, so {lm.name} runs nowhere"
    if lm.gpu_only and not on_gpus:
        return "gpu_profiles", f"must have the GPU model of some worker; without it {lm.name} runs nowhere"
    if on_gpus and (why := _why_on_no_gpu(on_gpus, lm)):
        return why
    on_cpus = [node for node in workers if lm.cpu_profiles.get(node.cpu_model, _NOWHERE).points]
    if not on_gpus and not on_cpus:
        return "cpu_profiles", f"must have the CPU model of some worker; without it {lm.name} runs nowhere"
    if not on_gpus and all(lm.cpu_profiles[node.cpu_model].points[0][0] > node.cpu_cores for node in on_cpus):
        most = max(on_cpus, key=lambda node: node.cpu_cores)
        return "cpu_profiles", (
            f"must begin at {most.cpu_cores} cores or fewer, all that the largest worker ({most.name}) has; "
            f"{lm.name} fits on no worker"
        )
    return "name", f"must be an LM that fits on some worker; no single one has all that {lm.name} needs"


def _why_on_no_gpu(on_gpus: Sequence[Node], lm: LargeModel) -> tuple[str, str] | None:
    """What keeps the LM off all workers whose GPU model it knows; None where it is not one thing alone."""
    own, unified = [[node for node in on_gpus if node.unified_memory is one] for one in (False, True)]
    if all(lm.vram_gb > _vram_gb(node) for node in own) and all(lm.unified_memory_gb > node.ram_gb for node in unified):
        if own:
            most = max(own, key=_vram_gb)
            whose = "a slice of the" if most.mig else "the"
            return "vram_gb", (
                f"must be at most {_vram_gb(most):g}, the vRAM of {whose} largest worker with a GPU ({most.name}), "
                f"not {lm.vram_gb:g}; {lm.name} fits on no worker"
            )
        most = max(unified, key=lambda node: node.ram_gb)
        sum_of = "" if lm.unified_gb is not None else " (ram_gb and vram_gb in sum)"
        return "unified_gb", (
            f"must be at most {most.ram_gb:g}, the memory that CPU and GPUs of the largest worker with a GPU "
            f"({most.name}) share, not {lm.unified_memory_gb:g}{sum_of}; {lm.name} fits on no worker"
        )
    cores = max(node.cpu_cores for node in on_gpus)
    if lm.host_cores > cores:
        return "host_cores", (
            f"must be at most {cores}, the cores of the largest worker with a GPU, not {lm.host_cores}; "
            f"{lm.name} fits on no worker"
        )
    return None


def _vram_gb(node: Node) -> float:
    """GB on which an LM can lie: of all GPUs together, or of one MIG slice."""
    return node.gpu_vram_gb if node.mig else node.vram_gb
