"""Traces played back: as they are, scaled, repeated, in part; the real ones as well."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.moments import nanoseconds, slots_at
from tests.workload_files import BRISTOL, BUILTIN, first, same, stream, write
from twin.workloads import describe, load_workload
from twin.workloads.randomness import hashed
from twin.workloads.replay import ReplayStream, resample, slots_of

SHARED = Path(__file__).parents[3] / "shared" / "data"
TEMPLATE = Path(__file__).parents[2] / "twin" / "workloads" / "real.example.yaml"

PLAIN = "time_s,node,lm,prompts\n1.5,VM2,LM1,1\n2,VM7,LM4,8\n35,VM3,LM2,2\n100,VM4,LM3,3\n"


def test_a_plain_trace_is_played_back_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, PLAIN, "mine.csv")
    workload = stream(tmp_path, "{kind: trace, path: mine.csv}")
    assert workload.slots == 4
    arrivals = first(workload, 4)
    assert arrivals.time_s.tolist() == [1.5, 2, 35, 100]
    assert arrivals.origin.tolist() == [0, 5, 1, 2]
    assert arrivals.lm.tolist() == [0, 3, 1, 2]
    assert arrivals.prompts.tolist() == [1, 8, 2, 3]
    assert len(workload.arrivals(4)) == 0


def test_a_trace_may_start_late_run_faster_and_repeat(tmp_path: Path) -> None:
    write(tmp_path, PLAIN, "mine.csv")
    late = stream(tmp_path, "{kind: trace, path: mine.csv, start_s: 2, time_scale: 2, repeat: true}")
    assert late.slots is None
    # The round is 98 s of the trace, 49 s of the run, so two slots.
    assert first(late, 6).time_s.tolist() == [0, 16.5, 49, 60, 76.5, 109, 120, 136.5, 169]
    assert first(late, 2, start=2 * 10**6).prompts.tolist() == [8, 2, 3]


@settings(deadline=None)
@given(
    slot_s=st.decimals(min_value="0.1", max_value="100", places=2).map(float),
    whole=st.integers(0, 100_000),
    tenths=st.integers(0, 10),
)
def test_a_trace_has_slots_up_to_the_one_in_which_its_last_request_lies(slot_s: float, whole: int, tenths: int) -> None:
    for last_s in (whole * slot_s, round(whole * slot_s, 6), (whole + tenths / 10) * slot_s):
        slots = slots_of(last_s, slot_s)
        assert nanoseconds((slots - 1) * slot_s) <= nanoseconds(last_s) < nanoseconds(slots * slot_s)


def test_no_request_of_a_trace_is_lost_where_slots_round(tmp_path: Path) -> None:
    rows = "".join(f"{k * 1.1:.6f},VM2,LM1,1\n" for k in range(16))
    write(tmp_path, "time_s,node,lm,prompts\n" + rows, "mine.csv")
    cluster = dataclasses.replace(BRISTOL, slot_s=1.1)
    workload = stream(tmp_path, "{kind: trace, path: mine.csv}", cluster=cluster)
    assert workload.slots == 16
    assert len(first(workload, 16)) == 16


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    slot_s=st.sampled_from([0.3, 1.1, 7.3, 30.0]),
    time_scale=st.sampled_from([0.1, 0.335, 1.0, 3.3]),
    rate_scale=st.sampled_from([1.0, 2.0, 2.5]),
    ends_s=st.integers(1, 400).map(lambda k: k * 1.1),
    start_s=st.sampled_from([0.0, 0.3]),
)
def test_every_request_of_a_trace_is_played_once_whatever_the_slots_and_scales(
    tmp_path: Path, slot_s: float, time_scale: float, rate_scale: float, ends_s: float, start_s: float
) -> None:
    rows = "".join(f"{ends_s * k / 7:.9f},VM2,LM1,1\n" for k in range(8))
    write(tmp_path, "time_s,node,lm,prompts\n" + rows, "mine.csv")
    text = (
        f"{{kind: trace, path: mine.csv, time_scale: {time_scale}, rate_scale: {rate_scale}, start_s: {start_s}, "
        "origins: {kind: even}}"
    )
    cluster = dataclasses.replace(BRISTOL, slot_s=slot_s)
    workload = stream(tmp_path, text, cluster=cluster)
    (part,) = workload.parts
    assert isinstance(part, ReplayStream)
    assert workload.slots is not None
    played = [workload.arrivals(slot) for slot in range(workload.slots)]
    assert sum(map(len, played)) == len(part.time_s)
    for slot, arrivals in enumerate(played):
        assert (slots_at(arrivals.time_s, slot_s) == slot).all()


def test_conditions_choose_rows_but_do_not_move_them_in_time(tmp_path: Path) -> None:
    rows = "".join(f"2023-11-16 18:00:{s:02},10,{tokens}\n" for s, tokens in [(0, 9), (7, 200), (20, 199), (50, 700)])
    write(tmp_path, "TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows, "azure.csv")
    text = "{{kind: trace, path: azure.csv, lm: LM2, where: [{{column: GeneratedTokens, {}}}]}}"
    assert first(stream(tmp_path, text.format("min: 200")), 2).time_s.tolist() == [7, 50]
    assert first(stream(tmp_path, text.format("below: 200")), 2).time_s.tolist() == [0, 20]
    assert first(stream(tmp_path, text.format("min: 100, below: 200")), 2).time_s.tolist() == [20]
    assert first(stream(tmp_path, text.format("one_of: ['9', '700']")), 2).time_s.tolist() == [0, 50]
    assert set(first(stream(tmp_path, text.format("min: 0")), 2).lm.tolist()) == {1}


def test_prompts_of_a_trace_may_come_from_a_column_or_a_distribution(tmp_path: Path) -> None:
    rows = "".join(f"2023-11-16 18:00:{s:02},{s + 1},5\n" for s in range(40))
    write(tmp_path, "TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows, "azure.csv")
    text = "{{kind: trace, path: azure.csv, lm: LM2, prompts: {{{}}}}}"
    column = first(stream(tmp_path, text.format("kind: column, column: ContextTokens")), 2)
    assert column.prompts.tolist() == list(range(1, 41))
    assert set(first(stream(tmp_path, text.format("kind: uniform, low: 2, high: 3")), 2).prompts.tolist()) == {2, 3}


def test_a_user_of_a_trace_keeps_the_node_that_the_seed_gave(tmp_path: Path) -> None:
    users = [f"G{k % 50}" for k in range(500)]
    rows = "".join(f"2024-11-15 16:00:{k % 60:02},TXT_2_IMG,SUCCEED,{user},1\n" for k, user in enumerate(users))
    write(tmp_path, "gmt_create,predict_type,predict_status,groupId,num_images_per_prompt\n" + rows, "images.csv")
    text = "{kind: trace, path: images.csv, lm: LM4, max_malformed: 0, origins: {kind: hash, column: groupId}}"
    pairs = hashed(1, np.array(users))
    arrivals = first(stream(tmp_path, text), 2)
    assert len(np.unique(pairs)) == 50
    np.testing.assert_array_equal(np.bincount(arrivals.origin, minlength=6),
                                  np.bincount((pairs * 6).astype(np.int64), minlength=6))  # fmt: skip
    other = first(stream(tmp_path, text, seed=2), 2)
    assert not np.array_equal(arrivals.origin, other.origin)


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.6])
def test_scaling_a_trace_keeps_a_seeded_share_or_lays_shifted_copies_over_each_other(scale: float) -> None:
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 1000, 20_000))
    rows, at = resample(times, 1000.0, scale, rng.random(20_000))
    assert len(rows) == pytest.approx(scale * 20_000, rel=0.02)
    assert (np.diff(at) >= 0).all()
    assert at[0] >= 0
    assert at[-1] <= 1000
    copies = math.ceil(scale)
    shift = (at - times[rows]) % 1000
    steps = np.minimum(np.round(shift / (1000 / copies)) % copies, copies)
    counts = np.bincount(steps.astype(np.int64), minlength=copies)
    np.testing.assert_allclose(counts[:-1], 20_000)
    assert counts[-1] == pytest.approx((scale - copies + 1) * 20_000, rel=0.03)


def test_scaling_twice_with_the_same_seed_keeps_the_same_requests(tmp_path: Path) -> None:
    real = "{kind: trace, path: %s, lm: LM1, rate_scale: 0.1}" % (
        TEMPLATE.parent / "../traces/samples/azure_conv_2023_excerpt.csv"
    )
    assert same(first(stream(tmp_path, real), 20), first(stream(tmp_path, real), 20))
    assert not same(first(stream(tmp_path, real), 20), first(stream(tmp_path, real, seed=2), 20))


# Real files


def test_the_template_of_real_traces_works_beside_the_real_files(tmp_path: Path) -> None:
    files = {
        "AzureLLMInferenceTrace_conv.csv": SHARED / "azure-llm-2023" / "AzureLLMInferenceTrace_conv.csv",
        "lora_request_trace.csv": SHARED / "alibaba-gentd26" / "lora_request_trace_2024-11.csv",
        "servegen.csv.gz": SHARED / "servegen" / "week1.csv.gz",
    }
    for name, source in files.items():
        if not source.exists():
            pytest.skip(f"{source} is not here: it holds real traces that are not part of the project")
        (tmp_path / name).symlink_to(source)
    workload = load_workload(write(tmp_path, TEMPLATE.read_text(), "real.yaml"), BRISTOL, 1)
    assert workload.slots == 115
    arrivals = first(workload, 115)
    counts = np.bincount(arrivals.lm, minlength=4)
    assert counts[0] + counts[1] == pytest.approx(19_366 * 0.25, rel=0.05)
    assert (counts > 50).all()
    assert set(arrivals.prompts[arrivals.lm == 3].tolist()) <= {1, 2, 3, 4, 5, 8}
    assert any("13 of 14,279 rows are malformed and left out" in line for line in describe(workload))


def test_burstiness_of_a_real_trace_survives_playback() -> None:
    counts = np.array([len(BUILTIN["real"].parts[0].arrivals(t)) for t in range(60)])
    assert counts.var() / counts.mean() > 1.5
