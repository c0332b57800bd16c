"""Markdown templates to chat messages: instructions that stay the same first, the state that changes last.

In this order the servers' prefix caches hold from call to call. A template is a file beside this module: above its line
`---` stands the system message, below it the user message, `$name` is filled in by code. Templates are read when the
package is imported, so that no file is opened while slots run.
"""

from __future__ import annotations

from importlib import resources
from string import Template

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
        self.system, self.user = Template(system.strip()), Template(user.strip())

    def fill_system(self, **fields: str) -> Message:
        """Return the instructions. Raises KeyError where they have a gap that is not given."""
        return {"role": "system", "content": self.system.substitute(fields)}

    def fill_user(self, **fields: str) -> Message:
        """Return the state. Raises KeyError where it has a gap that is not given."""
        return {"role": "user", "content": self.user.substitute(fields)}


def approximate_tokens(text: str) -> int:
    """Tokens of a text, approximately: its characters divided by four, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def count(messages: list[Message]) -> int:
    """Tokens of all messages together, approximately; what the chat format adds is left out."""
    return sum(approximate_tokens(message["content"]) for message in messages)
