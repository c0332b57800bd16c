"""run, compare and the demo: from the words of the command line to a published run folder and a table."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import shlex
import sys
from collections.abc import Callable, Container, Sequence
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from domain.errors import InputError
from policies.families import FAMILIES
from runtime.agents.families import family_code
from runtime.agents.request import AgentRequest
from runtime.cli.commands.memory import left_behind
from runtime.cli.commands.requests import Request, folder_name, read_request, to_resume
from runtime.cli.commands.shows import show_brief
from runtime.report.tables import output_console, report
from runtime.results.own_dispatch import bare, own_dispatch
from runtime.results.run_folder import RunFolder
from runtime.results.versions import versions
from runtime.runs.experiment import Experiment
from runtime.runs.interrupts import goes_on
from runtime.runs.length import affordable_slots
from runtime.runs.loop import drain_slots
from runtime.runs.progress import RunProgress
from runtime.runs.remarks import Remarks
from runtime.runs.settings import Settings, check_latency_weight, choose_slots, parse_seeds
from twin.files import load_yaml
from twin.testbeds import read_testbed, to_yaml
from twin.testbeds.build import to_cluster
from twin.workloads import Streams, load_workload
from twin.workloads import builtin_names as builtin_workloads
from twin.workloads.schema import Playback, WorkloadFile

if TYPE_CHECKING:
    from domain.cluster import Cluster
    from runtime.runs.graph_families import GraphFamilies

RUNS = Path("runs")
"""Folder of the runs that have no --out, in the current folder."""
TRACES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".gz", ".bz2", ".xz")
"""Endings of files that are no workload files."""
DEMO_FAMILIES = ("RR", "RL", "AL", "RF", "LL")
"""P1's families that need no model."""
DEMO_REHEARSED = ("RH", "RH:split")
"""Ours beside them, served as P1 serves and in the best way."""
DEMO = {"p1": DEMO_FAMILIES + DEMO_REHEARSED, "real": DEMO_FAMILIES}
"""Workload to families: as many as leave the demo well below a minute on two cores."""
DEMO_EPOCHS = 4


def demo() -> None:
    """Compare families on P1's workload and on the bundled real traces."""
    console = output_console()
    console.print(
        "Edgewise on a digital twin of P1's Bristol testbed: the same requests for each policy family. RR to LL are "
        "P1's rules. RH tries its plans in the twin before it takes them; RH split also deals the prompts of each "
        "request over nodes as it comes (docs/dispatch.md).\n",
        soft_wrap=True,
    )
    first, _ = [
        execute(
            Request("bristol", workload, families=families, epochs=DEMO_EPOCHS),
            console,
            explain=workload == next(iter(DEMO)),
        )
        for workload, families in DEMO.items()
    ]
    console.print(
        "How sure the order is: start-up times and LM4's speed are estimates (python -m benchmarks.sensitivity).\n",
        soft_wrap=True,
    )
    console.print(
        "Next: who these families are, more ways to serve the same requests, and the first table again\n"
        f"  {command_name()} families\n"
        f"  {command_name()} compare --family RH,RH:arrival,RH:split --epochs 2 --batch request --copies\n"
        f"  {command_name()} report {first}",
        soft_wrap=True,
    )


def execute(
    request: Request,
    console: Console | None = None,
    explain: bool = True,
    resumed: bool = False,
    other_code: bool = False,
) -> Path:
    """Do what is asked, print the table, and return where the run folder is.

    Raises:
        InputError: the input is wrong; nothing was published.
    """
    console = console or output_console()
    experiment = dataclasses.replace(prepare(request), resumed=resumed, other_code=other_code)
    if experiment.by_graph is not None:
        opening = experiment.by_graph.opening_lines(experiment.settings.families)
        for line in [*opening, *(f"Warning: {sentence}" for sentence in experiment.remarks.warnings)]:
            console.print(line, soft_wrap=True, markup=False)
    with goes_on(), _folder(request, experiment) as folder:
        errors, settings = Console(stderr=True), experiment.settings
        if resumed:  # before a server is asked, and perhaps waited for
            folder.check_same(experiment.identity, other_code=other_code)
        if experiment.by_graph is not None:
            say = partial(errors.print, soft_wrap=True, markup=False, highlight=False)
            experiment.by_graph.preflight(settings.families, say)
        with RunProgress(errors, f"{settings.testbed}, {settings.workload}", experiment.total_slots) as progress:
            summary = experiment.run(folder, progress)
        place = folder.publish()
    for part in report(summary, console.width, explain):
        console.print(part)
    console.print()
    show_brief(place, console)
    console.print(f"\nRun folder: {place} (records, slots, summary, figures)", soft_wrap=True)
    more = f"More of what was decided: {command_name()} show {shlex.quote(str(place))}\n"
    console.print(more, soft_wrap=True, markup=False)
    if (left := left_behind(place)) is not None:
        errors.print(left, soft_wrap=True, markup=False, highlight=False)
    return place


def prepare(request: Request) -> Experiment:
    """Read and check everything that is asked for; raises InputError."""
    testbed = request.serving.of(read_testbed(request.testbed))
    cluster = to_cluster(testbed)
    if request.latency_weight is not None:
        cluster = dataclasses.replace(cluster, latency_weight=check_latency_weight(request.latency_weight))
    families, seeds = _families(request.families), parse_seeds(request.seeds)
    if not 0.0 < request.load < math.inf:
        raise InputError(f"--load must be a number above 0, not {request.load:g}.")
    files = _workload_files(request.workload)

    def workload(seed: int) -> Streams:
        return load_workload(request.workload, cluster, seed, request.load)

    first = workload(seeds[0])
    rules, affordable = request.agents is None and set(map(bare, families)) <= FAMILIES.keys(), None
    if rules and first.slots is not None and request.epochs is None and request.slots is None:
        affordable = affordable_slots(cluster, first, families, len(seeds))
    chosen = choose_slots(cluster, first.slots, request.epochs, request.slots, affordable)
    by_graph = None
    if not rules:
        _check_dispatch(request, families)
        by_graph = _by_graph(request, cluster, families, workload, chosen)
    settings = Settings(
        testbed=cluster.name,
        workload=first.name,
        workload_files=files,
        load=request.load,
        families=families,
        seeds=seeds,
        slots=chosen,
        drain_slots=drain_slots(cluster),
        slot_s=cluster.slot_s,
        epoch_slots=cluster.epoch_slots,
        deadline_s=cluster.deadline_s,
        latency_weight=cluster.latency_weight,
        serving=cluster.serving.to_json(),
        agents=None if by_graph is None else by_graph.settings.to_json(),
    )
    said = Remarks.before(cluster, first, chosen)
    return Experiment(settings, cluster, to_yaml(testbed), workload, versions(), by_graph, said, to_resume(request))


def resume(run: Path, memory: str | None = None, other_code: bool = False) -> Path:
    """Go on with a run that was stopped, by what it was asked to do; raises InputError where there is none.

    Args:
        run: the folder that it was to become.
        memory: as --memory; addresses are not kept with a run, for they may hold passwords.
        other_code: go on although the versions have changed since.
    """
    if run.is_dir() and (left := left_behind(run)) is not None:
        raise InputError(f"{run} is finished: there is nothing to resume. {left}")
    request = read_request(RunFolder.killed(run), run)
    agents = request.agents
    if memory is not None:
        agents = dataclasses.replace(agents or AgentRequest(), memory=memory)
    return execute(dataclasses.replace(request, out=run, agents=agents), resumed=True, other_code=other_code)


def _check_dispatch(request: Request, families: Sequence[str]) -> None:
    """Raise InputError where a family that goes through the slot graph brings a dispatch of its own."""
    via_graph = request.agents is not None and request.agents.via_graph
    for family in families:
        dispatch, code = own_dispatch(family), bare(family)
        if dispatch is not None and (via_graph or code not in FAMILIES):
            raise InputError(
                f"--family {family}: only families of rules outside of the slot graph bring a dispatch of their own "
                f"({', '.join(FAMILIES)}); give --family {code} --dispatch {dispatch}."
            )


def _by_graph(
    request: Request, cluster: Cluster, families: Sequence[str], workload: Callable[[int], Streams], slots: int
) -> GraphFamilies:
    from runtime.cli.commands.agent_runs import (
        by_graph,  # LangGraph takes its time to import, and rules need none of it
    )

    return by_graph(request.agents or AgentRequest(), cluster, families, workload, slots)


def _workload_files(workload: str) -> dict[str, str]:
    """Digests of a workload file and of the traces that it plays, by their names; raises InputError."""
    if workload in builtin_workloads():
        return {}
    path = Path(workload)
    if path.suffix in TRACES:
        raise InputError(
            f"{path} is a trace; play it from a workload file that says "
            f"'streams: [{{kind: trace, path: {path.name}}}]' (docs/workloads.md)."
        )
    files, elsewhere = {path.name: path}, set[Path]()
    if path.suffix in (".yaml", ".yml"):
        for stream in load_yaml(path, WorkloadFile).streams:
            if isinstance(stream, Playback):
                file = path.parent / Path(stream.path).expanduser()
                # As it is written, for two folders may hold files of one name; but no place of this machine.
                if not stream.path.startswith(("/", "~")):
                    files[stream.path] = file
                elif file not in elsewhere:
                    elsewhere.add(file)
                    files[_free_name(file.name, files)] = file
    return {name: _digest(file) for name, file in files.items() if file.is_file()}


def _free_name(name: str, taken: Container[str]) -> str:
    """The name, or where it is taken the name with the next free number."""
    return next(own for own in chain([name], (f"{name} ({k})" for k in count(2))) if own not in taken)


def _digest(path: Path) -> str:
    """SHA-256 of a file, which may be larger than memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _families(asked: Sequence[str]) -> tuple[str, ...]:
    codes = [family_code(code) for text in asked for code in text.split(",")] or list(FAMILIES)
    for code in codes:
        if codes.count(code) > 1:
            raise InputError(f"--family names {code} twice; name each family once.")
    return tuple(codes)


def _folder(request: Request, experiment: Experiment) -> RunFolder:
    if request.out is not None:
        return RunFolder.named(request.out)
    return RunFolder.numbered(RUNS, folder_name(request, experiment.settings), experiment.identity)


def command_name() -> str:
    """How the user can type `edgewise` here."""
    if Path(sys.argv[0]).name == "edgewise":
        return "edgewise" if sys.argv[0] == "edgewise" else _short(Path(sys.argv[0]))
    return f"{_short(Path(sys.executable))} -m runner"


def _short(path: Path) -> str:
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
