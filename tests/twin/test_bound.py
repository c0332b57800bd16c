"""The bounds of docs/bound.md: no policy beats them, by hand, by exhaustive search and at random; some are reached."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from domain.large_model import CpuProfile, GpuProfile
from domain.workload import Arrivals
from tests.bounds import ON_GPU, ROUNDING, SEARCHED, asked, bounded, relaxed
from tests.oracle.hand import LM, NODE, cluster, gpu_node

# By hand


def test_a_request_alone_takes_its_best_allocation_at_home() -> None:
    where = cluster(NODE, gpu_node(1, 2))
    assert bounded(where, asked((0.0, 0, 0, 3))).solo_mean_s == 3.0  # two cores, 1 s a prompt


def test_a_request_alone_pays_the_way_to_the_nearest_node_that_can_run_it() -> None:
    found = bounded(cluster(NODE, gpu_node(1, 2), lm=ON_GPU), asked((0.0, 0, 0, 3)))
    # 1 s and 3 x 1 byte up, 3 x 2 s on the GPU, 1 s and 3 x 2 bytes down, half a second a byte
    assert found.solo_mean_s == 2.5 + 6.0 + 4.0
    assert found.capacity_mean_s == pytest.approx(found.solo_mean_s)


def test_two_requests_at_once_wait_for_each_other() -> None:
    found = bounded(cluster(NODE), asked((0.0, 0, 0, 2), (0.0, 0, 0, 2)))
    assert found.solo_mean_s == 2.0
    assert found.capacity_mean_s == pytest.approx((2.0 + 4.0) / 2, rel=0.01)
    assert found.capacity_mean_s <= 3.0 * ROUNDING


def test_on_one_pod_the_bound_is_shortest_first() -> None:
    found = bounded(cluster(NODE), asked((0.0, 0, 0, 3), (0.0, 0, 0, 1), (0.0, 0, 0, 2)))
    assert found.capacity_mean_s == pytest.approx((1.0 + 3.0 + 6.0) / 3, rel=1e-3)


def test_two_nodes_serve_two_requests_at_once() -> None:
    requests = asked((0.0, 0, 0, 2), (0.0, 1, 0, 2))
    assert bounded(cluster(NODE, NODE), requests).capacity_mean_s == 2.0


def test_two_lms_do_not_both_fill_a_slot_on_one_vgpu() -> None:
    requests = asked(*[(10.0 * t, 0, i, 4) for t in range(20) for i in range(2)])
    shared = bounded(cluster(gpu_node(1, 2), lms=2, lm=ON_GPU), requests)
    alone = bounded(cluster(gpu_node(1, 1), lms=2, lm=ON_GPU), requests)
    assert shared.solo_mean_s == alone.solo_mean_s == 8.0
    assert alone.capacity_mean_s > shared.capacity_mean_s > 8.0


def test_work_that_outlasts_the_deadline_limits_the_successes() -> None:
    found = bounded(cluster(NODE, tau=10.0), asked(*[(0.0, 0, 0, 4)] * 5))
    assert found.max_success.tolist() == [2]  # 4 s each, 10 s in all
    assert not found.full_service
    assert found.capacity_mean_s == pytest.approx((4.0 + 8.0) / 2, rel=0.01)
    assert found.objective_full == pytest.approx(0.5 * found.capacity_mean_s / 10.0)


def test_each_lm_may_have_what_it_could_have_alone() -> None:
    where = cluster(NODE, lms=2, tau=10.0)  # two cores: one LM on both, or each on one at half the speed
    arrivals = asked(*[(0.0, 0, i, 5) for i in range(2) for _ in range(2)])
    found = bounded(where, arrivals)
    assert found.max_success.tolist() == [2, 2]
    assert not found.full_service


def test_two_lms_that_always_use_the_gpu_get_no_more_of_it_by_sharing() -> None:
    busy = replace(ON_GPU, gpu_profiles={"gpu": GpuProfile(0.0, 2.0)})
    idle = replace(ON_GPU, gpu_profiles={"gpu": GpuProfile(2.0, 0.0)})
    requests = asked(*[(10.0 * t, 0, i, 3) for t in range(30) for i in range(2)])
    apart, together = (bounded(cluster(gpu_node(1, 2), lms=2, lm=lm), requests) for lm in (idle, busy))
    assert apart.capacity_mean_s == apart.solo_mean_s == together.solo_mean_s == 6.0
    assert together.capacity_mean_s > 7.5  # 360 s of work in 300 s


def test_cores_that_are_all_needed_cost_no_more_than_there_are() -> None:
    # Five prompts of each in ten seconds fill both cores if no prompt takes 3 core seconds to be done in 1.5 s.
    eager = replace(LM, cpu_profiles={"cpu": CpuProfile(((1, 2.0), (2, 1.5)))})
    requests = asked(*[(10.0 * t, 0, i, 5) for t in range(30) for i in range(2)])
    found = bounded(cluster(NODE, lms=2, lm=eager), requests)
    assert found.full_service
    assert found.solo_mean_s == 7.5
    assert 9.0 < found.capacity_mean_s <= 10.0 * ROUNDING


# Prices


def test_a_request_of_two_prompts_may_be_interrupted_rather_than_pay_for_a_pod() -> None:
    relaxation = relaxed(cluster(NODE), asked((0.0, 0, 0, 1), (0.0, 0, 0, 2)))
    prices = relaxation.free()
    relaxation.split(prices)[1][:] = 1e6
    relaxation.be_patient(np.array([50.0, 50.0]))
    assert relaxation.courses.pause_s.tolist() == [0.0, 4.0 + 3.0]  # a shutdown and a start
    # One prompt is computed in one go or lost, so it waits until it loses patience; two take 7 s and 2 x 1 s.
    assert relaxation.price(prices, np.array([2])).cost_s.tolist() == [50.0, 9.0]


def test_a_request_pays_the_least_price_of_hardware_in_the_windows_that_it_can_wait_for() -> None:
    relaxation = relaxed(cluster(NODE), asked((0.0, 0, 0, 1), (95.0, 0, 0, 1)))
    prices = relaxation.free()
    hardware = relaxation.split(prices)[2]
    assert len(hardware) == 2  # 0 to 100 s, and a tail of one slot
    hardware[0] = 1e6
    for patience_s, cost_s in ((4.0, [4.0, 4.0]), (6.0, [6.0, 1.0]), (101.0, [1.0, 1.0])):
        relaxation.be_patient(np.full(2, patience_s))
        assert relaxation.price(prices, np.array([2])).cost_s.tolist() == cost_s


# Edges


def test_without_requests_there_is_nothing_to_bound() -> None:
    found = bounded(cluster(NODE), Arrivals.empty())
    assert math.isnan(found.solo_mean_s)
    assert math.isnan(found.capacity_mean_s)
    assert found.full_service
    assert found.objective_full == found.objective_any == 0.0


def test_an_lm_without_requests_changes_nothing() -> None:
    requests = asked((0.0, 0, 0, 2), (0.5, 0, 0, 1))
    one, two = bounded(cluster(NODE), requests), bounded(cluster(NODE, lms=2), requests)
    assert two.max_success.tolist() == [2, 0]
    assert two.capacity_mean_s == pytest.approx(one.capacity_mean_s, rel=SEARCHED - 1.0)


def test_an_lm_that_fits_nowhere_is_never_served() -> None:
    where = cluster(NODE, lms=2)
    where = replace(where, lms=(where.lms[0], replace(where.lms[1], ram_gb=99.0)))
    found = bounded(where, asked((0.0, 0, 0, 1), (0.0, 0, 1, 1)))
    assert found.max_success.tolist() == [1, 0]
    assert not found.full_service
    assert found.capacity_mean_s == 1.0
    assert found.objective_full == found.objective_any == pytest.approx(0.5 * 1.0 / 100.0 + 0.5)
    with pytest.raises(ValueError, match="lm1 cannot have 1 successes: 0 of its requests can meet their deadline"):
        found.at_service([1, 1])


def test_where_nothing_runs_the_objective_is_the_worst() -> None:
    found = bounded(cluster(NODE, lm=ON_GPU), asked((0.0, 0, 0, 1)))
    assert found.max_success.tolist() == [0]
    assert math.isnan(found.capacity_mean_s)
    assert found.objective_full == found.objective_any == 1.0


def test_service_is_one_count_for_each_lm() -> None:
    found = bounded(cluster(NODE), asked((0.0, 0, 0, 1)))
    with pytest.raises(ValueError, match="service needs one count for each of the 1 LMs, not"):
        found.at_service([1, 1])
    with pytest.raises(ValueError, match="cannot have -1 successes"):
        found.solo_at([-1])
    assert math.isnan(found.at_service([0]))
    assert found.objective_at([0]) == 1.0
