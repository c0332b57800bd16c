"""From the settings of agents to the fillings of a run: agents, rules, and any mix of both in the three roles."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from domain.cluster import Cluster
from domain.ledger import Attempt, Role
from domain.testbed import Testbed
from graph.models.agent import Agent
from graph.models.asking import Asking
from graph.models.budget import Budget
from graph.models.client import ModelSettings, Servers, make_silent_agent, open_agents, with_base_url
from graph.models.tape import Tape
from graph.slot.deps import Deps, Filling
from graph.slot.planner_tools import planner_tools
from graph.slot.rehearsing import rehearse
from graph.slot.reuse import Reuse
from memory.store import Memory
from policies.families import DEPLOYERS, NOBODY, PLANNERS, SCHEDULERS
from policies.roles import Deployer, Planner, Scheduler
from runtime.agents.families import AGENT, recipe_of, roles_of
from runtime.agents.local_llm import serve
from runtime.agents.settings import AgentSettings, stand_ins
from runtime.results.durable import make_folder, write_file


@dataclass(frozen=True)
class Models:
    """The models of a run, open: agents by role, and how their questions are kept. Several families may ask them."""

    settings: AgentSettings
    agents: Mapping[Role, Agent] = field(default_factory=dict)
    """Empty where rules stand in."""
    clock: Callable[[], float] = time.monotonic
    """Monotonic seconds, the clock of the event loop: for time limits and budgets."""

    def can_be_asked(self) -> bool:
        """True where there is a model."""
        return bool(self.agents)


@asynccontextmanager
async def open_models(
    settings: AgentSettings,
    environ: Mapping[str, str] = os.environ,
    known: Servers | None = None,
    world: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Models]:
    """Start the local server where one is asked for, and connect; agents of a tape need neither.

    Args:
        settings: of the agents.
        environ: where keys are looked up.
        known: what is known of servers already; None begins anew.
        world: seconds of the world that decides, for breakers.

    Raises:
        InputError: a key, a file or an extra is missing.
    """
    if settings.models is None:
        yield Models(settings)
        return
    if settings.replay_tape is not None:
        silent = {
            role: make_silent_agent(role, own, settings.prices.get(own.model)) for role, own in settings.models.items()
        }
        yield Models(settings, silent)
        return
    async with AsyncExitStack() as stack:
        models: Mapping[Role, ModelSettings] = settings.models
        if settings.local is not None:
            server = await stack.enter_async_context(serve(settings.local))
            models = with_base_url(models, server.model, server.base_url)
        agents = await stack.enter_async_context(
            open_agents(models, environ, prices=settings.prices, known=known, clock=world)
        )
        yield Models(settings, agents)


@asynccontextmanager
async def open_tape(settings: AgentSettings, mark: Path, suffix: str = "") -> AsyncIterator[Tape | None]:
    """Open the tape that the settings name, to write or to play; None where there is none.

    Args:
        settings: of the agents.
        mark: file that says that this very run has begun the tape; written before the tape is.
        suffix: that tells the tape of one family from that of another.

    Raises:
        InputError: the tape cannot be used, or is another run's.
    """
    path = settings.replay_tape or settings.tape
    if path is None:
        yield None
        return
    path = Path(f"{path}{suffix}")
    if settings.replay_tape is None and not mark.exists() and not path.exists():
        make_folder(mark.parent)
        write_file(mark, "")
    with Tape.record(path, resume=mark.exists()) if settings.replay_tape is None else Tape.replay(path) as tape:
        yield tape


@dataclass(frozen=True)
class Fillings:
    """Who fills the roles of one family."""

    planner: Filling[Planner] | None
    scheduler: Filling[Scheduler]
    deployer: Filling[Deployer]

    @property
    def has_agents(self) -> bool:
        """True where a model fills some role."""
        return any(f is not None and f.asker is not None for f in (self.planner, self.scheduler, self.deployer))


def fill(code: str, cluster: Cluster, models: Models, tape: Tape | None, budget: Budget) -> Fillings:
    """Fill the roles of a family, with rules where there is no model to ask."""
    names = roles_of(recipe_of(code)) if models.can_be_asked() else stand_ins(code)

    def filling(role: Role, rules: Mapping[str, Callable[[Cluster], Any]]) -> Filling[Any]:
        name = names[role]
        if name != AGENT:
            return Filling(name, rules[name](cluster))
        agent = models.agents[role]
        return Filling(agent.name, asker=Asking(agent, tape=tape, budget=budget, clock=models.clock).for_decision)

    return Fillings(
        planner=None if names[Role.PLANNER] == NOBODY else filling(Role.PLANNER, PLANNERS),
        scheduler=filling(Role.SCHEDULER, SCHEDULERS),
        deployer=filling(Role.DEPLOYER, DEPLOYERS),
    )


def make_deps(
    code: str,
    testbed: Testbed,
    memory: Memory,
    run: str,
    seed: int,
    models: Models,
    tape: Tape | None = None,
    baseline: dict[str, float] | None = None,
) -> Deps:
    """Make what the slot graph works with, for one family.

    Args:
        code: of the family.
        testbed: where it acts.
        memory: of the run.
        run: name of the run in memory.
        seed: of the rules' random numbers, and of the fallbacks'.
        models: open.
        tape: of the questions; None keeps none.
        baseline: figures of the random policy, for the planner's prompt.
    """
    settings, cluster = models.settings, testbed.cluster
    budget = Budget(settings.limits, models.clock)
    filled = fill(code, cluster, models, tape, budget)
    rehearsed = settings.rehearsal is not None and filled.has_agents
    deps = Deps(
        testbed=testbed,
        memory=memory,
        run=run,
        family=code,
        seed=seed,
        planner=filled.planner,
        scheduler=filled.scheduler,
        deployer=filled.deployer,
        fallbacks=settings.fallbacks(cluster, rehearsed),
        local=filled.scheduler.name == "local",
        tape=tape,
        baseline=baseline,
        reuse=Reuse() if settings.reuse_plan else None,
    )

    def paid(slot: int, role: Role, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts if role in models.agents else ():
            budget.account(slot).pay(attempt.prompt_tokens, attempt.completion_tokens, models.agents[role].price)

    deps.paid = paid
    if settings.rehearsal is not None and rehearsed:
        rehearse(deps, settings.rehearsal, models.clock)
    if settings.planner_tools and filled.planner is not None and filled.planner.asker is not None:
        tools = planner_tools(deps)
        asking = Asking(models.agents[Role.PLANNER], tape=tape, budget=budget, tools=tools, clock=models.clock)
        deps.planner = Filling(filled.planner.name, asker=asking.for_decision)
    return deps
