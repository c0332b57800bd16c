"""ServeGen's client rates become requests of the same rates and gaps."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.workload_files import first, servegen, stream
from twin.workloads.renewal import RenewalStream, renewals


def test_a_renewal_process_has_exactly_its_rate_however_few_requests_that_is() -> None:
    rng = np.random.default_rng(1)
    for rate, weibull, shape in [(0.001, False, 0.3), (0.0005, True, 0.45), (0.5, True, 0.45), (0.5, False, 4.0)]:
        clients = 20_000 if rate < 0.1 else 400
        columns = (np.full(clients, rate), np.full(clients, shape), np.full(clients, weibull))
        times, client = renewals(rng, *columns, 600.0)
        counts = np.bincount(client, minlength=clients)
        error = 5 * counts.std() / math.sqrt(clients)
        assert counts.mean() == pytest.approx(rate * 600, abs=error)
        # Stationary: the first half of the window is no busier than the second.
        halves = np.bincount(client[times < 300], minlength=clients)
        assert halves.mean() == pytest.approx(rate * 300, abs=error)


@pytest.mark.parametrize(("weibull", "shape"), [(False, 0.25), (False, 1.0), (False, 4.0), (True, 0.5), (True, 2.0)])
def test_gaps_have_the_coefficient_of_variation_of_their_shape(weibull: bool, shape: float) -> None:
    gamma = math.gamma
    cv = math.sqrt(gamma(1 + 2 / shape) / gamma(1 + 1 / shape) ** 2 - 1) if weibull else 1 / math.sqrt(shape)
    one = np.ones(1)
    times, _ = renewals(np.random.default_rng(2), 20 * one, shape * one, np.array([weibull]), 10_000.0)
    gaps = np.diff(times)
    assert gaps.mean() == pytest.approx(1 / 20, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


def test_extreme_shapes_neither_fail_nor_warn() -> None:
    shape = np.array([0.001, 0.001, 0.007, 0.0155, 2198.0])
    rate = np.array([1e-6, 1.0, 0.05, 3.0, 5.0])
    for weibull in (True, False):
        times, client = renewals(np.random.default_rng(3), rate, shape, np.full(5, weibull), 600.0)
        assert np.isfinite(times).all()
        assert (client == 4).sum() == pytest.approx(3000, rel=0.01)


def test_the_rates_of_windows_are_reproduced_window_by_window(tmp_path: Path) -> None:
    servegen(tmp_path)
    counts = np.zeros(6)
    for seed in range(25):
        workload = stream(tmp_path, "{kind: servegen, path: rates.csv, model: m, lm: LM3}", seed)
        assert workload.slots == 120
        counts += [len(first(workload, 20, 20 * w)) / 25 for w in range(6)]
    np.testing.assert_allclose(counts, 600 * 0.5 * np.arange(1, 7), rtol=0.08)


def test_rates_are_scaled_and_time_is_stretched_and_rounds_differ(tmp_path: Path) -> None:
    servegen(tmp_path, windows=1)
    text = "{kind: servegen, path: rates.csv, model: m, lm: LM3, rate_scale: 0.5, time_scale: 0.5, repeat: true}"
    workload = stream(tmp_path, text)
    rounds = [first(workload, 40, 40 * k) for k in range(50)]
    assert np.mean([len(r) for r in rounds]) == pytest.approx(600 * 0.5 * 0.5, rel=0.05)
    assert len({len(r) for r in rounds}) > 10


def test_clients_may_be_chosen_and_each_has_its_node_unless_told_otherwise(tmp_path: Path) -> None:
    servegen(tmp_path)
    text = "{kind: servegen, path: rates.csv, model: m, lm: LM3, clients: ['2']%s}"
    assert len(set(first(stream(tmp_path, text % ""), 120).origin.tolist())) == 1
    assert len(set(first(stream(tmp_path, text % ", origins: {kind: even}"), 120).origin.tolist())) == 6


def test_no_request_is_lost_or_doubled_where_windows_and_slots_meet(tmp_path: Path) -> None:
    servegen(tmp_path)
    text = "{kind: servegen, path: rates.csv, model: m, lm: LM3, rate_scale: 20, start_s: 77.7, time_scale: 1.7}"
    whole = stream(tmp_path, text)
    times = first(whole, whole.slots or 0).time_s
    (part,) = whole.parts
    assert isinstance(part, RenewalStream)
    drawn = np.concatenate([part._draw(w).time_s for w in range(6)])
    np.testing.assert_array_equal(times, np.sort(drawn))
