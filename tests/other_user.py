"""Commands as a user who owns nothing here, for root alone can be refused nothing and become anybody."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
USER = 54321


@cache
def _python() -> str | None:
    """An interpreter of this version that the user can run with what is installed here; None where there is none."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for candidate in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        tried = (
            _run([candidate, "-c", "import numba, runtime.cli.program"], {}, "/") if Path(candidate).exists() else None
        )
        if tried is not None and tried.returncode == 0:
            return candidate
    return None


def as_other_user(
    arguments: Sequence[str], environ: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run `edgewise` in a folder, with this environment and no other; skips the test where that cannot be done."""
    if os.geteuid() or shutil.which("setpriv") is None:
        pytest.skip("only root, with setpriv, can become another user")
    python = _python()
    if python is None:
        pytest.skip("no interpreter here can be run by another user with what is installed")
    return _run([python, "-m", "runner", *arguments], environ, str(folder))


def _run(command: Sequence[str], environ: Mapping[str, str], folder: str) -> subprocess.CompletedProcess[str]:
    path = f"{sysconfig.get_path('purelib')}:{HOUSE}"
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
    return subprocess.run(
        [*become, *command],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=150,
    )
