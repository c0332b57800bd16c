"""No file, however odd, costs a reader more than it should: it is a trace, or a sentence says why it is none."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import twin.traces.rows
import twin.traces.source
from domain.errors import InputError
from tests.workload_files import stream
from twin.traces import Trace, inspect_trace, read_servegen, read_trace
from twin.traces.cells import NameColumn
from twin.traces.source import blocks

PLAIN = "time,node,lm,prompts\n"
CSV = st.lists(
    st.one_of(
        st.sampled_from([b"time,node,lm,prompts", b"TIMESTAMP,ContextTokens,GeneratedTokens", b"1,VM2,LM1,1", b"",
                         b"2023-01-01 00:00:00,1,2", b'1,"VM2,LM1,1', b"1715299200000,VM2,LM1,1", b",,,", b"\xff\xfe",
                         b'{"time": 1, "node": "VM2"}', b"model,client,window_start_s,rate_per_s,distribution,shape",
                         b"m,1,600,1,Gamma,1", b"m,1,1715299200000,1e300,Gamma,1", b"\x1f\x8b", b"PAR1", b"[", b"{"]),
        st.binary(max_size=30),
    ),
    max_size=12,
).map(b"\n".join)  # fmt: skip
NUMBERS = st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=20), st.booleans())
JSON = st.lists(
    st.dictionaries(st.sampled_from(["time", "lm", "node", "prompts", "a.b"]), NUMBERS | st.dictionaries(
        st.sampled_from(["b", "time"]), NUMBERS, max_size=2)),
    max_size=6,
)  # fmt: skip


def judged(path: Path) -> None:
    """Read a file as everything that it might be; whatever is wrong must be one sentence."""
    refusals = list[str]()
    for read in (inspect_trace, read_servegen, _read_plain):
        try:
            read(path)
        except InputError as refusal:
            refusals.append(str(refusal))
    assert all(re.fullmatch(r"[^\n]*[.?]", refusal) for refusal in refusals), refusals


def _read_plain(path: Path) -> Trace:
    return read_trace(path, "plain", max_malformed=1)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=CSV, packed=st.booleans())
def test_any_bytes_are_a_trace_or_a_sentence(tmp_path: Path, data: bytes, packed: bool) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(gzip.compress(data) if packed else data)
    judged(path)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=JSON, form=st.sampled_from(["lines", "list", "inside"]))
def test_any_json_is_a_trace_or_a_sentence(tmp_path: Path, entries: list[dict[str, object]], form: str) -> None:
    path = tmp_path / "any.json"
    text = {
        "lines": lambda: "".join(json.dumps(entry) + "\n" for entry in entries),
        "list": lambda: json.dumps(entries, indent=1),
        "inside": lambda: json.dumps({"requests": entries}),
    }[form]()
    path.write_text(text)
    judged(path)


ROW = st.tuples(
    st.floats(0, 1e9), st.sampled_from(["VM2", "VM3", "a;b", 'say "a"', "ü"]), st.integers(1, 8), st.booleans()
)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=1, max_size=40), end=st.sampled_from(["\n", "\r\n", "\r"]), last=st.booleans())
def test_what_is_written_is_read_whatever_ends_the_lines(
    tmp_path: Path, rows: list[tuple[float, str, int, bool]], end: str, last: bool
) -> None:
    """Rows, blank lines among them, quotes, an end of the last line or none; read in pieces of a few bytes."""
    text, lines = [PLAIN.strip()], []
    for time_s, node, prompts, blank_before in rows:
        text += [""] * blank_before + ['{!r},"{}",LM1,{}'.format(time_s, node.replace('"', '""'), prompts)]
        lines.append(len(text))
    path = tmp_path / "written.csv"
    path.write_bytes((end.join(text) + end * last).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twin.traces.source, "CHUNK", 7)
        trace = read_trace(path, max_malformed=1)
    order = np.argsort([row[0] for row in rows], kind="stable")
    assert trace.line.tolist() == [lines[k] for k in order]
    assert trace.prompts.tolist() == [rows[k][2] for k in order]
    assert trace.node is not None
    assert trace.node.tolist() == [rows[k][1] for k in order]
    assert trace.report.malformed == sum(row[3] for row in rows)
    np.testing.assert_array_equal(trace.time_s, np.array([rows[k][0] for k in order]) - rows[order[0]][0])


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=60).map(lambda b: b.replace(b"\x1f\x8b", b"")),
    size=st.integers(1, 9),
    most=st.integers(1, 9),
)
def test_lines_are_the_same_whatever_the_size_of_the_pieces(tmp_path: Path, data: bytes, size: int, most: int) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(b"x" + data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twin.traces.source, "CHUNK", size)
        patch.setattr(twin.traces.source, "MOST_LINE", most)
        read = list(blocks(path))
    joined = b"".join(block.data for block in read)
    expected = (b"x" + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    expected = expected[:-1] if expected[-1] == b"" else expected
    wrong = {line for block in read for line in block.wrong}
    shown = [b"" if k + 1 in wrong else line for k, line in enumerate(expected)]
    assert joined == b"".join(line + b"\n" for line in shown)
    assert wrong == {k + 1 for k, line in enumerate(expected) if len(line) > most or not _is_text(line)}
    assert [block.first for block in read] == [1 + joined[: joined.index(b.data)].count(b"\n") for b in read[:1]] + [
        read[k].first + read[k].data.count(b"\n") for k in range(len(read) - 1)
    ]


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("column", ["node", "lm"])
def test_one_long_cell_among_many_rows_is_malformed_and_costs_no_more_than_itself(tmp_path: Path, column: str) -> None:
    rows = [f"{k},VM2,LM1,1" for k in range(20_000)]
    long = "N" * 5000
    rows[777] = f"777,{long},LM1,1" if column == "node" else f"777,VM2,{long},1"
    rows[778] = f"778,{'N' * 3_000_000},LM1,1"
    (tmp_path / "long.csv").write_text(PLAIN + "\n".join(rows))
    trace = read_trace(tmp_path / "long.csv")
    assert len(trace) == 19_998
    assert trace.report.named == (
        f"line 779: {column} is longer than 1,000 bytes",
        "line 780: the line is longer than 1,048,576 bytes",
    )
    arrivals = stream(tmp_path, "{kind: trace, path: long.csv}")
    assert arrivals.warnings == (
        f"long.csv: 2 of 20,000 rows are malformed and left out: line 779: {column} is longer than 1,000 bytes; "
        "line 780: the line is longer than 1,048,576 bytes.",
    )


def test_long_cells_of_columns_that_nobody_asks_for_do_no_harm(tmp_path: Path) -> None:
    rows = "".join(f'{k},VM2,LM1,1,"{"a prompt, " * 900}"\n' for k in range(50))
    path = tmp_path / "texts.csv"
    path.write_text("time,node,lm,prompts,text\n" + rows)
    assert read_trace(path).report.malformed == 0


def test_a_long_line_in_the_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("time," + "x" * 2_000_000 + "\n1,2\n")
    with pytest.raises(InputError, match=r":1: the line is longer than 1,048,576 bytes; the first line must name"):
        read_trace(path)
    path.write_text(",".join(f"c{k}" for k in range(20_000)) + "\n")
    with pytest.raises(InputError, match=r":1: the header must name at most 10,000 columns, not 20,000\.$"):
        read_trace(path)


def test_more_rows_than_memory_should_hold_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "many.csv"
    path.write_text(PLAIN + "1,VM2,LM1,1\n" * 60)
    monkeypatch.setattr(twin.traces.rows, "MOST_ROWS", 50)
    with pytest.raises(InputError, match=r"the trace has more than 50 rows; split it into files\.$"):
        read_trace(path)
    path.write_text(PLAIN + "1,VM2,LM1,1\n" + "\n" * 60)
    with pytest.raises(InputError, match="more than 50 rows"):
        read_trace(path)


def test_a_json_document_must_fit_in_memory_and_says_how_it_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps([{"time": 1, "text": "x" * 2000}], indent=1))
    monkeypatch.setattr("twin.traces.json_text.MOST_BYTES", 1000)
    with pytest.raises(InputError, match=r"must have at most 1,000 bytes; write an object a line \(jq -c '\.\[\]'\)"):
        read_trace(path)


def test_a_column_of_too_many_names_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    monkeypatch.setattr("twin.traces.cells.MOST_NAMES", 3)
    column = NameColumn()
    column.add(pa.array(["a", "b", "c", "a"]))
    with pytest.raises(OverflowError, match="more than 3 different texts"):
        column.add(pa.array(["d"]))
