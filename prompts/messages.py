"""Markdown templates to chat messages: instructions that stay the same first, the state that changes last.

In this order the servers' prefix caches hold from call to call. A template is a file beside this module: above its line
`---` stands the system message, below it the user message, `$name` is filled in by code. Templates are read when the
package is imported, so that no file is opened while slots run.
"""

from __future__ import annotations

import re
from importlib import resources

Message = dict[str, str]
"""Role and content."""
CHARACTERS_PER_TOKEN = 4
"""Rule of thumb for English text; tokenizers differ, and numbers and JSON cost more."""


class MessageTemplate:
    """The messages of one agent, with gaps."""

    def __init__(self, name: str) -> None:
        """Read `prompts/NAME.md`; without a line `---` all of it is the user message."""
        text = resources.files("prompts").joinpath(f"{name}.md").read_text(encoding="utf-8")
        system, _, user = text.rpartition("\n---\n")
        self._system, self._user = _parts(system.strip()), _parts(user.strip())

    def fill_system(self, **fields: str) -> Message:
        """Return the instructions. Raises KeyError where they have a gap that is not given."""
        return {"role": "system", "content": _filled(self._system, fields)}

    def fill_user(self, **fields: str) -> Message:
        """Return the state. Raises KeyError where it has a gap that is not given."""
        return {"role": "user", "content": _filled(self._user, fields)}


def _parts(text: str) -> list[str]:
    """Take a template apart: text, name of a gap, text, name, … text."""
    return re.split(r"\$([a-z_]+)", text)


def _filled(parts: list[str], fields: dict[str, str]) -> str:
    return "".join([fields[part] if at % 2 else part for at, part in enumerate(parts)])


def approximate_tokens(text: str) -> int:
    """Tokens of a text, approximately: its characters divided by four, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def count(messages: list[Message]) -> int:
    """Tokens of all messages together, approximately; what the chat format adds is left out."""
    return sum(approximate_tokens(message["content"]) for message in messages)
