"""The lines of a file, a few megabytes at a time: unpacked by what is in it, and no line longer than memory likes.

A line is a row. A line that is too long or no text does not end the reading: it is handed on as an empty one, with
the reason, and whoever reads rows counts it as malformed.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import numpy as np

from domain.errors import InputError

CHUNK = 1 << 22
"""Bytes, after unpacking, that are read at once."""
MOST_LINE = 1 << 20
"""Bytes of the longest line that is read."""
TOO_LONG = f"the line is longer than {MOST_LINE:,} bytes"
NO_TEXT = "the line is not UTF-8 text"

_PACKED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))
_FOREIGN = (
    (b"PAR1", "is a Parquet file; write it as CSV or JSON lines"),
    (b"ARROW1", "is an Arrow file; write it as CSV or JSON lines"),
    (b"PK\x03\x04", "is a zip archive or a spreadsheet; unpack it, or save the sheet as CSV"),
    (b"\x28\xb5\x2f\xfd", "is packed by zstd; unpack it, or pack it by gzip"),
    (b"SQLite format 3\x00", "is a SQLite database; write the table as CSV"),
    (b"\xff\xfe", "is UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16 text; save it as UTF-8"),
)


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of a file, one after the other."""

    first: int
    """Line of the file, counted from 1, of the first of them."""
    data: bytes
    """The lines, each with a line feed at its end."""
    wrong: dict[int, str] = field(default_factory=dict)
    """Line of the file to what is wrong with it as a line; it is empty in `data`."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacked where its first bytes say that it is packed (gzip, bzip2, xz).

    Raises:
        InputError: it is missing, a folder, no ordinary file, broken, or of a form that is not read here.
        OSError: the machine cannot read it.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: there is no such file; give the path of a CSV or JSON file.") from None
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no path: {error}.") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder; give the path of a file in it.")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is not an ordinary file; write it to one.")
    with path.open("rb") as raw:
        magic = raw.read(16)
    for start, what in _FOREIGN:
        if magic.startswith(start):
            raise InputError(f"{path} {what}.")
    unpack = next((unpack for start, unpack in _PACKED if magic.startswith(start)), None)
    with path.open("rb") if unpack is None else unpack(path, "rb") as file:
        yield cast(IO[bytes], file)


def read(path: Path, file: IO[bytes], size: int) -> bytes:
    """Return the next bytes of an opened file; raises as `opened`."""
    try:
        return file.read(size)
    except OSError as error:
        if error.errno is not None:
            raise
        raise InputError(f"{path} cannot be read: {error}.") from None
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path} cannot be read: {str(error).rstrip('.')}.") from None


def blocks(path: Path) -> Iterator[Block]:
    """Yield the lines of a file, in order; all ends of lines (LF, CRLF, CR) are alike. Raises as `opened`."""
    line, rest, long = 1, b"", False
    with opened(path) as file:
        for chunk in _chunks(path, file):
            cut = chunk.rfind(b"\n") + 1
            data, tail = (rest + chunk[:cut], chunk[cut:]) if cut else (b"", rest + chunk)
            if data:
                wrong = {line: TOO_LONG} if long else {}
                data = _checked(data[data.index(b"\n") :] if long else data, line, wrong)
                yield Block(line, data, wrong)
                line, long = line + data.count(b"\n"), False
            long = long or len(tail) > MOST_LINE
            rest = b"" if long else tail
        if rest or long:
            wrong = {line: TOO_LONG} if long else {}
            yield Block(line, _checked(rest + b"\n", line, wrong), wrong)


def _chunks(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a file without the mark of UTF-8, lines ended by line feeds alone."""
    held, mark = b"", b"\xef\xbb\xbf"
    while more := read(path, file, CHUNK):
        chunk, mark = (held + more).removeprefix(mark), b""
        held = b"\r" if chunk.endswith(b"\r") else b""  # its line feed may be the first byte of the next
        chunk = chunk[: len(chunk) - len(held)]
        yield chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in chunk else chunk
    if held:
        yield b"\n"


def _checked(data: bytes, first: int, wrong: dict[int, str]) -> bytes:
    """Empty the lines that are too long or no text, and note them in `wrong`."""
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n"))
    bad = set(np.flatnonzero(np.diff(ends, prepend=-1) - 1 > MOST_LINE).tolist())
    wrong.update((first + k, TOO_LONG) for k in bad)
    if data.isascii() and not bad:
        return data
    lines = data[:-1].split(b"\n")
    for k, text in enumerate(lines):
        if k not in bad and not text.isascii() and not _is_text(text):
            bad.add(k)
            wrong[first + k] = NO_TEXT
    return b"".join((b"" if k in bad else text) + b"\n" for k, text in enumerate(lines)) if bad else data


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
