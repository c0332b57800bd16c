"""Where Edgewise keeps what it can make again, such as compiled code, whoever runs it and wherever it is installed.

A folder that was named wins (EDGEWISE_CACHE), then comes the user's cache folder (XDG Base Directory Specification,
0.8), then a private one for temporary files, then none. What lies there is run as code, so a folder that nobody named
must belong to this user, and nobody else may write to it.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

VARIABLE = "EDGEWISE_CACHE"
"""Environment variable that names the folder."""
TEMPORARY = ("/tmp", "/var/tmp")


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder that was named, as it is, or else the first one to write to; None where there is none."""
    return named_folder(VARIABLE, environ) or writable_folder(environ)


def writable_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the first folder to write to, the named one among them, created if need be; None where there is none."""
    named = named_folder(VARIABLE, environ)
    if named is not None and _is_usable(named, private=False):
        return named
    return next((folder for folder in _own_folders(environ) if _is_usable(folder, private=True)), None)


def named_folder(variable: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the absolute path that a variable names; None where it is not set, or begins with a ~ that nobody is."""
    text = environ.get(variable, "").strip()
    if not text:
        return None
    if not text.startswith("~"):
        return Path(text).absolute()
    home = _home(environ)
    return home.joinpath(*Path(text).parts[1:]) if home is not None and text.split("/")[0] == "~" else None


def _own_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    told, home = Path(environ.get("XDG_CACHE_HOME", "")), _home(environ)
    if told.is_absolute():
        yield told / "edgewise"
    elif home is not None:
        yield home / ".cache" / "edgewise"
    for place in (environ.get("TMPDIR", ""), *TEMPORARY):
        if Path(place).is_absolute() and Path(place).is_dir():
            yield Path(place) / f"edgewise-{os.geteuid()}"


def _home(environ: Mapping[str, str]) -> Path | None:
    """The user's home, where it exists; HOME, or what the system says of the user."""
    text = environ.get("HOME", "")
    if not text:
        with suppress(KeyError):  # a container runs as a user that its system does not know
            text = pwd.getpwuid(os.geteuid()).pw_dir
    return Path(text) if Path(text).is_absolute() and Path(text).is_dir() else None


def _is_usable(folder: Path, private: bool) -> bool:
    """Create a folder if need be; True where this user can write to it and, if it must be private, nobody else."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700 if private else 0o777)
        found = folder.lstat() if private else folder.stat()
    except OSError:
        return False
    alone = found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and (alone or not private) and os.access(folder, os.R_OK | os.W_OK | os.X_OK)
