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
DispatchOption = Annotated[
    str | None,
    option(
        "--dispatch",
        "fixed|arrival|split",
        "Who sends a request where. fixed: the routing plan, for the whole slot (P1). arrival: its origin, as it "
        "comes, to whichever allowed node will have answered it first. split: the same, prompt by prompt.",
        shown="the testbed's, else fixed",
    ),
]
NewsOption = Annotated[
    float | None,
    option(
        "--news",
        "SECONDS",
        "Age of what an origin knows of other nodes' queues, 0 to a slot; it matters with --dispatch arrival or split.",
        shown="the testbed's, else 0",
    ),
]
BatchOption = Annotated[
    str | None,
    option(
        "--batch",
        "none|request|queue",
        "Which prompts a pod computes together. none: each alone (P1). request: those of one request. queue: those "
        "that wait, of any requests. The LMs' batch curves say how fast, and how many at most.",
        shown="the testbed's, else none",
    ),
]
CopiesOption = Annotated[
    bool | None,
    option(
        "--copies/--no-copies",
        None,
        "Let a pod with vGPUs on several GPUs hold a copy of its LM on each, where memory allows, instead of one LM "
        "over all of them (P1).",
        shown="the testbed's, else no copies",
    ),
]
OutOption = Annotated[
    Path | None,
    option(
        "--out -o", "FOLDER", "Folder of the run; must not exist yet.", shown="runs/<testbed>-<workload>-seed<seed>"
    ),
]
