"""What must hold between the entries of a testbed file: names that meet, LMs that fit, links that join every site.

Each problem is a field and what would be right; the loader adds the file and the line.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from domain.cluster import Cluster
from twin.sentences import did_you_mean, one_of
from twin.testbeds.build import lm_of, node_of
from twin.testbeds.schema import FieldSteps, LinkEntry, LmEntry, NodeEntry, Quantity, TestbedFile, quantities

Link = tuple[str, str, str]
"""Sites or nodes, from, to."""
Problem = tuple[FieldSteps, str]
"""Field path, and what would be right there as it goes on from the field's name."""


def problems(testbed: TestbedFile) -> Iterator[Problem]:
    """Yield everything that is wrong between the entries; nothing where the testbed is sound."""
    for field, names in (
        ("sites", list(testbed.sites)),
        ("nodes", [node.name for node in testbed.nodes]),
        ("lms", [lm.name for lm in testbed.lms]),
    ):
        yield from _duplicates(field, names)
    yield from _sources(testbed)
    yield from _links(testbed)
    for n, node in enumerate(testbed.nodes):
        yield from _node(testbed, n, node)
    if testbed.workers:
        yield from _fit(testbed)
    else:
        yield ("nodes",), "must have at least one worker, but every node has the role 'control'"


def _duplicates(field: str, names: Sequence[str]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in seen:
            where = (field, index) if field == "sites" else (field, index, "name")
            yield where, f"must be a name of its own, but {field}[{seen[name]}] is {name!r} too"
        seen.setdefault(name, index)


def _sources(testbed: TestbedFile) -> Iterator[Problem]:
    named: list[tuple[FieldSteps, str | None]] = [(("source",), testbed.source)]
    named += [(("nodes", n, "source"), node.source) for n, node in enumerate(testbed.nodes)]
    named += [(("lms", i, "source"), lm.source) for i, lm in enumerate(testbed.lms)]
    named += [((*field, "source"), quantity.source) for field, quantity in quantities(testbed)]
    for where, source in named:
        if source is not None and " " not in source.strip() and source not in testbed.sources:
            meant = did_you_mean(source, list(testbed.sources))
            yield where, f"must be a sentence or the name of an entry of 'sources', not {source!r}{meant}"


def _links(testbed: TestbedFile) -> Iterator[Problem]:
    known = {
        "sites": dict.fromkeys(testbed.sites, True),
        "nodes": dict.fromkeys((node.name for node in testbed.workers), True),
    }
    given: dict[Link, int] = {}
    found: list[Problem] = []
    for index, link in enumerate(testbed.links):
        found += [(("links", index, field), what) for field, what in _link(link, index, known, given)]
    yield from found
    sizes = Counter(node.site for node in testbed.workers if node.site in testbed.sites)
    for a, b in itertools.product(sizes, sizes):
        # A link that is wrong is the reason, not the pair of sites that it leaves out.
        if not found and (a != b or sizes[a] > 1) and ("sites", a, b) not in given:
            yield ("links",), f"must have an entry with sites [{a}, {b}], since workers stand there"
            return


def _link(
    link: LinkEntry, index: int, known: dict[str, dict[str, bool]], given: dict[Link, int]
) -> Iterator[tuple[str, str]]:
    """Check one link against the names that are known and the links before it, which are `given` with their index."""
    field, ends = ("sites", link.sites) if link.sites else ("nodes", link.nodes)
    assert ends is not None  # the schema has seen to it
    unknown = [end for end in ends if end not in known[field]]
    if unknown:
        yield field, one_of(list(known[field]), unknown[0])
    elif field == "nodes" and ends[0] == ends[1]:
        yield field, f"must be two different workers, not {ends[0]!r} twice"
    else:
        for a, b in [ends] if link.one_way or ends[0] == ends[1] else [ends, (ends[1], ends[0])]:
            first = given.setdefault((field, a, b), index)
            if first != index:
                yield field, f"must not be given twice: links[{first}] is from {a!r} to {b!r} too"
                return


def _node(testbed: TestbedFile, n: int, node: NodeEntry) -> Iterator[Problem]:
    where = ("nodes", n)
    if node.site not in testbed.sites:
        yield (*where, "site"), one_of(testbed.sites, node.site)
    if node.gpus:
        for field, absent in (("gpu_model", node.gpu_model is None), ("vram_gb", node.vram_gb.value == 0)):
            if absent:
                yield (*where, field), f"must be given, since the node has GPUs (gpus is {node.gpus})"
    else:
        for field in ("gpu_model", "vgpus_per_gpu", "vram_gb"):
            value = getattr(node, field)
            empty = value is None or (isinstance(value, Quantity) and value.value == 0)
            if field in node.model_fields_set and not empty:
                yield (*where, field), "must be left out, since the node has no GPUs (gpus is 0)"
    if node.role == "control":
        return
    # A model that no profile knows is, nearly always, a slip of the pen; a node would then silently lose a mode.
    cpus = sorted({model for lm in testbed.lms for model in lm.cpu_profiles})
    gpus = sorted({model for lm in testbed.lms for model in lm.gpu_profiles})
    if cpus and node.cpu_model not in cpus:
        yield (*where, "cpu_model"), "has no entry in any LM's cpu_profiles; it " + one_of(cpus, node.cpu_model)
    if node.gpus and node.gpu_model is not None and node.gpu_model not in gpus:
        known = one_of(gpus, node.gpu_model) if gpus else "cannot be used; leave the GPU out or add a profile"
        yield (*where, "gpu_model"), f"has no entry in any LM's gpu_profiles; it {known}"


def _fit(testbed: TestbedFile) -> Iterator[Problem]:
    """Every LM needs a worker that can run it, and every worker an LM that it can run."""
    classes = {_hardware(node): node for node in testbed.workers}
    nothing = np.zeros((len(classes), len(classes)))
    feasible = Cluster(
        "", tuple(map(node_of, classes.values())), tuple(map(lm_of, testbed.lms)), nothing, nothing
    ).feasible
    homeless = [i for i in range(len(testbed.lms)) if not feasible[:, i].any()]
    for i in homeless:
        field, why = _why_nowhere(testbed, testbed.lms[i])
        yield ("lms", i, field), why
    idle = {key for key, row in zip(classes, feasible, strict=True) if not row.any()}
    for n, node in enumerate(testbed.nodes):
        # An LM that fits nowhere is the reason, not the many workers that then have nothing to run.
        if not homeless and node.role == "worker" and _hardware(node) in idle:
            yield ("nodes", n), "can run none of the LMs; make it larger, or give it the role 'control'"


def _hardware(node: NodeEntry) -> tuple[object, ...]:
    return (node.cpu_model, node.cpu_cores, node.ram_gb.value, node.gpu_model, node.gpus, node.vram_gb.value)


def _why_nowhere(testbed: TestbedFile, lm: LmEntry) -> tuple[str, str]:
    """The field of the LM that keeps it off every worker, and why."""
    workers = testbed.workers
    largest = max(workers, key=lambda node: node.ram_gb.value)
    if lm.ram_gb.value > largest.ram_gb.value:
        return "ram_gb", (
            f"must be at most {largest.ram_gb.value:g}, the RAM of the largest worker ({largest.name}), "
            f"not {lm.ram_gb.value:g}; no worker can hold {lm.name}"
        )
    on_gpus = [node for node in workers if node.gpus and node.gpu_model in lm.gpu_profiles]
    if lm.gpu_only and not any(node.gpus for node in workers):
        return "gpu_only", f"must be false, or some worker must have a GPU; none has one, so {lm.name} runs nowhere"
    if lm.gpu_only and not on_gpus:
        return "gpu_profiles", f"must have the GPU model of some worker; without it {lm.name} runs nowhere"
    if on_gpus:
        most = max(on_gpus, key=lambda node: node.vram_gb.value)
        if lm.vram_gb.value > most.vram_gb.value:
            return "vram_gb", (
                f"must be at most {most.vram_gb.value:g}, the vRAM of the largest worker with a GPU ({most.name}), "
                f"not {lm.vram_gb.value:g}; {lm.name} fits on no worker"
            )
        cores = max(node.cpu_cores for node in on_gpus)
        if lm.host_cores > cores:
            return "host_cores", (
                f"must be at most {cores}, the cores of the largest worker with a GPU, not {lm.host_cores}; "
                f"{lm.name} fits on no worker"
            )
    on_cpus = [node for node in workers if lm.cpu_profiles.get(node.cpu_model)]
    if not on_gpus and not on_cpus:
        return "cpu_profiles", f"must have the CPU model of some worker; without it {lm.name} runs nowhere"
    if not on_gpus and all(min(lm.cpu_profiles[node.cpu_model]) > node.cpu_cores for node in on_cpus):
        most = max(on_cpus, key=lambda node: node.cpu_cores)
        return "cpu_profiles", (
            f"must begin at {most.cpu_cores} cores or fewer, all that the largest worker ({most.name}) has; "
            f"{lm.name} fits on no worker"
        )
    return "name", f"must be an LM that fits on some worker; no single one has all that {lm.name} needs"
