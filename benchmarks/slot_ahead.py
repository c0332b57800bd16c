"""What it costs at least that routes are fixed a slot ahead: a bound on the waits for P1's heaviest LM on `bristol`.

One target for each origin is chosen when a slot begins, before anybody knows which requests will come. Here the LM has
a pod with a whole GPU on every node that can run it, all other LMs are gone, and the router knows what work is left in
every pod. What is then left to decide is a Markov decision problem: the state is the work left in each pod, the action
how many origins go to each. Dynamic programming solves it on a grid. Work is rounded *down* to the grid after every
slot, and less work never waits longer, so the result is a lower bound for every policy, whatever the grid
(docs/bound.md, claim 12). `--fine` grids come closer and take longer.

    python -m benchmarks.slot_ahead
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.rehearsal import FIRST_SEED
from domain.cluster import Cluster
from domain.workload import Arrivals
from twin.bound import nonanticipating_mean_s
from twin.bound.solo import best_seconds, solo
from twin.compiled import compiled_alone
from twin.testbeds import load_builtin
from twin.workloads import load_workload

FloatArray = NDArray[np.float64]
Counts = tuple[int, ...]
"""How many origins are sent to each pod."""
MOST_PROMPTS = 8
"""P1 section V-B: K uniform in 0 ... 8 for each slot, node and LM; 0 is no request."""
CLOSE = 1e-3
"""Relative change of the least gain per slot at which the iteration ends."""


@dataclass(frozen=True)
class Problem:
    """One LM, alone."""

    pods: int
    origins: int
    seconds: float
    """Per prompt."""
    slot_s: float

    @property
    def requests(self) -> float:
        """Expected number of a slot."""
        return self.origins * MOST_PROMPTS / (MOST_PROMPTS + 1)


@compiled_alone
def _slots(
    left_s: float, times_s: NDArray[np.float64], prompts: NDArray[np.int64], seconds: float, slot_s: float
) -> tuple[NDArray[np.float64], float]:
    """Return the work left after each of many slots, and the mean sum of the waits that begin in one."""
    after, waited = np.empty(len(times_s)), 0.0
    for sample in range(len(times_s)):
        free = left_s
        for request in range(times_s.shape[1]):
            time = times_s[sample, request]
            if prompts[sample, request]:
                start = max(free, time)
                waited += start - time
                free = start + prompts[sample, request] * seconds
        after[sample] = max(0.0, free - slot_s)
    return after, waited / len(times_s)


@dataclass(frozen=True)
class Pod:
    """What one pod comes to in a slot."""

    moves: NDArray[np.float32]
    """[n, L, L] probability to go from one level of work to another when n origins are sent there."""
    waits_s: FloatArray
    """[n, L] expected sum of the waits of the requests that come."""


def one_pod(problem: Problem, levels: FloatArray, samples: int) -> Pod:
    """Simulate a pod for each level of work [L] at the start of a slot; what is left is rounded down to a level."""
    moves = np.zeros((problem.origins + 1, len(levels), len(levels)), dtype=np.float32)
    waits = np.zeros((problem.origins + 1, len(levels)))
    for n in range(problem.origins + 1):
        rng = np.random.default_rng(n)  # the same requests for every level
        times = np.sort(rng.random((samples, n)) * problem.slot_s, axis=1)
        prompts = rng.integers(0, MOST_PROMPTS + 1, size=times.shape)
        for row, left_s in enumerate(levels):
            after, waits[n, row] = _slots(float(left_s), times, prompts, problem.seconds, problem.slot_s)
            reached = np.searchsorted(levels, after, side="right") - 1
            moves[n, row] = np.bincount(reached, minlength=len(levels)) / len(after)
    return Pod(moves, waits)


class Values:
    """Expected waits of the slots to come, for every state; pods are alike, so states are kept sorted."""

    def __init__(self, problem: Problem, pod: Pod) -> None:
        self._problem, self._pod, self._size = problem, pod, pod.moves.shape[1]
        self._sorted = np.array(
            list(itertools.combinations_with_replacement(range(self._size), problem.pods)), dtype=np.int64
        )
        self._strides = self._size ** np.arange(problem.pods - 1, -1, -1)
        self._rank = self._ranks()
        self._actions = [
            counts
            for counts in itertools.product(range(problem.origins, -1, -1), repeat=problem.pods)
            if sum(counts) == problem.origins and list(counts) == sorted(counts, reverse=True)
        ]
        self.values = np.zeros(len(self._sorted), dtype=np.float32)
        """[S] in order of the sorted states; the first is that of empty pods."""

    def _ranks(self) -> NDArray[np.int32]:
        """Return, for each of all states, the place of the sorted one."""
        keys, rest = self._sorted @ self._strides, self._size ** (self._problem.pods - 1)
        ranks = np.empty(self._size * rest, dtype=np.int32)
        others = np.array(list(np.ndindex((self._size,) * (self._problem.pods - 1))))
        for first in range(self._size):
            states = np.sort(np.insert(others, 0, first, axis=1), axis=1)
            ranks[first * rest : (first + 1) * rest] = np.searchsorted(keys, states @ self._strides)
        return ranks

    def step(self) -> FloatArray:
        """Look one slot further ahead; return [S] what that slot adds, from each state."""
        best = np.full(len(self.values), np.inf, dtype=np.float32)
        for counts, after in self._after(self.values[self._rank], ()):
            for given in set(itertools.permutations(counts)):
                pods = sorted(range(len(given)), key=lambda k: -given[k])
                waits = sum(self._pod.waits_s[n, self._sorted[:, k]] for k, n in enumerate(given))
                np.minimum(best, after[self._sorted[:, pods] @ self._strides] + np.float32(waits), out=best)
        added, self.values = (best - self.values).astype(np.float64), best
        return added

    def _after(self, values: NDArray[np.float32], counts: Counts) -> Iterator[tuple[Counts, NDArray[np.float32]]]:
        """Yield, for each action, the expected value after a slot from all states, pod by pod."""
        done = len(counts)
        if done == self._problem.pods:
            yield counts, values
            return
        shaped = values.reshape(self._size**done, self._size, -1)
        for n in sorted({action[done] for action in self._actions if action[:done] == counts}):
            yield from self._after(np.matmul(self._pod.moves[n], shaped).reshape(-1), (*counts, n))


def least_wait_s(problem: Problem, levels: FloatArray, slots: int, samples: int) -> float:
    """Return the mean wait per request that no router can expect to beat in a run that begins with empty pods.

    With V_h the value of h slots, V_(h + k) >= V_h + k min(V_h - V_(h - 1)): the operator is monotone and passes
    constants through. So the iteration may end early.
    """
    values = Values(problem, one_pod(problem, levels, samples))
    best, before = 0.0, 0.0
    for done in track(range(1, slots + 1), description="slots ahead", transient=True):
        least = float(values.step().min())
        best = max(best, (float(values.values[0]) + (slots - done) * least) / slots / problem.requests)
        if least - before < CLOSE * least:
            break
        before = least
    return best


def heaviest(cluster: Cluster) -> tuple[int, Problem]:
    """Return the LM with the most work, and its problem."""
    seconds = best_seconds(cluster)
    i = int(np.argmax(seconds.min(axis=0)))
    return i, Problem(
        int(np.isfinite(seconds[:, i]).sum()), cluster.n_nodes, float(seconds[:, i].min()), cluster.slot_s
    )


def main() -> None:
    """Print the bound on the waits, and what it makes of the bound on the mean latency of all LMs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--samples", type=int, default=200_000, help="slots simulated for each entry of the tables")
    parser.add_argument("--fine", type=float, default=2.0, help="seconds between levels of work up to 50 s")
    parser.add_argument("--coarse", type=float, default=4.0, help="seconds between levels from there to 90 s")
    asked = parser.parse_args()
    cluster = load_builtin("bristol")
    lm, problem = heaviest(cluster)
    levels = np.concatenate([np.arange(0.0, 50.0, asked.fine), np.arange(50.0, 90.0 + 1e-9, asked.coarse)])
    wait_s = least_wait_s(problem, levels, asked.slots, asked.samples)
    name = cluster.lms[lm].name
    print(f"{name}, {problem.pods} pods: a request waits {wait_s:.2f} s at least where routes are fixed a slot ahead")
    means = list[tuple[float, float]]()
    for seed in range(FIRST_SEED, FIRST_SEED + asked.seeds):
        source = load_workload("p1", cluster, seed, 1.0)
        arrivals = Arrivals.concatenate([source.arrivals(slot) for slot in range(asked.slots)])
        alone = solo(cluster, arrivals).latency_s
        share = float(np.mean(arrivals.lm == lm))
        means.append((nonanticipating_mean_s(cluster, arrivals), float(alone.mean()) + share * wait_s))
    routed, ahead = np.mean(means, axis=0)
    print(f"mean latency of all LMs, mean of {asked.seeds} runs, at least:")
    print(f"  {routed:6.2f} s where every request is routed when it comes")
    print(f"  {ahead:6.2f} s where routes are fixed a slot ahead, of {name} alone; the others wait for nothing")


if __name__ == "__main__":
    main()
