"""Forecast, yardstick, search, rehearsal and planner; bad and rare situations are in test_policies.py."""

from dataclasses import replace

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.constraints import check_macro_policy
from domain.decisions import MacroPolicy
from domain.telemetry import EpochTelemetry, Snapshot
from domain.workload import Arrivals
from policies.backlog import BacklogScheduler
from policies.families import Family, make
from policies.rehearsal.fluid import evaluate
from policies.rehearsal.forecast import Forecast, Traffic, prior_requests
from policies.rehearsal.menu import Menus
from policies.rehearsal.planner import Effort, RehearsalPlanner
from policies.rehearsal.score import Prediction, Rehearsal
from policies.rehearsal.search import Yardstick, fullest, search
from policies.roles import Watcher, watch
from policies.steady import SteadyDeployer
from runtime.results.tally import Tally
from runtime.runs.loop import run_slots
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

SMALL = Effort(evaluations=800, candidates=3, samples=2, horizon_slots=10)


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return load_builtin("bristol")


@pytest.fixture(scope="module")
def menus(cluster: Cluster) -> Menus:
    return Menus.of(cluster)


def even(cluster: Cluster, requests: float, batch: float = 4.5) -> Traffic:
    ones = np.ones(cluster.n_lms)
    rates = np.full((cluster.n_nodes, cluster.n_lms), requests)
    return Traffic(rates, batch * ones, 5.25 * ones, ones, 50.0, 0.1 * ones, rates.sum(axis=0) * batch)


def seen(cluster: Cluster, slot: int, requests: np.ndarray, batch: int = 4) -> Snapshot:
    snapshot = Twin(cluster).observe()
    return replace(
        snapshot,
        slot=slot,
        time_s=slot * cluster.slot_s,
        arrived_requests=requests.astype(np.int64),
        arrived_prompts=(requests * batch).astype(np.int64),
    )


def after_slots(cluster: Cluster, forecast: Forecast, slots: int, load: float = 1.0, first: int = 0) -> None:
    workload = load_workload("p1", cluster, 5, load)
    for slot in range(first, first + slots):
        arrivals = workload.arrivals(slot)
        counts, prompts = np.zeros((2, cluster.n_nodes, cluster.n_lms), dtype=np.int64)
        np.add.at(counts, (arrivals.origin, arrivals.lm), 1)
        np.add.at(prompts, (arrivals.origin, arrivals.lm), arrivals.prompts)
        forecast.watch(replace(seen(cluster, slot + 1, counts), arrived_prompts=prompts))


# Forecast


def test_the_rates_and_batches_of_the_papers_workload_are_learned(cluster: Cluster) -> None:
    forecast = Forecast(cluster)
    after_slots(cluster, forecast, 60)
    traffic = forecast.traffic()
    assert traffic.requests.sum(axis=0) == pytest.approx(np.full(4, 6 * 8 / 9), rel=0.05)
    assert traffic.batch == pytest.approx(np.full(4, 4.5), rel=0.08)
    assert traffic.batch_variance == pytest.approx(np.full(4, 5.25), rel=0.3)
    assert (traffic.dispersion < 0.3).all()  # at most one request in a slot: far steadier than Poisson
    assert (traffic.swing < 0.1).all()


def test_before_anything_is_seen_every_lm_is_expected_alike(cluster: Cluster) -> None:
    prior = prior_requests(cluster)
    assert (prior > 0).all()
    assert np.ptp(prior) == 0.0
    assert Forecast(cluster).traffic().requests.sum(axis=0) == pytest.approx(prior)


def test_a_forecast_learns_a_slot_once_and_goes_on_from_what_was_saved(cluster: Cluster) -> None:
    forecast, again = Forecast(cluster), Forecast(cluster)
    after_slots(cluster, forecast, 20)
    before = forecast.traffic().requests.copy()
    after_slots(cluster, forecast, 20)
    assert (forecast.traffic().requests == before).all()
    again.load(forecast.save())
    for each in (forecast, again):
        after_slots(cluster, each, 5, first=20)
    assert (forecast.traffic().requests == again.traffic().requests).all()
    assert forecast.save() == again.save()


def test_a_change_of_the_rates_is_noticed_within_ten_slots_and_steady_traffic_is_no_change(cluster: Cluster) -> None:
    forecast = Forecast(cluster)
    steady = np.full((6, 4), 5.0)
    for slot in range(1, 61):
        forecast.watch(seen(cluster, slot, steady))
    assert forecast.traffic().slots > 30
    changed = steady * np.array([1.0, 1.0, 1.0, 3.0])
    for slot in range(61, 71):
        forecast.watch(seen(cluster, slot, changed))
    assert forecast.traffic().slots < 20
    assert forecast.traffic().requests[:, 3].sum() > 60


def test_sampled_futures_have_the_expected_rates_and_lie_in_their_slots(cluster: Cluster) -> None:
    traffic = even(cluster, 0.9)
    futures = traffic.futures(3, 7, 200, cluster.slot_s, np.random.default_rng(1))
    everything = Arrivals.concatenate([slot for future in futures for slot in future])
    assert len(everything) == pytest.approx(3 * 200 * 24 * 0.9, rel=0.05)
    assert set(np.unique(everything.prompts)) == set(range(1, 9))
    for k, slot in enumerate(futures[0]):
        assert len(slot.between((7 + k) * cluster.slot_s, (8 + k) * cluster.slot_s)) == len(slot)
    per_future = [sum((slot.lm == 3).sum() for slot in future) for future in futures]
    assert max(per_future) > 1.1 * min(per_future)  # the swing


# The yardstick


def one_pod(demand: float, seconds: float = 2.0, pods: float = 1.0) -> tuple[float, float]:
    flow = np.zeros((1, 1))
    value = evaluate(
        np.array([pods]),
        np.array([[seconds]]),
        np.zeros((1, 1)),
        np.full((1, 1), -1),
        np.array([demand]),
        np.array([3.0]),
        np.array([0.6]),
        900.0,
        1.0,
        flow,
    )
    return value, float(flow[0, 0])


def test_the_yardstick_of_one_pod_is_kingmans_formula() -> None:
    value, flow = one_pod(0.25)
    assert flow == pytest.approx(0.25)
    assert value * 900.0 == pytest.approx(3.0 * 2.0 * (1 + 0.6 * 0.5 / 0.5))


def test_more_pods_are_better_and_more_traffic_is_worse() -> None:
    assert one_pod(0.25, pods=2.0)[0] < one_pod(0.25)[0] < one_pod(0.4)[0] < one_pod(0.6)[0] < one_pod(2.0)[0]


def test_search_beats_the_fullest_placement_and_gives_every_lm_a_place(cluster: Cluster, menus: Menus) -> None:
    nodes, yardstick = np.bincount(menus.kind), Yardstick(cluster, menus, even(cluster, 0.8))
    full = yardstick({(k, fullest(menus, k)): int(m) for k, m in enumerate(nodes)})[0]
    best, *others = search(menus, nodes, yardstick, [], 1500, 5, np.random.default_rng(0))
    assert best.objective < 0.9 * full
    assert all(best.objective <= other.objective for other in others)
    assert yardstick.evaluations <= 1500 + 10
    on = sum(menus.kinds[k].on[c] * m for (k, c), m in best.groups)
    assert (on > 0).all()


# Rehearsal and planner


def test_a_rehearsal_tells_a_good_plan_from_a_bad_one_and_repeats_itself(cluster: Cluster, menus: Menus) -> None:
    snapshot, traffic = Twin(cluster).observe(), even(cluster, 0.6)
    planner = RehearsalPlanner(cluster, SMALL)
    good = planner.candidates(snapshot, traffic, np.random.default_rng(3))[0].policy
    alone = np.zeros((6, 4), dtype=np.bool_)
    alone[5] = True
    bad = MacroPolicy(np.array([[0, 0, 0, 0, 0, 1.0]] * 4), alone)
    scheduler, deployer = BacklogScheduler(cluster), SteadyDeployer(cluster, menus)

    def predicted() -> tuple[float, float]:
        stage = Rehearsal(cluster, scheduler, deployer, snapshot, traffic, 10, 2, np.random.default_rng(9))
        return stage.predict(good).objective, stage.predict(bad).objective

    first = predicted()
    assert first[0] < 0.5 * first[1]
    assert predicted() == first


def test_plans_are_sound_and_the_same_for_the_same_random_numbers(cluster: Cluster) -> None:
    snapshot = Twin(cluster).observe()
    plans = [RehearsalPlanner(cluster, SMALL).plan(snapshot, [], np.random.default_rng(2)) for _ in range(2)]
    assert not check_macro_policy(cluster, plans[0])
    assert (plans[0].probabilities == plans[1].probabilities).all()
    assert (plans[0].roles == plans[1].roles).all()


def test_no_rehearsal_begins_when_time_is_up_but_there_is_always_a_plan(cluster: Cluster) -> None:
    ticks = iter(range(0, 10**6, 100))
    planner = RehearsalPlanner(cluster, SMALL, clock=lambda: float(next(ticks)))
    found = planner.candidates(Twin(cluster).observe(), even(cluster, 0.5), np.random.default_rng(2))
    assert len(found) == 1
    assert not check_macro_policy(cluster, found[0].policy)


def test_what_the_first_rehearsal_takes_to_compile_costs_no_other_one(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, predict = [0.0], Rehearsal.predict

    def slow(self: Rehearsal, policy: MacroPolicy) -> Prediction:
        seconds[0] += 100.0 if seconds[0] == 0.0 else 0.0
        return predict(self, policy)

    monkeypatch.setattr(Rehearsal, "predict", slow)
    planner = RehearsalPlanner(cluster, SMALL, clock=lambda: seconds[0])
    assert len(planner.candidates(Twin(cluster).observe(), even(cluster, 0.5), np.random.default_rng(2))) > 1


def test_a_lost_node_gets_nothing_and_calls_for_a_new_plan(cluster: Cluster) -> None:
    planner = RehearsalPlanner(cluster, SMALL)
    after_slots(cluster, planner.forecast, 20)
    twin = Twin(cluster)
    start = replace(twin.observe(), slot=20)
    policy = planner.plan(start, [], np.random.default_rng(1))
    deployer = SteadyDeployer(cluster)
    for n in range(6):
        step = deployer.step(twin.observe(), n, policy, deployer.choose(start, n, policy, planner.forecast.traffic()))
        assert step is not None
        twin.deploy(step)
    twin.advance(Arrivals.empty())
    counts = np.full((6, 4), 1)
    running = replace(twin.observe(), slot=30, arrived_requests=counts, arrived_prompts=4 * counts)
    assert planner.watch(running) is False
    lost = replace(running, slot=31, age_s=np.array([0, 0, np.nan, 0, 0, 0]))
    assert planner.watch(lost) is True
    again = planner.plan(lost, [], np.random.default_rng(1))
    assert not again.probabilities[:, 2].any()
    assert not again.roles[2].any()


def test_all_three_rules_of_the_family_watch(cluster: Cluster) -> None:
    family = make("RH", cluster)
    fillings = (family.planner, family.scheduler, family.deployer)
    assert all(isinstance(filling, Watcher) for filling in fillings)
    assert watch((*fillings, make("RF", cluster).deployer), Twin(cluster).observe()) is False


def outcome(cluster: Cluster, family: Family, slots: int, load: float) -> EpochTelemetry:
    tally = Tally(cluster)
    for result in run_slots(Twin(cluster), family, load_workload("p1", cluster, 1, load), slots, 1):
        tally.add(result)
    return tally.telemetry()


def rehearsed(cluster: Cluster) -> Family:
    return replace(make("RH", cluster), planner=RehearsalPlanner(cluster, SMALL))


@pytest.mark.timeout(300)  # the first run on a machine compiles the twin
def test_rehearsal_leaves_full_activation_far_behind(cluster: Cluster) -> None:
    ours, full = (outcome(cluster, f, 60, 1.0) for f in (rehearsed(cluster), make("RF", cluster)))
    assert ours.objective < 0.6 * full.objective
    assert ours.fairness > 0.999
    assert (ours.success_ratio >= 0.97).all()


@pytest.mark.timeout(300)
def test_under_overload_no_baseline_is_better(cluster: Cluster) -> None:
    ours = outcome(cluster, rehearsed(cluster), 80, 1.5)
    for code in ("RF", "LL", "AL"):
        theirs = outcome(cluster, make(code, cluster), 80, 1.5)
        assert ours.objective < theirs.objective
        assert ours.fairness > theirs.fairness - 0.01
