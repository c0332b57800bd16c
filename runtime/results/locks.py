"""Locks on files: one process at a time, and never longer than it lives.

The lock is on a file that is open for writing. On a network file system only such a lock is one for all machines; a
lock on a folder, or on a file that is open for reading, would be refused or hold on this machine alone.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from domain.errors import InputError, refusal


def try_lock(path: Path) -> int | None:
    """Create a file if need be and lock it; return its handle, or None where another process holds it.

    Whoever holds it may remove the file. The lock ends when the handle is closed.

    Raises:
        InputError: the file cannot be created, or its file system knows no locks.
    """
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise refusal(f"{path} cannot be created, so nothing can be locked there", error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(handle)
            raise InputError(f"{path} cannot be locked: {error.strerror}. Choose a folder on a local disk.") from None
        os.close(handle)  # its last owner removed it between our opening and our locking it
