"""Traces as people have them: the public ones by name, other separators, other names of columns, JSON, other units."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from domain.errors import InputError
from tests.workload_files import BRISTOL, first, stream
from twin.traces import Role, Unit, inspect_trace, read_trace

MOONCAKE = [
    {"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]},
    {"timestamp": 27482, "input_length": 7322, "output_length": 490, "hash_ids": []},
]
AIPERF = [
    {
        "metadata": {"session_num": 45, "request_start_ns": 1759813207532900363, "was_cancelled": False},
        "metrics": {"input_sequence_length": {"value": 550, "unit": "tokens"}},
        "error": None,
    },
    {
        "metadata": {"session_num": 46, "request_start_ns": 1759813209032900363, "was_cancelled": True},
        "metrics": {"error_isl": {"value": 550, "unit": "tokens"}},
        "error": {"code": 499},
    },
]
VLLM = {
    "date": "20251001-120000",
    "model_id": "meta/Llama",
    "num_prompts": 3,
    "request_throughput": 2.0,
    "input_lens": [10, 20, 30],
    "output_lens": [5, 0, 7],
    "itls": [[0.1], [], [0.2, 0.3]],
    "start_times": [1234.5, 1235.0, 1236.25],
}
BURSTGPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"


def write(tmp_path: Path, text: str, name: str = "trace.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def lines(objects: list[dict[str, object]]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in objects)


# By name


def test_a_burstgpt_row_is_a_request_of_its_model_and_failures_count_and_are_said(tmp_path: Path) -> None:
    rows = "8,ChatGPT,383,0,383,API log\n49.5,GPT-4,201,569,770,Conversation log\n"
    trace = read_trace(write(tmp_path, BURSTGPT + rows))
    assert trace.kind == "burstgpt"
    assert trace.time_s.tolist() == [0, 41.5]
    assert trace.lm is not None
    assert trace.lm.tolist() == ["ChatGPT", "GPT-4"]
    assert trace.report.notes == ("a request counts whatever became of it: 1 without answer (Response tokens 0)",)
    newer = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    assert read_trace(write(tmp_path, newer + "19440110.0,17-ac,43,GPT-4,906,446,1352,API log\n")).kind == "burstgpt"


def test_azure_traces_of_later_years_have_offsets_and_further_columns(tmp_path: Path) -> None:
    text = "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2,100,10\n"
    trace = read_trace(write(tmp_path, text + "2024-05-10 00:00:02.009930+00:00,0,101,11\n"), as_numbers=["NumImages"])
    assert (trace.kind, trace.time_s.tolist()) == ("azure", [0, 2])
    assert trace.numbers("NumImages").tolist() == [2, 0]


def test_a_mooncake_trace_counts_milliseconds_from_its_start(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, lines(MOONCAKE), "trace.jsonl"))
    assert (trace.kind, trace.time_s.tolist(), trace.line.tolist()) == ("mooncake", [0, 27.482], [1, 2])
    assert trace.report.notes == ()


def test_an_aiperf_export_counts_every_request_that_was_sent(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, lines(AIPERF), "profile_export.jsonl"), as_names=["metadata.was_cancelled"])
    assert trace.kind == "aiperf"
    np.testing.assert_allclose(trace.time_s, [0, 1.5], atol=1e-6)
    assert trace.names("metadata.was_cancelled").tolist() == ["false", "true"]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_vllm_result_is_a_request_per_start_time(tmp_path: Path, indent: int | None) -> None:
    trace = read_trace(write(tmp_path, json.dumps(VLLM, indent=indent), "result.json"), as_numbers=["input_lens"])
    assert (trace.kind, trace.time_s.tolist(), trace.place) == ("vllm", [0, 0.5, 1.75], "entry")
    assert trace.numbers("input_lens").tolist() == [10, 20, 30]
    assert trace.lm is not None
    assert trace.lm.tolist() == ["meta/Llama"] * 3


def test_a_vllm_result_without_details_says_how_to_get_them(tmp_path: Path) -> None:
    short = {name: value for name, value in VLLM.items() if not isinstance(value, list)}
    with pytest.raises(InputError, match=r"does not say when its requests began; write it by 'vllm bench serve"):
        read_trace(write(tmp_path, json.dumps(short), "result.json"))


# Other separators, units, names of columns


@pytest.mark.parametrize("separator", [";", "\t", "|", ", "])
def test_the_header_says_what_separates_the_fields(tmp_path: Path, separator: str) -> None:
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00,100,10\n2024-05-10 00:00:01,1,1\n"
    assert read_trace(write(tmp_path, text.replace(",", separator))).time_s.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("factor", "word"), [(1, None), (10**3, "milliseconds"), (10**6, "microseconds"), (10**9, "nanoseconds")]
)
def test_the_unit_of_times_since_1970_shows_in_their_size_and_is_said(
    tmp_path: Path, factor: int, word: str | None
) -> None:
    rows = "".join(f"{(1_715_299_200 + 3 * k) * factor},VM3,LM1,1\n" for k in range(5))
    trace = read_trace(write(tmp_path, "time,node,lm,prompts\n" + rows))
    np.testing.assert_allclose(trace.time_s, [0, 3, 6, 9, 12], atol=1e-6)
    expected = () if word is None else (f"time is read as {word}, by the size of its numbers",)
    assert trace.report.notes == expected


def test_a_time_of_another_unit_than_most_is_malformed_and_no_leap_over_decades(tmp_path: Path) -> None:
    rows = "".join(f"{1_715_299_200_000 + k},VM3,LM1,1\n" for k in range(5))
    trace = read_trace(write(tmp_path, "time,node,lm,prompts\n" + rows + "0,VM3,LM1,1\n"), max_malformed=0.2)
    assert trace.report.named == ("line 7: time '0' is not a time (milliseconds like most rows')",)
    rows = "".join(f"{1_715_299_200 + k},VM3,LM1,1\n" for k in range(5))
    trace = read_trace(
        write(tmp_path, "time,node,lm,prompts\n" + rows + "1715299200000,VM3,LM1,1\n"), max_malformed=0.2
    )
    assert trace.report.named[0].startswith("line 7: time '1715299200000' is not a time (seconds")


@pytest.mark.parametrize(("unit", "seconds"), [("s", 5000.0), ("ms", 5.0), ("us", 0.005), ("ns", 5e-6)])
def test_a_unit_may_be_said_where_numbers_do_not_show_it(tmp_path: Path, unit: Unit, seconds: float) -> None:
    trace = read_trace(write(tmp_path, "time,node,lm,prompts\n0,a,x,1\n5000,a,x,1\n"), unit=unit)
    assert trace.time_s.tolist() == [0, seconds]


def test_dates_that_are_centuries_apart_do_not_wrap_around(tmp_path: Path) -> None:
    text = "time,node,lm,prompts\n2261-12-31 00:00:00,a,x,1\n1700-01-01 00:00:00,a,x,1\n1700-01-01 00:00:01,a,x,1\n"
    trace = read_trace(write(tmp_path, text))
    assert trace.time_s.tolist() == [0, 1, pytest.approx(17_735_846_400, abs=86_400 * 150)]
    assert trace.time_s[2] > 0
    assert (trace.line.tolist(), trace.report.unsorted) == ([3, 4, 2], 1)


def test_columns_of_other_names_are_named_and_missing_ones_have_defaults_that_are_said(tmp_path: Path) -> None:
    path = write(tmp_path, "arrived_at;model;batch\n10;gpt;3\n12.5;llama;1\n")
    columns: Mapping[Role, str] = {"time": "arrived_at", "lm": "Model"}
    trace = read_trace(path, columns=columns)
    assert (trace.kind, trace.time_s.tolist(), trace.prompts.tolist()) == ("plain", [0, 2.5], [1, 1])
    assert trace.lm is not None
    assert trace.lm.tolist() == ["gpt", "llama"]
    assert trace.report.notes == (
        "no column node, so origins are drawn",
        "no column prompts, so each request has one prompt ('batch' may be it: columns prompts=batch)",
    )
    assert read_trace(path, columns={**columns, "prompts": "batch"}).prompts.tolist() == [3, 1]


def test_a_file_of_no_known_trace_is_told_how_to_name_its_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "arrived_at,model,toks\n1,gpt,3\n")
    with pytest.raises(InputError) as refusal:
        read_trace(path)
    assert str(refusal.value).startswith(
        f"{path}:1: its columns (arrived_at, model, toks) are those of no known trace. Say which is which: --columns "
        "'time=arrived_at,lm=model', or in a workload file columns: {time: arrived_at, lm: model}. Known are azure: TIM"
    )


def test_a_column_of_seconds_of_the_run_may_be_named_too(tmp_path: Path) -> None:
    path = write(tmp_path, "t,node,lm,prompts\n60,a,x,1\n-1,a,x,1\n90,a,x,1\n")
    trace = read_trace(path, columns={"time_s": "t"}, max_malformed=0.5)
    assert trace.time_s.tolist() == [60, 90]
    assert trace.report.named == ("line 3: t '-1' is not a number of seconds from the start of the run",)
    with pytest.raises(InputError, match=r"t is in seconds; leave time_unit out, or call the column time"):
        read_trace(path, columns={"time_s": "t"}, unit="ms")


# JSON


def test_json_lines_and_a_list_of_objects_are_read_alike(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"time": 5, "from": {"node": "VM2"}, "lm": "LM1", "prompts": 2},
        {"time": 6.5, "from": {"node": "VM3"}, "lm": "LM4", "prompts": 8, "more": [1]},
    ]
    by_line = write(tmp_path, lines(rows), "a.jsonl")
    whole = write(tmp_path, json.dumps(rows, indent=1), "b.json")
    inside = write(tmp_path, json.dumps({"version": 1, "requests": rows}), "c.json")
    for path in (by_line, whole, inside):
        trace = read_trace(path, columns={"node": "from.node"})
        assert (trace.time_s.tolist(), trace.prompts.tolist()) == ([0, 1.5], [2, 8])
        assert trace.node is not None
        assert trace.node.tolist() == ["VM2", "VM3"]


def test_a_line_that_is_no_json_object_is_malformed_and_named(tmp_path: Path) -> None:
    good = [{"time": k, "node": "VM2", "lm": "LM1", "prompts": 1} for k in range(4)]
    text = lines(good) + '\n{"time": 1\n[1]\nnull\n{"time": 9, "node": "VM2", "lm": "LM1"}\n\n'
    report = read_trace(write(tmp_path, text, "a.jsonl"), max_malformed=0.9).report
    assert (report.rows, report.malformed) == (9, 5)
    assert report.named == (
        "line 5: the line is blank",
        "line 6: it is no JSON object",
        "line 7: it is no JSON object",
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", r":1: this is neither a JSON object a line nor a JSON document: Expecting property name"),
        ("[]", r"the JSON must be an object a line, or a list of objects, one for each request\.$"),
        ("[1, 2]", r"the JSON must be an object a line"),
        ("[" * 100_000, r"this is neither a JSON object a line nor a JSON document: "),
        ('{"a": 1}', r"are those of no known trace|the JSON must be"),
        ('{"a": ' + "9" * 5000 + "}", r"neither a JSON object a line nor a JSON document"),
    ],
)
def test_json_that_is_no_trace_is_refused_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as refusal:
        read_trace(write(tmp_path, text, "a.json"))
    assert "\n" not in str(refusal.value)


# In a workload


def test_a_workload_says_what_stands_for_the_names_of_a_trace(tmp_path: Path) -> None:
    rows = "8,ChatGPT,383,0,383,API log\n49,GPT-4,201,569,770,Conversation log\n60,Other,1,1,2,API log\n"
    write(tmp_path, BURSTGPT + rows, "burst.csv")
    text = "{kind: trace, path: burst.csv, lms: {ChatGPT: LM2, GPT-4: LM3}%s}"
    with pytest.raises(InputError, match=r"burst.csv:4: lm must be 'LM1', .* not 'Other'; lm or lms in the workload"):
        stream(tmp_path, text % "")
    arrivals = first(stream(tmp_path, text % ", where: [{column: model, one_of: [ChatGPT, GPT-4]}]"), 3)
    assert arrivals.lm.tolist() == [1, 2]
    assert arrivals.time_s.tolist() == [0, 41]


def test_a_workload_names_columns_unit_and_nodes_of_a_plain_trace(tmp_path: Path) -> None:
    write(tmp_path, "ts;site;model\n0;Paris;LM1\n45000;Lyon;LM4\n", "mine.csv")
    text = (
        "{kind: trace, path: mine.csv, columns: {time: ts, node: site, lm: model}, time_unit: ms, "
        "nodes: {Paris: VM7, Lyon: VM2}}"
    )
    arrivals = first(stream(tmp_path, text), 2)
    assert arrivals.time_s.tolist() == [0, 45]
    assert [BRISTOL.nodes[n].name for n in arrivals.origin] == ["VM7", "VM2"]
    assert arrivals.prompts.tolist() == [1, 1]


def test_an_inspection_reads_what_a_workload_reads(tmp_path: Path) -> None:
    path = write(tmp_path, "ts;site;model\n0;Paris;LM1\n45000;Lyon;LM4\n", "mine.csv")
    summary = inspect_trace(path, columns={"time": "ts", "node": "site", "lm": "model"}, unit="ms")
    assert (summary.kind, summary.span_s) == ("plain", 45)
