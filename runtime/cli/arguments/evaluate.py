"""evaluate-model: a model on a fixed set of decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from runtime.agents.request import AgentRequest
from runtime.cli.arguments import agents
from runtime.cli.arguments.options import option


def evaluate_model(
    role: Annotated[
        list[str] | None,
        option("--role", "ROLE", "planner, scheduler or deployer; repeatable.", shown="all"),
    ] = None,
    out: Annotated[Path | None, option("--out -o", "FILE", "Write every case as JSON.")] = None,
    model: agents.ModelOption = None,
    planner_model: agents.PlannerModelOption = None,
    scheduler_model: agents.SchedulerModelOption = None,
    deployer_model: agents.DeployerModelOption = None,
    base_url: agents.BaseUrlOption = None,
    temperature: agents.TemperatureOption = None,
    model_seed: agents.ModelSeedOption = None,
    llm: agents.LlmOption = None,
    timeout_s: agents.TimeoutOption = None,
    max_tokens: agents.MaxTokensOption = None,
    slot_seconds: agents.SlotSecondsOption = None,
) -> None:
    """Try a model on a fixed set of decisions: how often its answers pass the rules, and what they come to.

    Example: **edgewise evaluate-model --llm local --out smollm2.json**

    Example: **edgewise evaluate-model --base-url http://127.0.0.1:8080/v1 --model qwen3-8b**
    """
    from runtime.cli.commands.evaluate import evaluate

    evaluate(
        AgentRequest(
            model=model,
            planner_model=planner_model,
            scheduler_model=scheduler_model,
            deployer_model=deployer_model,
            base_url=base_url,
            temperature=temperature,
            model_seed=model_seed,
            llm=llm,
            timeout_s=timeout_s,
            max_tokens=max_tokens,
            slot_seconds=slot_seconds,
        ),
        role or [],
        out,
    )
