"""How fast and how big a memory is after a year of slots.

    python -m benchmarks.memory                        100,000 rows, then 1,000,000, in a folder of its own
    python -m benchmarks.memory --rows 10000           fewer
    python -m benchmarks.memory --memory mongodb://…   in a database of yours, which is left filled

Figures are medians over calls through the interface that the graph uses, at random places, from a fixed seed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import statistics
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

from domain.cluster import Cluster
from domain.ledger import Case, Decision, Outcome, Role
from domain.telemetry import Records
from memory import Memory, open_memory
from memory.columns import pack
from memory.documents import Document
from memory.engine import Engine
from memory.forms import case_document, records_document
from memory.ledger_text import LedgerText
from memory.mongo import MongoEngine
from memory.sqlite import SqliteEngine
from policies.families import make
from runtime.runs.loop import run_slots
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

RUN, SEED, BATCH, CALLS = "year", 7, 5_000, 30
EPOCH = 50


def real_records(cluster: Cluster, slots: int = 300, warm_up: int = 30) -> list[Records]:
    """Records of P1's workload under RL, slot by slot, once the queues have filled."""
    workload = load_workload("p1", cluster, SEED)
    results = run_slots(Twin(cluster), make("RL", cluster), workload, slots, SEED)
    return [result.records for result in islice(results, warm_up, slots)]


def slot_decisions(cluster: Cluster, slot: int, rng: random.Random) -> list[Decision]:
    """What rules decide in one slot: a plan, and a deployment for each node; a macro-policy with every epoch."""

    def by_rule(role: Role, node: str | None, decision: dict[str, object]) -> Decision:
        return Decision(RUN, slot, role, node, "rule:random", Outcome.RULE, decision)

    names, lms = [node.name for node in cluster.nodes], [lm.name for lm in cluster.lms]
    found = [by_rule(Role.SCHEDULER, None, {a: {lm: rng.choice(names) for lm in lms} for a in names})]
    found += [by_rule(Role.DEPLOYER, n, {lm: rng.choice(["off", {"vgpus": 1}]) for lm in lms}) for n in names]
    return [by_rule(Role.PLANNER, None, macro_policy(cluster, rng)), *found] if slot % EPOCH == 0 else found


def macro_policy(cluster: Cluster, rng: random.Random) -> dict[str, object]:
    """Any macro-policy, with names."""
    names, lms = [node.name for node in cluster.nodes], [lm.name for lm in cluster.lms]
    return {"routing": {lm: {n: rng.random() for n in names} for lm in lms}, "roles": dict.fromkeys(names, lms)}


def an_epoch(cluster: Cluster, epoch: int, rng: random.Random) -> Case:
    """A case of P1's traffic, 4 prompts a slot at each node on average."""
    names, lms = [node.name for node in cluster.nodes], [lm.name for lm in cluster.lms]
    return Case(
        run=RUN, epoch=epoch, testbed=cluster.name, family="MA", decided_by="agent:gpt-5",
        traffic={lm: {n: max(rng.gauss(4.0, 0.4), 0.0) for n in names} for lm in lms},
        macro_policy=macro_policy(cluster, rng),
        success_ratio={lm: rng.random() for lm in lms}, mean_latency_s={lm: 900 * rng.random() for lm in lms},
        global_mean_latency_s=900 * rng.random(), fairness=rng.random(), latency_norm=rng.random(),
        objective=rng.random(), off_role_ratio=rng.random(), ended=1000,
    )  # fmt: skip


def many_records(records: list[Records], slots: int) -> Iterator[Document]:
    """The same few slots again and again under new numbers, packed once."""
    made = [records_document(RUN, 0, part) for part in records]
    for slot in range(slots):
        one = made[slot % len(made)]
        yield replace(one, values={**one.values, "slot": slot}, text=one.text.replace('"slot":0,', f'"slot":{slot},'))


async def fill(engine: Engine, documents: Iterable[Document]) -> None:
    """Write many documents in few transactions."""
    left: Iterator[Document] = iter(documents)
    while batch := list(islice(left, BATCH)):
        await engine.write(batch)


async def milliseconds(call: Callable[[int], Awaitable[object]]) -> float:
    """Median time of a call, the first one left out."""
    times = []
    for n in range(CALLS + 1):
        started = time.perf_counter()
        await call(n)
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times[1:])


async def measure(memory: Memory, cluster: Cluster, slots: int, epochs: int, records: list[Records]) -> None:
    """Print what each call takes in a memory of so many slots and epochs."""
    rng = random.Random(SEED)
    middle = [rng.randrange(slots - EPOCH) for _ in range(CALLS + 1)]
    node, now = cluster.nodes[-1].name, an_epoch(cluster, 0, rng).traffic
    decided = [slot_decisions(cluster, slots + n, rng) for n in range(CALLS + 1)]
    cases = [an_epoch(cluster, epochs + n, rng) for n in range(CALLS + 1)]
    calls: dict[str, Callable[[int], Awaitable[object]]] = {
        f"put_decisions, the {len(decided[1])} of a slot": lambda n: memory.put_decisions(decided[n]),
        "put_decision, one": lambda n: memory.put_decision(slot_decisions(cluster, 2 * slots + n, rng)[-1]),
        "put_records of a slot": lambda n: memory.put_records(RUN, slots + n, records[n]),
        "put_case": lambda n: memory.put_case(cases[n]),
        "decisions of a slot": lambda n: memory.decisions(RUN, middle[n]),
        "decisions of a node in 50 slots": lambda n: memory.decisions(
            RUN, node=node, first=middle[n], last=middle[n] + EPOCH - 1
        ),
        "the planner's last 20 decisions": lambda n: memory.decisions(
            RUN, role=Role.PLANNER, first=slots - 20 * EPOCH, last=slots
        ),
        "records of 50 slots": lambda n: memory.records(RUN, middle[n], middle[n] + EPOCH - 1),
        "cases, the last 10": lambda n: memory.cases(cluster.name, 10),
        "recall, 3 best, 2 worst, 3 nearest": lambda n: memory.recall(cluster.name, now),
    }
    for name, call in calls.items():
        print(f"  {name:36} {await milliseconds(call):9.2f} ms", flush=True)


def sizes(records: list[Records]) -> None:
    """Print what a slot's records take in three forms."""
    plain = [
        json.dumps({f.name: getattr(part, f.name).tolist() for f in fields(Records)}, separators=(",", ":")).encode()
        for part in records
    ]
    print(f"records of a slot, {statistics.mean(map(len, records)):.0f} requests on average, in bytes:")
    print(f"  columns, compressed (as stored)      {statistics.mean(len(pack(part)) for part in records):9.0f}")
    print(f"  JSON arrays                          {statistics.mean(map(len, plain)):9.0f}")
    print(f"  JSON arrays, compressed              {statistics.mean(len(zlib.compress(p)) for p in plain):9.0f}")


async def bench(target: str, rows: int, epochs: int, cluster: Cluster, records: list[Records]) -> None:
    """Fill a memory and measure it."""
    rng, ledger = random.Random(SEED), LedgerText()
    engine: Engine = MongoEngine(target, 60.0) if "://" in target else SqliteEngine(Path(target), 60.0)
    await engine.open()
    slots = rows // (cluster.n_nodes + 1)
    kinds: dict[str, tuple[int, Iterator[Document]]] = {
        "decisions": (
            rows,
            (entry for slot in range(slots) for entry in ledger.documents(slot_decisions(cluster, slot, rng))),
        ),
        "records": (rows, many_records(records, rows)),
        "cases": (epochs, (case_document(an_epoch(cluster, epoch, rng)) for epoch in range(epochs))),
    }
    print(f"{target}", flush=True)
    for name, (count, documents) in kinds.items():
        before, started = _bytes(target), time.perf_counter()
        await fill(engine, documents)
        rate, each = count / (time.perf_counter() - started), (_bytes(target) - before) / count
        print(f"  filled with {count:>9,} {name:9} {rate:9,.0f} /s {each:9.0f} bytes each", flush=True)
    await engine.close()
    async with open_memory(target, limit_s=60.0) as memory:
        await measure(memory, cluster, slots, epochs, records)


def _bytes(target: str) -> int:
    """Size of an embedded memory; 0 of one on a server."""
    if "://" in target:
        return 0
    with closing(sqlite3.connect(target)) as file:
        pages, size = (file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int(pages * size)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000], help="decisions, and records")
    parser.add_argument("--cases", type=int, nargs="*", default=[21_024, 100_000], help="cases, for each of --rows")
    parser.add_argument("--memory", help="where, instead of a folder that is deleted at the end")
    arguments = parser.parse_args()
    cluster = load_builtin("bristol")
    records = real_records(cluster)
    sizes(records)
    for rows, epochs in zip(arguments.rows, arguments.cases, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(bench(arguments.memory or f"{folder}/memory.db", rows, epochs, cluster, records))


if __name__ == "__main__":
    main()
