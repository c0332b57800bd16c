"""Testbeds larger than any that was measured: the hardware of a base testbed in its proportions, over many sites.

Sites stand in clusters, as the sites of a town do; what a link adds to the base's delay is the light's way through
the fibre. Everything else (LMs, speeds, slot, deadline) is the base's.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.errors import InputError
from twin.sentences import field_name
from twin.testbeds.build import to_cluster
from twin.testbeds.checks import problems
from twin.testbeds.loader import read_testbed
from twin.testbeds.schema import MOST_NODES, LinkEntry, NodeEntry, Quantity, TestbedFile

FIBRE_S_PER_KM = 1.468 / 299_792.458
"""Delay of light in single-mode fibre: its group index over the speed of light, 4.9 microseconds a kilometre."""
DETOUR = 1.5
"""Length of the fibre over the distance as the crow flies; estimated."""
FIBRE = (
    "The base's delay between two sites, and light's way through fibre at 4.9 us/km, "
    f"{DETOUR:g} times the distance as the crow flies."
)
REGION_KM = 100.0
"""Side of the square in which the towns lie."""
TOWN_KM = 1.0
"""Standard deviation of a site's position, north and east, around its town's centre."""
SITES_PER_TOWN = 3


def generate_testbed(nodes: int, seed: int, base: TestbedFile | None = None) -> Cluster:
    """Return the cluster of `generate`."""
    return to_cluster(generate(nodes, seed, base))


def generate(nodes: int, seed: int, base: TestbedFile | None = None) -> TestbedFile:
    """Return a testbed with `nodes` workers, the same for the same arguments.

    Args:
        nodes: workers, 1 to 5000; the base's control nodes come on top.
        seed: of the random places of sites and nodes; 0 to 2**63 - 1.
        base: testbed whose hardware classes, LMs and links are taken; the built-in `bristol` where it is None.

    Raises:
        InputError: where an argument is out of range, or the base is too small a model for what is asked.
    """
    if not 1 <= nodes <= MOST_NODES:
        raise InputError(f"The number of nodes must be from 1 to {MOST_NODES}, not {nodes}.")
    if not 0 <= seed < 2**63:
        raise InputError(f"The seed must be from 0 to 2**63 - 1, not {seed}.")
    base = base or read_testbed("bristol")
    rng = np.random.default_rng([seed, nodes])
    # As bristol: 3 sites for 6 workers, 30 for 600.
    sites = [f"site-{k + 1}" for k in range(min(nodes, max(1, round(math.sqrt(1.5 * nodes)))))]
    chosen = _workers(base, nodes)
    width = len(str(nodes))
    workers = [
        chosen[place].model_copy(update={"name": f"node-{n + 1:0{width}d}", "site": sites[n % len(sites)]})
        for n, place in enumerate(rng.permutation(nodes))
    ]
    control = [
        node.model_copy(update={"name": f"control-{k + 1}", "site": sites[0]})
        for k, node in enumerate(node for node in base.nodes if node.role == "control")
    ]
    testbed = base.model_copy(
        update={
            "name": f"{base.name[:30]}-{nodes}-{seed}",
            "source": f"Generated from {base.name} with {nodes} workers and seed {seed}.",
            "sources": {**base.sources, "fibre": FIBRE},
            "sites": tuple(sites),
            "links": tuple(_links(base, sites, _positions(rng, len(sites)))),
            "nodes": tuple(control + workers),
        }
    )
    for field, what in problems(testbed):
        raise InputError(f"A testbed of {nodes} nodes like {base.name} does not work: {field_name(field)} {what}.")
    return testbed


def _workers(base: TestbedFile, nodes: int) -> list[NodeEntry]:
    """One entry a worker, the base's hardware classes in its proportions (largest remainders)."""
    example = {_hardware(node): node for node in reversed(base.workers)}
    counts = Counter(_hardware(node) for node in base.workers)
    exact = {key: counts[key] * nodes / len(base.workers) for key in counts}
    share = {key: int(exact[key]) for key in counts}
    for key in sorted(counts, key=lambda key: share[key] - exact[key])[: nodes - sum(share.values())]:
        share[key] += 1
    return [example[key] for key in counts for _ in range(share[key])]


def _hardware(node: NodeEntry) -> str:
    return node.model_copy(update={"name": "", "site": ""}).model_dump_json()


def _positions(rng: np.random.Generator, sites: int) -> NDArray[np.float64]:
    """[sites, 2] kilometres east and north."""
    towns = rng.uniform(0.0, REGION_KM, (math.ceil(sites / SITES_PER_TOWN), 2))
    return towns[np.arange(sites) // SITES_PER_TOWN] + rng.normal(0.0, TOWN_KM, (sites, 2))


def _links(base: TestbedFile, sites: list[str], positions: NDArray[np.float64]) -> list[LinkEntry]:
    """All pairs of sites: the base's first link within a site, its first between sites plus the way in fibre."""
    of_sites = [link for link in base.links if link.sites]
    within = next((link for link in of_sites if link.sites and link.sites[0] == link.sites[1]), None)
    between = next((link for link in of_sites if link.sites and link.sites[0] != link.sites[1]), within)
    if within is None or between is None:
        raise InputError(f"The base {base.name} must have a link within a site and one between two sites.")
    links = [within.model_copy(update={"sites": (site, site)}) for site in sites]
    for (a, first), (b, second) in itertools.combinations(enumerate(sites), 2):
        km = float(np.hypot(*(positions[a] - positions[b])))
        delay = round(between.latency_s.value + km * DETOUR * FIBRE_S_PER_KM, 7)
        latency = Quantity(value=delay, kind="estimated", source="fibre")
        links.append(between.model_copy(update={"sites": (first, second), "one_way": False, "latency_s": latency}))
    return links
