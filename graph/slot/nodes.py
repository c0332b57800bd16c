"""Nodes around the decisions: observe before them, let the slot pass after them, remember the epoch at its end."""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.ledger import Case, Outcome
from domain.objective import summarise
from domain.telemetry import EpochTelemetry, Phase, Records, Snapshot
from graph.slot.deps import Deps
from graph.slot.kinds import traffic_by_name
from graph.slot.state import SlotState, SlotUpdate, last_lines
from memory.engine import MemoryAway

_PHASES = [phase.name for phase in Phase]
_READY, _PENDING = int(Phase.READY), int(Phase.PENDING)


class SlotNodes:
    """Observe, let pass and remember: what a slot does besides deciding."""

    def __init__(self, deps: Deps) -> None:
        """Close over what the nodes share."""
        self._deps = deps

    async def observe(self, state: SlotState) -> SlotUpdate:
        """Start the slot: one snapshot for all who decide, empty lists, counters of a new epoch."""
        cluster = self._deps.testbed.cluster
        snapshot = await self._deps.snapshot(state["slot"])
        changed = await self._deps.watched(snapshot)
        traffic, last = state.get("traffic", []), state.get("last_traffic", [])
        begun = (state.get("snapshot") or {}).get("slot") == state["slot"]  # a slot that was cut off starts over
        if state["slot"] % cluster.epoch_slots == 0 and not begun:
            last, traffic = traffic, np.zeros((cluster.n_nodes, cluster.n_lms), dtype=np.int64).tolist()
        update: SlotUpdate = {
            "snapshot": self._view(snapshot),
            "traffic": traffic,
            "last_traffic": last,
            "decisions": None,
            "proposals": None,
            "deployments": None,
        }
        if self._deps.planner is None and state.get("macro_policy") is not None:  # of a planner that is gone
            return {**update, "macro_policy": None, "macro_by": "", "macro_epoch": -1, "macro_made": -1}
        return {**update, "macro_epoch": -1} if changed else update

    def _view(self, snapshot: Snapshot) -> dict[str, Any]:
        return view(self._deps.testbed.cluster, snapshot, self._deps.detailed)

    async def advance(self, state: SlotState) -> SlotUpdate:
        """Let the slot pass and keep the records of what ended."""
        deps, slot = self._deps, state["slot"]
        records = await deps.testbed.advance()
        deps.passed[slot] = records
        deps.seen = None
        _, after = await asyncio.gather(deps.memory.put_records(deps.run, slot, records), deps.snapshot(slot + 1))
        traffic = np.asarray(state["traffic"], dtype=np.int64) + after.arrived_prompts
        success = records.success
        deps.foresight.passed(records, after)
        seen: SlotUpdate = {} if deps.foresight.idle else {"foresight": deps.foresight.save()}
        return {
            **seen,
            **({} if self.closes_epoch(slot) else SlotUpdate(completed=slot)),
            "traffic": traffic.tolist(),
            "outcome": {
                "ended": len(records),
                "succeeded": int(success.sum()),
                "mean_latency_s": float(records.latency_s[success].mean()) if success.any() else None,
                "waiting_requests": int(after.backlog_requests.sum()),
                "arrived_requests": int(after.arrived_requests.sum()),
                "fallbacks": sum(
                    line["outcome"] == Outcome.FALLBACK for line in last_lines(state["decisions"]).values()
                ),
            },
        }

    def closes_epoch(self, slot: int) -> bool:
        """True for the last slot of an epoch, which is over when the epoch has been remembered."""
        return (slot + 1) % self._deps.testbed.cluster.epoch_slots == 0

    async def remember(self, state: SlotState) -> SlotUpdate:
        """End the epoch, and its last slot: telemetry, objective and case (P1-11)."""
        deps, cluster, slot = self._deps, self._deps.testbed.cluster, state["slot"]
        slots = range(slot - cluster.epoch_slots + 1, slot + 1)
        records = await self._epoch_records(slots)
        telemetry = summarise(records, cluster.n_lms, cluster.deadline_s, cluster.latency_weight)
        deps.history.append(telemetry)
        deps.last_case = self._case(state, records, telemetry)
        compared = [asdict(done) for done in deps.foresight.take()]
        extra = {"predictions": compared} if compared else None
        await deps.memory.put_telemetry(deps.run, deps.last_case.epoch, telemetry, extra)
        await deps.memory.put_case(deps.last_case)
        deps.passed.clear()
        done = SlotUpdate(completed=slot)
        return {**done, "foresight": deps.foresight.save()} if compared else done

    async def _epoch_records(self, slots: range) -> Records:
        passed = self._deps.passed
        if not all(slot in passed for slot in slots):  # this process saw the end of the epoch only
            with contextlib.suppress(MemoryAway):
                return await self._deps.memory.records(self._deps.run, slots[0], slots[-1])
        return Records.concatenate([passed[slot] for slot in slots if slot in passed])

    def _case(self, state: SlotState, records: Records, telemetry: EpochTelemetry) -> Case:
        deps, cluster = self._deps, self._deps.testbed.cluster
        macro = state.get("macro_policy")
        policy = deps.policy(macro)
        routed = records.target >= 0
        off_role = ~policy.roles[records.target[routed], records.lm[routed]]
        names = [lm.name for lm in cluster.lms]
        return Case(
            run=deps.run,
            epoch=state["slot"] // cluster.epoch_slots,
            testbed=cluster.setting,
            family=deps.family,
            decided_by=state.get("macro_by") or "none",
            traffic=traffic_by_name(cluster, state["traffic"], cluster.epoch_slots),
            macro_policy=policy.to_json(cluster),
            success_ratio=dict(zip(names, map(_number, telemetry.success_ratio), strict=True)),
            mean_latency_s=dict(zip(names, map(_number, telemetry.mean_latency_s), strict=True)),
            global_mean_latency_s=_number(telemetry.global_mean_latency_s),
            fairness=telemetry.fairness,
            latency_norm=telemetry.latency_norm,
            objective=telemetry.objective,
            off_role_ratio=float(off_role.mean()) if off_role.size else 0.0,
            ended=len(records),
            predicted_objective=None if deps.foresight.expected is None else deps.foresight.expected.objective,
        )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def view(cluster: Cluster, snapshot: Snapshot, detailed: bool) -> dict[str, Any]:
    """A snapshot as plain data with names: node by node where `detailed`, else in sums."""
    names, phases = [lm.name for lm in cluster.lms], snapshot.phase.tolist()
    every = [phase for row in phases for phase in row]
    ages: list[float] = snapshot.age_s.tolist()
    totals = {
        "slot": snapshot.slot,
        "time_s": snapshot.time_s,
        "backlog_prompts": _by_lm(names, snapshot.backlog_prompts),
        "arrived_prompts": _by_lm(names, snapshot.arrived_prompts),
        "pending_pods": every.count(_PENDING),
        "ready_pods": every.count(_READY),
        "unread_nodes": sum(map(math.isnan, ages)),
    }
    if not detailed:
        return totals
    rows = zip(
        cluster.nodes,
        snapshot.backlog_prompts.tolist(),
        zip(phases, snapshot.cores.tolist(), snapshot.vgpus.tolist(), strict=True),
        snapshot.free_cores.tolist(),
        snapshot.free_ram_gb.tolist(),
        snapshot.free_vgpus.tolist(),
        snapshot.free_vram_gb.tolist(),
        ages,
        strict=True,
    )
    nodes = {
        node.name: {
            "backlog_prompts": dict(zip(names, backlog, strict=True)),
            "pods": {
                name: {"phase": _PHASES[phase], "cores": c, "vgpus": g} if c or g else {"phase": _PHASES[phase]}
                for name, phase, c, g in zip(names, *pods, strict=True)
            },
            "free": {"cores": cores, "ram_gb": ram_gb, "vgpus": vgpus, "vram_gb": vram_gb},
            "age_s": _number(age),
        }
        for node, backlog, pods, cores, ram_gb, vgpus, vram_gb, age in rows
    }
    return {**totals, "nodes": nodes}


def _by_lm(names: list[str], prompts: NDArray[np.int64]) -> dict[str, int]:
    """[N, I] prompts to those of each LM."""
    return dict(zip(names, prompts.sum(axis=0).tolist(), strict=True))
