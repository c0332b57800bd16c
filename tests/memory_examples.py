"""Things to remember, for the tests of the memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from domain.ledger import Attempt, Case, Decision, Outcome, Reason, Role
from domain.telemetry import EpochTelemetry, Records

TRAFFIC = {"chat": {"hub": 8.0, "edge": 2.0}, "draw": {"hub": 1.0}}


def decision(run: str = "r", slot: int = 0, role: Role = Role.SCHEDULER, node: str | None = None,
             **changes: Any) -> Decision:  # fmt: skip
    """A decision with everything that one can have."""
    plan: dict[str, Any] = {"edge.1": {"Chat-2.5": "hub", "$draw": None}, "hub": {"Chat-2.5": "hub", "share": 1.0}}
    asked = Attempt(
        messages=({"role": "system", "content": "Décide \N{ROBOT FACE}"}, {"role": "user", "content": 'say "{}"\n\\n'}),
        answer='{"routes": {}}',
        violations=("edge -> chat leads nowhere.", "again"),
        prompt_tokens=812,
        completion_tokens=2**40,
        seconds=0.1 + 0.2,
    )
    silent = Attempt(messages=(), answer=None, error="timeout: 20 s")
    known = {
        "run": run, "slot": slot, "role": role, "node": node, "decided_by": "fallback:random",
        "outcome": Outcome.FALLBACK, "decision": plan, "reason": Reason.TIMEOUT, "attempts": (asked, silent),
    }  # fmt: skip
    return Decision(**{**known, **changes})


def case(epoch: int = 0, objective: float = 0.5, **changes: Any) -> Case:
    """A case; its macro-policy is one of a kind unless given."""
    known = {
        "run": "r", "epoch": epoch, "testbed": "lab", "family": "MA", "decided_by": "agent:gpt-5", "traffic": TRAFFIC,
        "macro_policy": {"routing": {"Chat-2.5": {"hub": 1.0}}, "roles": {"hub": ["Chat-2.5", f"plan {epoch}"]}},
        "success_ratio": {"chat": 0.9, "draw": None}, "mean_latency_s": {"chat": 1 / 3, "draw": None},
        "global_mean_latency_s": 74.25, "fairness": 0.9, "latency_norm": 0.1, "objective": objective,
        "off_role_ratio": 0.0, "ended": 100, "predicted_objective": None, "extra": {"note": ["a", 1, {"b": None}]},
    }  # fmt: skip
    return Case(**{**known, **changes})


def records(count: int, seed: int = 1) -> Records:
    """Any requests."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {"request": np.arange(count, dtype=np.int64)}
    for name in ("lm", "origin", "target", "prompts", "outcome", "interruptions"):
        columns[name] = rng.integers(-1, 9, count)
    for name in ("arrival_s", "uplink_s", "queue_s", "inference_s", "downlink_s"):
        columns[name] = rng.gamma(2.0, 30.0, count)
    return Records(**columns)


def telemetry(objective: float = 0.25) -> EpochTelemetry:
    """Telemetry of an epoch in which one LM of two got no request."""
    return EpochTelemetry(
        arrived=np.array([12, 0]),
        succeeded=np.array([9, 0]),
        success_ratio=np.array([0.75, np.nan]),
        mean_latency_s=np.array([1 / 3, np.nan]),
        p95_latency_s=np.array([900.0, np.nan]),
        global_mean_latency_s=1 / 3,
        global_p95_latency_s=float("nan"),
        fairness=1.0,
        latency_norm=0.1,
        objective=objective,
    )
