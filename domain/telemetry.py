"""What is known: the snapshot at the end of a slot, the records of requests that ended, the telemetry of an epoch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.decisions import Allocation


class Phase(IntEnum):
    """Phase of the pod of one LM on one node. A pod that waits for resources is PENDING, whatever its past."""

    OFF = 0
    STARTING = 1
    READY = 2
    TERMINATING = 3
    PENDING = 4


_PENDING = int(Phase.PENDING)


class Outcome(IntEnum):
    """How a request ended. Only SUCCESS has delta_q = 1 (P1-3)."""

    SUCCESS = 0
    LATE = 1
    """Inference ended in time, the answer reached the origin after the deadline."""
    EXPIRED_WAITING = 2
    """The deadline passed before inference began."""
    EXPIRED_RUNNING = 3
    """The deadline passed during inference, or between two parts of it."""
    UNROUTABLE = 4
    """The routing plan led nowhere."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything known at the end of slot t-1, before slot t is decided (S_t of P1 section IV-B1)."""

    slot: int
    """Slot t that is about to be decided."""
    time_s: float
    backlog_prompts: NDArray[np.int64]
    """[N, I] B_ni: prompts sent to node n for LM i and not finished yet, the running request's rest included."""
    backlog_requests: NDArray[np.int64]
    """[N, I] requests of which those prompts are."""
    oldest_wait_s: NDArray[np.float64]
    """[N, I] age of the request at the head of the queue, 0 where the queue is empty."""
    phase: NDArray[np.int64]
    """[N, I] value of Phase."""
    phase_left_s: NDArray[np.float64]
    """[N, I] seconds until STARTING or TERMINATING ends (also with a PENDING pod behind it), 0 elsewhere."""
    cores: NDArray[np.int64]
    """[N, I] cores of a CPU pod, held or (PENDING) wanted; 0 for a pod on vGPUs."""
    vgpus: NDArray[np.int64]
    """[N, I] vGPUs, held or (PENDING) wanted."""
    free_cores: NDArray[np.int64]
    """[N] not held by any pod; shutting down still holds."""
    free_ram_gb: NDArray[np.float64]
    free_vgpus: NDArray[np.int64]
    free_vram_gb: NDArray[np.float64]
    arrived_requests: NDArray[np.int64]
    """[N, I] requests of LM i that arrived at origin n in slot t-1."""
    arrived_prompts: NDArray[np.int64]
    busy_s: NDArray[np.float64]
    """[N, I] seconds of slot t-1 in which the pod was computing."""
    age_s: NDArray[np.float64]
    """[N] age of the node's reading; NaN where there is none (a rule that needs it then fails closed)."""

    def allocation(self, n: int, i: int) -> Allocation:
        """The allocation of the pod of LM i on node n, as `cores` and `vgpus` define it."""
        return Allocation(int(self.cores[n, i]), int(self.vgpus[n, i]))

    def has_pending(self, n: int) -> bool:
        """True where a Pending pod voids new resource demands on node n (P1 section V-D)."""
        return _PENDING in self.phase[n].tolist()  # some ten times as fast as NumPy on a row of a few LMs


@dataclass(frozen=True, slots=True)
class Records:
    """Requests that ended, column by column, all of length R. Times in seconds."""

    request: NDArray[np.int64]
    """Number of the request, in order of arrival."""
    lm: NDArray[np.int64]
    origin: NDArray[np.int64]
    target: NDArray[np.int64]
    """NOWHERE where it was unroutable."""
    prompts: NDArray[np.int64]
    outcome: NDArray[np.int64]
    interruptions: NDArray[np.int64]
    """Times that a pod was stopped under the request."""
    arrival_s: NDArray[np.float64]
    uplink_s: NDArray[np.float64]
    queue_s: NDArray[np.float64]
    """Y_q of P1-7: everything between uplink and the end of inference that was not inference."""
    inference_s: NDArray[np.float64]
    """L_q of P1-7: seconds in which a pod worked on it, work lost to interruptions included."""
    downlink_s: NDArray[np.float64]
    """0 for a request that did not finish inference."""

    def __len__(self) -> int:
        return int(self.request.shape[0])

    @property
    def latency_s(self) -> NDArray[np.float64]:
        """[R] T_q of P1-7; for a request that expired, the time until it was given up."""
        return self.uplink_s + self.queue_s + self.inference_s + self.downlink_s

    @property
    def success(self) -> NDArray[np.bool_]:
        """[R] delta_q of P1-3."""
        return np.equal(self.outcome, int(Outcome.SUCCESS))

    @classmethod
    def concatenate(cls, parts: list[Records]) -> Records:
        """Join several in the order given."""
        columns: dict[str, Any] = {
            f.name: np.concatenate([getattr(p, f.name) for p in parts])
            if parts
            else np.empty(0, dtype=np.float64 if f.name.endswith("_s") else np.int64)
            for f in fields(cls)
        }
        return cls(**columns)


@dataclass(frozen=True, slots=True)
class EpochTelemetry:
    """M_e of P1-11: what an epoch, or a run, came to. Per-LM arrays have length I."""

    arrived: NDArray[np.int64]
    """A_i of P1-2."""
    succeeded: NDArray[np.int64]
    """S_i of P1-4."""
    success_ratio: NDArray[np.float64]
    """rho_i of P1-5; NaN where nothing arrived."""
    mean_latency_s: NDArray[np.float64]
    """Success-only mean per LM; NaN where nothing succeeded."""
    p95_latency_s: NDArray[np.float64]
    """Success-only 95th percentile per LM; NaN where nothing succeeded."""
    global_mean_latency_s: float
    """Success-only mean over all; NaN where nothing succeeded."""
    global_p95_latency_s: float
    fairness: float
    """F_norm of P1-8."""
    latency_norm: float
    """T_norm of P1-9."""
    objective: float
    """J of P1-10."""
