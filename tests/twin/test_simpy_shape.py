"""The twin is compared with a SimPy program that gives the same answers, so the comparison is of speed alone."""

from __future__ import annotations

import numpy as np

from benchmarks.simpy_shape import finish_times, run
from domain.decisions import Deployment, RoutingPlan
from domain.workload import Arrivals
from tests.oracle.hand import CORE, NODE, cluster
from twin.twin import Twin


def test_simpys_shape_serves_requests_when_the_twin_does() -> None:
    where, slots = cluster(NODE, NODE, lms=2, tau=1e6), 40
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 2, (slots, 2, 2))
    columns = (rng.integers(0, 2, 300), rng.integers(0, 2, 300), rng.integers(1, 5, 300))
    arrivals = Arrivals.of(rng.uniform(5.0, slots * 10.0, 300), *columns)
    twin = Twin(where)
    for n in range(2):
        twin.deploy(Deployment(n, (CORE, CORE)))
    finished = np.zeros(300)
    for t in range(400):
        twin.route(RoutingPlan(targets[min(t, slots - 1)]))
        r = twin.advance(arrivals.between(t * 10.0, (t + 1) * 10.0))
        finished[r.request] = r.arrival_s + r.latency_s - r.downlink_s
    assert twin.waiting == 0
    seconds = np.full((2, 2), 2.0)
    np.testing.assert_allclose(finish_times(where, arrivals, targets, seconds), finished, rtol=0, atol=1e-6)
    requests, wall_s = run(where, arrivals, targets, seconds)
    assert requests == 300
    assert wall_s > 0
