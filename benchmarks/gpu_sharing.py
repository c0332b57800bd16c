"""How far laws of GPU sharing are from measurements: python -m benchmarks.gpu_sharing.

`gpu_sharing.csv` holds slowdowns of P1's four LMs beside each other, each in a process of its own, back to back for 5
to 8 s, on one NVIDIA H200 (driver 580, default time slice, fp16, two CPU cores a process). An empty cell was not used:
LM2 came out faster beside others than alone, for its solo seconds vary by half. Solo seconds and the seconds with
kernels on the GPU (CUPTI) are below.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from domain.gpu_sharing import HOST_CONTENTION, shared_seconds

SOLO = {"LM1": (0.596, 0.062), "LM2": (1.613, 0.19), "LM3": (0.215, 0.0234), "LM4": (1.365, 0.78)}
"""Seconds of a prompt alone, and those with kernels on the GPU."""
Row = tuple[tuple[str, ...], int, float]
"""Who is busy together, which of them is measured, and its slowdown."""
Law = Callable[[Sequence[str]], Sequence[float]]


def measured() -> list[Row]:
    """Read the slowdowns."""
    rows, seen = list[Row](), dict[str, int]()
    last = ""
    with Path(__file__).with_name("gpu_sharing.csv").open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if line["together"] != last:
                seen, last = {}, line["together"]
            together, lm = tuple(last.split("+")), line["lm"]
            places = [j for j, name in enumerate(together) if name == lm]
            place = places[seen.get(lm, 0)]
            seen[lm] = seen.get(lm, 0) + 1
            if line["slowdown"]:
                rows.append((together, place, float(line["slowdown"])))
    return rows


def by_demand(contention: float) -> Law:
    """The twin's law."""

    def law(together: Sequence[str]) -> Sequence[float]:
        host = [SOLO[lm][0] - SOLO[lm][1] for lm in together]
        seconds = shared_seconds(host, [[SOLO[lm][1]] for lm in together], contention)
        return [s / SOLO[lm][0] for s, lm in zip(seconds, together, strict=True)]

    return law


def always_busy(together: Sequence[str]) -> Sequence[float]:
    """Every busy neighbour is taken to use the GPU all the time."""
    return [1.0 + SOLO[lm][1] * (len(together) - 1) / SOLO[lm][0] for lm in together]


def errors(law: Law, rows: Sequence[Row]) -> list[float]:
    """Relative error of each row."""
    return [abs(law(together)[j] - slowdown) / slowdown for together, j, slowdown in rows]


def fit(rows: Sequence[Row]) -> float:
    """The contention with the least mean error, to two decimals."""
    grid = np.round(np.arange(0.0, 0.5, 0.01), 2)
    return float(min(grid, key=lambda h: float(np.mean(errors(by_demand(h), rows)))))


def main() -> None:
    """Print the fit and a table of laws."""
    rows = measured()
    with_lm4 = [row for row in rows if len(row[0]) == 2 and row[0][row[1]] == "LM4" and row[0] != ("LM4", "LM4")]
    groups = sorted({together for together, _, _ in rows})
    left_out = [
        error
        for group in groups
        for error in errors(
            by_demand(fit([row for row in rows if row[0] != group])), [row for row in rows if row[0] == group]
        )
    ]
    table = Table("law", "mean error", "worst of LM4 beside LM1 or LM3", box=None)
    for name, law in (
        ("neighbours always busy", always_busy),
        ("by demand, no contention", by_demand(0.0)),
        (f"by demand, contention {HOST_CONTENTION}", by_demand(HOST_CONTENTION)),
    ):
        table.add_row(name, f"{np.mean(errors(law, rows)):.1%}", f"{max(errors(law, with_lm4)):.1%}")
    console = Console()
    console.print(table)
    console.print(f"contention fitted: {fit(rows):.2f}; each group predicted by the others: {np.mean(left_out):.1%}")


if __name__ == "__main__":
    main()
