"""What a rehearsal by the planner's tool takes, and what it takes to bring a Studio thread's world back.

    python -m benchmarks.tools_and_threads

A rehearsal runs an epoch of P1's workload on a generated testbed and on until the last request has ended, routed by the
shares of a random macro-policy, deployed by the Lyapunov controller within its roles. The world is bristol after slots
of family RL; opening it is what a run in Studio does before its slot.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time

from domain.decisions import MacroPolicy
from graph.studio.context import Context
from graph.studio.run import open_run
from graph.studio.world import World
from policies.families import make
from policies.lyapunov import LyapunovDeployer
from policies.random import RandomPlanner
from policies.roles import DEPLOYER, SCHEDULER, generator
from policies.shares import ShareScheduler
from tools.rehearsing import Rules, rehearse
from tools.traffic import SlotTraffic, come_again
from twin.testbeds import generate_testbed, load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

SEEN = 5
"""Slots whose traffic comes again."""


def rehearsal(nodes: int) -> None:
    """Print how long one rehearsal of an epoch takes."""
    cluster = generate_testbed(nodes, seed=1)
    workload, twin = load_workload("p1", cluster, 1), Twin(cluster)
    scheduler, deployer = ShareScheduler(cluster), LyapunovDeployer(cluster, follow_roles=True)
    policy = RandomPlanner(cluster).plan(twin.observe(), (), generator(1))
    rules = Rules(
        lambda seen, plan: scheduler.schedule(seen, plan, generator(1, SCHEDULER, seen.slot)),
        lambda seen, n, plan: deployer.deploy(seen, n, plan, generator(1, DEPLOYER, seen.slot, n)),
        "",
    )
    recent = []
    for slot in range(SEEN):
        twin.advance(workload.arrivals(slot))
        seen = twin.observe()
        recent.append(SlotTraffic(seen.arrived_requests, seen.arrived_prompts))
    twin = Twin(cluster)
    started = time.perf_counter()
    arrivals = come_again(recent, cluster.slot_s, 0, cluster.epoch_slots)
    found = rehearse(cluster, twin.observe(), arrivals, policy, rules, cluster.epoch_slots)
    print(
        f"rehearsal, {nodes:4} nodes: {time.perf_counter() - started:6.2f} s, {found.requests:,} requests", flush=True
    )


def world_after(slots: int, context: Context) -> str:
    """Return a packed world of bristol."""
    cluster = load_builtin(context.testbed)
    twin, family = Twin(cluster), make(context.family, cluster)
    workload, policy = load_workload(context.workload, cluster, context.seed), MacroPolicy.unrestricted(cluster)
    world = World.new(context.made, cluster)
    for slot in range(slots):
        seen = twin.observe()
        plan = family.scheduler.schedule(seen, policy, generator(1, SCHEDULER, slot))
        decided = [
            family.deployer.deploy(seen, n, policy, generator(1, DEPLOYER, slot, n)) for n in range(cluster.n_nodes)
        ]
        deployments = [{"node": d.node, "allocations": d.to_json(cluster)} for d in decided if d is not None]
        world = world.then(cluster, plan.to_json(cluster), deployments, [])
        world.decide(slot, twin)
        twin.advance(workload.arrivals(slot))
    return world.pack()


async def thread(slots: int) -> None:
    """Print how long a run in Studio takes before its slot, and how large the world in its state is."""
    context = Context()
    packed = world_after(slots, context)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for values in ({}, {"world": packed, "completed": slots - 1}):  # the first loads what is compiled
            started = time.perf_counter()
            async with open_run(context, values, "bench"):
                took = time.perf_counter() - started
        print(f"world after {slots:4} slots: {took:6.3f} s to open, {len(packed):,} characters", flush=True)
        os.chdir("/")


def main() -> None:
    """Run it."""
    for nodes in (6, 60, 600):
        rehearsal(nodes)
    for slots in (1, 100, 500, 1000):
        asyncio.run(thread(slots))


if __name__ == "__main__":
    main()
