"""Keys and passwords that this process knows, and how they are kept out of whatever it writes or says.

A server may throw a key back in an error, a model in an answer. Texts of others are struck here as soon as they come
in, before anything is cut off them: of a key that was cut first, half would stay and nobody would know it.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Self

from memory.redaction import HIDDEN

SHORTEST = 8
"""Characters below which a value is too common a text to be struck out everywhere."""
PART = 6
"""Characters of a secret in a row that are struck out of a text in which no single word matters."""
_NAMED = re.compile("(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|HEADER)S?(_|$)", re.IGNORECASE)
_USERINFO = re.compile(r"://[^\s/?#:@]*:([^\s/?#]+)@")
_ASSIGNED = re.compile(r"=\s*([^,;=]+)")


class Secrets:
    """Texts that must not leave this process; two that hold the same are equal."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """Know some texts; those with fewer than SHORTEST characters are left out."""
        self._texts = frozenset(text for text in texts if len(text) >= SHORTEST)
        self._forms = sorted({form for text in self._texts for form in _forms(text)}, key=len, reverse=True)
        self._parts = {form[at : at + PART] for form in self._forms for at in range(len(form) - PART + 1)}

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """Find those of an environment: variables that are named like secrets, passwords in addresses."""
        return cls(text for name, value in environ.items() for text in _secrets_in(name, value))

    def __or__(self, other: Secrets) -> Secrets:
        return Secrets(self._texts | other._texts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secrets) and self._texts == other._texts

    def __hash__(self) -> int:
        return hash(self._texts)

    def __repr__(self) -> str:
        return f"<{len(self._texts)} secrets>"

    def strike(self, text: str) -> str:
        """Return the text with every secret replaced, whether plain, quoted in JSON or Python, or in an address."""
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        return text

    def strike_parts(self, text: str) -> str:
        """Return the text also without parts of secrets, which somebody may have cut off or shown in part.

        For words of others that nothing depends on: ordinary words that a secret happens to hold go as well.
        """
        text = self.strike(text)
        hit = bytearray(len(text))
        for at in range(len(text) - PART + 1):
            if text[at : at + PART] in self._parts:
                hit[at : at + PART] = b"\1" * PART
        runs = groupby(range(len(text)), key=lambda at: hit[at])
        return "".join(HIDDEN if struck else "".join(text[at] for at in run) for struck, run in runs)


def _forms(text: str) -> Iterator[str]:
    """The ways in which a text is written down by those who quote it."""
    yield text
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield repr(text)[1:-1]
    yield urllib.parse.quote(text, safe="")
    yield urllib.parse.quote_plus(text)


def _secrets_in(name: str, value: str) -> Iterator[str]:
    value = value.strip()
    if _NAMED.search(name):
        yield value
        for given in _ASSIGNED.findall(value) if "HEADER" in name.upper() else ():  # api-key=…,authorization=Bearer%20…
            yield from (given.strip(), *urllib.parse.unquote(given).split())
    for password in _USERINFO.findall(value):
        yield from (password, urllib.parse.unquote(password))
