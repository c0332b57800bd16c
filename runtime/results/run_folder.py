"""The folder of a run: built under a hidden name, published whole, taken up again where a stopped run left it.

A reader never sees half a run. While it is being built the folder is called `.<name>.partial`, and the name is locked
by a file beside it; each family's part in it is complete or absent. A run that was stopped leaves it behind, and the
same command finds it, keeps the finished parts and does the rest. What another run has left, one of other settings,
versions or code, is never removed: it keeps its place, or is set aside under a name by which it can be gone on with.

Whatever is removed is renamed first, and whatever gets its name is on the disk before: a kill or a loss of power at any
moment leaves one state or the next.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from types import TracebackType

from domain.errors import InputError, refusal
from runtime.results.differing import BEFORE, differences, told
from runtime.results.durable import discard, make_folder, move, remove, sync, sync_all, write_file
from runtime.results.locks import Lock, try_lock

PARTS = "parts"
"""Folder of the parts. What else is in it is not published."""
REQUEST = f"{PARTS}/.request.json"
"""What a run was asked for."""
VERSIONS, JOURNAL = "versions.json", "memory.journal"


@dataclass(frozen=True, slots=True)
class Left:
    """What another run has left under the name that was asked for."""

    name: Path
    """The run folder that it would become: the name to go on with it by."""
    differs: str
    """In what it is another one."""
    other_code: bool
    """True where nothing but the versions differs."""


class RunFolder:
    """A run folder under construction; a context manager that holds its lock."""

    def __init__(self, target: Path, lock: Lock, numbered: bool) -> None:
        self._target, self._lock, self._numbered = target, lock, numbered
        self.path = _partial(target)
        """Where it is being built."""
        self.left: Left | None = None
        """What was found under the name, and is kept elsewhere."""
        try:
            make_folder(self.path)
            self._tidy()
        except OSError as error:
            lock.release()
            raise refusal(f"{target.parent} cannot hold the run folder", error) from None
        except BaseException:
            lock.release()
            raise

    @classmethod
    def named(cls, path: Path) -> RunFolder:
        """Open the folder of exactly this name; raises InputError where it exists or another process builds it."""
        try:
            target = _real(path)
            _check_free(path, target)
        except OSError as error:
            raise refusal(f"{path} cannot become a run folder", error) from None
        lock = _lock(target)
        if lock is None:
            raise InputError(f"{path} is being written by another run; wait for it or choose another --out.")
        return cls(target, lock, numbered=False)

    @classmethod
    def numbered(cls, parent: Path, name: str, identity: Mapping[str, str]) -> RunFolder:
        """Open one of <name>, <name>-2, <name>-3 … in `parent`: the one that was begun as this run, or the first free.

        What other runs have left under these names stays where it is.
        """
        left: Left | None = None
        for target in chain(_begun(parent, name), _free(parent, name)):
            if target.exists() or (lock := _lock(target)) is None:
                continue
            folder = cls(target, lock, numbered=True)
            other = folder.differs(identity)
            if not other or not folder.worth_keeping:
                folder.left = left if other else None
                return folder
            left = left or Left(target, told(other), folder._other_code(identity))
            lock.release()
        raise AssertionError("the free ones never end")

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(self._target)  # a write to an open file does not say which

    def begin(self, identity: Mapping[str, str], *, must_be_same: bool = False, other_code: bool = False) -> bool:
        """Write the files that say what run this is; True where a stopped run of the same identity is taken up.

        A folder of another identity is set aside, and `left` says so.

        Args:
            identity: name of each file to its text; those in PARTS are not published.
            must_be_same: raise InputError instead of setting anything aside.
            other_code: take up a run of other versions, too, and note both.
        """
        other = self.differs(identity)
        if other and other_code and self._other_code(identity):
            self._note_versions(identity[VERSIONS])
            other = []
        elif other and must_be_same:
            raise self._refusal(identity, other)
        elif other:
            self._make_room(identity, told(other))
        make_folder(self._parts)
        if other:
            for name, text in identity.items():
                write_file(self.path / name, text)
        return any(not part.name.startswith(".") for part in self._parts.iterdir())

    def check_same(self, identity: Mapping[str, str], *, other_code: bool = False) -> None:
        """Raise InputError where `begin` would, that a run must be the same; nothing is written."""
        other = self.differs(identity)
        if other and not (other_code and self._other_code(identity)):
            raise self._refusal(identity, other)

    def differs(self, identity: Mapping[str, str]) -> list[str]:
        """In what the folder is another run; an empty one is none, and differs in everything."""
        return differences({name: _text(self.path / name) for name in identity}, identity)

    @property
    def worth_keeping(self) -> bool:
        """True where the folder holds more than what a run writes before it begins."""
        own = {name for name in os.listdir(self.path) if not name.startswith(".")}
        parts = os.listdir(self._parts) if PARTS in own else []
        written = {name for name in own if not name.endswith((".yaml", ".json"))} - {PARTS}
        return bool(written) or any(not name.startswith(".") for name in parts)

    @property
    def _parts(self) -> Path:
        return self.path / PARTS

    def keep_request(self, text: str) -> None:
        """Note what was asked for, until the folder is published."""
        write_file(self.path / REQUEST, text)

    @staticmethod
    def killed(path: Path) -> str:
        """What the stopped run that was to become `path` was asked for; raises InputError where there is none."""
        target = _real(path)
        text = _text(_partial(target) / REQUEST)
        if text is None and _partial(target).exists():
            text = _text(_published_parts(target) / Path(REQUEST).name)
        if text is None:
            state = "is finished" if target.exists() else "was never begun, or was killed before its first slot"
            raise InputError(f"{path} {state}: there is nothing to resume.")
        return text

    @staticmethod
    def place_of(path: Path) -> Path:
        """Where the files of a run are, finished or stopped; raises InputError where there is no such run."""
        target = _real(path)
        place = target if target.is_dir() else _partial(target)
        if not place.is_dir():
            raise InputError(f"{path}: there is no run of this name, neither finished nor stopped.")
        return place

    def part(self, name: str) -> Path:
        """Where the finished part of this name is; it exists only when finished."""
        return self._parts / name

    @contextmanager
    def new_part(self, name: str) -> Iterator[Path]:
        """Give an empty folder to write a part into; the part counts as finished when the block ends well."""
        draft = self._parts / f".{name}"
        remove(draft)
        draft.mkdir()
        yield draft
        for entry in os.listdir(self.path):  # what a part has left beside the parts is not made again either
            sync_all(draft if entry == PARTS else self.path / entry)
        sync(self.path)
        move(draft, self.part(name))

    def publish(self) -> Path:
        """Make everything durable, put the parts away and give the folder its name; return where it is."""
        sync_all(self.path)
        away = _published_parts(self._target)
        move(self._parts, away)
        for target in _free(self._target.parent, self._target.name) if self._numbered else iter([self._target]):
            try:
                self.path.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
            else:
                sync(target.parent)
                discard(away)
                return target
        move(away, self._parts)
        raise InputError(f"{self._target} came into being while the run went on; the run is kept in {self.path}.")

    def _tidy(self) -> None:
        """Undo a publishing that was killed half-way; remove what one that was killed at its end, or a run, left."""
        away = _published_parts(self._target)
        if away.exists() and (self.path / VERSIONS).exists() and not self._parts.exists():
            move(away, self._parts)
        discard(away)
        discard(_trash(self._target))

    def _other_code(self, identity: Mapping[str, str]) -> bool:
        """True where the folder holds a run that differs in its versions alone."""
        return (self.path / VERSIONS).exists() and not self.differs(
            {name: text for name, text in identity.items() if name != VERSIONS}
        )

    def _note_versions(self, now: str) -> None:
        """Write the versions of now, and before them those that the run has had."""
        earlier = json.loads(_text(self.path / VERSIONS) or "{}")
        before = earlier.pop(BEFORE, [])
        write_file(self.path / VERSIONS, json.dumps({**json.loads(now), BEFORE: [*before, earlier]}, indent=1) + "\n")

    def _refusal(self, identity: Mapping[str, str], other: list[str]) -> InputError:
        ways = "Go back to what it was begun with, or start over by the command that began it."
        if self._other_code(identity):
            ways = "Go back to that code, or give --other-code to go on with what was decided and the code of now."
        return InputError(f"{self._target} cannot be resumed as it was begun: {told(other)}. {ways}")

    def _make_room(self, identity: Mapping[str, str], other: str) -> None:
        """Leave an empty folder; by one rename what was in it is set aside, or away where it is worthless."""
        if not os.listdir(self.path):
            return
        kept = self.worth_keeping
        if kept:
            aside = next(_free(self._target.parent, f"{self._target.name}-interrupted", partial=True))
            self.left = Left(aside, other, self._other_code(identity))
        move(self.path, _partial(aside) if kept else _trash(self._target))
        make_folder(self.path)
        discard(_trash(self._target))


def _free(parent: Path, name: str, partial: bool = False) -> Iterator[Path]:
    """Names that no run has; `partial`: nor one that was stopped."""
    for number in count(1):
        target = parent / (name if number == 1 else f"{name}-{number}")
        if not target.exists() and not (partial and _partial(target).exists()):
            yield target


def _begun(parent: Path, name: str) -> list[Path]:
    """The names of runs that were stopped."""
    form = re.compile(rf"\.({re.escape(name)}(?:-\d+)?)\.partial")
    found = [match[1] for entry in parent.glob(".*.partial") if (match := form.fullmatch(entry.name))]
    return [parent / own for own in sorted(found, key=lambda own: (len(own), own))]


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _published_parts(target: Path) -> Path:
    """Where the parts are while their run gets its name."""
    return target.with_name(f".{target.name}.parts")


def _lock_file(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


def _trash(target: Path) -> Path:
    return target.with_name(f".{target.name}.trash")


def _real(path: Path) -> Path:
    """The folder that a path names: behind a link, which is not replaced, and never '.' or '..'."""
    return Path(os.path.realpath(path)) if path.is_symlink() or path.name in ("", "..") else path


def _check_free(path: Path, target: Path) -> None:
    if target.is_dir() and not any(target.iterdir()):
        if target.samefile(os.curdir):
            raise InputError(f"{path} is the current folder; choose an --out that is not there yet.")
        return
    if target.exists():
        if target.name and not _partial(target).exists():
            discard(_published_parts(target))  # a publishing was killed at its very end
            _lock_file(target).unlink(missing_ok=True)
        raise InputError(f"{path} already exists; choose another --out or remove it.")


def _lock(target: Path) -> Lock | None:
    """Lock the name of a run; None where another process builds it."""
    try:
        make_folder(target.parent)
        return try_lock(_lock_file(target))
    except OSError as error:
        raise refusal(f"{target.parent} cannot hold the run folder", error) from None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return None
