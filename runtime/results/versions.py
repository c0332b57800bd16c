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
    for room in ROOMS:
        for path in sorted((HOUSE / room).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                content = path.read_bytes()
                digest.update(f"{path.relative_to(HOUSE).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _commit() -> str | None:
    """Commit of the checkout that holds this file; None where it was installed without one, or git is missing."""
    git = ["git", "-C", str(HOUSE)]
    try:
        subprocess.run(
            [*git, "ls-files", "--error-unmatch", "runtime/results/versions.py"], capture_output=True, check=True
        )
        return subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
