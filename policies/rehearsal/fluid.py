"""What a placement should come to, in microseconds: rates in place of requests, waiting from queueing formulas.

Search looks at thousands of placements; this is the yardstick for all but the few that the twin then rehearses.
Nodes with the same hardware and the same choice are one group. Seconds per prompt on a shared GPU depend on how busy
the others are, and that on the split of the traffic, so both are found in turn.

A pod at utilisation rho makes a request wait c * S * rho / (1 - rho), Kingman's formula with S = the service of a
request and c = half the sum of the squared coefficients of variation of arrivals and service, divided by the number of
pods of the LM: backlog-aware routing lets them work almost as one queue (the heavy-traffic limit of G/G/m). The split
that makes the sum of latencies least puts the same marginal cost on all pods that are used, which has a closed form.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from policies.sharing import delay_beside
from twin.compiled import compiled_alone

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FULL = 0.98
"""Utilisation beyond which a pod is overloaded: traffic above it counts as lost."""
MEETING = 0.6
"""How often pods that share a GPU are busy at once, as a share of what independence would bring: routing avoids it."""
ROUNDS = 4
"""Rounds of splitting the traffic and slowing the pods that share a GPU."""


@compiled_alone
def evaluate(
    count: FloatArray,
    fixed: FloatArray,
    compute: FloatArray,
    gpu: IntArray,
    demand: FloatArray,
    batch: FloatArray,
    spread: FloatArray,
    deadline_s: float,
    weight: float,
    flow: FloatArray,
) -> float:
    """Return J of P1-10 as predicted for G groups of nodes.

    Args:
        count: [G] nodes of the group.
        fixed: [G, I] as in `Menu.fixed_s`.
        compute: [G, I] as in `Menu.compute_s`.
        gpu: [G, I] as in `Menu.gpu`.
        demand: [I] prompts per second.
        batch: [I] prompts per request.
        spread: [I] c above.
        deadline_s: tau.
        weight: lambda of P1-10.
        flow: [G, I] out: prompts per second on each node of the group.
    """
    groups, lms = fixed.shape
    seconds = np.empty((groups, lms))
    busy = np.zeros((groups, lms))
    pods = np.zeros(lms)
    served = np.zeros(lms)
    total = np.zeros(lms)
    for i in range(lms):
        for g in range(groups):
            if np.isfinite(fixed[g, i]):
                pods[i] += count[g]
    for _ in range(ROUNDS):
        for g in range(groups):
            for i in range(lms):
                seconds[g, i] = fixed[g, i] + compute[g, i]
                if gpu[g, i] != 0:
                    for k in range(lms):
                        if k != i and gpu[g, k] & gpu[g, i] != 0:
                            beside = delay_beside(fixed[g, i], compute[g, i], fixed[g, k], compute[g, k])
                            seconds[g, i] += MEETING * busy[g, k] * beside
        for i in range(lms):
            c = spread[i] / max(pods[i], 1.0)
            low, high, capacity = math.inf, 0.0, 0.0
            for g in range(groups):
                s = seconds[g, i]
                if np.isfinite(s) and count[g] > 0:
                    low = min(low, s)
                    high = max(high, s * (1.0 + c * (1.0 / (1.0 - FULL) ** 2 - 1.0)))
                    capacity += count[g] * FULL / s
            served[i] = min(demand[i], capacity)
            for _step in range(30):
                price = math.sqrt(low * high) if high > 0.0 and np.isfinite(low) else 0.0
                got = 0.0
                for g in range(groups):
                    s = seconds[g, i]
                    if np.isfinite(s) and price > s:
                        rho = min(FULL, 1.0 - 1.0 / math.sqrt(1.0 + (price / s - 1.0) / c))
                        got += count[g] * rho / s
                if got < served[i]:
                    low = price
                else:
                    high = price
            got = 0.0
            for g in range(groups):
                s, x = seconds[g, i], 0.0
                if np.isfinite(s) and high > s and served[i] > 0.0:
                    x = min(FULL, 1.0 - 1.0 / math.sqrt(1.0 + (high / s - 1.0) / c)) / s
                flow[g, i] = x
                got += count[g] * x
            total[i] = 0.0
            for g in range(groups):
                if got > 0.0:
                    flow[g, i] *= served[i] / got
                rho = min(FULL, flow[g, i] * seconds[g, i]) if flow[g, i] > 0.0 else 0.0
                busy[g, i] = 0.5 * (busy[g, i] + rho) if _ else rho
                if flow[g, i] > 0.0:
                    one = batch[i] * seconds[g, i] * (1.0 + c * rho / (1.0 - rho))
                    total[i] += count[g] * flow[g, i] / batch[i] * one
    latency, requests, rates, squares, known = 0.0, 0.0, 0.0, 0.0, 0
    for i in range(lms):
        if demand[i] > 0.0:
            rate = served[i] / demand[i]
            if served[i] < demand[i]:  # what is served has waited for much of the deadline
                total[i] += served[i] / batch[i] * deadline_s * min(1.0, 4.0 * (1.0 - rate))
            latency += min(total[i], served[i] / batch[i] * deadline_s)
            requests += served[i] / batch[i]
            rates += rate
            squares += rate * rate
            known += 1
    if known == 0:
        return 0.0
    if squares == 0.0:
        return 1.0
    fair = 1.0
    if known > 1:
        fair = max(0.0, (rates * rates / (known * squares) - 1.0 / known) / (1.0 - 1.0 / known))
    lost = 1.0 - rates / known
    return weight * latency / requests / deadline_s + (1.0 - weight) * (1.0 - fair) + 0.1 * lost
