"""How requests are served on a testbed: what must hold of its `serving` block, and other settings in its place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from domain.cluster import SLACK_GB, Cluster
from domain.errors import InputError
from domain.serving import Batching, Dispatch
from twin.sentences import one_of
from twin.testbeds.build import lm_of, node_of
from twin.testbeds.schema import Problem, Quantity, TestbedFile

FLAGS = {"dispatch": "--dispatch", "news_s": "--news", "batching": "--batch", "copies": "--copies"}
"""Field of the block to the flag that stands in its place."""


def serving(testbed: TestbedFile) -> Iterator[Problem]:
    """Yield what is wrong with the settings, given the slots, nodes and LMs of a testbed that is else sound."""
    news_s, slot_s = testbed.serving.news_s.value, testbed.slot_s.value
    if news_s > slot_s:
        yield (
            ("serving", "news_s"),
            f"must be at most a slot, {slot_s:g} s, not {news_s:g}: decisions of a slot rest on news of the one before",
        )
    if testbed.serving.copies and not _somewhere(testbed):
        yield (
            ("serving", "copies"),
            "must be false, or some worker must have several GPUs (not MIG slices) on which an LM fits whole on one, "
            "and RAM for two of it; none has",
        )


def _somewhere(testbed: TestbedFile) -> bool:
    """True where some LM can be on some worker in two copies."""
    nodes = tuple({node.hardware: node for node in map(node_of, testbed.workers)}.values())
    lms, nothing = tuple(map(lm_of, testbed.lms)), np.zeros((len(nodes), len(nodes)))
    cluster = Cluster("", nodes, lms, nothing, nothing)
    return any(
        node.gpus > 1
        and not node.mig
        and cluster.runs_on_gpu(n, i)
        and (node.unified_memory or cluster.vram_gb(n, i) <= node.gpu_vram_gb + SLACK_GB)
        and 2 * cluster.ram_gb(n, i, True) <= node.ram_gb + SLACK_GB
        for n, node in enumerate(nodes)
        for i in range(len(lms))
    )


@dataclass(frozen=True, slots=True)
class ServingEdit:
    """Settings that somebody asks for in place of the testbed's; None leaves the testbed's."""

    dispatch: str | None = None
    news_s: float | None = None
    batching: str | None = None
    copies: bool | None = None

    def __bool__(self) -> bool:
        return self != ServingEdit()

    def words(self) -> list[str]:
        """What is asked for, in words."""
        told = [] if self.dispatch is None else [f"dispatch {self.dispatch}"]
        told += [] if self.news_s is None else [f"news {self.news_s:g} s old"]
        told += [] if self.batching is None else [f"batching {self.batching}"]
        return told + ([] if self.copies is None else ["copies" if self.copies else "no copies"])

    def options(self) -> list[str]:
        """The same as words of the command line."""
        given = [("dispatch", self.dispatch), ("news_s", self.news_s), ("batching", self.batching)]
        found = [
            word
            for field, value in given
            if value is not None
            for word in (FLAGS[field], f"{value:g}" if isinstance(value, float) else value)
        ]
        return found + ([] if self.copies is None else ["--copies" if self.copies else "--no-copies"])

    def of(self, testbed: TestbedFile, names: Mapping[str, str] = FLAGS) -> TestbedFile:
        """Return the testbed with these settings.

        Args:
            testbed: that they are for.
            names: what whoever asks calls each field.

        Raises:
            InputError: they cannot be; the sentence names the field.
        """
        if not self:
            return testbed
        for field, value, words in (("dispatch", self.dispatch, Dispatch), ("batching", self.batching, Batching)):
            if value is not None and value not in list(words):
                raise InputError(f"{names[field]} {one_of([str(word) for word in words], value)}.".replace("?.", "?"))
        if self.news_s is not None and not 0.0 <= self.news_s < math.inf:
            raise InputError(f"{names['news_s']} must be 0 or more seconds, not {self.news_s:g}.")
        new = dict[str, object]()
        if self.dispatch is not None:
            new["dispatch"] = Dispatch(self.dispatch)
        if self.news_s is not None:
            new["news_s"] = Quantity(value=self.news_s)
        if self.batching is not None:
            new["batching"] = Batching(self.batching)
        if self.copies is not None:
            new["copies"] = self.copies
        edited = testbed.model_copy(update={"serving": testbed.serving.model_copy(update=new)})
        for where, what in serving(edited):
            if (field := str(where[-1])) in new:
                raise InputError(f"{names[field]} {what}.")
        return edited
