"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def option(
    flags: str, metavar: str | None, text: str, panel: str | None = None, shown: str | bool = False
) -> typer.models.OptionInfo:
    """Declare an option.

    Args:
        flags: its names, such as "--out -o".
        metavar: what stands for its value in the help; None where it has none.
        text: what it does.
        panel: heading that it stands under.
        shown: True shows its default, a text stands for it.
    """
    declared: typer.models.OptionInfo = typer.Option(
        *flags.split(), metavar=metavar, help=text, rich_help_panel=panel, show_default=shown
    )
    return declared


TestbedOption = Annotated[str, option("--testbed -t", "NAME|FILE", "A built-in testbed or a YAML file.", shown=True)]
WorkloadOption = Annotated[
    str,
    option(
        "--workload -w",
        "NAME|FILE",
        "p1 (P1's random batches), real (bundled real traces), poisson, bursty, drift, hotspot, or a YAML file.",
        shown=True,
    ),
]
LoadOption = Annotated[
    float, option("--load", "X", "Factor of the workload's requests: 2 is twice as many.", shown=True)
]
EpochsOption = Annotated[
    int | None,
    option(
        "--epochs -e",
        "N",
        "Epochs of new requests, 50 slots each on bristol.",
        shown="10, or to the end of a trace, if that takes about a minute",
    ),
]
SlotsOption = Annotated[int | None, option("--slots", "N", "Slots of new requests, instead of --epochs.")]
LambdaOption = Annotated[
    float | None,
    option(
        "--lambda",
        "0..1",
        "Weight of latency against fairness in the objective J.",
        shown="the testbed's, 0.5 on bristol",
    ),
]
OutOption = Annotated[
    Path | None,
    option(
        "--out -o", "FOLDER", "Folder of the run; must not exist yet.", shown="runs/<testbed>-<workload>-seed<seed>"
    ),
]
