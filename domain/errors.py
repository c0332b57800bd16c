"""Errors that a person is told in one sentence, which names the file, the field and what would be right."""

from __future__ import annotations

import errno
from typing import Final

_MACHINE: Final = frozenset(
    (
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
    )
)
"""Errors of the system that no other path would be spared."""


class InputError(Exception):
    """Bad input from a person: a file, a flag, a trace. The command line prints it and exits with `status`."""

    status: int = 2


class MachineError(InputError):
    """The input may be right, and the machine cannot: a full disk, no permission, a store that is away."""

    status = 1


def refusal(what: str, error: OSError) -> InputError:
    """Return what to raise where the system refuses to read or write something.

    Args:
        what: beginning of the sentence, such as "x.yaml cannot be written".
        error: of the system.

    Returns:
        MachineError where the machine could not, else InputError: another path would be right.
    """
    told = f"{what}: {error.strerror or error}."
    return MachineError(told) if error.errno in _MACHINE else InputError(told)
