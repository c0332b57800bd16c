"""The options of the command line that are about agents, as they were written. It imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """The options of the command line, as they were written; None and empty where they were not."""

    model: str | None = None
    planner_model: str | None = None
    scheduler_model: str | None = None
    deployer_model: str | None = None
    base_url: str | None = None
    temperature: float | None = None
    model_seed: int | None = None
    timeout_s: float | None = None
    max_tokens: int | None = None
    slot_tokens: int | None = None
    slot_usd: float | None = None
    slot_seconds: float | None = None
    prices: Path | None = None
    llm: str | None = None
    tape: Path | None = None
    replay_tape: Path | None = None
    rehearse: str = "all"
    margin: float = 0.02
    fallback: str | None = None
    reuse_plan: bool = False
    planner_tools: bool = False
    approve: bool = False
    dry_run: bool = False
    shadow: tuple[str, ...] = ()
    memory: str | None = None
    checkpoints: str | None = None
    trace: bool = False
    via_graph: bool = False
