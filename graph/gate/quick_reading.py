"""The quick reading of a deployer's answer, for answers that are written as the prompt shows them.

A slot reads an answer of each of hundreds of nodes, and nearly all of them have the very form that was asked for. One
regular expression per set of LMs knows that form and nothing else: the keys in their order, each once, modes, amounts
of a few digits. Whatever differs, be it right or wrong, is left to the reading that explains itself
(`graph.gate.answers.parse_deployment`), so that the two can never tell an answer differently.
"""

from __future__ import annotations

import json
import re

import numpy as np

from domain.cluster import Cluster
from domain.decisions import OFF, Allocation, Deployment
from graph.gate.answers import parse_deployment
from graph.gate.strict_json import MOST_BYTES

_PLAIN = r'[^"\\\x00-\x1f\ud800-\udfff]*+'
_TEXT = rf'"{_PLAIN}(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{{4}}){_PLAIN})*+"'
"""A text in JSON; half of a surrogate pair is none."""
_AMOUNT = (",", '"amount"', ":")
_CELL = (r"\{", '"mode"', ":", '(?:"off"', *_AMOUNT, '0|"(cpu|gpu)"', *_AMOUNT, "([1-9][0-9]{0,2}))", r"\}")


class DeploymentReader:
    """Reads deployers' answers for the nodes of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        """Write down the form of each node's answer."""
        self._cluster = cluster
        forms: dict[tuple[int, ...], re.Pattern[str]] = {}
        self._forms: list[tuple[tuple[int, ...], re.Pattern[str]]] = []
        for row in cluster.feasible:
            lms = tuple(np.flatnonzero(row).tolist())
            if lms not in forms:
                forms[lms] = _form([cluster.lms[i].name for i in lms])
            self._forms.append((lms, forms[lms]))
        self._allocations: dict[tuple[str, str], Allocation] = {}

    def read(self, n: int, text: str) -> Deployment:
        """Read a deployer's answer for node n, as `parse_deployment` does.

        Raises:
            AnswerError: with one sentence for each mistake of form.
        """
        lms, form = self._forms[n]
        found = form.fullmatch(text) if 4 * len(text) <= MOST_BYTES else None
        if found is None:
            return parse_deployment(self._cluster, n, text)
        allocations, groups = [OFF] * self._cluster.n_lms, found.groups()
        for i, mode, amount in zip(lms, groups[::2], groups[1::2], strict=True):
            if mode is not None:
                allocations[i] = self._allocation(mode, amount)
        return Deployment(n, tuple(allocations))

    def _allocation(self, mode: str, amount: str) -> Allocation:
        """The one of the few hundred that there are."""
        known = self._allocations.get((mode, amount))
        if known is None:
            known = Allocation(cores=int(amount)) if mode == "cpu" else Allocation(vgpus=int(amount))
            self._allocations[mode, amount] = known
        return known


def _form(lms: list[str]) -> re.Pattern[str]:
    """The answer for a node that can run the LMs of these names, with any white space of JSON between its parts."""
    parts = [r"\{", '"reasoning"', ":", _TEXT, ",", '"deployment"', ":", r"\{"]
    for place, lm in enumerate(lms):
        parts += [*([","] if place else []), re.escape(json.dumps(lm, ensure_ascii=False)), ":", *_CELL]
    return re.compile(r"[ \t\n\r]*".join(["", *parts, r"\}", r"\}", ""]))
