"""What the slot graph costs on top of its models: seconds per slot with models that answer at once.

    python -m benchmarks.graph_overhead            # 6 and 600 nodes, beside an empty graph of the same shape
    python -m benchmarks.graph_overhead --long     # also 3,000 slots, to see that a slot does not grow dearer

All three roles are agents whose chat models answer at once with sound decisions, through the whole path: prompt,
LangChain call, strict parsing, every rule, ledger and records in SQLite, one checkpoint per slot; the twin is
included, rehearsals are not. The same again with a ledger that does not wait for the disk shows what waiting costs. The
empty graph has the same nodes and edges, as many deployer tasks, and a checkpoint of its own.

Wall clock is how long a slot takes, waits for the disk included; processor is the time of all threads together. They
run in turn, --repeat times, and the run with the smallest median is shown: on a machine that others use too,
that is the one that was disturbed least.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send

from domain.cluster import Cluster
from domain.ledger import Role
from graph.models.agent import Agent
from graph.models.budget import Limits
from graph.slot.checkpoints import DURABILITY, open_checkpointer
from graph.slot.deps import GateSettings
from graph.slot.state import SlotInput, SlotState
from memory import open_memory, sqlite
from policies.random import RandomPlanner
from policies.roles import generator
from policies.standard import catalogue
from prompts.quoting import quoted
from runtime.agents.filling import Models, make_deps
from runtime.agents.settings import AgentSettings
from runtime.runs.collector import calm_collector
from runtime.runs.graph_run import GraphRun
from twin.testbed import TwinTestbed
from twin.testbeds import generate_testbed, load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

Clock = Callable[[], float]
GRAPHS = ("slot graph, instant models", "the same, ledger not synced", "empty graph, same shape")


class Instant(BaseChatModel):
    """A chat model whose answers were made beforehand, so that what is timed is what is around it."""

    answers: dict[str, ChatResult]
    """By the name, in quotes, of the node that the instructions are for; under "" for instructions that name none."""

    @property
    def _llm_type(self) -> str:
        return "instant"

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        _, found, node = str(messages[0].content).partition("\n# The node\n\n")
        return self.answers[node[: node.index('"', 1) + 1] if found else ""]

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages)


def answers(cluster: Cluster) -> tuple[str, str, dict[str, str]]:
    """A sound macro-policy, a routing plan within it and a deployment per node, as models would write them."""
    policy = RandomPlanner(cluster).plan(Twin(cluster).observe(), (), generator(5)).to_json(cluster)
    first = {lm.name: next(n for n, lms in policy["roles"].items() if lm.name in lms) for lm in cluster.lms}
    routes = {node.name: first for node in cluster.nodes}
    deployments = {}
    for n, (node, patterns) in enumerate(zip(cluster.nodes, catalogue(cluster), strict=True)):
        roles = policy["roles"][node.name]
        fitting = next(
            p
            for p, active in enumerate(patterns.active)
            if {lm.name for lm, on in zip(cluster.lms, active, strict=True) if on} == set(roles)
        )
        cells = {}
        for i, allocation in enumerate(patterns.deployment(n, fitting).allocations):
            mode = "gpu" if allocation.vgpus else "cpu" if allocation.cores else "off"
            if cluster.feasible[n, i]:
                cells[cluster.lms[i].name] = {"mode": mode, "amount": allocation.vgpus or allocation.cores}
        deployments[node.name] = json.dumps({"reasoning": "roles", "deployment": cells})
    return (
        json.dumps({"reasoning": "even", **policy}),
        json.dumps({"reasoning": "first", "routes": routes}),
        deployments,
    )


def agent(role: Role, texts: Mapping[str, str]) -> Agent:
    """An agent behind an instant model; texts by node, as `Instant` finds them."""
    answers = {key: ChatResult(generations=[ChatGeneration(message=AIMessage(text))]) for key, text in texts.items()}
    return Agent(role=role, model=Instant(answers=answers), name="instant")


async def run(cluster: Cluster, slots: int, folder: Path, clock: Clock) -> list[float]:
    """Seconds of each slot of a run with agents in all roles, put together as `--family MA --rehearse off` does."""
    plan, routing, deployments = answers(cluster)
    agents = {
        Role.PLANNER: agent(Role.PLANNER, {"": plan}),
        Role.SCHEDULER: agent(Role.SCHEDULER, {"": routing}),
        Role.DEPLOYER: agent(Role.DEPLOYER, {quoted(name): text for name, text in deployments.items()}),
    }
    settings = AgentSettings(models={}, limits=Limits(seconds=cluster.slot_s))
    testbed = TwinTestbed(Twin(cluster), load_workload("p1", cluster, 3))
    by_slot: list[float] = []
    last = clock()

    async def tick(_: SlotState) -> None:
        nonlocal last
        now = clock()
        by_slot.append(now - last)
        last = now

    async with (
        open_memory(folder / "memory.sqlite") as memory,
        open_checkpointer(folder / "checkpoints.sqlite") as saver,
    ):
        deps = make_deps("MA", testbed, memory, "bench", 3, Models(settings, agents))
        last = clock()
        await GraphRun(deps, saver, slots, replays=True, on_slot=tick).run()
        decided = {d.outcome.value for d in await memory.decisions("bench", slots - 1)}
    if decided != {"accepted"}:
        raise AssertionError(f"the instant models were not accepted: {decided}")
    return by_slot


async def empty(cluster: Cluster, slots: int, folder: Path, clock: Clock) -> list[float]:
    """Seconds of each slot of a graph of the same shape that does nothing."""
    gate = GateSettings()
    size = 1 if cluster.n_nodes <= gate.shard_above else gate.shard_nodes
    tasks = range(0, cluster.n_nodes, size)

    async def nothing(state: Any) -> dict[str, Any]:
        return {}

    async def fan_out(state: Any) -> Command[Any]:
        return Command(goto=[Send("deployer", {"slot": n}) for n in tasks])

    builder = StateGraph(SlotState, input_schema=SlotInput)
    chain = ("observe", "scheduler", "check_routing", "dispatch")
    for name in (*chain[:-1], "deployer", "act"):
        builder.add_node(name, nothing)
    builder.add_node(chain[-1], fan_out, destinations=("deployer",))
    builder.add_edge(START, chain[0])
    for before, after in zip(chain, chain[1:], strict=False):
        builder.add_edge(before, after)
    builder.add_edge("deployer", "act")
    builder.add_edge("act", END)
    by_slot = []
    async with open_checkpointer(folder / "empty.sqlite") as saver:
        graph = builder.compile(checkpointer=saver)
        with calm_collector():  # as in a run
            for slot in range(slots):
                start = clock()
                await graph.ainvoke({"slot": slot}, {"configurable": {"thread_id": "empty"}}, durability=DURABILITY)
                by_slot.append(clock() - start)
    return by_slot


class Clocks:
    """The wall clock, which notes the process's own time and its memory as it goes."""

    def __init__(self) -> None:
        """Nobody has looked yet."""
        self.noted: list[tuple[float, float, float]] = []
        """Wall clock and processor in seconds, most memory so far in MB (on Linux)."""

    def __call__(self) -> float:
        """Seconds on the wall clock."""
        used, now = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        self.noted.append((now, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024))
        return now

    def processor(self, wall: Sequence[float]) -> list[float]:
        """Processor seconds of the slots that took so long on the wall clock."""
        spent = {after[0] - before[0]: after[1] - before[1] for before, after in itertools.pairwise(self.noted)}
        return [spent[seconds] for seconds in wall]


Timed = tuple[list[float], list[float]]
"""Wall clock and processor, seconds by slot."""


def timed(graph: Callable[..., Coroutine[Any, Any, list[float]]], cluster: Cluster, slots: int) -> Timed:
    """Run one of the two graphs above in a folder of its own."""
    clocks = Clocks()
    with tempfile.TemporaryDirectory() as folder:
        wall = asyncio.run(graph(cluster, slots, Path(folder), clocks))
    return wall, clocks.processor(wall)


def unsynced(cluster: Cluster, slots: int) -> Timed:
    """Run the slot graph with a ledger that the power takes with it."""
    kept, sqlite.SYNCHRONOUS = sqlite.SYNCHRONOUS, "NORMAL"
    try:
        return timed(run, cluster, slots)
    finally:
        sqlite.SYNCHRONOUS = kept


def cells(seconds: Sequence[float]) -> str:
    """Median and 95th percentile in milliseconds."""
    known = sorted(seconds)
    return f"{1e3 * statistics.median(known):9.1f}{1e3 * known[int(0.95 * len(known))]:9.1f}"


def row(label: str, runs: Sequence[Timed]) -> str:
    """Of each clock the run with the smallest median, the first slot (warm-up) left out."""
    best = [min((of_run[1:] for of_run in of_clock), key=statistics.median) for of_clock in zip(*runs, strict=True)]
    return f"  {label:30}{''.join(map(cells, best))}"


def head(label: str) -> str:
    """What stands above the figures."""
    return f"{label:34}wall clock, ms    processor, ms\n{'':36}median      P95   median      P95"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="also run 3,000 slots")
    parser.add_argument("--repeat", type=int, default=5, help="times that both graphs are run, 5 unless given")
    asked = parser.parse_args()
    for cluster, slots in ((load_builtin("bristol"), 100), (generate_testbed(600, seed=1), 20)):
        rounds = [
            (timed(run, cluster, slots), unsynced(cluster, slots), timed(empty, cluster, slots))
            for _ in range(asked.repeat)
        ]
        print(head(f"{cluster.n_nodes} nodes, {slots} slots"))
        for label, of_graph in zip(GRAPHS, zip(*rounds, strict=True), strict=True):
            print(row(label, of_graph))
    if asked.long:
        clocks = Clocks()
        with tempfile.TemporaryDirectory() as folder:
            wall = asyncio.run(run(load_builtin("bristol"), 3000, Path(folder), clocks))
        processor = clocks.processor(wall)
        print(head("6 nodes, 3,000 slots"))
        for first in range(0, 3000, 500):
            part = slice(first, first + 500)
            most = f"{clocks.noted[first + 500][2]:9.0f} MB at most so far"
            print(row(f"slots {first} to {first + 499}", [(wall[part], processor[part])]) + most)


if __name__ == "__main__":
    main()
