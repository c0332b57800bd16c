"""Equations P1-2 to P1-10: arrivals, success, service rate, Jain's index, latency and the objective.

Edge cases, decided here once:

- a type with no arrivals has no service rate; fairness is taken over the types that had any;
- one type alone cannot be treated unfairly: F_norm is 1;
- arrivals but no success at all: nobody is served, so F_norm is 0, T_norm is 1 and J is 1, the worst there is
  (P1-6 and P1-9 are 0/0 there; without this, serving nobody would look fair);
- no arrivals at all: nothing to do and nothing done wrong, F_norm is 1, T_norm is 0, J is 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.telemetry import EpochTelemetry, Records

FloatArray = NDArray[np.float64]


def service_rates(arrived: NDArray[np.int64], succeeded: NDArray[np.int64]) -> FloatArray:
    """P1-5. rho_i = S_i / A_i, shape [I]; NaN where nothing of the type arrived."""
    rates = np.full(arrived.shape, np.nan)
    np.divide(succeeded, arrived, out=rates, where=arrived > 0)
    return rates


def jain(rates: FloatArray) -> float:
    """P1-6. Jain's index over the rates that are not NaN, in [1/I, 1]; 1 where all are equal, zeros included."""
    known = rates[~np.isnan(rates)]
    top = known.max(initial=0.0)
    if top == 0.0:
        return 1.0
    scaled = known / top  # tiny rates would lose their squares to underflow
    return float(scaled.sum() ** 2 / (scaled.size * (scaled**2).sum()))


def normalised_jain(rates: FloatArray) -> float:
    """P1-8. Jain's index scaled to [0, 1]; see the module for types without arrivals and runs without success."""
    known = rates[~np.isnan(rates)]
    if known.size == 0:
        return 1.0
    if not known.any():
        return 0.0
    if known.size == 1:
        return 1.0
    floor = 1.0 / known.size
    return float(np.clip((jain(known) - floor) / (1.0 - floor), 0.0, 1.0))


def normalised_latency(latency_s: FloatArray, success: NDArray[np.bool_], deadline_s: float) -> float:
    """P1-9. Mean of T_q / tau over the requests that succeeded; 1 where some ended and none succeeded, 0 for none."""
    if latency_s.size == 0:
        return 0.0
    if not success.any():
        return 1.0
    return float(latency_s[success].mean() / deadline_s)


def objective(latency_norm: float, fairness: float, latency_weight: float) -> float:
    """P1-10. lambda * T_norm + (1 - lambda) * (1 - F_norm), in [0, 1]; smaller is better."""
    return latency_weight * latency_norm + (1.0 - latency_weight) * (1.0 - fairness)


def summarise(records: Records, n_lms: int, deadline_s: float, latency_weight: float) -> EpochTelemetry:
    """P1-2 to P1-10 over the records of a run or an epoch: every record counts as one arrival of its type."""
    success, latency = records.success, records.latency_s
    arrived = np.bincount(records.lm, minlength=n_lms).astype(np.int64)
    succeeded = np.bincount(records.lm[success], minlength=n_lms).astype(np.int64)
    rates = service_rates(arrived, succeeded)
    means, tails = np.full(n_lms, np.nan), np.full(n_lms, np.nan)
    for i in range(n_lms):
        own = latency[success & (records.lm == i)]
        if own.size:
            means[i], tails[i] = own.mean(), np.percentile(own, 95)
    good = latency[success]
    fairness = normalised_jain(rates)
    latency_norm = normalised_latency(latency, success, deadline_s)
    return EpochTelemetry(
        arrived=arrived,
        succeeded=succeeded,
        success_ratio=rates,
        mean_latency_s=means,
        p95_latency_s=tails,
        global_mean_latency_s=float(good.mean()) if good.size else float("nan"),
        global_p95_latency_s=float(np.percentile(good, 95)) if good.size else float("nan"),
        fairness=fairness,
        latency_norm=latency_norm,
        objective=objective(latency_norm, fairness, latency_weight),
    )
