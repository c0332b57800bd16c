"""show: what was decided in a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runtime.cli.arguments.options import option


def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    family: Annotated[
        str | None, option("--family -f", "CODE", "Family to show, where the run has several.", shown="the least J")
    ] = None,
    seed: Annotated[
        int | None, option("--seed -s", "N", "Seed to show, where the run has several.", shown="the first")
    ] = None,
    slot: Annotated[
        int | None, option("--slot", "N", "Show one slot, counted from 0: each decision, who made it, and why.")
    ] = None,
    node: Annotated[str | None, option("--node", "NAME", "Show this node alone.")] = None,
    diff: Annotated[
        str | None,
        option("--diff", "CODE[,CODE]|RUN", "Compare with another family of the run, two families, or another run."),
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Draw placement and flows into the run's figures/.")
    ] = True,
) -> None:
    """Show what was decided: which node keeps which LM on what and for how long, and where prompts go.

    It reads the run folder alone, whoever decided: rules or agents. Two figures go into the folder's figures/:
    placement over time, and flows from origins to targets.

    Example: **edgewise show runs/bristol-p1-RL-seed1**

    Example: **edgewise show runs/bristol-p1-seed1 --family AL --node VM7**

    Example: **edgewise show runs/bristol-p1-MA-seed1 --slot 50**

    Example: **edgewise show runs/bristol-p1-seed1 --diff RF,RH**

    Example: **edgewise show runs/bristol-p1-RL-seed1 --diff runs/bristol-real-RL-seed1**
    """
    from runtime.cli.commands.shows import Asked
    from runtime.cli.commands.shows import show as show_run

    show_run(Asked(run, family, seed, slot, node, diff, figures))
