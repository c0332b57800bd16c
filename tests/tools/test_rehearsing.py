"""The tool that rehearses: it predicts what then happens, from traffic that comes again, and changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest

from domain.decisions import NOWHERE, MacroPolicy, RoutingPlan
from domain.moments import last_before
from domain.objective import summarise
from domain.telemetry import Records, Snapshot
from domain.workload import Arrivals
from graph.slot.deps import Filling
from graph.slot.planner_tools import rehearsal_rules
from policies.roles import generator
from policies.shares import ShareScheduler
from tests.agents import bristol_run
from tests.clusters import tiny
from tests.tool_calls import BRISTOL, PLAN, ask, named
from tools.rehearsing import Rules, Stopped, rehearse, rehearse_tool
from tools.traffic import SlotTraffic, WatchedTestbed, come_again
from twin.testbed import TwinTestbed
from twin.twin import Twin
from twin.workloads import load_workload

# Traffic


async def test_a_watched_testbed_is_the_testbed_itself_and_remembers_its_last_slots() -> None:
    plain, watched = (TwinTestbed(Twin(BRISTOL), load_workload("p1", BRISTOL, 4)) for _ in range(2))
    watching = WatchedTestbed(watched, slots=3)
    plan = RoutingPlan(np.full((BRISTOL.n_nodes, BRISTOL.n_lms), NOWHERE, dtype=np.int64))
    for slot in range(5):
        assert (await watching.observe()).slot == slot
        for testbed in (plain, watching):
            await testbed.route(plan)
        a, b = await plain.advance(), await watching.advance()
        np.testing.assert_array_equal(a.request, b.request)
    arrived = [load_workload("p1", BRISTOL, 4).arrivals(slot).prompts.sum() for slot in (2, 3, 4)]
    assert [seen.prompts.sum() for seen in watching.recent] == arrived


def test_recent_slots_come_again_in_order_with_every_request_and_prompt() -> None:
    slots = [
        SlotTraffic(np.array([[2, 0], [1, 1]]), np.array([[7, 0], [1, 4]])),
        SlotTraffic(np.array([[0, 3], [0, 0]]), np.array([[0, 3], [0, 0]])),
        SlotTraffic(np.zeros((2, 2), dtype=np.int64), np.zeros((2, 2), dtype=np.int64)),
    ]
    again = come_again(slots, 30.0, first=10, slots=5)
    counts = [len(again.between(30.0 * t, 30.0 * (t + 1))) for t in range(10, 15)]
    assert counts == [4, 3, 0, 4, 3]
    first = again.between(300.0, 330.0)
    mine = (first.origin == 0) & (first.lm == 0)
    assert sorted(first.prompts[mine].tolist()) == [3, 4]
    assert np.diff(first.time_s[mine]) == pytest.approx([15.0])
    assert len(set(first.time_s.tolist())) == 4
    last = come_again(slots[:2], 30.0, first=0, slots=1)  # fewer slots than were seen: the last of them
    assert last.lm.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="no slot"):
        come_again([], 30.0, 0, 1)


# Rehearsal


async def test_a_rehearsal_predicts_what_then_happens_when_nothing_is_left_to_chance(tmp_path: Path) -> None:
    """From an empty cluster, with the arrivals that come and the rules that decide, the twin cannot be wrong."""
    policy = MacroPolicy.from_json(BRISTOL, PLAN["routing"], PLAN["roles"])
    async with bristol_run(tmp_path) as run:
        run.deps.scheduler, run.deps.deployer = Filling("m"), Filling("m")  # as where agents fill the roles
        rules = rehearsal_rules(run.deps)
    workload = load_workload("p1", BRISTOL, 4)
    arrivals = type(workload.arrivals(0)).concatenate([workload.arrivals(slot) for slot in range(20)])
    found = rehearse(BRISTOL, Twin(BRISTOL).observe(), arrivals, policy, rules, slots=20)
    twin, parts = Twin(BRISTOL), list[Records]()
    while not parts or twin.waiting or twin.slot < 20:
        snapshot = twin.observe()
        twin.route(rules.schedule(snapshot, policy))
        for n in range(BRISTOL.n_nodes):
            decision = rules.deploy(snapshot, n, policy)
            assert decision is not None
            twin.deploy(decision)
        start = 30.0 * twin.slot
        parts.append(twin.advance(arrivals.between(start, start + 30.0)))
    expected = summarise(Records.concatenate(parts), BRISTOL.n_lms, BRISTOL.deadline_s, BRISTOL.latency_weight)
    assert found.requests == len(arrivals)
    assert found.telemetry.objective == expected.objective
    assert found.telemetry.global_mean_latency_s == expected.global_mean_latency_s


def test_a_rehearsal_misses_no_request_where_slots_round() -> None:
    cluster = dataclasses.replace(BRISTOL, slot_s=1.1)
    nowhere = RoutingPlan(np.full((cluster.n_nodes, cluster.n_lms), NOWHERE, dtype=np.int64))
    rules = Rules(lambda seen, policy: nowhere, lambda seen, n, policy: None, "nobody decides")
    times = np.repeat([k * 1.1 for k in range(40)], 2)
    times[1::2] = [last_before((k + 1) * 1.1) for k in range(40)]
    arrivals = Arrivals.of(times, np.zeros(80), np.zeros(80), np.ones(80))
    policy = MacroPolicy.unrestricted(cluster)
    assert rehearse(cluster, Twin(cluster).observe(), arrivals, policy, rules, slots=40).requests == 80


async def test_a_rehearsal_tells_a_good_plan_from_a_bad_one_and_leaves_the_world_alone(tmp_path: Path) -> None:
    spread = MacroPolicy.from_json(BRISTOL, PLAN["routing"], PLAN["roles"]).to_json(BRISTOL)
    slow = next(n.name for n in BRISTOL.nodes if not n.vgpus)
    gpu = next(n.name for n in BRISTOL.nodes if n.vgpus)
    texts = [lm.name for lm in BRISTOL.lms if not lm.gpu_only]
    crammed = {
        "routing": {lm.name: {slow if lm.name in texts else gpu: 1.0} for lm in BRISTOL.lms},
        "roles": {
            n.name: texts if n.name == slow else [lm.name for lm in BRISTOL.lms if lm.gpu_only] if n.name == gpu else []
            for n in BRISTOL.nodes
        },
    }
    async with bristol_run(tmp_path, "RL", slots=10) as run:
        tools = named(run.deps)
        await run.run()
        testbed = run.deps.testbed
        assert isinstance(testbed, WatchedTestbed)
        assert isinstance(testbed.inner, TwinTestbed)
        before = testbed.inner.twin.save()
        run.deps.scheduler, run.deps.deployer = Filling("m"), Filling("m")  # as where agents fill the roles
        good, bad = [await ask(tools["rehearse"], macro_policy=p, slots=20) for p in (spread, crammed)]
        again = await ask(tools["rehearse"], macro_policy=spread, slots=20)
        assert testbed.inner.twin.save() == before
    assert good == again
    assert good["predicted"]["J"] < bad["predicted"]["J"]
    assert good["predicted"]["requests"] == bad["predicted"]["requests"] > 300
    assert "your shares" in good["assumed"]
    assert "the last 10 slots come again over 20 slots" in good["assumed"]


async def test_a_rehearsal_that_is_cut_off_stops_computing() -> None:
    cluster, started, stop = tiny(), threading.Event(), threading.Event()

    def schedule(snapshot: Snapshot, policy: MacroPolicy) -> RoutingPlan:
        started.set()
        stop.wait(5)
        return RoutingPlan(np.zeros((2, 2), dtype=np.int64))

    rules = Rules(schedule, lambda snapshot, n, policy: None, "slow")
    one = np.ones((2, 2), dtype=np.int64)
    arrivals = come_again([SlotTraffic(one, one)], 30.0, 0, 4)
    policy = MacroPolicy.unrestricted(cluster)
    work = asyncio.create_task(
        asyncio.to_thread(rehearse, cluster, Twin(cluster).observe(), arrivals, policy, rules, 4, stop)
    )
    await asyncio.to_thread(started.wait)
    stop.set()
    with pytest.raises(Stopped):
        await work


def test_the_share_scheduler_follows_the_shares() -> None:
    cluster = BRISTOL
    shares = np.zeros((cluster.n_lms, cluster.n_nodes))
    shares[0, [1, 3]] = 0.75, 0.25
    shares[1, 2] = 1.0
    policy = MacroPolicy(shares, np.asarray(shares.T > 0))
    scheduler, snapshot = ShareScheduler(cluster), Twin(cluster).observe()
    plans = np.array([scheduler.schedule(snapshot, policy, generator(1, s)).targets for s in range(400)])
    drawn = np.bincount(plans[:, :, 0].ravel(), minlength=cluster.n_nodes) / plans[:, :, 0].size
    assert drawn == pytest.approx([0, 0.75, 0, 0.25, 0, 0], abs=0.03)  # 2400 draws: three standard errors are 0.027
    assert set(plans[:, :, 1].ravel().tolist()) == {2}
    assert all(cluster.feasible[n, 3] for n in plans[:, :, 3].ravel())  # no shares: any node that can


async def test_a_call_that_is_cut_off_returns_when_nobody_uses_the_rules_any_more() -> None:
    cluster, started, go_on = tiny(), threading.Event(), threading.Event()
    using = list[str]()

    def schedule(snapshot: Snapshot, policy: MacroPolicy) -> RoutingPlan:
        using.append("used")
        started.set()
        go_on.wait(5)
        using.append("left")
        return RoutingPlan(np.zeros((2, 2), dtype=np.int64))

    async def snapshot() -> Snapshot:
        return Twin(cluster).observe()

    one, policy = np.ones((2, 2), dtype=np.int64), MacroPolicy.unrestricted(cluster)
    tool = rehearse_tool(
        cluster,
        snapshot,
        lambda: [SlotTraffic(one, one)],
        lambda text: policy,
        lambda: Rules(schedule, lambda seen, n, policy: None, "the run's own"),
    )
    call = asyncio.create_task(tool.ainvoke({"macro_policy": policy.to_json(cluster), "slots": 4}))
    await asyncio.to_thread(started.wait)
    call.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not call.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert using == ["used", "left"]
