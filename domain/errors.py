"""The one error that a user's input can cause: a sentence that names the file, the field and what would be right."""

from __future__ import annotations

import errno

_MACHINE = frozenset(
    (
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
    )
)


class InputError(Exception):
    """Bad input from a person: a file, a flag, a trace. The command line prints it and exits with status 2."""


def is_of_the_machine(error: OSError) -> bool:
    """True where the machine could not (no permission, disk full), and no other path would be right: exit status 1."""
    return error.errno in _MACHINE
