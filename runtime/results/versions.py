"""What made a run: the versions of code and packages, without hosts, paths or times."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path

HOUSE = Path(__file__).parents[2]
ROOMS = ("domain", "twin", "policies", "prompts", "tools", "memory", "graph", "runtime")
THIS = "runtime/results/versions.py"
NEW = "?"
"""Tag of a file that git does not track."""
PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "pyarrow", "matplotlib", "pydantic", "PyYAML")
"""Packages whose version can change a number or a byte of a run."""


def versions() -> str:
    """Return the text of `versions.json`."""
    packages = {name: metadata.version(name) for name in PACKAGES}
    return (
        json.dumps(
            {
                "edgewise": metadata.version("edgewise"),
                "commit": _commit(),
                "code_sha256": _code(),
                "python": platform.python_version(),
                "packages": packages,
            },
            indent=1,
        )
        + "\n"
    )


def _code() -> str:
    """Digest of the sources and the files that ship with them: tells runs apart where changes are not committed."""
    digest = hashlib.sha256()
    for path in _sources():
        content = path.read_bytes()
        digest.update(f"{path.relative_to(HOUSE).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _sources() -> list[Path]:
    """What the code is made of: in a checkout what git tracks, and modules that it does not track yet; else all."""
    listed = _listed()
    if listed is None:
        found = [path for room in ROOMS for path in (HOUSE / room).rglob("*") if "__pycache__" not in path.parts]
    else:
        new = [HOUSE / name for tag, name in listed if tag == NEW]
        tracked = [HOUSE / name for tag, name in listed if tag != NEW]
        found = [*tracked, *(path for path in new if path.suffix == ".py" and path.stem.isidentifier())]
    return sorted(path for path in found if path.is_file())


def _commit() -> str | None:
    """Commit of the checkout that holds this file; None where it was installed without one, or git is missing."""
    try:
        return None if _listed() is None else _git("rev-parse", "HEAD")[0].strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _listed() -> list[tuple[str, str]] | None:
    """Tag and name of each file of the rooms that git tracks or could; None where it does not track this one."""
    try:
        said = _git("ls-files", "-z", "-t", "--cached", "--others", "--exclude-standard", "--", *ROOMS)
    except (OSError, subprocess.CalledProcessError):
        return None
    listed = [(line[0], line[2:]) for line in said]
    return listed if any(name == THIS and tag != NEW for tag, name in listed) else None


def _git(*words: str) -> list[str]:
    """What git says of the checkout, split at its zero bytes. Raises OSError or CalledProcessError."""
    said = subprocess.run(["git", "-C", str(HOUSE), *words], capture_output=True, check=True, text=True).stdout
    return [part for part in said.split("\0") if part]
