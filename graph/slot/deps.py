"""What a slot's graph works with: the world, the memory, who fills each role. The runtime makes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

from domain.cluster import Cluster
from domain.constraints import Violation, check_macro_policy
from domain.decisions import MacroPolicy, RoutingPlan
from domain.ledger import Attempt, Case, Decision, Outcome, Role
from domain.telemetry import EpochTelemetry, Records, Snapshot
from domain.testbed import Testbed
from graph.gate.door import checked
from graph.gate.passage import PREVIOUS
from graph.gate.quick_reading import DeploymentReader
from graph.gate.schemas import schema_for_deployment, schema_for_routing
from graph.models.asking import Asker
from graph.models.tape import Tape
from graph.rehearsal.plans import Rehearser
from graph.rehearsal.slots import SlotRehearser
from graph.slot.reuse import Reuse
from memory.store import Memory
from policies.backlog import BacklogScheduler
from policies.random import RandomDeployer, RandomPlanner, RandomScheduler
from policies.rehearsal.foresight import Foresight
from policies.rehearsal.planner import RehearsalPlanner
from policies.roles import Deployer, Planner, Scheduler, watch
from policies.steady import SteadyDeployer
from prompts.deployer import DeployerPrompts
from prompts.scheduler import SchedulerPrompts
from prompts.situation import Situations

R = TypeVar("R")


@dataclass(frozen=True)
class Filling(Generic[R]):
    """Who fills a role: an agent where `asker` is given, the rule elsewhere."""

    name: str
    """Name of the model or of the rule."""
    rule: R | None = None
    asker: Callable[[int, str | None], Asker] | None = None
    """Slot and node name to a way to ask the agent's model."""

    @property
    def acting(self) -> R:
        """The rule. Raises ValueError where an agent fills the role."""
        if self.rule is None:
            raise ValueError(f"{self.name} is no rule")
        return self.rule


@dataclass(frozen=True)
class Fallbacks:
    """The rules that decide where an agent's answers do not pass."""

    planner: Planner
    scheduler: Scheduler
    deployer: Deployer
    planner_name: str = "random"
    scheduler_name: str = "random"
    deployer_name: str = "random"

    @classmethod
    def random(cls, testbed: Testbed) -> Fallbacks:
        """P1's: the random policy in every role."""
        cluster = testbed.cluster
        return cls(RandomPlanner(cluster), RandomScheduler(cluster), RandomDeployer(cluster))

    @classmethod
    def rehearsed(cls, testbed: Testbed) -> Fallbacks:
        """The rules that answers of agents are compared with."""
        cluster = testbed.cluster
        rules = RehearsalPlanner(cluster), BacklogScheduler(cluster), SteadyDeployer(cluster)
        return cls(*rules, planner_name="rehearsal", scheduler_name="backlog", deployer_name="steady")


@dataclass(frozen=True)
class GateSettings:
    """How strict and how wide the gate is."""

    tolerance: float = 1e-3
    """How far shares may miss one and still be scaled instead of refused."""
    shard_nodes: int = 100
    """Nodes per deployer task past `shard_above`; each task costs the graph time that grows with their square."""
    shard_above: int = 200
    """Up to so many nodes every deployer is a task of its own, which Studio shows one by one."""
    full_detail_nodes: int = 32
    """Up to so many nodes the graph's state holds the snapshot node by node and every prompt and answer."""
    recall_best: int = 3
    recall_worst: int = 2
    recall_nearest: int = 3


@dataclass(frozen=True, slots=True)
class _Plans:
    """What a macro-policy in force is held to, whoever decided it."""

    cluster: Cluster

    def rules(self, policy: MacroPolicy) -> list[Violation]:
        return check_macro_policy(self.cluster, policy)

    def from_json(self, data: dict[str, Any]) -> MacroPolicy:
        return MacroPolicy.from_json(self.cluster, data["routing"], data["roles"])


@dataclass
class Deps:
    """Everything that the nodes of one run share."""

    testbed: Testbed
    memory: Memory
    run: str
    """Name of the run: key of its ledger, its cases and its thread."""
    family: str
    seed: int
    scheduler: Filling[Scheduler]
    deployer: Filling[Deployer]
    fallbacks: Fallbacks
    planner: Filling[Planner] | None = None
    """None: every node may host what it can run, for the whole run."""
    local: bool = False
    """True where requests stay at their origin, whatever it can run (P1's LL)."""
    gate: GateSettings = field(default_factory=GateSettings)
    reuse: Reuse | None = None
    """When the plan in force may stand for another epoch without asking the model; None: never."""
    rehearsal: Rehearser | None = None
    """Rehearses the answers of a planner that is an agent; None: they are adopted as they are."""
    slot_rehearsal: SlotRehearser | None = None
    """The same for routes and deployments of agents."""
    tape: Tape | None = None
    """Keeps what the planner is told of past epochs beside the questions, or says it again."""
    baseline: dict[str, float] | None = None
    """Figures of the random policy (P1 section IV-A): mean latency in seconds, F_norm, J."""
    decided: dict[tuple[int, Role, str | None], Decision] = field(default_factory=dict)
    """Decisions of a slot that an earlier process made and did not live to finish: taken over, never made again."""
    paid: Callable[[int, Role, Sequence[Attempt]], None] | None = None
    """Told of the questions of a slot, by role, that an earlier process asked for what is taken over."""
    drafted: tuple[int, dict[str, Any]] | None = None
    """A slot and the settled draft of its plan, about which a person was asked when an earlier process ended."""
    replaying: bool = False
    """True while slots that have passed are played again: whoever watches finds all decisions in the ledger."""
    history: list[EpochTelemetry] = field(default_factory=list)
    """Telemetry of the run's epochs so far, for planners that are rules."""
    last_case: Case | None = None
    """The run's last episode, which the planner is told first."""
    passed: dict[int, Records] = field(default_factory=dict)
    """Records of the slots of the epoch in hand, so that a memory that is away does not cost the epoch its case."""
    on_decisions: Callable[[Sequence[Decision]], None] | None = None
    """Told of every decision when it goes into the ledger, or is taken over from it."""
    seen: Snapshot | None = None
    """The last snapshot, so that a slot's deciders all see the same one."""
    routed: RoutingPlan | None = None
    """Of the slot in hand, once it is dispatched."""

    def __post_init__(self) -> None:
        """Prepare what stays the same from slot to slot."""
        cluster = self.testbed.cluster
        situations = Situations(cluster)
        self.deployer_prompts = DeployerPrompts(cluster, situations)
        self.scheduler_prompts = SchedulerPrompts(cluster, situations)
        self.deployment_reader = DeploymentReader(cluster)
        self.foresight = Foresight(cluster)
        self._schemas: dict[int, dict[str, Any]] = {}
        self._unrestricted = MacroPolicy.unrestricted(cluster)
        self._read: tuple[dict[str, Any], MacroPolicy] | None = None

    @cached_property
    def routing_schema(self) -> dict[str, Any]:
        """JSON schema of a routing plan."""
        return schema_for_routing(self.testbed.cluster)

    @property
    def detailed(self) -> bool:
        """True on a cluster that is small enough for the state to show everything."""
        return self.testbed.cluster.n_nodes <= self.gate.full_detail_nodes

    def deployment_schema(self, n: int) -> dict[str, Any]:
        """JSON schema of a deployment of node n."""
        if n not in self._schemas:
            self._schemas[n] = schema_for_deployment(self.testbed.cluster, n)
        return self._schemas[n]

    def policy(self, macro: dict[str, Any] | None) -> MacroPolicy:
        """Read the macro-policy in force; None, or an empty one, is the run without a planner. The last read is kept.

        Raises:
            BrokenRules: it is not sound: somebody changed it since it was adopted.
        """
        if not macro:
            return self._unrestricted
        if self._read is None or (self._read[0] is not macro and self._read[0] != macro):
            self._read = (macro, checked(_Plans(self.testbed.cluster), macro, "The macro-policy").decision)
        elif self._read[0] is not macro:  # the next to ask has this one, and need not compare hundreds of nodes again
            self._read = (macro, self._read[1])
        return self._read[1]

    def watch(self, snapshot: Snapshot) -> bool:
        """Show a slot's snapshot to the rules that learn from it; True where one asks for a new macro-policy."""
        filled = [filling.rule for filling in (self.planner, self.scheduler, self.deployer) if filling is not None]
        rules = [*filled, self.fallbacks.planner, self.fallbacks.scheduler, self.fallbacks.deployer]
        if self.rehearsal is not self.fallbacks.planner:
            rules.append(self.rehearsal)
        return watch(rules, snapshot)

    async def watched(self, snapshot: Snapshot) -> bool:
        """Like `watch`, in a thread where a rule may search for a quarter of a second: the event loop is not ours."""
        planner = self.planner and self.planner.rule
        if any(
            isinstance(one, (RehearsalPlanner, Rehearser)) for one in (planner, self.fallbacks.planner, self.rehearsal)
        ):
            return await asyncio.to_thread(self.watch, snapshot)
        return self.watch(snapshot)

    def planned(self, snapshot: Snapshot, outcome: Outcome | None, decided_by: str) -> None:
        """Tell the rules that worked on the plan of this snapshot that they did so, in an earlier process.

        Args:
            snapshot: that the plan was made on.
            outcome: of the plan; None where it was not settled yet.
            decided_by: as the ledger has it.
        """
        makers = list[object]()
        if self.planner is not None and self.planner.rule is not None:
            makers.append(self.planner.rule)
        elif self.planner is not None and outcome is not Outcome.REUSED:
            makers.append(self.rehearsal)
        if outcome is Outcome.FALLBACK and decided_by != PREVIOUS:  # it was tried first, whoever came after it
            makers.append(self.fallbacks.planner)
        for maker in makers:
            rule = maker.rule if isinstance(maker, Rehearser) else maker
            if isinstance(rule, RehearsalPlanner):
                rule.planned(snapshot)

    async def snapshot(self, slot: int) -> Snapshot:
        """Return the snapshot that slot `slot` is decided on."""
        if self.seen is None or self.seen.slot != slot:
            self.seen = await self.testbed.observe()
        return self.seen
