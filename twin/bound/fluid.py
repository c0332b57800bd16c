"""Where the search for prices begins: the prices of hardware at which fluid demand would meet supply.

In each window, prompts are poured over ways and states as if they had no arrival times, at the least seconds in all.
The linear program's prices are a good start for the search, and no more: any prices bound (docs/bound.md, claim 7).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import block_array, coo_array, eye_array

from twin.bound.menu import FloatArray, Menu, offers


def fluid_prices(menu: Menu, prompts: FloatArray, seconds: FloatArray, spill_s: float) -> FloatArray:
    """Return [W, R] prices of hardware; zeros where the solver finds none.

    Args:
        menu: ways, resources and states.
        prompts: [W, I] prompts that arrive in each window.
        seconds: [W] lengths of the windows.
        spill_s: what a prompt costs that does not fit into its window.
    """
    ways, lms = len(menu.lm), prompts.shape[1]
    states, owner, nodes = offers(menu)
    use = block_array([[menu.usage.T, -states.T, None], [None, owner, coo_array((len(nodes), lms))]]).tocsr()
    of_lm = coo_array((np.ones(ways), (menu.lm, np.arange(ways))), shape=(lms, ways))
    make = block_array([[of_lm, coo_array((lms, states.shape[0])), eye_array(lms)]]).tocsr()
    cost = np.concatenate([menu.seconds, np.zeros(states.shape[0]), np.full(lms, spill_s)])
    prices = np.zeros((len(seconds), len(menu.capacity)))
    for window, (length, demand) in enumerate(zip(seconds, prompts, strict=True)):
        if demand.any():
            room = np.concatenate([menu.capacity, nodes]) * length
            found = linprog(cost, A_ub=use, b_ub=room, A_eq=make, b_eq=demand, method="highs")
            if found.status == 0:
                prices[window] = np.maximum(0.0, -found.ineqlin.marginals[: len(menu.capacity)])
    return prices
