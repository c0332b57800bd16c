"""How many requests any policy can complete in time: a linear program over the work that fits between now and then.

Time is cut into bins. A request that is completed had all its work done between its arrival and its deadline, so in the
bins that these touch; in each bin, work obeys the menu's capacities. That is all that the program knows, so it allows
at least what any policy can do (docs/bound.md, claim 9).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import block_array, coo_array, eye_array, kron

from domain.cluster import Cluster
from domain.workload import Arrivals
from twin.bound.menu import IntArray, Menu

BINS_PER_DEADLINE = 2
MOST_BINS, MOST_COLUMNS = 40, 100_000
"""Limits on the size of the program; with fewer bins it allows more."""
SLACK = 1e-6
"""Relative, for the solver's tolerances: a count is rounded down only after adding it."""


def most_served(cluster: Cluster, menu: Menu, arrivals: Arrivals) -> tuple[IntArray, bool]:
    """Return [I] the most requests of each LM that any policy can complete, and whether all can be at once.

    `arrivals` are those that could meet their deadline if they were alone. "Can" is as far as the program sees.
    """
    arrived = np.bincount(arrivals.lm, minlength=cluster.n_lms).astype(np.int64)
    everyone = np.flatnonzero(arrived)
    if _most(cluster, menu, arrivals, everyone) >= len(arrivals):
        return arrived, True
    return np.array(
        [min(int(n), _most(cluster, menu, arrivals, np.array([i]))) if n else 0 for i, n in enumerate(arrived)],
        dtype=np.int64,
    ), False


def _most(cluster: Cluster, menu: Menu, arrivals: Arrivals, lms: IntArray) -> int:
    """Return the most requests of some LMs that can be completed when all others are dropped."""
    mine, offered = np.flatnonzero(np.isin(menu.lm, lms)), np.flatnonzero(np.isin(arrivals.lm, lms))
    if not offered.size:
        return 0
    lm = np.searchsorted(lms, menu.lm[mine])
    start, end = float(arrivals.time_s[offered].min()), float(arrivals.time_s[offered].max())
    bins = min(max(MOST_COLUMNS // len(mine), 4), MOST_BINS)
    width = max(cluster.deadline_s / BINS_PER_DEADLINE, (end - start) / bins)
    since = arrivals.time_s[offered] - start
    first = (since / width).astype(np.int64)
    after = np.ceil((since + cluster.deadline_s) / width).astype(np.int64)  # the bin that begins after the deadline
    table = np.stack([np.searchsorted(lms, arrivals.lm[offered]), arrivals.prompts[offered], first, after])
    (lm_of, prompts, first, after), number = np.unique(table, axis=1, return_counts=True)
    kinds, periods, reach = len(number), int(after.max()), int((after - first).max())
    # Columns: how many requests of each kind are served in each bin that it touches; prompts by way and bin.
    served, made = kinds * reach, len(mine) * periods
    bins_of = first[:, None] + np.arange(reach)
    touched = (bins_of < after[:, None]).ravel()
    limit = kron(eye_array(kinds), np.ones((1, reach)))
    work_of = np.repeat(lm_of, reach) * periods + np.minimum(bins_of.ravel(), periods - 1)
    work = coo_array((np.repeat(prompts, reach), (work_of, np.arange(served))), shape=(len(lms) * periods, served))
    of_lm = coo_array((np.ones(len(mine)), (lm, np.arange(len(mine)))), shape=(len(lms), len(mine)))
    every = eye_array(periods)
    found = linprog(
        np.concatenate([-np.ones(served), np.zeros(made)]),
        A_ub=block_array([[limit, None], [None, kron(menu.least_usage[mine].T, every)]]).tocsr(),
        b_ub=np.concatenate([number, np.repeat(menu.capacity * width, periods)]),
        A_eq=block_array([[work, -kron(of_lm, every)]]).tocsr(),
        b_eq=np.zeros(len(lms) * periods),
        bounds=np.stack(
            [np.zeros(served + made), np.append(np.where(touched, np.inf, 0.0), np.full(made, np.inf))], axis=1
        ),
        method="highs-ipm",
    )
    if found.status != 0:  # no answer in time or precision: everything is allowed
        return len(offered)
    return min(len(offered), math.floor(-float(found.fun) * (1.0 + SLACK) + SLACK))
