"""The one way by which text that others wrote gets into a prompt: quoted, on one line, of bounded length.

Names of nodes and LMs come from files, answers come from models. Between quotes they stay data: nothing in them can end
the line, pass for another part of the prompt, or hide behind characters that a person does not see.
"""

from __future__ import annotations

import json

LONGEST = 80
"""Characters of a name that are shown; a testbed file allows 63."""


def one_line(text: str, longest: int = LONGEST) -> str:
    """Return `text` with a space for every line break, control or invisible character, cut after `longest`.

    What is left of it can always be encoded as UTF-8. A printable text that is short enough comes back as it is.
    """
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else " " for c in cut)


def quoted(text: str, longest: int = LONGEST) -> str:
    """Return `text` on one line as a JSON string, quotes and backslashes in it escaped."""
    shown = one_line(text, longest)
    return json.dumps(shown, ensure_ascii=False) if '"' in shown or "\\" in shown else f'"{shown}"'


def listed(names: list[str], most: int = 12) -> str:
    """Return names, quoted, with commas; beyond `most` of them only their number goes on."""
    shown = ", ".join(quoted(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
