"""Slots that take as long as live ones while a model server is away, so that an outage costs what it would cost live.

On the twin a slot is over in milliseconds. Without this, a server that is away for some seconds would be away for
hundreds of slots. So a slot in which a server was asked and never answered, for a reason that passes, is waited for to
its end. That has an end, too: a server that stays away longer than the run is patient is waited for no more until it
answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from domain.cluster import Cluster
from domain.decisions import Deployment, RoutingPlan
from domain.telemetry import Records, Snapshot
from domain.testbed import Testbed
from graph.models.agent import Endpoint
from graph.models.slot_clock import SlotClock


class WaitingTestbed:
    """Implements `domain.testbed.Testbed` over a simulated one, and moves the world's clock from slot to slot."""

    def __init__(
        self,
        testbed: Testbed,
        clock: SlotClock,
        endpoints: Collection[Endpoint],
        patience_s: float,
        say: Callable[[str], None],
    ) -> None:
        """Watch over the slots of a run.

        Args:
            testbed: in which slots pass.
            clock: of the world.
            endpoints: that the run's agents ask.
            patience_s: most seconds that one outage is waited for.
            say: takes a sentence for the user.
        """
        self._inner, self._clock, self._endpoints = testbed, clock, endpoints
        self._patience_s, self._say = patience_s, say
        self._waited_s = 0.0

    @property
    def cluster(self) -> Cluster:
        """What the cluster is."""
        return self._inner.cluster

    async def observe(self) -> Snapshot:
        """Everything known at the end of the last slot."""
        return await self._inner.observe()

    async def route(self, plan: RoutingPlan) -> None:
        """Put a routing plan in force."""
        await self._inner.route(plan)

    async def deploy(self, deployment: Deployment) -> None:
        """Apply a deployment."""
        await self._inner.deploy(deployment)

    async def advance(self) -> Records:
        """Let the slot pass, and where a server was away for all of it, its seconds too."""
        records = await self._inner.advance()
        away = [e for e in self._endpoints if e.presence.missed and not _is_given_up(e)]
        if away and self._waited_s < self._patience_s:
            await self._wait(away)
        elif self._waited_s and not away:
            self._over()
        for endpoint in self._endpoints:
            endpoint.presence.begin()
        self._clock.next_slot()
        return records

    async def _wait(self, away: Collection[Endpoint]) -> None:
        if not self._waited_s:
            words = "; ".join(dict.fromkeys(f"{e.address} does not answer ({e.presence.said})" for e in away))
            self._say(f"{words}: slots last as long as they would live, for {self._patience_s:g} s at most")
        seconds = min(self._clock.left_s, self._patience_s - self._waited_s)
        await asyncio.sleep(seconds)
        self._waited_s += max(seconds, 1e-9)
        if self._waited_s >= self._patience_s:
            self._say(f"no answer in {self._patience_s:g} s: the run goes on, and waits no more until there is one")

    def _over(self) -> None:
        if any(endpoint.presence.answered for endpoint in self._endpoints):
            self._say(f"the server answers again, after {self._waited_s:.0f} s of waiting")
            self._waited_s = 0.0


def _is_given_up(endpoint: Endpoint) -> bool:
    return any(known.given_up for known in endpoint.abilities.values())
