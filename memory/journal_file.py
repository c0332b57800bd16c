"""An append-only file of lines that outlives its process: what was said to be appended is there.

Every append is one write and one fsync. A process that dies in the middle leaves a line without its end; the next one
to open the file cuts it off and counts it. Lines go in order; one who reads them says how far it got, and when all are
read the file is emptied. Until then a crash means that they are read again, so reading twice must do no harm.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from domain.errors import InputError, refusal


class JournalFile:
    """One journal, held by one process (flock) until it is closed. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Create the file (mode 0600) or take up what a former process has left.

        Raises:
            InputError: the file cannot be opened, or another process holds it.
        """
        self.path = path
        self.torn = 0
        """Lines that a former process did not finish; cut off."""
        self.waiting = 0
        """Lines that were not read and advanced over yet."""
        self._mutex = threading.Lock()
        self._aside: set[bytes] | None = None
        self._met = set[bytes]()
        self._start = 0
        try:
            self._handle = _open(path)
            self._end = self._recover()
        except OSError as error:
            raise refusal(f"{path} cannot hold the memory's journal", error) from None

    @property
    def empty(self) -> bool:
        """True where the file holds nothing, read or unread."""
        return self._end == 0

    def append(self, lines: Sequence[bytes]) -> None:
        """Add lines, each without its line break; they are on the disk when this returns, all of them or none.

        Raises:
            OSError: they could not be written; the file is as it was.
        """
        data = b"".join(line + b"\n" for line in lines)
        with self._mutex:
            _write_at(self._handle, self._end, data)
            self._end += len(data)
            self.waiting += len(lines)

    def read(self, most: int, most_bytes: int = 4_000_000) -> list[bytes]:
        """Return the first unread lines, at least one where there is any, without advancing over them."""
        lines, size = list[bytes](), 0
        with self._mutex, self.path.open("rb") as file:
            file.seek(self._start)
            while self._start + size < self._end and len(lines) < most and size < most_bytes:
                line = file.readline()
                size += len(line)
                lines.append(line[:-1])
        return lines

    def advance(self, lines: Sequence[bytes]) -> None:
        """Mark the lines that `read` returned as done."""
        with self._mutex:
            self._start += sum(len(line) + 1 for line in lines)
            self.waiting -= len(lines)

    def clear(self) -> bool:
        """Empty the file if every line is done; return whether it is empty."""
        with self._mutex:
            if self._start == self._end and self._end:
                os.ftruncate(self._handle, 0)
                os.fsync(self._handle)
                self._start = self._end = 0
            return self._end == 0

    @property
    def refused_path(self) -> Path:
        """Where lines go that nobody can use."""
        return self.path.with_name(self.path.name + ".refused")

    def set_aside(self, line: bytes) -> bool:
        """Add a line to the file next to this one, unless it is there; it is on the disk when this returns.

        One who dies before the journal has advanced over the line, or whose store goes away, meets it again.

        Returns:
            Whether this process sets it aside for the first time.

        Raises:
            OSError: it could not be written; the file is as it was.
        """
        digest = sha256(line).digest()
        with self._mutex:
            handle = os.open(self.refused_path, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                _, end = _whole_lines(handle)
                if self._aside is None:
                    self._aside = _digests(handle)
                if digest not in self._aside:
                    _write_at(handle, end, line + b"\n")
            finally:
                os.close(handle)
            first = digest not in self._met
            self._aside.add(digest)
            self._met.add(digest)
            return first

    def close(self) -> None:
        """Let go of the file, and remove it where every line is done. Harmless when done twice."""
        with self._mutex:
            if self._handle >= 0:
                if self._start == self._end:
                    self.path.unlink(missing_ok=True)
                os.close(self._handle)
                self._handle = -1

    def _recover(self) -> int:
        """Cut off what has no line break at its end; return the length of what is left."""
        self.waiting, end = _whole_lines(self._handle)
        if end < os.fstat(self._handle).st_size:
            self.torn = 1
            os.ftruncate(self._handle, end)
            os.fsync(self._handle)
        return end


def _whole_lines(handle: int) -> tuple[int, int]:
    """How many lines end in a line break, and where the last of them ends."""
    size, lines, end, at = os.fstat(handle).st_size, 0, 0, 0
    while at < size:
        block = os.pread(handle, 1 << 20, at)
        lines += block.count(b"\n")
        last = block.rfind(b"\n")
        end = at + last + 1 if last >= 0 else end
        at += len(block)
    return lines, end


def _write_at(handle: int, end: int, data: bytes) -> None:
    """Write behind the last whole line, all of it or nothing; on the disk when this returns. Raises OSError."""
    os.ftruncate(handle, end)  # what a failed write may have left
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(handle, data[written:], end + written)
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, end)
        raise


def _digests(handle: int) -> set[bytes]:
    """SHA-256 of each whole line."""
    with open(handle, "rb", closefd=False) as file:
        file.seek(0)
        return {sha256(line[:-1]).digest() for line in file if line.endswith(b"\n")}


def _open(path: Path) -> int:
    """Open, lock and make the name durable. The lock ends with the process."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                break
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(handle)
            raise InputError(
                f"{path} is another process's journal just now; give this one a journal of its own."
            ) from None
        os.close(handle)  # its last owner removed it between our opening and our locking it
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return handle
