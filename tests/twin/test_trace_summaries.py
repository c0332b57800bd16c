"""What is said of a trace as a whole, of samples and of real traces."""

import re
import resource
import time
from pathlib import Path

import numpy as np
import pytest

from domain.errors import InputError
from tests.trace_files import AZURE, GENTD26, PLAIN, SAMPLES, SERVEGEN, shared, write
from twin.traces import guess_kind, inspect_trace, read_trace, unknown_names


def test_a_file_of_rates_is_no_trace_of_requests(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a ServeGen file of rates"):
        read_trace(write(tmp_path, SERVEGEN + "m,1,0,1,1,Gamma,1,1\n"))


def test_a_summary_measures_rate_burstiness_and_batches(tmp_path: Path) -> None:
    rows = "".join(f"{t},VM2,LM1,{k}\n" for t, k in [(0, 1), (0, 1), (0, 1), (0, 4), (31, 8), (61, 1)])
    summary = inspect_trace(write(tmp_path, PLAIN + rows))
    assert summary.kind == "plain"
    assert (summary.requests, summary.span_s) == (6, 61)
    assert summary.requests_per_s == pytest.approx(6 / 61)
    assert summary.burstiness == pytest.approx(np.var([4, 1, 1]) / 2)
    assert summary.batches == {1: 4, 4: 1, 8: 1}
    assert summary.percentiles["gap_s"][0] == 0
    assert "prompts per request: 1: 66.7%, 4: 16.7%, 8: 16.7%" in summary.lines()
    assert summary.percentiles["gap_s"][-1] == 31


def test_a_summary_counts_requests_by_lm_and_by_origin_and_says_where_each_name_comes_first(tmp_path: Path) -> None:
    summary = inspect_trace(write(tmp_path, PLAIN + "9,VM3,LM1,1\n5,VM4,LM2,2\n0,VM3,LM1,1\n"))
    assert [(n.name, n.requests, n.line) for n in summary.lms] == [("LM1", 2, 2), ("LM2", 1, 3)]
    assert [(n.name, n.requests, n.line) for n in summary.origins] == [("VM3", 2, 2), ("VM4", 1, 3)]
    assert "LM or model: LM1 2, LM2 1" in summary.lines()
    assert "origin: VM3 2, VM4 1" in summary.lines()
    many = PLAIN + "".join(f"{k},N{k % 40},LM1,1\n" for k in range(80))
    assert "origin: N0 2, N1 2" in " ".join(inspect_trace(write(tmp_path, many)).lines())
    assert "28 more with 56" in " ".join(inspect_trace(write(tmp_path, many)).lines())


def test_names_that_a_testbed_does_not_have_are_found_with_the_sentence_that_a_run_gives(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN + "0,VM2,LM1,1\n1,Paris,LM1,1\n2,VM2,LM5,1\n3,Paris,gpt,1\n")
    assert list(unknown_names(inspect_trace(path), ["LM1", "LM2"], ["VM2"])) == [
        f"{path}:4: lm must be 'LM1' or 'LM2', not 'LM5'; did you mean 'LM2'?",
        f"{path}:5: lm must be 'LM1' or 'LM2', not 'gpt'; lm or lms in the workload file can say what stands for it.",
        f"{path}:3: node must be 'VM2', not 'Paris'; origins or nodes in the workload file can say what stands for it.",
    ]


def test_a_summary_of_rates_speaks_of_each_model(tmp_path: Path) -> None:
    rows = "a,1,0,2,1,Gamma,1,1\na,2,0,1,3,Gamma,1,1\na,1,600,3,2,Gamma,1,1\nb,1,0,9,1,Weibull,1,1\n"
    summary = inspect_trace(write(tmp_path, SERVEGEN + rows))
    assert summary.requests == 15 * 600
    assert [
        (m.model, m.clients, m.windows, m.requests_per_s, m.busiest_per_s, m.median_cv) for m in summary.models
    ] == [
        ("a", 2, 3, 3.0, 3.0, 2.0),
        ("b", 1, 1, 9.0, 9.0, 1.0),
    ]


@pytest.mark.parametrize("sample", ["azure_conv_2023_excerpt.csv", "servegen_mm_image_excerpt.csv"])
def test_the_excerpts_that_come_with_the_project_are_without_fault_and_say_where_they_are_from(sample: str) -> None:
    assert inspect_trace(SAMPLES / sample).report.malformed == 0
    assert sample in (SAMPLES / "README.md").read_text()
    assert (SAMPLES / sample).stat().st_size < 150_000


def test_the_excerpt_of_azure_is_the_first_ten_minutes_of_the_trace() -> None:
    whole = shared("azure-llm-2023/AzureLLMInferenceTrace_conv.csv").read_text().splitlines()
    excerpt = (SAMPLES / "azure_conv_2023_excerpt.csv").read_text().splitlines()
    assert excerpt == whole[: len(excerpt)]
    assert read_trace(SAMPLES / "azure_conv_2023_excerpt.csv").span_s < 600


def test_the_real_azure_trace_is_read_whole() -> None:
    summary = inspect_trace(shared("azure-llm-2023/AzureLLMInferenceTrace_conv.csv"))
    assert (summary.kind, summary.requests, summary.report.malformed) == ("azure", 19_366, 0)
    assert summary.burstiness == pytest.approx(9.72, abs=0.01)


def test_the_real_image_trace_is_read_and_its_rows_without_a_size_are_named() -> None:
    summary = inspect_trace(shared("alibaba-gentd26/lora_request_trace_2024-11.csv"))
    assert (summary.kind, summary.report.rows, summary.report.malformed) == ("gentd26", 14_279, 13)
    assert summary.report.named[0] == "line 9632: num_images_per_prompt is empty"
    assert set(summary.batches) == {1, 2, 3, 4, 5, 8}


def test_the_real_rates_are_read_whole() -> None:
    summary = inspect_trace(shared("servegen/week1.csv.gz"))
    assert (summary.kind, summary.report.rows, summary.report.malformed) == ("servegen", 128_222, 0)
    assert [m.model for m in summary.models] == ["deepseek-r1", "m-large", "m-mid", "m-small", "mm-image"]


def test_the_kind_is_guessed_from_the_header_alone(tmp_path: Path) -> None:
    for text, kind in [
        (AZURE, "azure"),
        (GENTD26, "gentd26"),
        (SERVEGEN, "servegen"),
        ("TIME_S,NODE,LM,PROMPTS", "plain"),
    ]:
        assert guess_kind(write(tmp_path, text)) == kind


@pytest.mark.bench
def test_a_million_rows_take_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stamps = np.datetime64("2023-11-16T18:15:46", "ns") + np.cumsum(rng.integers(0, 10**9, 1_000_000))
    path = tmp_path / "million.csv"
    with path.open("w") as file:
        file.write(AZURE)
        file.writelines(f"{str(s).replace('T', ' ')},100,200\n" for s in stamps)
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    trace = read_trace(path)
    seconds = time.perf_counter() - begin
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1_000_000
    print(f"\n1,000,000 rows of an Azure trace: {seconds:.2f} s, {grown:.0f} bytes a row")
    assert len(trace) == 1_000_000
    assert seconds < 10


def test_no_sentence_about_a_trace_has_a_loose_end(tmp_path: Path) -> None:
    for text in ("", PLAIN, "lat,lon\n1,2\n", PLAIN + "x,VM2,LM1,1\n"):
        with pytest.raises(InputError) as refusal:
            read_trace(write(tmp_path, text))
        assert re.fullmatch(r"[^\n]*[^.\n]\.", str(refusal.value))
