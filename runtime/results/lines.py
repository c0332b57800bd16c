"""Files of JSON, one value a line: a line is whole as soon as it is written, and a kill costs the last one at most."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Write = Callable[[Any], None]
"""Puts one more value at the end of a file."""


def line_of(value: Any) -> str:
    """Return a value as it stands in such a file, without the end of its line."""
    return json.dumps(value, separators=(",", ":"))


@contextmanager
def written_lines(path: Path, start: Iterable[Any] = ()) -> Iterator[Write]:
    """Write a file anew, line by line; the old one stays until all values of `start` are written.

    Raises:
        OSError: the file cannot be written.
    """
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding="utf-8") as file:

        def write(value: Any) -> None:
            file.write(line_of(value) + "\n")
            file.flush()

        for value in start:
            write(value)
        new.replace(path)
        yield write


def whole_lines(path: Path) -> list[str]:
    """Return the lines that were written to their end; none where there is no file.

    Raises:
        OSError: the file cannot be read.
    """
    if not path.exists():
        return []
    return path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
