"""Workloads by name or by file: the way in for everything above."""

from __future__ import annotations

from pathlib import Path

from domain.cluster import Cluster
from domain.errors import InputError
from twin.files import read_document
from twin.sentences import did_you_mean
from twin.workloads import schema
from twin.workloads.build import Site, build_p1, build_poisson
from twin.workloads.build_servegen import build_servegen
from twin.workloads.build_traces import build_trace
from twin.workloads.streams import Stream, Streams
from twin.workloads.usage import Taken, of_files

BUILTIN = Path(__file__).parent


def builtin_names() -> list[str]:
    """Return the names of the workloads that come with the project."""
    return sorted(path.stem for path in BUILTIN.glob("*.yaml") if "." not in path.stem)


def load_workload(source: str | Path, cluster: Cluster, seed: int, load: float = 1.0) -> Streams:
    """Return a workload for a cluster.

    Args:
        source: Name of a built-in workload, or the path of a workload file (YAML).
        cluster: Whose nodes and LMs the requests belong to.
        seed: All random numbers derive from it: same file, cluster and seed, same requests.
        load: Factor of the requests of all streams, times that of the file.

    Raises:
        InputError: The file or a trace that it names is missing or wrong.
    """
    if not load > 0:
        raise InputError(f"load must be above 0, not {load:g}.")
    path = BUILTIN / f"{source}.yaml" if str(source) in builtin_names() else Path(source)
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        names = builtin_names()
        meant = did_you_mean(str(source), names) or "."
        raise InputError(
            f"{source}: there is no such workload; give {', '.join(names)} or the path of a YAML file{meant}"
        )
    document = read_document(path)
    file = document.validate(schema.WorkloadFile)
    streams, taken = list[Stream](), list[Taken]()
    for k, entry in enumerate(file.streams):
        site = Site(document, ("streams", k), cluster, file.load * load, seed, k)
        if isinstance(entry, schema.P1Entry):
            streams.append(build_p1(entry, site))
        elif isinstance(entry, schema.PoissonEntry):
            streams.append(build_poisson(entry, site))
        else:
            stream, part = (
                build_trace(entry, site) if isinstance(entry, schema.TraceEntry) else build_servegen(entry, site)
            )
            streams.append(stream)
            taken.append(part)
    warnings, notes = of_files(taken)
    return Streams(path.stem, file.description.strip(), streams, tuple(warnings), tuple(notes), file.slots)
