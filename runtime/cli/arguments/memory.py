"""memory store: what a run could not put into its memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runtime.cli.arguments.options import option


def store(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run, or the name that it would have got.")],
    memory: Annotated[
        str | None,
        option("--memory", "URI|FILE", "The memory that the run was given.", shown="MONGODB_URI"),
    ] = None,
) -> None:
    """Store what a run left in its journal because its memory was away to the end.

    It can be given again and again; what is stored leaves the journal.

    Example: **edgewise memory store runs/bristol-p1-MA-seed1**
    """
    from runtime.cli.commands.memory import store_journal

    store_journal(run, memory)
