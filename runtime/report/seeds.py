"""What is said of the intervals over seeds: how sure they are, and where a seed has no value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from runtime.results.intervals import CONFIDENCE, Interval, enough, interval, interval_ranks


def title_line(seeds: int, shown: Iterable[Interval | None]) -> str:
    """What stands in the title of a figure about the intervals that it shows."""
    known = sorted({round(100 * found.confidence) for found in shown if found and found.count > 1})
    if not known:
        return f"{seeds} seeds: median, which no interval can be put around"
    sure = f"{known[0]}%" if len(known) == 1 else f"{known[0]} to {known[-1]}%"
    return f"{seeds} seeds: median and its {sure} confidence interval"


def notes(seeds: int, values: Mapping[tuple[str, str], Sequence[float | None]]) -> Iterator[str]:
    """What stands below a table with intervals.

    Args:
        seeds: of the run, more than one.
        values: (column, family) to the value of each seed, of the columns that show intervals.
    """
    confidence = interval_ranks(seeds)[1]
    more = "" if confidence >= CONFIDENCE else f" and no more: {enough()} seeds give {CONFIDENCE:.0%}"
    yield (
        f"Medians over {seeds} seeds; an interval below one holds the median with {confidence:.1%} confidence{more}."
    )
    for (column, family), own in values.items():
        found = interval(own)
        if found is None or found.count == seeds:
            continue
        of = f"{column} of {family}: {found.count} of {seeds} seeds"
        if found.count > 1:
            yield f"{of} have a value; the interval is theirs, with {found.confidence:.1%} confidence."
        else:
            yield f"{of} has a value; one gives no interval."
