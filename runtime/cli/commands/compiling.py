"""compile: machine code made ahead."""

from __future__ import annotations

import errno
import os

from runtime.runs.compiling import compile_all
from twin.compiled import code_folder


def compile_ahead() -> None:
    """Compile everything and say where it is; raises OSError where it cannot be kept."""
    folder = code_folder()
    if folder is None:
        raise OSError(errno.EACCES, "there is no folder to keep compiled code in; name one with --cache")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    print(f"{compile_all()} functions are compiled. Their code is kept in {folder}")
