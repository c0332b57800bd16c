"""Keys and passwords: which texts of an environment are such, and how they are struck out of what others say."""

from __future__ import annotations

import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.secrets import PART, SHORTEST, Secrets

KEY = "sk-9fQ2xv7Lw0Zr"
characters = st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="*\x7f")


@pytest.mark.parametrize(
    ("name", "value", "secrets"),
    [
        ("OPENAI_API_KEY", KEY, [KEY]),
        ("openai_api_key", f" {KEY}\n", [KEY]),
        ("OPENAI_API_KEY_2", KEY, [KEY]),
        ("HF_TOKEN", KEY, [KEY]),
        ("DB_PASSWD", KEY, [KEY]),
        ("GOOGLE_CREDENTIALS", KEY, [KEY]),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"x-team=edge,authorization=Basic%20{KEY}", [f"Basic%20{KEY}", KEY]),
        ("MONGODB_URI", f"mongodb://ada:{KEY}@db:27017/x", [KEY]),
        ("HTTPS_PROXY", "http://ada:p%40ss%2Fword@proxy:3128", ["p%40ss%2Fword", "p@ss/word"]),
        ("REDIS", f"redis://:{KEY}@cache/0", [KEY]),
        ("MY_KEY", "short", []),
        ("HOME", "/home/ada-lovelace", []),
        ("TOKENIZERS_PARALLELISM", "false-or-true", []),
        ("KEYBOARD", "pc105-german", []),
        ("HOMEPAGE", "https://example.org/ada@home", []),
    ],
)
def test_secrets_are_found_by_the_names_of_variables_and_in_addresses(
    name: str, value: str, secrets: list[str]
) -> None:
    found = Secrets.of({name: value})
    assert found | Secrets(secrets) == found, "all of these"
    assert found.strike(f"{value} {value}").count(KEY) == 0
    if not secrets:
        assert found == Secrets()


@given(st.lists(st.text(characters, min_size=SHORTEST, max_size=40), min_size=1, max_size=4), st.data())
def test_a_secret_is_struck_out_however_it_is_quoted(texts: list[str], data: st.DataObject) -> None:
    secret, around = texts[0], "key is {} {} {}"
    written = around.format(secret, urllib.parse.quote(secret, safe=""), data.draw(st.text(characters, max_size=5)))
    for quoted in (written, json.dumps(written), json.dumps([written], ensure_ascii=False), repr({"error": written})):
        struck = Secrets(texts).strike(quoted)
        for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], urllib.parse.quote(secret, safe="")):
            assert form not in struck


@given(st.text(characters, min_size=20, max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_no_part_of_a_secret_stays_where_no_word_matters(secret: str, begin: int, end: int) -> None:
    struck = Secrets([secret]).strike_parts(f"Incorrect key {secret[begin:end]}, is it {secret}? Or {secret[:10]}…")
    assert all(secret[at : at + PART] not in struck for at in range(len(secret) - PART + 1))


def test_words_that_are_no_secrets_stay_as_they_are() -> None:
    known = Secrets([KEY, "in"])
    for text in ("nothing in here", "", "sk-9 is not enough", "\x01\x02"):
        assert known.strike(text) == known.strike_parts(text) == text


def test_secrets_never_show_themselves() -> None:
    assert repr(Secrets([KEY, "0123456789"])) == "<2 secrets>"
