"""The Lyapunov deployer against P1-15 to P1-19, worked out by hand and term by term."""

import dataclasses
import itertools
import math
import time
from typing import Any

import numpy as np
import pytest

from domain.cluster import Cluster, Node
from domain.decisions import OFF, Allocation, Deployment, MacroPolicy
from domain.errors import InputError
from domain.large_model import CpuProfile, GpuProfile, LargeModel
from domain.telemetry import Phase, Snapshot
from policies.lyapunov import LyapunovDeployer, LyapunovParameters
from policies.roles import generator
from policies.standard import Mode, patterns

TEXT = LargeModel(
    name="LM2", model="openai-community/gpt2-large", modality_in=("text",), modality_out="text",
    ram_gb=9.0, vram_gb=5.0, gpu_only=False, host_cores=1, image_gb=13.0, uplink_bytes=1e3, downlink_bytes=1e3,
    start_cpu_s=12.0, start_gpu_s=14.0, stop_s=5.0, cpu_profiles={"cpu": CpuProfile(((1, 20.0), (16, 4.6)))},
    gpu_profiles={"gpu": GpuProfile(1.6, 0.3)},
)  # fmt: skip
IMAGE = dataclasses.replace(
    TEXT, name="LM4", model="stable-diffusion", modality_out="image", ram_gb=3.5, gpu_only=True, cpu_profiles={}
)
SMALL = dataclasses.replace(TEXT, name="LM1", model="GPT-2", ram_gb=3.0)
RNG = generator(0)


def cluster_of(*lms: LargeModel, nodes: int = 1, gpus: int = 1) -> Cluster:
    one = Node("vm", "site", "cpu", 16, 24.0, "gpu" if gpus else None, gpus, 2, 24.0 * gpus)
    named = tuple(dataclasses.replace(one, name=f"vm{n}") for n in range(nodes))
    return Cluster("one", named, lms, np.zeros((nodes, nodes)), np.zeros((nodes, nodes)))


def snapshot_of(cluster: Cluster, **rows: Any) -> Snapshot:
    """Rows of one node, the same on every node; what is not given is zero, and free is all there is."""
    n_nodes, node = cluster.n_nodes, cluster.nodes[0]
    counts = ("backlog_prompts", "backlog_requests", "phase", "cores", "vgpus", "arrived_requests", "arrived_prompts")
    values: dict[str, Any] = {name: np.zeros(cluster.n_lms, dtype=np.int64) for name in counts}
    values |= {name: np.zeros(cluster.n_lms) for name in ("oldest_wait_s", "phase_left_s", "busy_s")}
    values |= {"free_cores": node.cpu_cores, "free_ram_gb": node.ram_gb}
    values |= {"free_vgpus": node.vgpus, "free_vram_gb": node.vram_gb, "age_s": 0.0}
    values |= rows
    columns = {name: np.stack([np.asarray(row)] * n_nodes) for name, row in values.items()}
    return Snapshot(slot=0, time_s=0.0, **columns)


def choose(deployer: LyapunovDeployer, cluster: Cluster, snapshot: Snapshot) -> tuple[Allocation, ...]:
    deployment = deployer.deploy(snapshot, 0, MacroPolicy.unrestricted(cluster), RNG)
    assert deployment is not None
    return deployment.allocations


# Scores

BUSY = {
    "backlog_prompts": [10, 6], "backlog_requests": [3, 1], "phase": [Phase.READY, Phase.OFF], "cores": [15, 0],
    "free_cores": 4, "free_ram_gb": 12.0, "free_vgpus": 1,
}  # fmt: skip


def test_the_scores_are_those_worked_out_by_hand() -> None:
    cluster = cluster_of(TEXT, IMAGE)
    scores = LyapunovDeployer(cluster).scores(snapshot_of(cluster, **BUSY), 0)
    # eta: cpu 4/16, memory 12/24, gpu 1/2; f = 0.85, 0.9, 0.9.
    # Rates: 0.85 * 0.9 = 0.765 on the CPU, 1.2 * 0.9 and 1.5 * 0.9 on vGPUs.
    # phi = 1/4; price = 0.1 + 0.25 * 0.5 + 0.37 * 0.25 = 0.3175.
    # A flip of the text LM: 0.08 * (1 + 0.76 * 10) = 0.688; of the image LM: 0.08 * (1 + 0.76 * 6) = 0.4448. V = 3.
    by_modes = {
        (Mode.OFF, Mode.OFF): -3 * 0.688,
        (Mode.OFF, Mode.GPU): 6 * 1.35 - 3 * (0.3175 + 0.688 + 0.4448),
        (Mode.CPU, Mode.OFF): 10 * 0.765,
        (Mode.CPU, Mode.GPU): 10 * 0.765 + 6 * 1.35 - 3 * (0.3175 + 0.4448),
        (Mode.GPU, Mode.OFF): 10 * 1.08 - 3 * 0.3175,
        (Mode.GPU, Mode.GPU): 10 * 1.08 + 6 * 1.35 - 3 * (2 * 0.3175 + 0.4448),
    }
    assert [tuple(row) for row in patterns(cluster, 0).modes.tolist()] == list(by_modes)
    assert scores == pytest.approx(list(by_modes.values()), abs=1e-12)


def test_the_pattern_with_the_highest_score_is_taken() -> None:
    cluster = cluster_of(TEXT, IMAGE)
    gpu = Allocation(vgpus=1)
    assert choose(LyapunovDeployer(cluster), cluster, snapshot_of(cluster, **BUSY)) == (gpu, gpu)


def literal_score(cluster: Cluster, p: LyapunovParameters, s: Snapshot, alphas: list[float], modes: list[int]) -> float:
    """P1-15 to P1-19 as the paper writes them, for the only node."""
    node, lms = cluster.nodes[0], range(cluster.n_lms)
    q = s.backlog_prompts[0].tolist()
    eta_cpu, eta_mem = s.free_cores[0] / node.cpu_cores, s.free_ram_gb[0] / node.ram_gb
    eta_gpu = s.free_vgpus[0] / node.vgpus if node.vgpus else 0.0

    def f(eta: float) -> float:
        return p.smoothing + (1 - p.smoothing) * eta

    def mu(i: int) -> float:
        return {
            Mode.OFF: 0.0,
            Mode.CPU: p.cpu_weight * f(eta_cpu) * f(eta_mem),
            Mode.GPU: alphas[i] * f(eta_gpu),
        }[Mode(modes[i])]

    image = sum(int(s.backlog_requests[0, i]) for i in lms if cluster.lms[i].is_image)
    phi = image / s.backlog_requests[0].sum() if s.backlog_requests[0].any() else 0.0
    price = p.p0 + p.p1 * (1 - eta_gpu) + p.p2 * phi
    before = [s.phase[0, i] in (Phase.STARTING, Phase.READY, Phase.PENDING) for i in lms]
    churn = p.churn * sum(abs((modes[i] != Mode.OFF) - before[i]) * (1 + p.kappa * q[i]) for i in lms)
    cost = price * modes.count(Mode.GPU) + churn
    return float(sum(q[i] * mu(i) for i in lms) - p.v * cost)


def random_snapshot(cluster: Cluster, rng: np.random.Generator) -> Snapshot:
    node, n_lms = cluster.nodes[0], cluster.n_lms
    prompts = rng.integers(0, 60, n_lms) * (rng.random(n_lms) < 0.7)
    return snapshot_of(
        cluster, backlog_prompts=prompts, backlog_requests=(prompts + 3) // 4, phase=rng.choice(4, n_lms),
        free_cores=rng.integers(0, node.cpu_cores + 1), free_ram_gb=rng.uniform(0, node.ram_gb),
        free_vgpus=rng.integers(0, node.vgpus + 1),
    )  # fmt: skip


@pytest.mark.parametrize("gpus", [0, 1, 2])
def test_the_scores_are_those_of_the_equations_as_the_paper_writes_them(gpus: int) -> None:
    cluster, rng = cluster_of(SMALL, TEXT, IMAGE, gpus=gpus), generator(8, gpus)
    for _ in range(50):
        snapshot = random_snapshot(cluster, rng)
        drawn = dict(zip(("v", "churn", "kappa", "p0", "p1", "p2", "smoothing"), rng.random(7).tolist(), strict=True))
        p = LyapunovParameters(**drawn, cpu_weight=0.7)
        expected = [
            literal_score(cluster, p, snapshot, [1.0, 1.2, 1.5], modes) for modes in patterns(cluster, 0).modes.tolist()
        ]
        assert LyapunovDeployer(cluster, p).scores(snapshot, 0) == pytest.approx(expected, abs=1e-9)


def test_a_pod_that_starts_or_waits_was_active_and_one_that_shuts_down_was_not() -> None:
    cluster = cluster_of(TEXT)
    p = LyapunovParameters(v=1.0, churn=1.0, kappa=0.0, p0=0.0, p1=0.0, p2=0.0)
    active = {}
    for phase in Phase:
        off, on_cpu, on_gpu = LyapunovDeployer(cluster, p).scores(snapshot_of(cluster, phase=[phase]), 0)
        assert on_cpu == on_gpu == -1.0 - off
        active[phase] = off == -1.0
    assert [phase.name for phase in Phase if active[phase]] == ["STARTING", "READY", "PENDING"]


def test_headroom_beyond_what_there_is_counts_as_all_or_nothing() -> None:
    p = LyapunovParameters(smoothing=0.5)
    assert [p.smooth(x) for x in (-0.2, 0.0, 0.5, 1.0, 1.3)] == [0.5, 0.5, 0.75, 1.0, 1.0]


# What the controller does, and what the paper's equations do not see


def test_more_backlog_never_turns_an_lm_off() -> None:
    """Holds while V * churn * kappa is at most the lowest rate, smoothing ** 2, and the image ratio stays the same."""
    cluster, rng = cluster_of(SMALL, TEXT, IMAGE), generator(9)
    p = LyapunovParameters()
    assert p.v * p.churn * p.kappa <= p.smoothing**2
    deployer, kept = LyapunovDeployer(cluster, p), 0
    for _, i in itertools.product(range(150), range(3)):
        snapshot = random_snapshot(cluster, rng)
        if choose(deployer, cluster, snapshot)[i].is_off:
            continue
        more = snapshot.backlog_prompts.copy()
        more[0, i] += rng.integers(1, 50)
        assert not choose(deployer, cluster, dataclasses.replace(snapshot, backlog_prompts=more))[i].is_off
        kept += 1
    assert kept > 100


def test_an_lm_with_the_longer_backlog_gets_the_only_vgpu() -> None:
    second = dataclasses.replace(IMAGE, name="LM3")
    cluster = cluster_of(IMAGE, second)
    cluster = dataclasses.replace(cluster, nodes=(dataclasses.replace(cluster.nodes[0], vgpus_per_gpu=1),))
    for prompts, on in ([9, 4], [True, False]), ([4, 9], [False, True]):
        snapshot = snapshot_of(cluster, backlog_prompts=prompts, backlog_requests=[1, 1])
        assert [not a.is_off for a in choose(LyapunovDeployer(cluster), cluster, snapshot)] == on


def test_an_idle_lm_leaves_the_gpu_and_stays_on_the_cpu() -> None:
    cluster = cluster_of(TEXT, IMAGE)
    phase, on_gpu = [Phase.READY, Phase.READY], Allocation(vgpus=1)
    snapshot = snapshot_of(cluster, phase=phase, vgpus=[1, 1], free_cores=14, free_ram_gb=11.5, free_vgpus=0)
    assert choose(LyapunovDeployer(cluster), cluster, snapshot) == (Allocation(cores=15), OFF)
    free_of_charge = LyapunovParameters(p0=0.0, p1=0.0, p2=0.0)
    assert choose(LyapunovDeployer(cluster, free_of_charge), cluster, snapshot) == (on_gpu, on_gpu)


def test_moving_from_the_cpu_to_a_vgpu_costs_no_churn() -> None:
    """P1-19 counts LMs that turn active or inactive; a move restarts the pod all the same."""
    cluster = cluster_of(TEXT)
    snapshot = snapshot_of(
        cluster, phase=[Phase.READY], cores=[16], backlog_prompts=[20], free_cores=0, free_ram_gb=15.0
    )
    huge = LyapunovParameters(churn=1000.0, kappa=0.0)
    assert choose(LyapunovDeployer(cluster, huge), cluster, snapshot) == (Allocation(vgpus=1),)


def test_a_lone_small_lm_with_a_steady_backlog_changes_sides_in_every_slot() -> None:
    """Headroom in P1-16 is what is free, so what the LM holds itself speaks against where it is."""
    cluster = cluster_of(SMALL)
    steady = {"phase": [Phase.READY], "backlog_prompts": [20], "backlog_requests": [5], "free_ram_gb": 21.0}
    on_cpu = snapshot_of(cluster, **steady, cores=[16], free_cores=0)
    on_gpu = snapshot_of(cluster, **steady, vgpus=[1], free_cores=15, free_vgpus=1)
    assert choose(LyapunovDeployer(cluster), cluster, on_cpu) == (Allocation(vgpus=1),)
    assert choose(LyapunovDeployer(cluster), cluster, on_gpu) == (Allocation(cores=16),)


@pytest.mark.parametrize(("v", "on"), [(16.0, True), (17.0, False)])
def test_from_a_certain_v_on_no_backlog_turns_an_lm_on(v: float, on: bool) -> None:
    """The cost of a switch grows with the backlog too: V below 1 / (0.08 * 0.76) = 16.4 on an empty CPU node."""
    cluster = cluster_of(TEXT, gpus=0)
    snapshot = snapshot_of(cluster, backlog_prompts=[10**6], backlog_requests=[10**5])
    assert choose(LyapunovDeployer(cluster, LyapunovParameters(v=v)), cluster, snapshot)[0].is_off is not on


def test_of_equal_scores_the_one_with_fewest_new_pods_wins_and_then_the_first() -> None:
    cluster = cluster_of(SMALL, TEXT)
    indifferent = LyapunovDeployer(cluster, LyapunovParameters(v=0.0))
    running = snapshot_of(cluster, phase=[Phase.READY, Phase.READY], cores=[8, 0], vgpus=[0, 1])
    assert choose(indifferent, cluster, running) == (Allocation(cores=8), Allocation(vgpus=1))
    assert choose(indifferent, cluster, snapshot_of(cluster)) == (OFF, OFF)
    odd_size = snapshot_of(cluster, phase=[Phase.READY, Phase.OFF], cores=[5, 0])
    assert choose(indifferent, cluster, odd_size) == (OFF, OFF)


def test_a_pending_pod_leaves_only_what_runs_to_choose_from() -> None:
    cluster = cluster_of(TEXT, IMAGE)
    phase = [Phase.PENDING, Phase.OFF]
    snapshot = snapshot_of(cluster, phase=phase, cores=[15, 0], backlog_prompts=[5, 99], backlog_requests=[1, 20])
    assert choose(LyapunovDeployer(cluster), cluster, snapshot) == (Allocation(cores=15), OFF)


def test_nodes_decide_on_their_own_rows() -> None:
    cluster = cluster_of(TEXT, IMAGE, nodes=2)
    prompts = np.array([[8, 0], [0, 8]])
    snapshot = dataclasses.replace(snapshot_of(cluster), backlog_prompts=prompts, backlog_requests=prompts // 8)
    made = [LyapunovDeployer(cluster).deploy(snapshot, n, MacroPolicy.unrestricted(cluster), RNG) for n in range(2)]
    assert all(isinstance(d, Deployment) for d in made)
    assert [[not a.is_off for a in d.allocations] for d in made if d] == [[True, False], [False, True]]


# Parameters


def test_the_papers_coefficients_are_the_defaults() -> None:
    p = LyapunovParameters()
    assert (p.churn, p.kappa, p.p1, p.p2, p.cpu_weight) == (0.08, 0.76, 0.25, 0.37, 1.0)
    names = [("GPT-2", False), ("openai-community/gpt2-large", False), ("blip", True), ("stable-diffusion", True)]
    assert [p.gpu_weight(*name) for name in names] == [1.0, 1.2, 1.5, 1.5]
    assert p.gpu_weight("another", False) == 1.0


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"v": -1.0}, "Lyapunov parameter v must be 0 or more, not -1.0"),
        ({"kappa": math.nan}, "Lyapunov parameter kappa must be 0 or more, not nan"),
        ({"smoothing": 1.5}, "Lyapunov parameter smoothing must be from 0 to 1, not 1.5"),
        ({"gpu_weights": {"gpt2": -0.1}}, "Lyapunov parameter gpu_weights must be 0 or more"),
    ],
)
def test_a_parameter_out_of_range_is_refused_in_one_sentence(bad: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        LyapunovParameters(**bad)


@pytest.mark.bench
def test_600_nodes_decide_within_100_microseconds_each() -> None:
    third = dataclasses.replace(IMAGE, name="LM3")
    cluster, rng = cluster_of(SMALL, TEXT, third, IMAGE, nodes=600), generator(1)
    deployer, policy = LyapunovDeployer(cluster), MacroPolicy.unrestricted(cluster)
    prompts = rng.integers(0, 30, (600, 4))
    snapshot = dataclasses.replace(snapshot_of(cluster), backlog_prompts=prompts, backlog_requests=(prompts + 3) // 4)
    seconds = []
    for _ in range(7):
        start = time.process_time()
        for n in range(600):
            deployer.deploy(snapshot, n, policy, RNG)
        seconds.append((time.process_time() - start) / 600)
    print(f"\n{1e6 * np.median(seconds):.0f} us for a node and slot, {len(patterns(cluster, 0))} patterns")
    assert np.median(seconds) < 100e-6
