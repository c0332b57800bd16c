"""Locks on names: one process at a time, and never longer than it lives.

The lock is on a file that is open for writing. On a network file system only such a lock is one for all machines; a
lock on a folder holds on the machine alone that took it.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from domain.errors import InputError


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that this process holds."""

    path: Path
    handle: int

    def release(self) -> None:
        """Let go of it, and remove its file."""
        try:
            self.path.unlink(missing_ok=True)  # first: a file that is not there any more is nobody's lock
        finally:
            os.close(self.handle)


def try_lock(path: Path) -> Lock | None:
    """Create a file if need be and lock it; None where another process holds it.

    Raises:
        InputError: its file system knows no locks.
        OSError: the file cannot be created.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return Lock(path, handle)
        except BlockingIOError:
            os.close(handle)
            return None
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(handle)
            raise InputError(f"{path} cannot be locked: {error.strerror}. Choose a folder on a local disk.") from None
        os.close(handle)  # its last owner removed it between our opening and our locking it
