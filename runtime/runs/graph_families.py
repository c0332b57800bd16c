"""Runs families through the slot graph on the twin, with the books, the memory and the files of a run folder.

A run keeps in its folder `memory.sqlite` (ledger, cases, telemetry, records) and `checkpoints.sqlite` (the graph's
state after each slot); where asked for, `trace.jsonl`, `shadow.jsonl` and `dry-run.jsonl`. A run that was killed finds
them there and goes on at its slot.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from domain.cluster import Cluster
from domain.errors import MachineError
from domain.ledger import Role
from domain.objective import summarise
from domain.telemetry import Records
from domain.testbed import Testbed
from domain.workload import Workload
from graph.models.client import ModelSettings, Servers, open_agents
from graph.models.preflight import preflight
from graph.models.slot_clock import SlotClock
from graph.slot.checkpoints import open_checkpointer
from graph.slot.deps import Deps
from graph.trace.lines import open_trace
from memory.engine import MemoryAway
from memory.opening import open_memory
from memory.store import Memory
from policies.random import RandomDeployer, RandomPlanner, RandomScheduler
from policies.roles import DEPLOYER, PLANNER, SCHEDULER, generator
from runtime.agents.families import AGENT, has_agents, recipe_of, roles_of
from runtime.agents.filling import Models, make_deps, open_models, open_tape
from runtime.agents.settings import AgentSettings, no_model_note
from runtime.results.columns import PartWriter
from runtime.results.durable import write_file
from runtime.results.labels import agents_share
from runtime.results.lines import written_lines
from runtime.results.role_figures import DecisionTally
from runtime.results.run_folder import JOURNAL, PARTS
from runtime.results.slots import SlotResult
from runtime.results.summary import FamilyResult, ShadowFigures
from runtime.results.tally import Tally
from runtime.runs.books import BookedTwin
from runtime.runs.dry_run import DRY_RUN, DryRun
from runtime.runs.graph_run import Approver, GraphRun
from runtime.runs.loop import total_slots
from runtime.runs.progress import RunProgress
from runtime.runs.shadow import Shadow
from runtime.runs.shadowed import Shadowed, ShadowTally
from runtime.runs.waiting import WaitingTestbed
from twin.twin import Twin

MEMORY, CHECKPOINTS = "memory.sqlite", "checkpoints.sqlite"
TRACE, SHADOW, RUN_ID = "trace.jsonl", "shadow.jsonl", "run-id"
TAPE_BEGUN = f"{PARTS}/.tape"
"""File that says that a run has begun its tape; not published."""
BASELINE_SEED = 1_000_003
"""Added to the seed of a run for the requests of its random baseline: not the requests that it will meet."""
PAGE = 50
"""Slots of decisions that are read from memory at once."""


@dataclass(frozen=True)
class GraphFamilies:
    """Runs families of one experiment through the slot graph."""

    cluster: Cluster
    settings: AgentSettings
    workload: Callable[[int], Workload]
    """Seed to requests, for the baseline."""
    slots: int
    """With requests."""
    approver: Approver | None = None
    environ: Mapping[str, str] | None = None
    """Where keys are looked up; None is the process's own."""
    known: Servers = field(default_factory=Servers, compare=False)
    """What model servers were found to take."""

    @property
    def _environ(self) -> Mapping[str, str]:
        return os.environ if self.environ is None else self.environ

    @property
    def memory_place(self) -> str:
        """Where the memory is: a path, or hosts and database, never a user name or a password."""
        target = self.settings.memory
        return "in the run folder" if target is None else place_of(target)

    def takes(self, family: str) -> bool:
        """True where a family has to go through the graph."""
        return self.settings.takes(family)

    def opening_lines(self, families: Sequence[str]) -> list[str]:
        """Say first of all which families of agents run without a model."""
        if self.settings.models is not None:
            return []
        return [no_model_note(family) for family in (*families, *self.settings.shadows) if has_agents(family)]

    def preflight(self, families: Sequence[str], say: Callable[[str], None]) -> None:
        """Ask each model of these families once, and say what its server can do, or that it is not there.

        A tape needs nobody, and the model of this machine is started later.
        """
        settings = self.settings
        codes = [code for code in (*families, *settings.shadows) if has_agents(code)]
        roles = {role for code in codes for role, who in roles_of(recipe_of(code)).items() if who == AGENT}
        if roles and settings.models is not None and settings.local is None and settings.replay_tape is None:
            asyncio.run(self._preflight({role: settings.models[role] for role in Role if role in roles}, say))

    async def _preflight(self, models: Mapping[Role, ModelSettings], say: Callable[[str], None]) -> None:
        async with open_agents(models, self._environ, known=self.known) as agents:
            await preflight(agents, self.settings.patience_s, say)

    def run(
        self, home: Path, draft: Path, family: str, seed: int, workload: Workload, progress: RunProgress
    ) -> FamilyResult:
        """Run one family and return what it came to.

        Args:
            home: folder of the run, where memory and checkpoints outlive a kill.
            draft: folder for the records and slots of this family.
            family: code or mix.
            seed: of requests and decisions.
            workload: the requests.
            progress: counts slots.

        Raises:
            InputError: a model, a tape or the memory cannot be used.
        """
        try:
            return asyncio.run(self._run(home, draft, family, seed, workload, progress))
        except MemoryAway as error:
            raise MachineError(f"{error} The run can go on with the same command when the memory is back.") from None

    async def _run(
        self, home: Path, draft: Path, family: str, seed: int, workload: Workload, progress: RunProgress
    ) -> FamilyResult:
        settings, cluster = self.settings, self.cluster
        tally, decisions, notes = Tally(cluster), DecisionTally(), list[str]()
        async with AsyncExitStack() as stack:
            memory, run = await stack.enter_async_context(self._memory(home, family, seed))
            saver = await stack.enter_async_context(open_checkpointer(home / CHECKPOINTS, keep=settings.checkpoints))
            world = SlotClock(cluster.slot_s)
            models = await stack.enter_async_context(
                open_models(settings, self._environ, self.known.anew(), world)
                if any(map(has_agents, (family, *settings.shadows)))
                else _nobody(settings)
            )
            baseline = random_baseline(cluster, self.workload(seed + BASELINE_SEED), seed) if models.agents else None
            await memory.put_run(
                run, {"family": family, "seed": seed, "agents": settings.to_json(), "baseline": baseline}
            )
            writer = stack.enter_context(PartWriter(draft, cluster, family, seed))

            def book(result: SlotResult) -> None:
                tally.add(result)
                writer.add(result)
                progress.slot()

            booked = BookedTwin(cluster, workload, self.slots, book)
            testbed: Testbed = booked
            dry = None
            if settings.dry_run:
                testbed = dry = DryRun(testbed, stack.enter_context(written_lines(home / DRY_RUN)))
            shadowed = None
            if settings.shadows:
                shadows = [
                    Shadow(await self._shadow_deps(stack, code, testbed, memory, run, seed, models, home, baseline))
                    for code in settings.shadows
                ]
                write = stack.enter_context(written_lines(home / SHADOW))
                testbed = shadowed = Shadowed(testbed, shadows, write)
            if models.agents:
                endpoints = {id(agent.endpoint): agent.endpoint for agent in models.agents.values()}.values()
                testbed = WaitingTestbed(testbed, world, endpoints, settings.patience_s, progress.note)
            mark = home / TAPE_BEGUN
            tape = await stack.enter_async_context(open_tape(settings, mark)) if models.agents else None
            deps = make_deps(family, testbed, memory, run, seed, models, tape, baseline)
            deps.on_decisions = decisions.add
            if shadowed is not None:
                shadowed.acting = deps
            trace = await stack.enter_async_context(
                open_trace(home / TRACE if settings.trace else None, run, os.environ)
            )
            total = total_slots(cluster, self.slots)
            first = await GraphRun(deps, saver, total, replays=True, approver=self.approver, trace=trace).run()
            for start in range(0, first, PAGE):  # what an earlier process decided
                decisions.add(await memory.decisions(run, first=start, last=min(start + PAGE, first) - 1))
            booked.close_books()
            if has_agents(family) and not models.agents:
                notes.append(no_model_note(family))
            if dry is not None:
                notes.append(dry.note())
            else:
                notes += tally.notes(family)
            if shadowed is not None:
                notes += shadowed.notes()
            filled = {role: a.name for role, a in models.agents.items() if roles_of(recipe_of(family))[role] == AGENT}
            agents, stands_in = decisions.figures(filled, settings.prices), has_agents(family) and not models.agents
            tally.decided_by = decisions.decided_by
            if dry is None:  # of what is not carried out, nothing can come
                tally.predictions = deps.foresight.totals
            return FamilyResult.of(cluster, family, seed, tally).model_copy(
                update={
                    "agents": agents,
                    "agents_share": agents_share(agents, stands_in),
                    "shadows": [_shadow_figures(code, t) for code, t in (shadowed.tallies if shadowed else {}).items()],
                    "stands_in": stands_in,
                    "notes": notes,
                }
            )

    @asynccontextmanager
    async def _memory(self, home: Path, family: str, seed: int) -> AsyncIterator[tuple[Memory, str]]:
        """Open the memory, with the name of the run in it: plain in a file of its own, unique in a shared one."""
        run = f"{family}-seed{seed}"
        if self.settings.memory is None:
            async with open_memory(home / MEMORY) as memory:
                yield memory, run
            return
        token = home / RUN_ID
        if not token.exists():
            write_file(token, secrets.token_hex(4))
        async with open_memory(self.settings.memory, journal=home / JOURNAL) as memory:
            yield memory, f"{self.cluster.name}-{run}-{token.read_text(encoding='utf-8')}"

    async def _shadow_deps(
        self,
        stack: AsyncExitStack,
        code: str,
        testbed: Testbed,
        memory: Memory,
        run: str,
        seed: int,
        models: Models,
        home: Path,
        baseline: dict[str, float] | None,
    ) -> Deps:
        tape = None
        if has_agents(code) and models.agents:
            mark = home / f"{TAPE_BEGUN}-{code}"
            tape = await stack.enter_async_context(open_tape(self.settings, mark, f".shadow-{code}"))
        return make_deps(code, testbed, memory, f"{run}.shadow-{code}", seed, models, tape, baseline)


def place_of(memory: str) -> str:
    """A path, or the hosts and the database of a URI: the same for every way to write them."""
    scheme, found, rest = memory.partition("://")
    if not found:
        return str(Path(memory).resolve())
    hosts, _, database = rest.partition("?")[0].rpartition("@")[2].partition("/")
    port = "" if scheme.endswith("+srv") else ":27017"
    named = (host if host.rpartition("]")[2].count(":") else f"{host}{port}" for host in hosts.lower().split(","))
    return f"{scheme}://{','.join(sorted(named))}/{database or 'edgewise'}"


@asynccontextmanager
async def _nobody(settings: AgentSettings) -> AsyncIterator[Models]:
    yield Models(settings)


def _shadow_figures(code: str, tally: ShadowTally) -> ShadowFigures:
    return ShadowFigures(
        family=code,
        slots=tally.slots,
        failed=tally.failed,
        routes_differ=tally.routes_differ / max(tally.routes, 1),
        deployments_differ=tally.deployments_differ / max(tally.deployments, 1),
        predicted_regret=float(np.mean(tally.regrets)) if tally.regrets else None,
    )


def random_baseline(cluster: Cluster, workload: Workload, seed: int) -> dict[str, float]:
    """Figures of one epoch of random macro-policies, routes and deployments in the twin (P1 section IV-A).

    Returns:
        `mean_latency_s` (left out where nothing succeeded), `fairness` (F_norm) and `objective` (J), over the
        requests that ended in the epoch.
    """
    twin, parts = Twin(cluster), list[Records]()
    planner, scheduler, deployer = RandomPlanner(cluster), RandomScheduler(cluster), RandomDeployer(cluster)
    policy = planner.plan(twin.observe(), (), generator(seed, PLANNER))
    covered = cluster.epoch_slots if workload.slots is None else min(workload.slots, cluster.epoch_slots)
    for slot in range(covered):
        snapshot = twin.observe()
        twin.route(scheduler.schedule(snapshot, policy, generator(seed, SCHEDULER, slot)))
        for n in range(cluster.n_nodes):
            deployment = deployer.deploy(snapshot, n, policy, generator(seed, DEPLOYER, slot, n))
            if deployment is not None:
                twin.deploy(deployment)
        parts.append(twin.advance(workload.arrivals(slot)))
    records = Records.concatenate(parts)
    found = summarise(records, cluster.n_lms, cluster.deadline_s, cluster.latency_weight)
    figures = {"fairness": found.fairness, "objective": found.objective}
    if np.isfinite(found.global_mean_latency_s):
        figures["mean_latency_s"] = found.global_mean_latency_s
    return figures
