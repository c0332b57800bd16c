"""What a whole run came to, kept small: eleven bytes a request and counts, so that 100,000 slots fit in memory."""

from __future__ import annotations

from array import array
from collections import Counter

import numpy as np

from domain.cluster import Cluster
from domain.objective import summarise
from domain.serving import Dispatch
from domain.telemetry import EpochTelemetry, Records
from policies.rehearsal.foresight import Totals
from runtime.results.slots import Decider, SlotResult


class Tally:
    """Adds up the slots of one run of one family."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.slots = 0
        self.epochs: list[EpochTelemetry] = []
        self.decided_by: Counter[Decider] = Counter()
        self.predictions = Totals()
        self.open_plans = 0
        """Slots in which origins chose among nodes."""
        self._lm, self._outcome, self._latency_s = array("h"), array("b"), array("d")

    def add(self, result: SlotResult) -> None:
        """Take in the next slot."""
        self.slots += 1
        self.open_plans += result.weights is not None
        self.decided_by.update(result.decided_by)
        if result.epoch is not None:
            self.epochs.append(result.epoch)
        for done in result.compared:
            self.predictions.add(done)
        records = result.records
        self._lm.frombytes(records.lm.astype(np.int16).tobytes())
        self._outcome.frombytes(records.outcome.astype(np.int8).tobytes())
        self._latency_s.frombytes(records.latency_s.tobytes())

    def notes(self, family: str) -> list[str]:
        """What a reader would else take for an effect of dispatch."""
        serving = self.cluster.serving
        if self.open_plans or not self.slots or not serving.has_choice:
            return []
        return [
            f"{family} gives fixed routing plans: dispatch {serving.dispatch} leaves its origins no choice, and "
            f"requests go as with dispatch {Dispatch.FIXED}."
        ]

    def telemetry(self) -> EpochTelemetry:
        """P1-2 to P1-10 over all requests that ended so far."""
        unused = np.broadcast_to(np.int64(0), len(self._lm))
        no_time = np.broadcast_to(np.float64(0.0), len(self._lm))
        records = Records(
            request=unused,
            lm=np.array(self._lm, dtype=np.int64),
            origin=unused,
            target=unused,
            prompts=unused,
            outcome=np.array(self._outcome, dtype=np.int64),
            interruptions=unused,
            arrival_s=no_time,
            uplink_s=no_time,
            queue_s=np.array(self._latency_s, dtype=np.float64),
            inference_s=no_time,
            downlink_s=no_time,
        )
        cluster = self.cluster
        return summarise(records, cluster.n_lms, cluster.deadline_s, cluster.latency_weight)
