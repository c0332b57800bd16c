"""Plays recorded requests again in the twin: under rules that decide anew, or under the decisions of a ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.cluster import Cluster
from domain.errors import InputError
from domain.ledger import Role
from domain.workload import Arrivals
from policies.families import FAMILIES, Recipe, make
from runtime.agents.families import AGENT, recipe_of, roles_of
from runtime.results.columns import PartWriter
from runtime.results.own_dispatch import bare
from runtime.results.slots import SlotResult
from runtime.results.summary import FamilyResult
from runtime.results.tally import Tally
from runtime.runs.loop import run_slots, total_slots
from runtime.runs.progress import RunProgress
from twin.twin import Twin

RESULT = "result.json"


class NoDecisions(Exception):
    """The decisions of a run are not there in full; the text says what is."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Recorded requests as a workload: implements `domain.workload.Workload`."""

    recorded: Arrivals
    slots: int | None
    slot_s: float

    def arrivals(self, slot: int) -> Arrivals:
        """Return the requests of slot t."""
        return self.recorded.between(slot * self.slot_s, (slot + 1) * self.slot_s)


def rules_of(code: str, stood_in: bool) -> Recipe:
    """Return who fills the roles of a family of rules.

    Args:
        code: of the family, or a mix.
        stood_in: True where the run had no model to ask, and rules filled the roles of its agents.

    Raises:
        InputError: it asks models.
    """
    recipe = recipe_of(code)
    if AGENT not in roles_of(recipe).values():
        return recipe
    if not stood_in:
        raise InputError(f"{code} asks models, and a what-if asks none; name rules with --family, such as --family RH.")
    from runtime.agents.settings import stand_ins  # the graph takes its time to import, and rules need none of it

    names = stand_ins(code)
    return Recipe(recipe.title, recipe.summary, names[Role.SCHEDULER], names[Role.DEPLOYER], names[Role.PLANNER])


def play_rules(
    draft: Path, cluster: Cluster, code: str, recipe: Recipe, requests: Requests, seed: int, progress: RunProgress
) -> None:
    """Let rules decide on the requests; write records, slots and result to `draft`."""
    assert requests.slots is not None
    recipes: Mapping[str, Recipe] = {**FAMILIES, bare(code): recipe}
    tally = Tally(cluster)
    with PartWriter(draft, cluster, code, seed) as writer:
        decider = make(bare(code), cluster, recipes)
        for result in run_slots(Twin(cluster), decider, requests, requests.slots, seed):
            tally.add(result)
            writer.add(result)
            progress.slot()
    _finish(draft, FamilyResult.of(cluster, code, seed, tally))


def play_decisions(
    draft: Path,
    cluster: Cluster,
    code: str,
    memory: str | Path,
    run: str,
    requests: Requests,
    seed: int,
    progress: RunProgress,
) -> None:
    """Carry out the decisions of a ledger on the requests; write records, slots and result to `draft`.

    Args:
        draft: folder.
        cluster: that the decisions were made for.
        code: of the family that made them.
        memory: file or URI.
        run: its name in the memory.
        requests: that came.
        seed: of the run.
        progress: counts slots.

    Raises:
        NoDecisions: the memory is away, or does not hold the decisions of every slot.
    """
    from memory import MemoryAway

    try:
        asyncio.run(_play(draft, cluster, code, memory, run, requests, seed, progress))
    except MemoryAway as error:
        raise NoDecisions(f"the memory with its decisions cannot be reached ({str(error).rstrip('.')})") from None


async def _play(
    draft: Path,
    cluster: Cluster,
    code: str,
    target: str | Path,
    run: str,
    requests: Requests,
    seed: int,
    progress: RunProgress,
) -> None:
    from memory.copying import open_to_read
    from runtime.runs.books import BookedTwin  # the graph takes its time to import, and rules need none of it
    from runtime.runs.playing import LedgerGap, ledger_slots, play

    assert requests.slots is not None
    tally, total = Tally(cluster), total_slots(cluster, requests.slots)
    async with open_to_read(target) as memory:
        with PartWriter(draft, cluster, code, seed) as writer:

            def book(result: SlotResult) -> None:
                tally.add(result)
                writer.add(result)
                progress.slot()

            testbed = BookedTwin(cluster, requests, requests.slots, book)
            try:
                async for _, decisions in ledger_slots(memory, run, range(total), cluster):
                    await play(testbed, decisions)
            except LedgerGap as gap:
                raise NoDecisions(f"its ledger does not hold every decision: {gap}") from None
    _finish(draft, FamilyResult.of(cluster, code, seed, tally))


def _finish(draft: Path, result: FamilyResult) -> None:
    (draft / RESULT).write_text(result.model_dump_json(), encoding="utf-8")
