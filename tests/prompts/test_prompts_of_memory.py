"""Deployers and planner are told what each GPU has, what CPU and GPU share, and how many vGPUs a large LM needs."""

import dataclasses

import numpy as np

from domain.cluster import Cluster
from domain.constraints import check_deployment
from domain.decisions import Allocation, Deployment
from prompts.deployer import deployer_messages
from prompts.planner import planner_messages
from prompts.repair import repair_messages
from tests.clusters import quiet
from tests.memory_nodes import alone, box, lm


def told(cluster: Cluster) -> tuple[str, str]:
    """What the deployer of the first node is told, instructions and state."""
    instructions, state = deployer_messages(cluster, quiet(cluster), 0, np.ones(cluster.n_lms, dtype=np.bool_))
    return instructions["content"], state["content"]


def test_the_vram_of_each_gpu_is_told_and_what_an_lm_larger_than_one_needs() -> None:
    cluster = alone(box(4, 8.0, vgpus_per_gpu=1), (lm("llama", 18.0, gpu_only=True), lm("small", 5.0)))
    instructions, state = told(cluster)
    assert '4 GPUs "G", 8 GB vRAM each, 4 vGPUs' in instructions
    assert '"llama"' in instructions
    assert "on GPU (18 GB vRAM, at least 3 vGPUs, 1 host core)" in instructions
    assert "on GPU (5 GB vRAM, 1 host core)" in instructions
    assert "32 of 32 GB vRAM" in state
    plan = planner_messages(cluster, snapshot=quiet(cluster), traffic={}, last=None, baseline=None, recalled=None)
    assert "at least 3 vGPUs" in plan[0]["content"]


def test_where_nodes_differ_the_planner_is_told_both_numbers_of_vgpus() -> None:
    nodes = (box(4, 8.0, vgpus_per_gpu=1), dataclasses.replace(box(1, 24.0), name="other"))
    cluster = Cluster("two", nodes, (lm("llama", 18.0),), np.zeros((2, 2)), np.zeros((2, 2)))
    plan = planner_messages(cluster, snapshot=quiet(cluster), traffic={}, last=None, baseline=None, recalled=None)
    assert "on GPU (18 GB vRAM, at least 1 or 3 vGPUs, by node, 1 host core)" in plan[0]["content"]


def test_a_memory_that_cpu_and_gpu_share_is_told_once() -> None:
    node = box(1, 0.0, ram_gb=8.0, vram_gb=0.0, unified_memory=True)
    instructions, state = told(alone(node, (lm("chat", 3.0, unified_gb=3.5),)))
    assert '8 GB of memory for CPU and GPU together, 1 GPU "G", 2 vGPUs' in instructions
    assert "on GPU (3.5 GB where CPU and GPU use one memory, 1 host core)" in instructions
    assert "8 of 8 GB for CPU and GPU, 2 of 2 vGPUs." in state
    assert "vRAM" not in state


def test_an_lm_that_takes_several_modalities_is_told_with_all_of_them() -> None:
    instructions, _ = told(alone(box(1, 8.0), (lm("sees", 3.0, modality_in=("text", "image")),)))
    assert '"sees" ("Small talker", text and image to text)' in instructions


def test_a_repair_says_how_many_vgpus_would_do() -> None:
    cluster = alone(box(4, 8.0, vgpus_per_gpu=1), (lm("llama", 18.0),))
    wrong = check_deployment(cluster, Deployment(0, (Allocation(vgpus=1),)))
    messages = repair_messages([], "{}", [violation.sentence for violation in wrong])
    assert "each GPU of box has 8 GB; give it 3 vGPUs or more there" in messages[-1]["content"]
