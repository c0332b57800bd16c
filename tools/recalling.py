"""The tool that recalls past epochs: which macro-policies did well, badly, or met traffic like the present."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Protocol

from langchain_core.tools import BaseTool
from pydantic import BaseModel, ConfigDict, Field

from domain.ledger import Case
from tools.making import LONGEST, make_tool, to_text

MOST = 5
"""Cases of each sort that one call may ask for."""


class Recalled(Protocol):
    """Cases as a memory recalls them, the most telling of each sort first."""

    @property
    def best(self) -> tuple[Case, ...]:
        """Lowest J."""
        ...

    @property
    def worst(self) -> tuple[Case, ...]:
        """Highest J."""
        ...

    @property
    def nearest(self) -> tuple[Case, ...]:
        """Traffic most like the present."""
        ...


class RecallArguments(BaseModel):
    """How many cases of each sort."""

    model_config = ConfigDict(extra="forbid")

    best: Annotated[int, Field(ge=0, le=MOST, description="Cases with the lowest J: what to learn from.")] = 2
    worst: Annotated[int, Field(ge=0, le=MOST, description="Cases with the highest J: what to avoid.")] = 1
    nearest: Annotated[int, Field(ge=0, le=MOST, description="Cases whose traffic was most like the present.")] = 2


def recall_cases(
    recall: Callable[[int, int, int], Awaitable[Recalled]], own: Callable[[], str | None] = lambda: None
) -> BaseTool:
    """Make the tool.

    Args:
        recall: takes the numbers of best, worst and nearest cases.
        own: says the name of the run in memory; other names are not told, for they change from run to run.
    """

    async def answer(best: int, worst: int, nearest: int) -> dict[str, Any]:
        found = await recall(best, worst, nearest)
        sorts = (("best", found.best), ("worst", found.worst), ("nearest", found.nearest))
        told: dict[str, Any] = {sort: [] for sort, _ in sorts}
        left, left_out = LONGEST - 200, 0
        for place in range(MOST):  # one of each sort in turn, so that none is crowded out
            for sort, cases in sorts:
                if place >= len(cases):
                    continue
                case = _told(cases[place], own())
                size = len(to_text(case)) + 1
                if size > left:
                    left_out += 1
                else:
                    left -= size
                    told[sort].append(case)
        return told | ({"left_out_for_length": left_out} if left_out else {})

    return make_tool(
        "recall_cases",
        "Recall past epochs from memory: the traffic that came (prompts per slot by LM), the macro-policy in force, "
        "and what came of it. J is the objective, smaller is better: latency_norm (0 is best) and fairness (1 is best) "
        "make it up. Lists are empty where memory holds nothing that fits.",
        RecallArguments,
        answer,
    )


def _told(case: Case, own: str | None) -> dict[str, Any]:
    return {
        "epoch": f"{case.epoch} of {'this' if case.run == own else 'another'} run",
        "decided_by": case.decided_by,
        "J": case.objective,
        "latency_norm": case.latency_norm,
        "fairness": case.fairness,
        "mean_latency_s": case.global_mean_latency_s,
        "success_ratio": case.success_ratio,
        "requests_ended": case.ended,
        "off_role_ratio": case.off_role_ratio,
        "prompts_per_slot": {lm: sum(row.values()) for lm, row in case.traffic.items()},
        "macro_policy": case.macro_policy,
    }
