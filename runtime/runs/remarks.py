"""What a reader of a run's numbers has to know: what was left out, and numbers that mean less than they seem to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.warnings import most_prompts, warnings_of
from domain.workload import Arrivals
from twin.workloads import Streams
from twin.workloads.usage import of_run


@dataclass(frozen=True, slots=True)
class Remarks:
    """Sentences, in order of weight."""

    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def before(cls, cluster: Cluster, workload: Streams, slots: int) -> Remarks:
        """What is known before a run of so many slots of a workload."""
        cut, rounds = of_run(workload, slots)
        return cls((*cut, *workload.warnings, *warnings_of(cluster)), (*rounds, *workload.notes))


@dataclass(frozen=True, slots=True)
class Asked:
    """How many requests asked for what, shape [I]."""

    requests: NDArray[np.int64]
    hopeless: NDArray[np.int64]
    """Of them those with more prompts than any node can serve before the deadline, where it can serve one."""

    @classmethod
    def of(cls, cluster: Cluster, arrivals: Arrivals) -> Asked:
        """Count the requests of one seed."""
        most = most_prompts(cluster)
        long = (most[arrivals.lm] > 0) & (arrivals.prompts > most[arrivals.lm])
        counts = (np.bincount(lm, minlength=cluster.n_lms) for lm in (arrivals.lm, arrivals.lm[long]))
        return cls(*counts)

    def __add__(self, other: Asked) -> Asked:
        return Asked(self.requests + other.requests, self.hopeless + other.hopeless)

    def warnings(self, cluster: Cluster, slots: int) -> list[str]:
        """What the requests that came make of the numbers."""
        some = self.requests > 0
        asked = [lm.name for lm, any_ in zip(cluster.lms, some.tolist(), strict=True) if any_]
        idle = [lm.name for lm, any_ in zip(cluster.lms, some.tolist(), strict=True) if not any_]
        if not asked:
            return [
                f"No request came in {slots:,} slots, so F_norm is 1 and J is 0 whoever decides; more --slots, or "
                "another --workload, brings some."
            ]
        found = list[str]()
        if len(asked) == 1:
            found.append(
                f"All requests ask for {asked[0]}: F_norm is 1 once one is served, and J, whose latency is that of "
                "served requests alone, rewards whoever drops slow ones; compare the share that is served first."
            )
        elif idle:
            found.append(
                f"No request asks for {', '.join(idle)}: F_norm and J are over the other LMs alone; the streams of a "
                "workload file say who asks for what."
            )
        for lm, most, long, all_ in zip(cluster.lms, most_prompts(cluster), self.hopeless, self.requests, strict=True):
            if long:
                found.append(
                    f"{long:,} of {all_:,} requests of {lm.name} have more than the {most:,} prompts that its fastest "
                    f"node serves within the deadline of {cluster.deadline_s:g} s; none of them can succeed."
                )
        return found
