"""Mistakes in workload files: one sentence each."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from domain.errors import InputError
from tests.workload_files import BRISTOL, first, servegen, write
from twin.workloads import load_workload

NODES = "'VM2', 'VM3', 'VM4', 'VM5', 'VM6' or 'VM7'"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[{kind: p1, lms: [LM9]}]", r"workload.yaml:1: streams\[0\].lms\[0\] must be 'LM1', .* not 'LM9'"),
        ("[{kind: p1, lms: [LM1, LM1]}]", r"streams\[0\].lms must name each LM once"),
        ("[{kind: p1, spread_s: 31}]", r"spread_s must be at most a slot \(30 s\), not 31"),
        ("[{kind: p2}]", r"streams\[0\].kind must be 'p1'.* not 'p2'"),
        ("[{kind: p1, loda: 2}]", r"unknown field 'loda'"),
        ("[]", r"streams"),
        ("[{kind: poisson}]", r"streams\[0\] must have rate_s or rate_per_node_s, one of the two"),
        ("[{kind: poisson, rate_s: 1, rate_per_node_s: 1}]", r"must have rate_s or rate_per_node_s, one of the two"),
        ("[{kind: poisson, rate_s: -1}]", r"rate_s must be greater than 0, not -1"),
        ("[{kind: poisson, rate_s: 1, lms: {GPT: 1}}]", r"lms.GPT must be 'LM1'"),
        ("[{kind: poisson, rate_s: 1, lms: {LM1: 0}}]", r"lms must have a weight above 0"),
        ("[{kind: poisson, rate_s: 1, lms: {LM1: 1}, lm_points: [{at_s: 0, lms: {LM1: 1}}]}]", r"lms or lm_points"),
        ("[{kind: poisson, rate_s: 1, origins: {kind: node, node: VM1}}]", rf"origins.node must be {NODES}, not 'VM1'"),
        ("[{kind: poisson, rate_s: 1, origins: {kind: weights, nodes: {VMX: 1}}}]", r"origins.nodes.VMX must be"),
        ("[{kind: poisson, rate_s: 1, origins: {kind: hash, column: user}}]", r"origins.kind must be .* not 'hash'"),
        ("[{kind: poisson, rate_s: 1, prompts: {kind: fixed, prompts: 0}}]", r"prompts.prompts must be .*1, not 0"),
        ("[{kind: poisson, rate_s: 1, prompts: {kind: uniform, low: 9}}]", r"low up to high, not low 9 above high 8"),
        ("[{kind: poisson, rate_s: 1, rate_points: [{at_s: 9, factor: 1}, {at_s: 9, factor: 2}]}]",
         r"rate_points\[1\].at_s must be later than the point before \(9\), not 9"),
        ("[{kind: poisson, rate_s: 1, wave: {amplitude: 1.5}}]", r"wave.amplitude must be .*1, not 1.5"),
        ("[{kind: trace, path: none.csv, lm: LM1}]", r"none.csv: there is no such file"),
        ("[{kind: trace, path: azure.csv}]", r"streams\[0\] must have the field 'lm': azure.csv does not say"),
        ("[{kind: trace, path: azure.csv, lm: LMX}]", r"streams\[0\].lm must be 'LM1'"),
        ("[{kind: trace, <azure>, start_s: 60}]", r"start_s must be before the last request, at 30 s"),
        ("[{kind: trace, <azure>, where: [{column: Tokens, min: 1}]}]", r"where\[0\].column must be 'TIMESTAMP'"),
        ("[{kind: trace, <azure>, where: [{column: GeneratedTokens}]}]", r"must have min, below or one_of"),
        ("[{kind: trace, <azure>, where: [{column: GeneratedTokens, min: 1000}]}]", r"where must leave a row of"),
        ("[{kind: trace, <azure>, prompts: {kind: column, column: GeneratedTokens}}]",
         r"prompts.column must hold whole numbers from 1 to 1000, not 0 as on line 3 of azure.csv"),
        ("[{kind: trace, <azure>, origins: {kind: hash, column: user}}]", r"origins.column must be 'TIMESTAMP'"),
        ("[{kind: trace, <azure>, rate_scale: 1.0e-9}]", r"rate_scale must be larger: 1e-09 leaves none of 2"),
        ("[{kind: trace, path: rates.csv, lm: LM1}]", r"kind must be 'servegen' for rates.csv"),
        ("[{kind: trace, path: plain.csv}]", r"plain.csv:3: lm must be 'LM1', .* not 'LM5'; did you mean"),
        ("[{kind: trace, path: away.csv, lm: LM1}]", rf"away.csv:3: node must be {NODES}, not 'Paris'; origins or"),
        ("[{kind: trace, path: plain.csv, lm: LM1, lms: {LM5: LM1}}]", r"streams\[0\] must have lm or lms, not both"),
        ("[{kind: trace, path: plain.csv, lms: {LM5: LMX}}]", r"streams\[0\].lms.LM5 must be 'LM1'"),
        ("[{kind: trace, <azure>, nodes: {Paris: VM2}}]", r"nodes must be left out: azure.csv does not say where"),
        ("[{kind: trace, <azure>, columns: {time: Zeit}}]", r"azure.csv:1: there is no column 'Zeit' for time; it has"),
        ("[{kind: trace, <azure>, columns: {zeit: TIMESTAMP}}]", r"columns.zeit must be 'time', 'time_s', 'node'"),
        ("[{kind: trace, <azure>, format: azure, columns: {time: TIMESTAMP}}]", r"columns are named for a plain trace"),
        ("[{kind: trace, <azure>, time_unit: ms}]", r"time_unit must be left out, since the column TIMESTAMP holds"),
        ("[{kind: servegen, path: rates.csv, model: n, lm: LM1}]", r"model must be 'm', not 'n'"),
        ("[{kind: servegen, <rates>, clients: ['8'], lm: LM1}]", r"clients\[0\] must be '0'"),
        ("[{kind: poisson, rate_s: 1.0e+9}]",
         r"rate_s must make at most 1,000,000 requests in a slot; this makes 3e\+10"),
        ("[{kind: poisson, rate_per_node_s: 1.0e+4, bursts: {quiet_s: 9, burst_s: 1, ratio: 1.0e+4}}]",
         r"rate_per_node_s must make at most 1,000,000 requests in a slot; this makes 1.8e\+07"),
        ("[{kind: servegen, <rates>, lm: LM1, rate_scale: 1.0e+4}]",
         r"rate_scale must make at most 2,000,000 requests in a window of 600 s; times the load, it makes 1.8e\+07"),
        ("[{kind: servegen, <rates>, lm: LM1, time_scale: 1.0e+4, rate_scale: 3}]",
         r"time_scale must make at most 1,000,000 requests in a slot; this makes 2.7e\+06"),
        ("[{kind: trace, <azure>, rate_scale: 1.0e+4}]\nload: 1.0e+4",
         r"rate_scale must make at most 30,000,000 requests; times the load, it makes 2e\+08 of the 2 that count"),
        ("[{kind: servegen, <rates>, lm: LM1, start_s: 6000}]", r"start_s must be before .* at 3600 s"),
        ("[{kind: servegen, <rates>, lm: LM1, origins: {kind: hash, column: user}}]", r"must be 'client' for"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_workload_file_gets_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    servegen(tmp_path)
    write(
        tmp_path,
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00,1,7\n2023-11-16 18:00:30,1,0\n",
        "azure.csv",
    )
    write(tmp_path, "time,node,lm,prompts\n0,VM2,LM1,1\n1,VM2,LM5,1\n", "plain.csv")
    write(tmp_path, "time,node,lm,prompts\n0,VM2,LM1,1\n1,Paris,LM1,1\n", "away.csv")
    text = text.replace("<azure>", "path: azure.csv, lm: LM1").replace("<rates>", "path: rates.csv, model: m")
    with pytest.raises(InputError, match=sentence) as refusal:
        load_workload(write(tmp_path, f"streams: {text}"), BRISTOL, 1)
    assert re.fullmatch(r"[^\n]*[.?]", str(refusal.value))


def test_an_unknown_name_is_answered_with_those_that_exist() -> None:
    with pytest.raises(
        InputError, match=r"poison: there is no such workload; give bursty, drift, .*did you mean 'poisson'\?$"
    ):
        load_workload("poison", BRISTOL, 1)
    with pytest.raises(InputError, match=r"load must be above 0, not 0\.$"):
        load_workload("p1", BRISTOL, 1, load=0)


def test_a_load_beyond_all_memory_is_answered_with_what_it_would_make() -> None:
    with pytest.raises(InputError, match=r"p1.yaml:\d+: streams\[0\] must make at most 1,000,000 requests in a slot; "
                       r"this times the load of 1e\+08 makes 2.4e\+09\.$"):  # fmt: skip
        load_workload("p1", BRISTOL, 1, load=1e8)
    with pytest.raises(InputError, match="must make at most"):
        load_workload("real", BRISTOL, 1, load=1e8)


def test_a_workload_for_other_lms_says_which_ones_the_cluster_has() -> None:
    renamed = replace(BRISTOL, lms=tuple(replace(lm, name=f"X{lm.name}") for lm in BRISTOL.lms))
    with pytest.raises(InputError, match=r"drift.yaml:\d+: streams\[0\].lm_points\[0\].lms.LM1 must be 'XLM1'"):
        load_workload("drift", renamed, 1)
    assert len(first(load_workload("p1", renamed, 1), 3)) > 0
