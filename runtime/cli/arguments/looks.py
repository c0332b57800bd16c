"""families, report, trace inspect, testbed show and compile: what is there to look at, and to make ahead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from runtime.cli.arguments.options import option


def families() -> None:
    """List the policy families: who plans, schedules and deploys in each.

    Example: **edgewise families**
    """
    from runtime.cli.commands.looks import show_families

    show_families()


def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]) -> None:
    """Print the table of a finished run again.

    Example: **edgewise report runs/bristol-p1-seed1**
    """
    from runtime.cli.commands.looks import show_report

    show_report(run)


def trace_inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A trace of requests: CSV or JSON, packed or not.")],
    columns: Annotated[
        list[str] | None,
        option(
            "--columns",
            "ROLE=NAME[,…]",
            "Which column says what, where names are others; roles are time (any clock), time_s (seconds of the run), "
            "node, lm, prompts.",
        ),
    ] = None,
    time_unit: Annotated[
        str | None, option("--time-unit", "s|ms|us|ns", "Unit of times that are numbers.", shown="as their size says")
    ] = None,
    form: Annotated[
        str | None,
        option(
            "--format",
            "NAME",
            "azure, gentd26, burstgpt, mooncake, vllm, aiperf, servegen or plain.",
            shown="as the columns say",
        ),
    ] = None,
    testbed: Annotated[
        str | None,
        option("--testbed -t", "NAME|FILE", "Find the names of LMs and nodes that a run on this testbed would refuse."),
    ] = None,
) -> None:
    """Say what a trace file holds: its form, its requests per LM and origin, and what is wrong with it, if anything.

    Example: **edgewise trace inspect requests.csv --testbed bristol**

    Example: **edgewise trace inspect log.jsonl --columns time=arrived_at,lm=model --time-unit ms**
    """
    from runtime.cli.commands.traces import show_trace

    show_trace(file, columns or [], time_unit, form, testbed)


def testbed_show(
    testbed: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A built-in testbed or a YAML file.", show_default=True)
    ] = "bristol",
    generate: Annotated[
        int | None,
        option("--generate", "N", "Make a random testbed of N nodes instead."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of the random testbed.")] = 1,
    out: Annotated[
        Path | None,
        option("--out -o", "FILE", "Write the testbed as YAML as well."),
    ] = None,
    with_sources: Annotated[bool, typer.Option("--sources", help="List where every number comes from.")] = False,
) -> None:
    """Show a testbed: nodes, LMs, seconds per prompt, and where every number comes from.

    Example: **edgewise testbed show bristol --sources**

    Example: **edgewise testbed show --generate 20 --seed 3 --out twenty.yaml**
    """
    from runtime.cli.commands.looks import show_testbed

    show_testbed(testbed, generate, seed, out, with_sources)


def compile_ahead(
    cache: Annotated[
        Path | None,
        option(
            "--cache",
            "FOLDER",
            "Where it is kept; EDGEWISE_CACHE names the folder to later runs.",
            shown="EDGEWISE_CACHE, or the user's cache folder",
        ),
    ] = None,
) -> None:
    """Compile ahead what runs need compiled, for an image or for users who may not write to a cache.

    Example: **edgewise compile --cache /opt/edgewise-cache**
    """
    if cache is not None:
        os.environ["EDGEWISE_CACHE"] = str(cache.absolute())
    from runtime.cli.commands.compiling import compile_ahead

    compile_ahead()
