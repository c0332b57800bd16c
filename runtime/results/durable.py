"""Files and folders that are on the disk when the call returns, so that a machine may lose its power at any moment.

A file system may put a name on the disk long before the content that it names. So contents are synced before they get
their name, and the folder that holds the name is synced after that.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def sync(path: Path) -> None:
    """Put a file, or the names in a folder, on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_all(path: Path) -> None:
    """Put a file, or a folder with everything in it, on the disk. Raises OSError."""
    if not path.is_dir():
        sync(path)
    for parent, _, files in os.walk(path, topdown=False):
        for name in sorted(files):
            sync(Path(parent, name))
        sync(Path(parent))


def write_file(path: Path, text: str) -> None:
    """Write a file whole or not at all; it is on the disk when this returns. Raises OSError."""
    draft = path.with_name(f".{path.name}.new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        data, written = text.encode(), 0
        while written < len(data):
            written += os.write(handle, data[written:])
        os.fsync(handle)
    finally:
        os.close(handle)
    move(draft, path)


def move(source: Path, target: Path) -> None:
    """Give a file or a folder another name, which is on the disk when this returns. Raises OSError."""
    os.replace(source, target)
    sync(target.parent)
    if source.parent != target.parent:
        sync(source.parent)


def make_folder(path: Path) -> None:
    """Make a folder, and those that it is in; harmless where it is there. Raises OSError."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def discard(folder: Path) -> None:
    """Remove what nobody needs, as far as it can be removed; another process may be doing the same."""
    shutil.rmtree(folder, ignore_errors=True)


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it; harmless where there is none. Raises OSError."""
    if folder.exists():
        shutil.rmtree(folder)
