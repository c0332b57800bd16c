"""The options of the command line that are about agents, as they were written. It imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.errors import InputError


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
    patience_s: float | None = None
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


def memory_address(option: str | None, environ: Mapping[str, str]) -> str | None:
    """What --memory names, else MONGODB_URI; None where neither does.

    Raises:
        InputError: the option holds a secret, which everybody on the machine could read in its list of processes.
    """
    if option is not None:
        from memory.redaction import holds_secret  # brings numpy, which --help does not need

        if holds_secret(option):
            raise InputError(
                "--memory must hold no user name and no password; put the whole address into MONGODB_URI and leave "
                "--memory out."
            )
    return option or environ.get("MONGODB_URI", "").strip() or None
