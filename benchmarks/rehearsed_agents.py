"""Rehearsed and unrehearsed decisions of the same scripted agents, beside the rules alone, on the same requests.

    python -m benchmarks.rehearsed_agents --seeds 2 --slots 60

Planners: one that answers what the rule would plan for P1's traffic, even shares, a random macro-policy, and everything
on one node; rules schedule and deploy below them. Then agents in all roles: `literal` draws routes from the plan's
shares and deploys by backlog, as a model that keeps to its prompt might; `hopeless` plans and routes everything to one
node and switches every pod off. J is of the requests that ended within the slots.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from domain.decisions import OFF, Deployment, MacroPolicy
from domain.ledger import Attempt, Decision, Role
from domain.objective import summarise
from graph.models.asking import Asker
from graph.rehearsal.plans import RehearsalSettings
from graph.slot.checkpoints import open_checkpointer
from graph.slot.deps import Deps, Fallbacks, Filling
from graph.slot.kinds import keep
from graph.slot.rehearsing import rehearse
from memory import open_memory
from policies.families import make
from policies.lyapunov import LyapunovDeployer
from policies.random import RandomPlanner
from policies.rehearsal.forecast import Traffic
from policies.rehearsal.planner import RehearsalPlanner
from policies.roles import DEPLOYER, SCHEDULER, generator
from policies.shares import ShareScheduler
from runtime.runs.graph_run import GraphRun
from twin.testbed import TwinTestbed
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

CLUSTER = load_builtin("bristol")
ALL = (Role.PLANNER, Role.SCHEDULER, Role.DEPLOYER)


@dataclass(frozen=True)
class Script:
    """Agents that answer by a rule."""

    name: str
    plan: MacroPolicy
    roles: Sequence[Role] = (Role.PLANNER,)
    hopeless: bool = False


@dataclass
class Played:
    """One run."""

    objective: float
    outcomes: Counter[str]
    seconds: float


@dataclass
class Stage:
    """Answers of a script in one run, which sees what its agents see."""

    script: Script
    deps: Deps
    macro: dict[str, Any] | None = None
    outcomes: Counter[str] = field(default_factory=Counter)

    def note(self, decisions: Sequence[Decision]) -> None:
        """Follow the ledger."""
        for decision in decisions:
            if decision.role is Role.PLANNER:
                self.macro = decision.decision
            if decision.role in self.script.roles:
                self.outcomes[str(decision.outcome)] += 1

    def asker(self, role: Role) -> Any:
        """Ask the script instead of a model."""

        def of(slot: int, node: str | None) -> Asker:
            async def ask(messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], attempt: int) -> Attempt:
                return Attempt(tuple(dict(m) for m in messages), json.dumps(self.answer(role, node)))

            return ask

        return of

    def answer(self, role: Role, node: str | None) -> Any:
        """What the agent of a role wants."""
        deps, snapshot = self.deps, self.deps.seen
        if role is Role.PLANNER or snapshot is None:
            return self.script.plan.to_json(CLUSTER)
        policy = deps.policy(self.macro)
        if role is Role.SCHEDULER:
            if self.script.hopeless:
                last = {lm.name: CLUSTER.nodes[-1].name for lm in CLUSTER.lms}
                return {"routes": {origin.name: last for origin in CLUSTER.nodes}}
            rng = generator(deps.seed, SCHEDULER, snapshot.slot)
            return {"routes": ShareScheduler(CLUSTER).schedule(snapshot, policy, rng).to_json(CLUSTER)}
        n = CLUSTER.node_index[node or ""]
        if self.script.hopeless:
            return _deployment(Deployment(n, CLUSTER.n_lms * (OFF,)))
        rng = generator(deps.seed, DEPLOYER, snapshot.slot, n)
        decision = LyapunovDeployer(CLUSTER, follow_roles=True).deploy(snapshot, n, policy, rng)
        return _deployment(decision or keep(snapshot, n))


def _deployment(decision: Deployment) -> Any:
    cells = {}
    for i, (lm, a) in enumerate(zip(CLUSTER.lms, decision.allocations, strict=True)):
        if CLUSTER.feasible[decision.node, i]:
            mode = "off" if a.is_off else "gpu" if a.vgpus else "cpu"
            cells[lm.name] = {"mode": mode, "amount": a.vgpus or a.cores}
    return {"deployment": cells}


def scripts() -> list[Script]:
    """The agents of the table."""
    ones, empty = np.ones(CLUSTER.n_lms), Twin(CLUSTER).observe()
    traffic = Traffic(
        np.full((CLUSTER.n_nodes, CLUSTER.n_lms), 8 / 9),
        4.5 * ones,
        5.25 * ones,
        0.1 * ones,
        50.0,
        0.1 * ones,
        24.0 * ones,
    )
    near = RehearsalPlanner(CLUSTER).candidates(empty, traffic, np.random.default_rng(4))[0].policy
    even, random = MacroPolicy.unrestricted(CLUSTER), RandomPlanner(CLUSTER).plan(empty, (), generator(5))
    one = np.zeros((CLUSTER.n_nodes, CLUSTER.n_lms), dtype=np.bool_)
    one[-1] = True
    bad = MacroPolicy(one.T.astype(np.float64), one)
    return [
        Script("planner: the rule's", near),
        Script("planner: even shares", even),
        Script("planner: random", random),
        Script("planner: one node", bad),
        Script("all roles: literal", even, ALL),
        Script("all roles: hopeless", bad, ALL, hopeless=True),
    ]


async def play(script: Script | None, rehearsed: bool, seed: int, slots: int) -> Played:
    """Run the agents, or the rules of RH where there are none, over slots with requests."""
    family, testbed = make("RH", CLUSTER), TwinTestbed(Twin(CLUSTER), load_workload("p1", CLUSTER, seed))
    with tempfile.TemporaryDirectory() as folder:
        async with (
            open_memory(Path(folder) / "memory.sqlite") as memory,
            open_checkpointer(Path(folder) / "checkpoints.sqlite") as saver,
        ):
            deps = Deps(
                testbed=testbed,
                memory=memory,
                run="benchmark",
                family="MA",
                seed=seed,
                planner=Filling("rehearsal", family.planner),
                scheduler=Filling("backlog", family.scheduler),
                deployer=Filling("steady", family.deployer),
                fallbacks=Fallbacks.rehearsed(testbed) if rehearsed else Fallbacks.random(testbed),
            )
            stage = None
            if script is not None:
                stage = Stage(script, deps)
                deps.on_decisions = stage.note
                for role in script.roles:
                    setattr(deps, role, Filling("script", asker=stage.asker(role)))
            if rehearsed:
                rehearse(deps, RehearsalSettings())
            began = time.process_time()
            await GraphRun(deps, saver, slots, replays=True).run()
            seconds = time.process_time() - began
            records = await memory.records("benchmark")
    told = summarise(records, CLUSTER.n_lms, CLUSTER.deadline_s, CLUSTER.latency_weight)
    outcomes = Counter[str]() if stage is None else stage.outcomes
    return Played(told.objective, outcomes, seconds)


async def table(seeds: int, slots: int) -> None:
    """Print J of each, the share of answers that were overruled, and seconds of one core a slot."""
    rule = [await play(None, False, seed, slots) for seed in range(1, seeds + 1)]
    print(f"{seeds} seeds, {slots} slots of p1 on bristol; means. J of the rules alone {_mean(rule):.4f}")
    print(f"{'':22}{'J as it is':>12}{'J rehearsed':>13}{'to the rules':>14}{'overruled':>11}{'s a slot':>10}")
    for script in scripts():
        plain = [await play(script, False, seed, slots) for seed in range(1, seeds + 1)]
        tried = [await play(script, True, seed, slots) for seed in range(1, seeds + 1)]
        counts = sum((run.outcomes for run in tried), Counter[str]())
        print(
            f"{script.name:22}{_mean(plain):12.4f}{_mean(tried):13.4f}{_mean(tried) / _mean(rule):14.3f}"
            f"{counts['overruled'] / counts.total():11.0%}{sum(run.seconds for run in tried) / seeds / slots:10.2f}",
            flush=True,
        )


def _mean(runs: Sequence[Played]) -> float:
    return float(np.mean([run.objective for run in runs]))


def main() -> None:
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--slots", type=int, default=60)
    given = parser.parse_args()
    asyncio.run(table(given.seeds, given.slots))


if __name__ == "__main__":
    main()
