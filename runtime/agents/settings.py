"""What a run is told about its agents: from the words of the command line to checked settings.

The settings hold all that decisions depend on, no keys, no addresses and no paths, so that they can stand in the run
folder, and so that a killed run is taken up by a command that says the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from domain.cluster import Cluster
from domain.errors import InputError
from domain.ledger import Role
from graph.models.budget import Limits, Price, read_prices
from graph.models.client import ModelSettings, can_be_asked, default_settings, with_base_url
from graph.rehearsal.plans import RehearsalSettings
from graph.slot.deps import Fallbacks
from policies.families import FAMILIES, NOBODY, PLANNERS, SCHEDULERS
from policies.lyapunov import LyapunovDeployer
from policies.random import RandomDeployer, RandomPlanner, RandomScheduler
from policies.steady import SteadyDeployer
from runtime.agents.families import AGENT, mix, recipe_of, roles_of
from runtime.agents.local_llm import model_file
from runtime.agents.request import AgentRequest, memory_address
from twin.files import read_document
from twin.sentences import one_of

STAND_INS: Final[Mapping[Role, str]] = {
    Role.PLANNER: "rehearsal",
    Role.SCHEDULER: "backlog",
    Role.DEPLOYER: "steady",
}
"""Rules that fill the roles of agents where no model can be asked."""
FALLBACKS: Final[Mapping[Role, tuple[str, ...]]] = {
    Role.PLANNER: ("random", "rehearsal"),
    Role.SCHEDULER: ("random", "average", "backlog"),
    Role.DEPLOYER: ("random", "lyapunov", "steady"),
}
"""Rules that can take over from an agent: each keeps to roles and to Pending pods, as an agent must."""
REHEARSALS: Final = ("all", "plans", "off")
"""What --rehearse takes."""
BY_DEFAULT: Final = "random"
"""Who takes over where nothing is rehearsed and --fallback does not say: P1's random policy."""
REHEARSED: Final = "+".join(STAND_INS.values())
"""Who takes over where agents are rehearsed and --fallback does not say: the rules that they are compared with."""
CHECKPOINTS: Final = 1_000
"""Slots whose checkpoints are kept where --checkpoints does not say: all of a run of ten epochs, for Studio."""
PATIENCE_S: Final = 300.0
"""Seconds for which an outage of a model server is waited for where --patience does not say: models load in less."""
LOCAL_TIMEOUT_S: Final = 600.0
"""For a model on this machine. Its answers take as long as they take: simulated time waits for them."""
LOCAL_TOKENS: Final = 1024
"""Most tokens of its answers: a small model that does not find the end of its answer must not write for minutes."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Who is asked in a run, with which limits, and what happens around the decisions."""

    models: dict[Role, ModelSettings] | None
    """None: there is no model to ask, and rules stand in for the agents."""
    local: Path | None = None
    """GGUF file to serve on this machine for the length of the run."""
    limits: Limits = field(default_factory=Limits)
    patience_s: float = 0.0
    """Seconds for which one outage of a model server is waited for, slot by slot as it would be live."""
    prices: dict[str, Price] = field(default_factory=dict)
    rehearsal: RehearsalSettings | None = None
    """How decisions of agents are rehearsed; None: they are taken as they are."""
    fallback: str | None = None
    """None: REHEARSED where a family's agents are rehearsed, else BY_DEFAULT."""
    reuse_plan: bool = False
    planner_tools: bool = False
    approve: bool = False
    dry_run: bool = False
    shadows: tuple[str, ...] = ()
    tape: Path | None = None
    replay_tape: Path | None = None
    memory: str | None = None
    """Path or URI; None is a file in the run folder."""
    checkpoints: int | None = CHECKPOINTS
    """Slots whose checkpoints are kept, the last ones; None keeps all."""
    trace: bool = False
    via_graph: bool = False
    """True where families of rules go through the slot graph, too."""

    def takes(self, code: str) -> bool:
        """True where a family has to run through the slot graph."""
        return self.via_graph or code not in FAMILIES

    def fallbacks(self, cluster: Cluster, rehearsed: bool) -> Fallbacks:
        """Make the rules that take over where an agent's answers do not pass."""
        names = fallback_names(self.fallback or (REHEARSED if rehearsed else BY_DEFAULT))
        return Fallbacks(
            planner=_planner(names[Role.PLANNER], cluster),
            scheduler=_scheduler(names[Role.SCHEDULER], cluster),
            deployer=_deployer(names[Role.DEPLOYER], cluster),
            planner_name=names[Role.PLANNER],
            scheduler_name=names[Role.SCHEDULER],
            deployer_name=names[Role.DEPLOYER],
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for `settings.yaml`: what decisions depend on."""
        models = {}
        for role, own in (self.models or {}).items():
            said = {**asdict(own), "base_url": None, "key_variable": None}
            models[str(role)] = {name: value for name, value in said.items() if value is not None}
        limits = {name: value for name, value in asdict(self.limits).items() if value is not None}
        return {
            "models": models or "none: rules stand in for agents",
            "slot_budget": limits or "none",
            "prices": {name: asdict(price) for name, price in sorted(self.prices.items())},
            "rehearsal": "off" if self.rehearsal is None else asdict(self.rehearsal),
            "fallback": self.fallback or (REHEARSED if self.rehearsal is not None else BY_DEFAULT),
            "reuse_plan": self.reuse_plan,
            "planner_tools": self.planner_tools,
            "approve": self.approve,
            "dry_run": self.dry_run,
            "shadows": list(self.shadows),
            "from_tape": self.replay_tape is not None,
        }


def _planner(name: str, cluster: Cluster) -> Any:
    return RandomPlanner(cluster) if name == "random" else PLANNERS[name](cluster)


def _scheduler(name: str, cluster: Cluster) -> Any:
    return RandomScheduler(cluster) if name == "random" else SCHEDULERS[name](cluster)


def _deployer(name: str, cluster: Cluster) -> Any:
    if name == "lyapunov":
        return LyapunovDeployer(cluster, follow_roles=True)
    return RandomDeployer(cluster) if name == "random" else SteadyDeployer(cluster)


def fallback_names(text: str) -> dict[Role, str]:
    """Read --fallback: `random` for all roles, or planner+scheduler+deployer; raises InputError."""
    names = roles_of(mix("+".join(3 * ["random"]) if text == "random" else text, "--fallback", with_agents=False))
    for role, name in names.items():
        if name not in FALLBACKS[role] or name == NOBODY:
            known = ", ".join(FALLBACKS[role])
            raise InputError(f"--fallback: {name} cannot take over from the {role}; choose from {known}.")
    return names


def read_request(request: AgentRequest, slot_s: float, environ: Mapping[str, str]) -> AgentSettings:
    """Check what the command line says about agents.

    Args:
        request: as it was written.
        slot_s: length of a slot: so many seconds the questions of one slot may take where nothing else is said.
        environ: where keys, OPENAI_BASE_URL and MONGODB_URI are looked up.

    Raises:
        InputError: something is wrong, missing, or does not go together.
    """
    if request.tape is not None and request.replay_tape is not None:
        raise InputError("--tape records and --replay-tape plays; give one of them.")
    local = _local_file(request.llm)
    if local is not None and request.base_url is not None:
        raise InputError("--llm serves a model on this machine and --base-url names another server; give one of them.")
    models = {role: _model(request, role, local is not None) for role in Role}
    if local is not None:
        models = with_base_url(models, local.stem, "http://127.0.0.1/v1")
    asked = local is not None or request.replay_tape is not None
    reachable = asked or all(can_be_asked(own, environ) for own in models.values())
    if request.rehearse not in REHEARSALS:
        raise InputError(f"--rehearse {one_of(REHEARSALS, request.rehearse)}.")
    rehearsal = RehearsalSettings(slots=request.rehearse == "all", margin=request.margin)
    if request.fallback is not None:
        fallback_names(request.fallback)
    seconds = request.slot_seconds if request.slot_seconds is not None else None if local is not None else slot_s
    return AgentSettings(
        models=models if reachable else None,
        local=local,
        limits=Limits(request.slot_tokens, request.slot_usd, seconds),
        patience_s=0.0 if local is not None else _patience(request.patience_s),
        prices={} if request.prices is None else _prices(request.prices),
        rehearsal=rehearsal if reachable and request.rehearse != "off" else None,
        fallback=request.fallback,
        reuse_plan=request.reuse_plan,
        planner_tools=request.planner_tools,
        approve=request.approve,
        dry_run=request.dry_run,
        shadows=request.shadow,
        tape=request.tape,
        replay_tape=request.replay_tape,
        memory=memory_address(request.memory, environ),
        checkpoints=_checkpoints(request.checkpoints),
        trace=request.trace,
        via_graph=request.via_graph
        or request.approve
        or request.dry_run
        or bool(request.shadow)
        or request.trace
        or request.memory is not None
        or request.checkpoints is not None,
    )


def _checkpoints(text: str | None) -> int | None:
    if text is None:
        return CHECKPOINTS
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--checkpoints must be a number of slots, 1 or more, or all, not {text!r}.")
    return int(text)


def _patience(given: float | None) -> float:
    if given is not None and not 0.0 <= given < math.inf:
        raise InputError(f"--patience must be 0 or more seconds, not {given:g}.")
    return PATIENCE_S if given is None else given


def _local_file(llm: str | None) -> Path | None:
    if llm is None:
        return None
    kind, _, file = llm.partition("=")
    if kind != "local":
        raise InputError(f"--llm must be local or local=FILE.gguf, not {llm!r}; other servers take --base-url.")
    return model_file(Path(file) if file else None)


def _model(request: AgentRequest, role: Role, local: bool) -> ModelSettings:
    settings = default_settings(role)
    if local:
        settings = replace(settings, timeout_s=LOCAL_TIMEOUT_S, max_completion_tokens=LOCAL_TOKENS, temperature=0.0)
    own = {
        Role.PLANNER: request.planner_model,
        Role.SCHEDULER: request.scheduler_model,
        Role.DEPLOYER: request.deployer_model,
    }
    said: dict[str, Any] = {
        "model": own[role] or request.model,
        "base_url": request.base_url,
        "temperature": request.temperature,
        "seed": request.model_seed,
        "timeout_s": request.timeout_s,
        "max_completion_tokens": request.max_tokens,
    }
    for flag, value in (("--timeout", request.timeout_s), ("--max-tokens", request.max_tokens)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{flag} must be above 0, not {value:g}.")
    return replace(settings, **{name: value for name, value in said.items() if value is not None})


def _prices(path: Path) -> dict[str, Price]:
    table = read_document(path).data
    if not isinstance(table, dict):
        raise InputError(f"{path} must hold one entry per model, such as gpt-4o: {{prompt_usd: 1, completion_usd: 2}}.")
    return read_prices(table, str(path))


def stand_ins(code: str) -> dict[Role, str]:
    """Who fills the roles of a family where no model can be asked."""
    return {role: STAND_INS[role] if name == AGENT else name for role, name in roles_of(recipe_of(code)).items()}


def no_model_note(code: str) -> str:
    """The first line of a run of agents that has no model."""
    filled = ", ".join(f"{role} {name}" for role, name in stand_ins(code).items())
    return (
        f"No model decides in this run of {code}: there is no OPENAI_API_KEY, no --base-url and no --llm. "
        f"Rules fill its roles: {filled}."
    )
