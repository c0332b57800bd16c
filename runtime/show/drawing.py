"""Writes the figures of a decision into the figures of its run folder."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from runtime.report.figures import save
from runtime.results.own_dispatch import MARK
from runtime.show.flows import flow_grids
from runtime.show.history import History
from runtime.show.timeline import timeline


def draw(history: History, folder: Path) -> list[Path]:
    """Draw placement and flows of one family on one seed into `folder`, which must exist; return the files.

    Placement is left out where the run folder does not hold it. A file is there whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    name = history.family.replace(MARK, "-")
    name += "" if len(history.summary.seeds) == 1 else f"-seed{history.result.seed}"
    files, pods = list[Path](), history.pods
    with TemporaryDirectory(prefix=".", dir=folder) as draft:
        if pods is not None:
            files += save(Path(draft), f"placement-{name}", lambda: timeline(history, pods))
        if len(history.records):
            files += save(Path(draft), f"flows-{name}", lambda: flow_grids(history))
        return [file.replace(folder / file.name) for file in files]
