"""The one error that a user's input can cause: a sentence that names the file, the field and what would be right."""

from __future__ import annotations


class InputError(Exception):
    """Bad input from a person: a file, a flag, a trace. The command line prints it and exits with status 2."""
