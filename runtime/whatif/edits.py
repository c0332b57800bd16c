"""Another testbed, in the words of the command line: other nodes, GPUs or ways to serve, or another file.

Requests keep where they came from. Where that node is gone, its requests come in at another node of its site or, where
there is none, at the node that was nearest to it; several that are equally near take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from domain.cluster import Cluster
from domain.errors import InputError
from domain.workload import Arrivals
from twin.sentences import field_name, one_of
from twin.testbeds import ServingEdit, TestbedFile, read_testbed
from twin.testbeds.build import to_cluster
from twin.testbeds.checks import problems
from twin.testbeds.schema import LinkEntry, NodeEntry


@dataclass(frozen=True, slots=True)
class Edits:
    """What the command line asks to change."""

    testbed: str | None = None
    """Name or file that takes the place of the recorded testbed."""
    add: tuple[str, ...] = ()
    """NAME=NODE or NODE: one more node like NODE."""
    remove: tuple[str, ...] = ()
    split: int | None = None
    """vGPUs per GPU, on every node with GPUs that are no MIG slices."""
    serving: ServingEdit = ServingEdit()

    def __bool__(self) -> bool:
        return self != Edits()

    def words(self) -> list[str]:
        """What is changed, in words."""
        told = [] if self.testbed is None else [f"testbed {self.testbed}"]
        told += [f"one more {_parts(text)[1]}" for text in self.add]
        told += [f"no {name}" for name in self.remove]
        told += [] if self.split is None else [f"{self.split} vGPUs per GPU"]
        return told + self.serving.words()


def edited(recorded: TestbedFile, edits: Edits) -> TestbedFile:
    """Return the testbed with the edits; raises InputError, naming the flag, where one cannot be made."""
    testbed = recorded if edits.testbed is None else read_testbed(edits.testbed)
    for text in edits.add:
        testbed = _with_node(testbed, text)
    for name in edits.remove:
        testbed = _without_node(testbed, name)
    if edits.split is not None:
        testbed = _split(testbed, edits.split)
    testbed = edits.serving.of(testbed)
    for field, what in problems(testbed):
        raise InputError(f"Testbed {testbed.name} with {', '.join(edits.words())}: {field_name(field)} {what}.")
    return testbed


def cluster_for(testbed: TestbedFile, recorded: Cluster) -> Cluster:
    """Return the cluster to play on, measured by the recording's lambda.

    Raises:
        InputError: its results could not be compared with the recorded ones.
    """
    cluster = replace(to_cluster(testbed), latency_weight=recorded.latency_weight)
    theirs, ours = {lm.name for lm in recorded.lms}, {lm.name for lm in cluster.lms}
    if theirs != ours:
        differ = ", ".join(sorted(theirs ^ ours))
        raise InputError(f"Testbed {cluster.name} has other LMs than the recording: they differ in {differ}.")
    for name in ("slot_s", "deadline_s"):
        here, there = getattr(cluster, name), getattr(recorded, name)
        if here != there:
            raise InputError(
                f"Testbed {cluster.name} has {name} {here:g} and the recording {there:g}; "
                "make them equal, or the results cannot be compared."
            )
    return cluster


def _parts(text: str) -> tuple[str | None, str]:
    """NAME=NODE or NODE."""
    name, equals, like = text.rpartition("=")
    return (name if equals else None), like


def _worker(testbed: TestbedFile, flag: str, name: str) -> NodeEntry:
    names = [node.name for node in testbed.workers]
    if name not in names:
        raise InputError(f"{flag}: the node {one_of(names, name)}.".replace("?.", "?"))
    return testbed.workers[names.index(name)]


def _with_node(testbed: TestbedFile, text: str) -> TestbedFile:
    name, like = _parts(text)
    node, names = _worker(testbed, "--add-node", like), {node.name for node in testbed.nodes}
    free = next(f"{like}-{k}" for k in range(2, len(names) + 3) if f"{like}-{k}" not in names)
    name = free if name is None else name
    if name in names:
        raise InputError(f"--add-node: there is a node {name!r} already; choose another name.")
    try:
        added = NodeEntry.model_validate({**node.model_dump(), "name": name})
    except ValueError:
        raise InputError(
            f"--add-node: {name!r} is no name for a node; take letters, digits, '.', '_', '-' or spaces, up to 63."
        ) from None
    links = [_renamed(link, like, name) for link in testbed.links if link.nodes is not None and like in link.nodes]
    # What was not written in the file stays unwritten: a node without GPUs must not name any field of theirs.
    added = node.model_copy(update={"name": added.name})
    return testbed.model_copy(update={"nodes": (*testbed.nodes, added), "links": (*testbed.links, *links)})


def _renamed(link: LinkEntry, old: str, new: str) -> LinkEntry:
    a, b = link.nodes or ("", "")
    return link.model_copy(update={"nodes": (new if a == old else a, new if b == old else b)})


def _without_node(testbed: TestbedFile, name: str) -> TestbedFile:
    _worker(testbed, "--remove-node", name)
    return testbed.model_copy(
        update={
            "nodes": tuple(node for node in testbed.nodes if node.name != name),
            "links": tuple(link for link in testbed.links if link.nodes is None or name not in link.nodes),
        }
    )


def _split(testbed: TestbedFile, vgpus: int) -> TestbedFile:
    if not 1 <= vgpus <= 64:
        raise InputError(f"--split must be from 1 to 64 vGPUs per GPU, not {vgpus}.")
    shared = {node.name for node in testbed.nodes if node.gpus and not node.mig}
    if not any(node.name in shared for node in testbed.workers):
        raise InputError(f"--split: no node of testbed {testbed.name} has a GPU that pods share.")
    nodes = tuple(
        node.model_copy(update={"vgpus_per_gpu": vgpus}) if node.name in shared else node for node in testbed.nodes
    )
    return testbed.model_copy(update={"nodes": nodes})


def origins(recorded: Cluster, cluster: Cluster) -> list[list[int]]:
    """Return, for each recorded node, the nodes where its requests come in; several take turns.

    Raises:
        InputError: a node is gone and nothing says which one its requests would come to.
    """
    stays = [n for n, node in enumerate(recorded.nodes) if node.name in cluster.node_index]
    found = list[list[int]]()
    for n, node in enumerate(recorded.nodes):
        if n in stays:
            found.append([cluster.node_index[node.name]])
            continue
        near = [m for m, other in enumerate(cluster.nodes) if other.site == node.site]
        if not near and stays:
            delays = recorded.latency_s[n, stays]
            nearest = [m for m, delay in zip(stays, delays, strict=True) if delay == delays.min()]
            near = [cluster.node_index[recorded.nodes[m].name] for m in nearest]
        if not near:
            raise InputError(
                f"Requests were recorded at {node.name}, and testbed {cluster.name} has neither this node nor its site "
                f"{node.site!r}; name one of them the same."
            )
        found.append(near)
    return found


def moved(arrivals: Arrivals, recorded: Cluster, cluster: Cluster) -> Arrivals:
    """Return the requests with the indices of another cluster, LMs by name and origins as `origins` says."""
    lms = np.array([cluster.lm_index[lm.name] for lm in recorded.lms], dtype=np.int64)
    origin = np.empty_like(arrivals.origin)
    for n, places in enumerate(origins(recorded, cluster)):
        own = np.flatnonzero(arrivals.origin == n)
        origin[own] = np.array(places, dtype=np.int64)[np.arange(own.size) % len(places)]
    return Arrivals(arrivals.time_s, origin, lms[arrivals.lm], arrivals.prompts)


def moves(recorded: Cluster, cluster: Cluster) -> dict[str, Sequence[str]]:
    """Return, by name, where requests come in whose node is gone."""
    return {
        node.name: [cluster.nodes[m].name for m in places]
        for node, places in zip(recorded.nodes, origins(recorded, cluster), strict=True)
        if node.name not in cluster.node_index
    }
