"""The tool that rehearses a macro-policy: the twin, set up as the cluster is now, runs it before it is adopted."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from langchain_core.tools import BaseTool, ToolException
from pydantic import BaseModel, ConfigDict, Field, create_model

from domain.cluster import Cluster
from domain.constraints import check_macro_policy
from domain.decisions import Deployment, MacroPolicy, RoutingPlan
from domain.objective import summarise
from domain.telemetry import EpochTelemetry, Records, Snapshot
from domain.workload import Arrivals
from tools.making import make_tool
from tools.traffic import SlotTraffic, come_again
from twin.reconstruct import reconstruct

MOST_SENTENCES = 20
"""Violations of a macro-policy that are spelt out; of the rest only the number is told."""
NODE_SLOTS, FEWEST = 3000, 5
"""Slots of a rehearsal where the model does not say, times nodes; and the fewest. Rules take most of the time, about
half a millisecond for each node and slot (docs/tools.md)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Who decides in the rehearsal, slot by slot, under the macro-policy."""

    schedule: Callable[[Snapshot, MacroPolicy], RoutingPlan]
    deploy: Callable[[Snapshot, int, MacroPolicy], Deployment | None]
    """For one node; None leaves it as it is."""
    described: str
    """Both in words, for the model."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a rehearsal came to."""

    telemetry: EpochTelemetry
    """Over the requests that wait now and those that arrive in its slots, each to its end."""
    requests: int


class Stopped(Exception):
    """A rehearsal that nobody waits for any more."""


def rehearse(
    cluster: Cluster,
    snapshot: Snapshot,
    arrivals: Arrivals,
    policy: MacroPolicy,
    rules: Rules,
    slots: int,
    stop: threading.Event | None = None,
) -> Rehearsed:
    """Run `policy` from the state that `snapshot` tells of, over `slots` slots and on until the last request has ended.

    Args:
        cluster: that is rehearsed.
        snapshot: nodes without a reading count as empty.
        arrivals: with times in the `slots` slots from `snapshot.slot` on.
        policy: sound by `check_macro_policy`.
        rules: who schedules and deploys under it.
        slots: with arrivals.
        stop: ends the rehearsal early when set.

    Raises:
        Stopped: it was ended early.
    """
    twin, parts = reconstruct(cluster, snapshot), list[Records]()
    drain = math.ceil(cluster.deadline_s / cluster.slot_s) + 1
    for k in range(slots + drain):
        if stop is not None and stop.is_set():
            raise Stopped
        if k >= slots and not twin.waiting:
            break
        seen = twin.observe()
        twin.route(rules.schedule(seen, policy))
        for n in range(cluster.n_nodes):
            if stop is not None and stop.is_set():
                raise Stopped
            deployment = rules.deploy(seen, n, policy)
            if deployment is not None:
                twin.deploy(deployment)
        slot = snapshot.slot + k  # the products are the slot's bounds in the twin, as they round
        parts.append(twin.advance(arrivals.between(slot * cluster.slot_s, (slot + 1) * cluster.slot_s)))
    records = Records.concatenate(parts)
    return Rehearsed(
        summarise(records, cluster.n_lms, cluster.deadline_s, cluster.latency_weight),
        requests=len(records),
    )


class MacroPolicyArgument(BaseModel):
    """A macro-policy in its form with names."""

    model_config = ConfigDict(extra="forbid")

    routing: Annotated[
        dict[str, dict[str, float]],
        Field(
            description="For each LM: node name to share of its traffic. Shares are from 0 to 1 and sum to 1 per LM."
        ),
    ]
    roles: Annotated[
        dict[str, list[str]],
        Field(description="For each node: names of the LMs it may host. A node needs the role of every LM it gets."),
    ]


def rehearse_tool(
    cluster: Cluster,
    snapshot: Callable[[], Awaitable[Snapshot]],
    recent: Callable[[], Sequence[SlotTraffic]],
    parse: Callable[[str], MacroPolicy],
    rules: Callable[[], Rules],
) -> BaseTool:
    """Make the tool.

    Args:
        cluster: that is rehearsed.
        snapshot: where the rehearsal starts.
        recent: what arrived in the last slots; it comes again in the rehearsal.
        parse: reads the JSON text of a macro-policy as the planner's answer is read; raises ToolException where it
            cannot, with what is wrong.
        rules: who schedules and deploys in the rehearsal; called with the first one, for making rules takes time.
    """
    most = cluster.epoch_slots
    arguments = create_model(
        "RehearseArguments",
        __config__=ConfigDict(extra="forbid"),
        macro_policy=(MacroPolicyArgument, Field(description="The macro-policy to try.")),
        slots=(
            int,
            Field(
                min(most, max(FEWEST, NODE_SLOTS // cluster.n_nodes)),
                ge=1,
                le=most,
                description=f"Slots with arrivals, {cluster.slot_s:g} s each; an epoch has {most}. More take longer.",
            ),
        ),
    )

    async def answer(macro_policy: MacroPolicyArgument, slots: int) -> dict[str, Any]:
        policy = parse(json.dumps(macro_policy.model_dump()))
        broken = check_macro_policy(cluster, policy)
        if broken:
            more = f" There are {len(broken) - MOST_SENTENCES} more." if len(broken) > MOST_SENTENCES else ""
            raise ToolException(" ".join(str(violation) for violation in broken[:MOST_SENTENCES]) + more)
        seen, traffic = await snapshot(), list(recent())
        if not traffic:
            raise ToolException("No slot has passed yet, so there are no arrivals to rehearse with; plan without.")
        arrivals = come_again(traffic, cluster.slot_s, seen.slot, slots)
        stop, acting = threading.Event(), rules()
        playing = asyncio.ensure_future(
            asyncio.to_thread(rehearse, cluster, seen, arrivals, policy, acting, slots, stop)
        )
        try:
            found = await asyncio.shield(playing)
        except asyncio.CancelledError:  # the rules are the run's own: whoever comes next must have them for itself
            stop.set()
            await asyncio.gather(playing, return_exceptions=True)
            raise
        return {"predicted": _told(cluster, found), "assumed": _assumed(acting, min(len(traffic), slots), slots)}

    return make_tool(
        "rehearse",
        "Try a macro-policy in the digital twin before you propose it. The twin starts from the present queues and "
        "pods, the traffic of the last slots comes again, and every request runs to its end. Returns the predicted "
        "J (smaller is better), fairness (1 is best), mean latency and success ratio per LM. Compare two or three "
        "macro-policies and propose the one with the smallest J.",
        arguments,
        answer,
    )


def _told(cluster: Cluster, found: Rehearsed) -> dict[str, Any]:
    telemetry = found.telemetry
    by_lm = zip(cluster.lms, telemetry.success_ratio, telemetry.mean_latency_s, strict=True)
    return {
        "J": telemetry.objective,
        "latency_norm": telemetry.latency_norm,
        "fairness": telemetry.fairness,
        "mean_latency_s": telemetry.global_mean_latency_s,
        "requests": found.requests,
        "lms": {
            lm.name: {"success_ratio": float(ratio), "mean_latency_s": float(latency)}
            for lm, ratio, latency in by_lm
            if not np.isnan(ratio)
        },
    }


def _assumed(rules: Rules, seen: int, slots: int) -> str:
    return (
        f"{rules.described}; the arrivals of the last {seen} slots come again over {slots} slots. "
        "Other schedulers and other traffic give other figures: compare predictions with each other."
    )
