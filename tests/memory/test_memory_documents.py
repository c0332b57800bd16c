"""How things are written down: bit for bit, without secrets, with a version."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InputError
from domain.ledger import Attempt, Role
from domain.telemetry import Records
from memory import ledger_text
from memory.columns import pack, unpack
from memory.documents import SHAPES, Document, Kind, check_version
from memory.forms import case_document, records_document, telemetry_document, telemetry_of
from memory.ledger_text import LedgerText, decision_of
from memory.redaction import redact
from tests.memory_examples import case, decision, records, telemetry

NAMES = [field.name for field in fields(Records)]


@given(st.integers(0, 12).flatmap(lambda n: st.binary(min_size=8 * n * len(NAMES), max_size=8 * n * len(NAMES))))
def test_packed_records_come_back_bit_for_bit_whatever_the_numbers(bits: bytes) -> None:
    count = len(bits) // 8 // len(NAMES)
    columns: dict[str, Any] = {
        name: np.frombuffer(bits, np.float64 if name.endswith("_s") else np.int64, count, offset=8 * count * place)
        for place, name in enumerate(NAMES)
    }
    back = unpack(pack(Records(**columns)), count)
    for name, column in columns.items():
        assert getattr(back, name).dtype == column.dtype
        assert getattr(back, name).tobytes() == column.tobytes()


def test_unpacked_records_can_be_written_to() -> None:
    back = unpack(pack(records(3)), 3)
    back.queue_s[0] = 7.0
    assert back.queue_s[0] == 7.0


@pytest.mark.parametrize(
    ("data", "requests", "says"),
    [(pack(records(3)), 4, "288 bytes are not 12 columns of 4"), (b"\x00", 0, "break off"), (b"ab", 0, "decompressed")],
)
def test_bytes_that_are_no_records_are_refused(data: bytes, requests: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unpack(data, requests)
    assert zlib.decompress(pack(records(0))) == b""


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("mongodb://ada:s3cret@db:27017/x", "mongodb://***@db:27017/x"),
        ("mongodb+srv://ada:s3%40cret@c.example/?w=1", "mongodb+srv://***@c.example/?w=1"),
        ("mongodb://ada:s3@cret@db/x", "mongodb://***@db/x"),
        ("mongodb://ada:s3/cr#et?@db/x", "mongodb://***@db/x"),
        ("twice http://a:b@c and https://d@e.", "twice http://***@c and https://***@e."),
        ("https://h/v1?api_key=k&x=1&Token=t", "https://h/v1?api_key=***&x=1&Token=***"),
        ("https://h/v1?key=k&sig=s&keynote=x", "https://h/v1?key=***&sig=***&keynote=x"),
        ("mongodb://h/?tlsCertificateKeyFilePassword=p&w=1", "mongodb://h/?tlsCertificateKeyFilePassword=***&w=1"),
        ("no secret: https://h:8080/path and ada@example.org", "no secret: https://h:8080/path and ada@example.org"),
        ("https://h/who?mail=ada@example.org", "https://h/who?mail=ada@example.org"),
    ],
)
def test_secrets_in_uris_are_cut_out_and_nothing_else(text: str, redacted: str) -> None:
    assert redact(text) == redacted


def test_every_kind_says_its_version_and_has_its_columns() -> None:
    documents = [
        *LedgerText().documents([decision()]),
        case_document(case()),
        records_document("r", 0, records(1)),
        telemetry_document("r", 0, telemetry(), {}),
    ]
    for document in documents:
        assert document.body["schema_version"] == SHAPES[document.kind].version
        assert list(document.values) == list(SHAPES[document.kind].columns)
        assert "\n" not in document.text
        assert document.text.isascii()


def test_columns_are_plain_values() -> None:
    values = LedgerText().documents([decision(role=Role.DEPLOYER, node="hub")])[-1].values
    assert [type(value) for value in values.values()] == [str, int, str, str]


TEXTS = st.text(st.sampled_from('a\0"\\\n\u2028é🔑\ud800:/@'), max_size=8)


@given(
    contents=st.lists(st.tuples(st.sampled_from(["system", "user", "tool"]), TEXTS), max_size=3),
    answer=st.none() | TEXTS,
    seconds=st.floats(allow_nan=False, allow_infinity=False) | st.integers(2**63, 2**70),
    role=st.sampled_from(Role),
)
def test_an_entry_is_written_as_any_other_document_and_comes_back_whole(
    contents: list[tuple[str, str]], answer: str | None, seconds: float, role: Role
) -> None:
    messages = tuple({"role": role, "content": content} for role, content in contents)
    attempts = Attempt(messages, answer, seconds=seconds), Attempt((), None, ("x://a:b@c",))
    entry = decision(role=role, node="hub" if role is Role.DEPLOYER else None, attempts=attempts)
    for kept in (entry, replace(entry, attempts=entry.attempts[:1])):
        ledger = LedgerText()
        *instructions, document = ledger.documents([kept])
        again = Document.of(Kind.DECISION, document.body)
        assert (document.values, document.body) == (again.values, again.body)
        assert document.text.isascii()
        ledger.stored(instructions)
        assert ledger.documents([kept]) == [document]
        texts = {text.body["sha256"]: text.body["text"] for text in instructions}
        inline = Document.of(Kind.CASE, {**case().to_json(), "extra": kept.to_json()}).body["extra"]
        assert decision_of(document.body, texts).to_json() == inline


def test_instructions_are_written_once_for_each_run_and_only_when_they_are_clean() -> None:
    ledger = LedgerText()

    def written(run: str, *contents: str) -> list[str]:
        asked = Attempt(tuple({"role": "system", "content": content} for content in contents), "{}")
        documents = ledger.documents([decision(run=run, attempts=(asked, asked))])
        ledger.stored(documents)
        return [document.body.get("text", document.kind) for document in documents]

    assert written("r", "a", "b") == ["a", "b", "decisions"]
    assert written("r", "b", "c \N{ROBOT FACE}") == ["c \N{ROBOT FACE}", "decisions"]
    assert written("s", "a") == ["a", "decisions"]
    assert written("s", "see x://a:b@c", "half a pair: \ud83e") == ["decisions"]


def test_instructions_that_were_not_stored_are_written_again() -> None:
    ledger = LedgerText()
    assert len(ledger.documents([decision()])) == len(ledger.documents([decision()])) == 2


def test_an_entry_whose_instructions_are_lost_says_so_and_keeps_everything_else() -> None:
    put = decision()
    read = decision_of(LedgerText().documents([put])[-1].body, {})
    told = read.attempts[0].messages[0]["content"]
    assert re.fullmatch(r"\(The instructions with the SHA-256 [0-9a-f]{64} are missing in the memory\.\)", told)
    messages = ({"role": "system", "content": told}, *put.attempts[0].messages[1:])
    assert read == replace(put, attempts=(replace(put.attempts[0], messages=messages), *put.attempts[1:]))


@pytest.mark.parametrize("role", list(Role))
def test_a_number_that_is_none_keeps_an_entry_out(role: Role) -> None:
    with pytest.raises(ValueError, match="A document of decisions must hold finite numbers"):
        LedgerText().documents([decision(role=role, attempts=(Attempt((), None, seconds=float("nan")),))])


def test_kept_instructions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_text, "MOST_KEPT", 2)
    ledger = LedgerText()
    for slot in range(3):
        for n in range(4):
            entry = decision(slot=slot, attempts=(Attempt(({"role": "system", "content": f"node {n}"},), "{}"),))
            documents = ledger.documents([entry])
            ledger.stored(documents)
            assert [document.kind for document in documents] == [Kind.INSTRUCTIONS, Kind.DECISION]


def test_telemetry_without_a_value_is_null_and_comes_back_as_nan() -> None:
    document = telemetry_document("r", 3, telemetry(), {"x": 1})
    assert json.loads(document.text)["telemetry"]["success_ratio"] == [0.75, None]
    back = telemetry_of(document.body).telemetry
    assert np.isnan([back.success_ratio[1], back.global_p95_latency_s]).all()
    assert back.arrived.dtype == np.int64


def test_infinity_is_refused_where_it_is_put() -> None:
    with pytest.raises(ValueError, match="A document of runs must hold finite numbers"):
        Document.of(Kind.RUN, {"run": "r", "settings": {"limit": float("inf")}})


@pytest.mark.parametrize("version", [None, 0, "1", 2])
def test_a_version_that_is_unknown_is_named(version: object) -> None:
    with pytest.raises(InputError, match=r"^here: a document of cases (says no schema_version|has schema_version 2)"):
        check_version(Kind.CASE, {"schema_version": version}, "here")
    check_version(Kind.CASE, {"schema_version": 1}, "here")
