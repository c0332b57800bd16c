"""What SimPy needs for the plainest part of the twin's work, in its fastest shape, for a comparison in the same run.

One queue and one server process for each (node, LM), one process that feeds all queues: requests are routed, take their
uplink, wait first come first served and are served in a fixed time a prompt. An idle server sleeps until it is woken;
with `simpy.Store` for the queues the same takes more than twice as long. No pods, no deadlines, no interruptions, no
sharing of GPUs: what the twin does on top is not asked of SimPy.
"""

from __future__ import annotations

import time
from collections import deque

import numpy as np
import simpy
from numpy.typing import NDArray
from simpy.events import ProcessGenerator

from domain.cluster import Cluster
from domain.workload import Arrivals


def run(
    cluster: Cluster, arrivals: Arrivals, targets: NDArray[np.int64], seconds_per_prompt: NDArray[np.float64]
) -> tuple[int, float]:
    """Simulate, and return how many requests were served in how many seconds of wall time.

    Args:
        cluster: Gives the network, the bytes of its LMs and the length of a slot.
        arrivals: Requests of slots 0 to T-1.
        targets: [T, N, I] target of requests of LM i that arrive at node n in slot t; all lead somewhere.
        seconds_per_prompt: [N, I] seconds of inference for one prompt.
    """
    begin = time.perf_counter()
    finished = finish_times(cluster, arrivals, targets, seconds_per_prompt)
    return len(finished), time.perf_counter() - begin


def finish_times(
    cluster: Cluster, arrivals: Arrivals, targets: NDArray[np.int64], seconds_per_prompt: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[R] seconds since the start at which inference of each request ends; parameters as for `run`."""
    target = targets[(arrivals.time_s // cluster.slot_s).astype(np.int64), arrivals.origin, arrivals.lm]
    up_bytes = np.array([lm.uplink_bytes for lm in cluster.lms])[arrivals.lm] * arrivals.prompts
    per_byte = cluster.seconds_per_byte[arrivals.origin, target]
    join_s = arrivals.time_s + cluster.latency_s[arrivals.origin, target] + up_bytes * per_byte
    order = np.argsort(join_s, kind="stable")
    gaps = np.diff(join_s[order], prepend=0.0).tolist()
    places = (target * cluster.n_lms + arrivals.lm)[order].tolist()
    work = (seconds_per_prompt[target, arrivals.lm] * arrivals.prompts).tolist()

    env = simpy.Environment()
    queues: list[deque[int]] = [deque() for _ in range(seconds_per_prompt.size)]
    asleep: list[simpy.Event | None] = [None] * len(queues)
    finished = [0.0] * len(arrivals)

    def feed() -> ProcessGenerator:
        for number, gap, place in zip(order.tolist(), gaps, places, strict=True):
            yield env.timeout(gap)
            queues[place].append(number)
            if sleeper := asleep[place]:
                asleep[place] = None
                sleeper.succeed()

    def serve(place: int) -> ProcessGenerator:
        queue = queues[place]
        while True:
            while queue:
                number = queue.popleft()
                yield env.timeout(work[number])
                finished[number] = env.now
            asleep[place] = sleeper = env.event()
            yield sleeper

    env.process(feed())
    for place in range(len(queues)):
        env.process(serve(place))
    env.run()
    return np.array(finished)
