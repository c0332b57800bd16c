"""The folder of a run: built under a hidden name, published whole, taken up again where a killed run stopped.

A reader never sees half a run. While it is being built the folder is called `.<name>.partial` and locked; each family's
part in it is complete or absent. A run that was killed leaves it behind, and the same command finds it, keeps the
finished parts and does the rest; a command with other settings, versions or code empties it first.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from domain.errors import InputError

REQUEST = ".request.json"
"""What a run was asked for: among its parts, so that it is not published."""


class RunFolder:
    """A run folder under construction; a context manager that holds its lock."""

    def __init__(self, target: Path, partial: Path, lock: int, numbered: bool) -> None:
        self._target, self._lock, self._numbered = target, lock, numbered
        self.path = partial
        """Where it is being built."""

    @classmethod
    def named(cls, path: Path) -> RunFolder:
        """Open the folder of exactly this name; raises InputError where it exists or another process builds it."""
        _check_free(path)
        lock = _lock(_partial(path))
        if lock is None:
            raise InputError(f"{path} is being written by another run; wait for it or choose another --out.")
        return cls(path, _partial(path), lock, numbered=False)

    @classmethod
    def numbered(cls, parent: Path, name: str) -> RunFolder:
        """Open the first free one of <name>, <name>-2, <name>-3 … in `parent`."""
        for target in _candidates(parent, name):
            if not target.exists() and (lock := _lock(_partial(target))) is not None:
                return cls(target, _partial(target), lock, numbered=True)
        raise AssertionError("the candidates never end")

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def begin(self, identity: Mapping[str, str], must_be_same: bool = False) -> bool:
        """Write the files that say what run this is; True where a killed run of the same identity is taken up.

        A folder of another identity is emptied first or, where it `must_be_same`, refused with InputError.
        """
        other = [name for name, text in identity.items() if _text(self.path / name) != text]
        if other and must_be_same:
            raise InputError(
                f"{self._target} cannot be resumed: its {other[0]} is not what this installation would write now. "
                f"Go back to what it was begun with, or start over by the command that began it."
            )
        if other:
            for entry in self.path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            for name, text in identity.items():
                (self.path / name).write_text(text, encoding="utf-8", newline="\n")
        self._parts.mkdir(exist_ok=True)
        return any(not part.name.startswith(".") for part in self._parts.iterdir())

    @property
    def _parts(self) -> Path:
        return self.path / "parts"

    def keep_request(self, text: str) -> None:
        """Note what was asked for, until the folder is published."""
        (self._parts / REQUEST).write_text(text, encoding="utf-8")

    @staticmethod
    def killed(target: Path) -> str:
        """What the killed run that was to become `target` was asked for; raises InputError where there is none."""
        text = _text(_partial(target) / "parts" / REQUEST)
        if text is None:
            state = "is finished" if target.exists() else "was never begun, or was killed before its first slot"
            raise InputError(f"{target} {state}: there is nothing to resume.")
        return text

    def part(self, name: str) -> Path:
        """Where the finished part of this name is; it exists only when finished."""
        return self._parts / name

    @contextmanager
    def new_part(self, name: str) -> Iterator[Path]:
        """Give an empty folder to write a part into; the part counts as finished when the block ends well."""
        draft = self._parts / f".{name}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        yield draft
        draft.rename(self.part(name))

    def publish(self) -> Path:
        """Drop the parts, make everything durable and give the folder its name; return where it is."""
        shutil.rmtree(self._parts)
        for path in [*(p for p in sorted(self.path.rglob("*")) if p.is_file()), self.path]:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        targets = _candidates(self._target.parent, self._target.name) if self._numbered else iter([self._target])
        for target in targets:
            try:
                self.path.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
            else:
                return target
        raise InputError(f"{self._target} came into being while the run went on; the run is kept in {self.path}.")


def _candidates(parent: Path, name: str) -> Iterator[Path]:
    number = 1
    while True:
        yield parent / (name if number == 1 else f"{name}-{number}")
        number += 1


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _check_free(path: Path) -> None:
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists():
        raise InputError(f"{path} already exists; choose another --out or remove it.")


def _lock(folder: Path) -> int | None:
    """Create a folder if need be and lock it; None where another process holds it. The lock ends with the process."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise InputError(f"{folder.parent} cannot hold the run folder: {error.strerror}.") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(folder)):
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except FileNotFoundError:
            pass
        os.close(handle)  # another process published the folder between our opening and our locking it


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
