"""The options of the command line that are about agents, shared by the commands that ask models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from runtime.cli.arguments.options import option

MODELS, LIMITS, MODES = "Models", "Limits and records", "Modes"


ModelOption = Annotated[
    str | None,
    option("--model", "NAME", "Model of all agents.", MODELS, "gpt-5 for the planner, gpt-4o for the others"),
]
PlannerModelOption = Annotated[str | None, option("--planner-model", "NAME", "Model of the planner.", MODELS)]
SchedulerModelOption = Annotated[str | None, option("--scheduler-model", "NAME", "Model of the scheduler.", MODELS)]
DeployerModelOption = Annotated[str | None, option("--deployer-model", "NAME", "Model of the deployers.", MODELS)]
BaseUrlOption = Annotated[
    str | None,
    option(
        "--base-url",
        "URL",
        "OpenAI-compatible server, such as http://127.0.0.1:8080/v1; also from OPENAI_BASE_URL. "
        "Keys come from OPENAI_API_KEY alone.",
        MODELS,
        "OpenAI's own",
    ),
]
TemperatureOption = Annotated[
    float | None, option("--temperature", "0..2", "Temperature of all models.", MODELS, "0 for gpt-4o, none for gpt-5")
]
ModelSeedOption = Annotated[
    int | None, option("--model-seed", "N", "Seed that servers are asked to sample with; few promise it.", MODELS)
]
LlmOption = Annotated[
    str | None,
    option(
        "--llm",
        "local[=FILE.gguf]",
        "Serve a model on this machine, with no key and no network: SmolLM2-135M, or the file.",
        MODELS,
    ),
]
TimeoutOption = Annotated[
    float | None,
    option("--timeout", "SECONDS", "Most seconds of one question.", LIMITS, "25 planner, 10 others, 600 local"),
]
MaxTokensOption = Annotated[
    int | None,
    option("--max-tokens", "N", "Most tokens of one answer.", LIMITS, "8192 planner, 2048 others, 1024 local"),
]
SlotSecondsOption = Annotated[
    float | None,
    option(
        "--slot-seconds",
        "SECONDS",
        "Seconds that all questions of a slot have together.",
        LIMITS,
        "a slot; none with --llm local",
    ),
]
PatienceOption = Annotated[
    float | None,
    option(
        "--patience",
        "SECONDS",
        "Most seconds that slots of a run last as long as live ones because a model server is away; 0: never.",
        LIMITS,
        "300; 0 with --llm local",
    ),
]
SlotTokensOption = Annotated[int | None, option("--slot-tokens", "N", "Most tokens in one slot.", LIMITS)]
SlotUsdOption = Annotated[float | None, option("--slot-usd", "USD", "Most US dollars in one slot.", LIMITS)]
PricesOption = Annotated[
    Path | None,
    option("--prices", "FILE", "YAML, per model: {prompt_usd, completion_usd}, USD per million tokens.", LIMITS),
]
TapeOption = Annotated[
    Path | None, option("--tape", "FILE", "Record every question and answer; the file must not exist.", LIMITS)
]
ReplayTapeOption = Annotated[
    Path | None, option("--replay-tape", "FILE", "Take every answer from a tape and ask nobody.", LIMITS)
]
MemoryOption = Annotated[
    str | None,
    option(
        "--memory",
        "URI|FILE",
        "Where cases and decisions are kept: a mongodb:// URI or an SQLite file; also from MONGODB_URI.",
        LIMITS,
        "memory.sqlite in the run folder",
    ),
]
CheckpointsOption = Annotated[
    str | None,
    option(
        "--checkpoints",
        "N|all",
        "Slots whose checkpoints are kept for Studio, the last ones; a killed run needs one.",
        LIMITS,
        "1000",
    ),
]
TraceOption = Annotated[bool, option("--trace", None, "Write trace.jsonl: every step of every slot.", LIMITS)]
RehearseOption = Annotated[
    str,
    option(
        "--rehearse",
        "WHAT",
        "Which decisions of agents are tried in the twin before they are taken: all, plans, or off.",
        MODES,
        True,
    ),
]
MarginOption = Annotated[
    float,
    option(
        "--margin",
        "0..1",
        "Share of J by which an agent's decision may be predicted to be worse than the rule's and still be taken.",
        MODES,
        True,
    ),
]
FallbackOption = Annotated[
    str | None,
    option(
        "--fallback",
        "RULE",
        "Who decides where an agent's answers do not pass: random, or planner+scheduler+deployer such as "
        "rehearsal+backlog+lyapunov.",
        MODES,
        "rehearsal+backlog+steady; random with --rehearse off",
    ),
]
ReusePlanOption = Annotated[
    bool, option("--reuse-plan", None, "Keep the macro-policy for another epoch where telemetry has not moved.", MODES)
]
PlannerToolsOption = Annotated[
    bool,
    option("--planner-tools", None, "Offer the planner tools that look: recall, snapshot, scrape, rehearse.", MODES),
]
ApproveOption = Annotated[bool, option("--approve", None, "Ask before a macro-policy is adopted.", MODES)]
DryRunOption = Annotated[bool, option("--dry-run", None, "Decide everything and act on nothing.", MODES)]
ShadowOption = Annotated[
    list[str] | None,
    option("--shadow", "CODE", "Families that decide beside the acting one and act on nothing; repeatable.", MODES),
]
ViaGraphOption = Annotated[
    bool, option("--via-graph", None, "Take a family of rules through the slot graph, too.", MODES)
]
ResumeOption = Annotated[
    Path | None,
    option("--resume", "RUN", "Go on with a run that was stopped; takes --memory, --other-code and no other option."),
]
OtherCodeOption = Annotated[
    bool,
    option("--other-code", None, "With --resume: go on although the code or a package has changed since."),
]
