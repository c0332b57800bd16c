"""whatif: a recorded run under other rules or on another testbed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runtime.cli.arguments.options import BatchOption, CopiesOption, DispatchOption, NewsOption, option


def whatif(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    family: Annotated[
        list[str] | None,
        option(
            "--family -f",
            "CODE[,CODE…]",
            "Rules that decide in place of those of the run; may be repeated.",
            shown="those of the run",
        ),
    ] = None,
    testbed: Annotated[
        str | None,
        option("--testbed -t", "NAME|FILE", "Another testbed, with the same LMs.", shown="that of the run"),
    ] = None,
    add_node: Annotated[
        list[str] | None,
        option("--add-node", "[NAME=]NODE", "One more node like NODE, at its site; may be repeated."),
    ] = None,
    remove_node: Annotated[
        list[str] | None,
        option("--remove-node", "NODE", "Without this node; may be repeated."),
    ] = None,
    split: Annotated[
        int | None,
        option("--split", "N", "N vGPUs per GPU, on every node with GPUs that are no MIG slices."),
    ] = None,
    dispatch: DispatchOption = None,
    news_s: NewsOption = None,
    batching: BatchOption = None,
    copies: CopiesOption = None,
    recorded: Annotated[
        str | None,
        option(
            "--recorded",
            "CODE",
            "Family of the run to compare with, where it has several.",
            shown="the one with the least J",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        option(
            "--memory",
            "URI|FILE",
            "Where the run kept its decisions; also from MONGODB_URI.",
            shown="memory.sqlite in the run folder",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option("--out -o", "FOLDER", "Keep numbers, records and a figure here; must not exist yet."),
    ] = None,
) -> None:
    """Play the requests of a run again, under other rules, on another testbed or served in another way.

    It says how sure each difference is.

    The requests come from the run's records, whoever decided and wherever it took place. First the run itself is
    played again in the twin, as it was decided, to see how far the twin is off.

    Example: **edgewise whatif runs/bristol-p1-RL-seed1 --family RH**

    Example: **edgewise whatif runs/bristol-p1-RH-seed1 --add-node VM4 --out runs/one-more-gpu**

    Example: **edgewise whatif runs/five-seeds --recorded RF --split 3 --remove-node VM3**

    Example: **edgewise whatif runs/bristol-p1-RH-seed1 --dispatch split --news 1**
    """
    from runtime.cli.commands.whatif import Question, what_if
    from runtime.whatif.edits import Edits
    from twin.testbeds import ServingEdit

    serving = ServingEdit(dispatch, news_s, batching, copies)
    edits = Edits(testbed, tuple(add_node or ()), tuple(remove_node or ()), split, serving)
    what_if(Question(run, tuple(family or ()), recorded, edits, memory, out))
