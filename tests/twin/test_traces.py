"""Readers of real traces: what they take, what they refuse, and what they say about it."""

import bz2
import errno
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from domain.errors import InputError
from tests.trace_files import AZURE, GENTD26, PLAIN, SERVEGEN, write
from twin.traces import inspect_trace, read_servegen, read_trace


def test_an_azure_row_is_one_request_of_one_prompt_timed_from_the_first(tmp_path: Path) -> None:
    rows = "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
    trace = read_trace(write(tmp_path, AZURE + rows), as_numbers=["GeneratedTokens"])
    assert trace.kind == "azure"
    np.testing.assert_allclose(trace.time_s, [0, 4.314579], atol=1e-9)
    assert trace.prompts.tolist() == [1, 1]
    assert trace.numbers("GeneratedTokens").tolist() == [44, 109]


def test_images_of_a_gentd26_row_are_its_prompts_whatever_became_of_it(tmp_path: Path) -> None:
    rows = (
        "2024-11-15 16:57:50,TXT_2_IMG,SUCCEED,32.0,G0,1.0\n"
        "2024-11-15 16:57:52,IMG_2_IMG,FAILED,0.0,G1,8.0\n"
        "2024-11-15 16:57:59,TXT_2_IMG,PENDING,0.0,G1,4.0\n"
    )
    trace = read_trace(write(tmp_path, GENTD26 + rows))
    assert trace.prompts.tolist() == [1, 8, 4]
    assert trace.time_s.tolist() == [0, 2, 9]
    assert trace.report.notes == ("a request counts whatever became of it: 1 SUCCEED, 1 FAILED, 1 PENDING",)


def test_a_plain_file_may_count_time_on_any_clock_or_from_the_start_of_the_run(tmp_path: Path) -> None:
    by_date = read_trace(write(tmp_path, PLAIN + "2026-01-01 00:01:00,VM2,LM1,3\n2026-01-01 00:01:30,VM3,LM4,8\n"))
    by_unix = read_trace(write(tmp_path, PLAIN + "1767225660,VM2,LM1,3\n1767225690,VM3,LM4,8\n"))
    by_run = read_trace(write(tmp_path, "time_s,Node,LM,Prompts\n60,VM2,LM1,3\n90.5,VM3,LM4,8\n"))
    assert by_date.time_s.tolist() == by_unix.time_s.tolist() == [0, 30]
    assert by_run.time_s.tolist() == [60, 90.5]
    for trace in (by_date, by_unix, by_run):
        assert trace.node is not None
        assert trace.lm is not None
        assert trace.node.tolist() == ["VM2", "VM3"]
        assert trace.lm.tolist() == ["LM1", "LM4"]
        assert trace.prompts.tolist() == [3, 8]


@pytest.mark.parametrize(
    "stamps",
    [
        ("2023-11-16T18:00:00Z", "2023-11-16T18:00:01.5Z"),
        ("2023-11-16 23:59:59.5+08:00", "2023-11-16 16:00:01+00:00"),
        ("2023-11-16 18:00", "2023-11-16 18:00:01.500000000"),
        ("1700157600", "1.7001576015e9"),
    ],
)
def test_times_are_dates_with_or_without_a_zone_or_seconds(tmp_path: Path, stamps: tuple[str, str]) -> None:
    trace = read_trace(write(tmp_path, AZURE + f"{stamps[0]},1,1\n{stamps[1]},1,1\n"))
    np.testing.assert_allclose(trace.time_s, [0, 1.5], atol=1e-6)


def test_rows_out_of_order_are_sorted_and_said_to_be(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, PLAIN + "30,a,x,1\n10,b,y,2\n10,c,z,3\n20,d,w,4\n"))
    assert trace.time_s.tolist() == [0, 0, 10, 20]
    assert trace.prompts.tolist() == [2, 3, 4, 1]
    assert trace.line.tolist() == [3, 4, 5, 2]
    assert "rows out of order, now sorted by time: 1" in trace.report.lines()


BAD_AZURE = [
    ("soon,1,1", "TIMESTAMP 'soon' is not a time"),
    ("2023-02-30 10:00:00,1,1", "TIMESTAMP '2023-02-30 10:00:00' is not a time"),
    ("2023-01-01 10:00:00Z,1,1", "TIMESTAMP '2023-01-01 10:00:00Z' is not a time"),
    (",1,1", "TIMESTAMP is empty"),
    ("2023-01-01 10:00:00,nan,1", "ContextTokens 'nan' is not a whole number of tokens"),
    ("2023-01-01 10:00:00,1,-3", "GeneratedTokens '-3' is not a whole number of tokens"),
    ("2023-01-01 10:00:00,1.5,3", "ContextTokens '1.5' is not a whole number of tokens"),
    ("2023-01-01 10:00:00,1,1e300", "GeneratedTokens '1e300' is not a whole number of tokens"),
    ("2023-01-01 10:00:00,1", "2 fields where the header has 3"),
    ("2023-01-01 10:00:00,1,2,3", "4 fields where the header has 3"),
    ("", "the line is blank"),
]


@pytest.mark.parametrize(("row", "why"), BAD_AZURE)
def test_a_malformed_row_is_left_out_counted_and_named_by_line(tmp_path: Path, row: str, why: str) -> None:
    good = [f"2023-01-01 00:{k // 60:02}:{k % 60:02},1,1" for k in range(200)]
    path = write(tmp_path, AZURE + "\n".join([*good[:50], row, *good[50:]]) + "\n\n")
    trace = read_trace(path)
    assert len(trace) == 200
    assert (trace.report.rows, trace.report.malformed) == (201, 1)
    assert trace.report.named[0].startswith(f"line 52: {why}")
    assert trace.line.tolist() == [line for line in range(2, 203) if line != 52]


@pytest.mark.parametrize("prompts", ["0", "-1", "2.5", "nan", "inf", "many", "", "1e30"])
def test_a_request_of_no_whole_positive_number_of_prompts_is_malformed(tmp_path: Path, prompts: str) -> None:
    path = write(tmp_path, PLAIN + f"0,VM2,LM1,1\n1,VM2,LM1,{prompts}\n2,VM2,LM1,1\n")
    trace = read_trace(path, max_malformed=0.5)
    assert len(trace) == 2
    assert trace.report.named[0].startswith("line 3: prompts ")
    images = write(tmp_path, GENTD26 + f"2024-11-15 16:57:50,TXT_2_IMG,PENDING,0,G0,{prompts}\n" * 2, "images.csv")
    with pytest.raises(InputError, match="line 2: num_images_per_prompt"):
        read_trace(images, max_malformed=1)


def test_more_malformed_rows_than_the_stated_share_are_refused_in_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN + "0,VM2,LM1,1\n" * 98 + "x,VM2,LM1,1\n0,,LM1,1\n")
    with pytest.raises(InputError) as refusal:
        read_trace(path)
    assert str(refusal.value) == (
        f"{path}: 2 of 100 rows (2.0%) are malformed, more than max_malformed (1.0%) allows; line 100: time 'x' is not "
        "a time (seconds, or a date and time like most rows'); line 101: node is empty."
    )
    assert len(read_trace(path, max_malformed=0.02)) == 98


def test_a_trace_of_malformed_rows_alone_is_refused_whatever_the_share(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"all of its 2 rows are malformed; line 2: time 'a' .* line 3: time 'b'"):
        read_trace(write(tmp_path, PLAIN + "a,VM2,LM1,1\nb,VM2,LM1,1\n"), max_malformed=1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"is empty or begins with a blank line"),
        ("\n1,2\n", r"is empty or begins with a blank line"),
        (PLAIN, r"the trace is empty; it must have a row per request"),
        (PLAIN + "\n\n", r"the trace is empty"),
        ("a,b,b\n1,2,3\n", r":1: the header must name each column once; 'b' is there twice"),
        (
            "lat,lon\n1,2\n",
            r":1: its columns \(lat, lon\) are those of no known trace. Say which is which: --columns 'time=COLUMN'",
        ),
        (PLAIN + '1,"VM2,LM1,1\n2,VM2,LM1,1\n', r":2: a quote opens on this line and does not close"),
        (PLAIN + '1,VM2,"LM1\n2,VM2",1\n', r":2: a quote opens on this line and does not close"),
        (PLAIN + "1,\x00,LM1,1\n2", r"malformed|cannot be read"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as refusal:
        read_trace(write(tmp_path, text))
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith(str(tmp_path))


def test_a_wrong_header_says_what_is_missing_and_what_is_there(tmp_path: Path) -> None:
    path = write(tmp_path, "TIMESTAMP,Tokens\n2023-01-01,1\n")
    with pytest.raises(
        InputError, match=r"must have the columns ContextTokens, GeneratedTokens; it has TIMESTAMP, Tok"
    ):
        read_trace(path, "azure")


def test_a_missing_file_a_folder_and_broken_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no such file"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"is a folder"):
        read_trace(tmp_path)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(PLAIN.encode() + b"1,\xff\xfe,LM1,1\n")
    with pytest.raises(InputError, match=r"all of its 1 rows are malformed; line 2: the line is not UTF-8 text"):
        read_trace(binary, max_malformed=1)
    torn = tmp_path / "torn.csv.gz"
    torn.write_bytes(gzip.compress(SERVEGEN.encode() * 9999)[:-9])
    with pytest.raises(InputError, match=r"cannot be read"):
        read_servegen(torn)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"PAR1\x15\x04", r"is a Parquet file; write it as CSV or JSON lines\.$"),
        (b"PK\x03\x04rest", r"is a zip archive or a spreadsheet; unpack it"),
        (b"\x28\xb5\x2f\xfdrest", r"is packed by zstd; unpack it"),
        ("time,node\n1,a\n".encode("utf-16"), r"is UTF-16 text; save it as UTF-8\.$"),
    ],
)
def test_a_file_of_another_form_is_named_with_what_to_do(tmp_path: Path, data: bytes, sentence: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=sentence):
        read_trace(path)


def test_a_pipe_is_no_file_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="is not an ordinary file; write it to one"):
        read_trace(tmp_path / "pipe.csv")


def test_a_disk_that_fails_is_no_mistake_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    path = write(tmp_path, PLAIN + "1,VM2,LM1,1\n")
    monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(PermissionError):
        read_trace(path)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_a_packed_file_is_known_by_its_content_and_not_by_its_name(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(pack((PLAIN + "1,VM2,LM1,4\n").encode()))
    assert read_trace(path).prompts.tolist() == [4]
    (tmp_path / "plain.csv.gz").write_text(PLAIN + "1,VM2,LM1,4\n")
    assert read_trace(tmp_path / "plain.csv.gz").prompts.tolist() == [4]


def test_a_mark_of_utf_8_windows_line_ends_and_spaces_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "windows.csv"
    path.write_bytes(("\ufeff" + PLAIN.replace(",", ", ") + "1 , VM2, LM1, 2\n").replace("\n", "\r\n").encode())
    trace = read_trace(path)
    assert trace.node is not None
    assert (trace.node.tolist(), trace.prompts.tolist()) == (["VM2"], [2])


def test_servegen_windows_are_read_and_compressed_or_not_makes_no_difference(tmp_path: Path) -> None:
    text = SERVEGEN + "m,7,600,2.5,1.4,Gamma,0.5,0.8\nm,3,0,1.0,,Weibull,0.7,1\nm,7,0,0,1,Gamma,1,1\n"
    packed = tmp_path / "rates.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    for windows in (read_servegen(write(tmp_path, text)), read_servegen(packed)):
        assert windows.index.tolist() == [0, 0, 1]
        assert windows.client.tolist() == ["3", "7", "7"]
        assert windows.rate.tolist() == [1.0, 0.0, 2.5]
        assert windows.weibull.tolist() == [True, False, False]
        np.testing.assert_array_equal(windows.cv, [np.nan, 1, 1.4])


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("m,1,601,1,1,Gamma,1,1", "window_start_s '601' is not a multiple of 600 in seconds, not milliseconds"),
        ("m,1,600,-1,1,Gamma,1,1", "rate_per_s '-1' is not a number of requests per second"),
        ("m,1,600,1,1,Pareto,1,1", "distribution 'Pareto' is not Gamma or Weibull"),
        ("m,1,600,1,1,Gamma,0,1", "shape '0' is not a number from 0.001 up"),
        ("m,,600,1,1,Gamma,1,1", "client is empty"),
        ("m,1,0,1,1,Gamma,1,1", "a second window at 0 s for client 1 of m"),
    ],
)
def test_a_malformed_window_is_left_out_and_named(tmp_path: Path, row: str, why: str) -> None:
    windows = read_servegen(write(tmp_path, f"{SERVEGEN}m,1,0,1,1,Gamma,1,1\n{row}\n"), max_malformed=0.5)
    assert len(windows) == 1
    assert windows.report.named == (f"line 3: {why}",)


def test_a_good_second_row_of_a_window_stands_in_for_a_first_that_is_malformed(tmp_path: Path) -> None:
    rows = "m,1,0,-1,1,Gamma,1,1\nm,1,0,2,1,Gamma,1,1\nm,1,0,3,1,Gamma,1,1\nm,1,600,4,1,Gamma,1,1\n"
    windows = read_servegen(write(tmp_path, SERVEGEN + rows), max_malformed=0.5)
    assert windows.rate.tolist() == [2, 4]
    assert windows.report.malformed == 2
    assert [named.split(":")[0] for named in windows.report.named] == ["line 2", "line 4"]


def test_windows_in_milliseconds_are_malformed_or_asked_about_and_never_fill_the_memory(tmp_path: Path) -> None:
    far = SERVEGEN + "m,1,0,1,1,Gamma,1,1\nm,1,1715299200000,1,1,Gamma,1,1\n"
    windows = read_servegen(write(tmp_path, far), max_malformed=0.5)
    assert windows.report.named == (
        "line 3: window_start_s '1715299200000' is not a multiple of 600 in seconds, not milliseconds",
    )
    assert inspect_trace(write(tmp_path, far), max_malformed=0.5).span_s == 600
    spread = (
        SERVEGEN + "".join(f"m,1,{600_000 * k},1,1,Gamma,1,1\n" for k in range(4)) + "m,1,60000000000,1,1,Gamma,1,1\n"
    )
    summary = inspect_trace(write(tmp_path, spread))
    assert summary.requests == 5 * 600
    assert "windows are 600,000 s apart or more: is window_start_s in milliseconds?" in summary.lines()
