"""What must hold between the entries of a testbed file: names that meet, LMs that fit, links that join every site.

Each problem is a field and what would be right; the loader adds the file and the line.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from twin.sentences import did_you_mean, one_of
from twin.testbeds.fit import fit
from twin.testbeds.hardware import hardware
from twin.testbeds.schema import (
    MOST_CONTROL_NODES,
    MOST_NODES,
    FieldSteps,
    LinkEntry,
    Problem,
    TestbedFile,
    quantities,
)
from twin.testbeds.serving import serving

Link = tuple[str, str, str]
"""Sites or nodes, from, to."""
MOST_SLOTS = 1_000_000
"""Slots in which a request may live: as many come after the last arrivals of every run and rehearsal."""
MOST_SPEEDS = 50_000_000
"""Seconds per prompt by worker, LM and number of cores, which the twin keeps in one table: 400 MB."""


def problems(testbed: TestbedFile) -> Iterator[Problem]:
    """Yield everything that is wrong between the entries; nothing where the testbed is sound."""
    for field, names in (
        ("sites", list(testbed.sites)),
        ("nodes", [node.name for node in testbed.nodes]),
        ("lms", [lm.name for lm in testbed.lms]),
    ):
        yield from _duplicates(field, names)
    longest_s = MOST_SLOTS * testbed.slot_s.value
    if testbed.deadline_s.value > longest_s:
        what = f"must be at most {MOST_SLOTS:,} slots, {longest_s:g} s, not {testbed.deadline_s.value:g}"
        yield ("deadline_s",), f"{what}; a run goes on until the last deadline"
    yield from _sources(testbed)
    yield from _links(testbed)
    for n, node in enumerate(testbed.nodes):
        if node.site not in testbed.sites:
            yield ("nodes", n, "site"), one_of(testbed.sites, node.site)
    wrong = list(hardware(testbed))
    yield from wrong
    yield from _sizes(testbed)
    if testbed.workers and not wrong:
        yield from fit(testbed)
        yield from serving(testbed)


def _sizes(testbed: TestbedFile) -> Iterator[Problem]:
    workers, control = len(testbed.workers), len(testbed.nodes) - len(testbed.workers)
    if not workers:
        yield ("nodes",), "must have at least one worker, but every node has the role 'control'"
    if workers > MOST_NODES:
        yield ("nodes",), f"must have at most {MOST_NODES} workers, not {workers}"
    if control > MOST_CONTROL_NODES:
        yield ("nodes",), f"must have at most {MOST_CONTROL_NODES} nodes with the role 'control', not {control}"
    cores = max((node.whole_cores for node in testbed.workers), default=0)
    if (speeds := workers * len(testbed.lms) * cores) > MOST_SPEEDS:
        yield (
            ("nodes",),
            f"must be fewer, or have fewer cores: {workers} workers, {len(testbed.lms)} LMs and up to {cores} cores "
            f"make {speeds} speeds, and {MOST_SPEEDS} are the most that are kept",
        )


def _duplicates(field: str, names: Sequence[str]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in seen:
            where = (field, index) if field == "sites" else (field, index, "name")
            yield where, f"must be a name of its own, but {field}[{seen[name]}] is {name!r} too"
        seen.setdefault(name, index)


def _sources(testbed: TestbedFile) -> Iterator[Problem]:
    named: list[tuple[FieldSteps, str | None]] = [(("source",), testbed.source)]
    named += [(("nodes", n, "source"), node.source) for n, node in enumerate(testbed.nodes)]
    named += [(("lms", i, "source"), lm.source) for i, lm in enumerate(testbed.lms)]
    named += [((*field, "source"), quantity.source) for field, quantity in quantities(testbed)]
    for where, source in named:
        if source is not None and " " not in source.strip() and source not in testbed.sources:
            meant = did_you_mean(source, list(testbed.sources))
            yield where, f"must be a sentence or the name of an entry of 'sources', not {source!r}{meant}"


def _links(testbed: TestbedFile) -> Iterator[Problem]:
    known = {
        "sites": dict.fromkeys(testbed.sites, True),
        "nodes": dict.fromkeys((node.name for node in testbed.workers), True),
    }
    given: dict[Link, int] = {}
    found: list[Problem] = []
    for index, link in enumerate(testbed.links):
        found += [(("links", index, field), what) for field, what in _link(link, index, known, given)]
    yield from found
    sizes = Counter(node.site for node in testbed.workers if node.site in testbed.sites)
    for a, b in itertools.product(sizes, sizes):
        # A link that is wrong is the reason, not the pair of sites that it leaves out.
        if not found and (a != b or sizes[a] > 1) and ("sites", a, b) not in given:
            yield ("links",), f"must have an entry with sites [{a}, {b}], since workers stand there"
            return


def _link(
    link: LinkEntry, index: int, known: dict[str, dict[str, bool]], given: dict[Link, int]
) -> Iterator[tuple[str, str]]:
    """Check one link against the names that are known and the links before it, which are `given` with their index."""
    field, ends = ("sites", link.sites) if link.sites else ("nodes", link.nodes)
    assert ends is not None  # the schema has seen to it
    unknown = [end for end in ends if end not in known[field]]
    if unknown:
        yield field, one_of(list(known[field]), unknown[0])
    elif field == "nodes" and ends[0] == ends[1]:
        yield field, f"must be two different workers, not {ends[0]!r} twice"
    else:
        for a, b in [ends] if link.one_way or ends[0] == ends[1] else [ends, (ends[1], ends[0])]:
            first = given.setdefault((field, a, b), index)
            if first != index:
                yield field, f"must not be given twice: links[{first}] is from {a!r} to {b!r} too"
                return
