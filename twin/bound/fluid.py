"""Where the search for prices begins: the prices of hardware at which fluid demand would meet supply.

In each window, prompts are poured over ways as if they had no arrival times, at the least seconds in all.
The linear program's prices are a good start for the search, and no more: any prices bound (docs/bound.md, claim 7).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array, eye_array, hstack

from twin.bound.menu import FloatArray, Menu


def fluid_prices(menu: Menu, prompts: FloatArray, seconds: FloatArray, spill_s: float) -> FloatArray:
    """Return [W, R] prices of hardware; zeros where the solver finds none.

    Args:
        menu: ways and resources.
        prompts: [W, I] prompts that arrive in each window.
        seconds: [W] lengths of the windows.
        spill_s: what a prompt costs that does not fit into its window.
    """
    ways, lms = len(menu.lm), prompts.shape[1]
    use = hstack([menu.least_usage.T, coo_array((len(menu.capacity), lms))]).tocsr()
    make = hstack([coo_array((np.ones(ways), (menu.lm, np.arange(ways))), shape=(lms, ways)), eye_array(lms)]).tocsr()
    cost = np.concatenate([menu.seconds * menu.share, np.full(lms, spill_s)])
    prices = np.zeros((len(seconds), len(menu.capacity)))
    for window, (length, demand) in enumerate(zip(seconds, prompts, strict=True)):
        if demand.any():
            found = linprog(cost, A_ub=use, b_ub=menu.capacity * length, A_eq=make, b_eq=demand, method="highs")
            if found.status == 0:
                prices[window] = np.maximum(0.0, -found.ineqlin.marginals)
    return prices
