"""Lyapunov deployer: P1's drift-plus-penalty controller of one node, equations P1-14 to P1-19 (section VI).

In each slot a node takes, of the finite set of patterns that its budgets and its transient pods allow, the one with the
highest score: backlog times a proxy of the service rate, minus V times the cost of vGPUs and of switching. The score is
a sum over LMs given the node's headroom, so all patterns are scored by one product of a matrix and a vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.decisions import Deployment, MacroPolicy
from domain.errors import InputError
from domain.telemetry import Snapshot
from policies.standard import Mode, catalogue, is_on

FloatArray = NDArray[np.float64]

TIE = 1e-9
"""Scores that differ by less, relative to the best where that is beyond 1, count as equal: rounding decides nothing."""


def _paper_gpu_weights() -> Mapping[str, float]:
    return MappingProxyType({"gpt2": 1.0, "gpt2-large": 1.2})


@dataclass(frozen=True, slots=True)
class LyapunovParameters:
    """Coefficients of P1-15 to P1-19; P1 shares one set among all servers."""

    v: float = 3.0
    """V of P1-15, the weight of cost against backlog, in prompts. P1 gives no value. With cost per prompt in P1-19, an
    LM whose rate is mu is never switched on, whatever its backlog, once V >= mu / (churn * kappa)."""
    churn: float = 0.08
    """lambda_churn of P1-19. P1: 0.08."""
    kappa: float = 0.76
    """kappa of P1-19, how much a prompt in the backlog adds to the cost of a switch. P1: 0.76."""
    p0: float = 0.1
    """p_0 of P1-18, the price of an LM on vGPUs of an idle node. P1 gives no value."""
    p1: float = 0.25
    """p_1 of P1-18, what full vGPUs add to the price. P1: 0.25."""
    p2: float = 0.37
    """p_2 of P1-18, what a backlog of nothing but image requests adds to the price. P1: 0.37."""
    smoothing: float = 0.8
    """f(0) of P1-16, with f linear and f(1) = 1. P1 says that f is a linear smoothing function and gives no
    coefficients."""
    cpu_weight: float = 1.0
    """alpha_cpu of P1-16, of every LM. P1: 1.0."""
    image_gpu_weight: float = 1.5
    """alpha_gpu of P1-16 of an LM that takes or makes images and is not in `gpu_weights`. P1: 1.5 (LM3, LM4)."""
    text_gpu_weight: float = 1.0
    """alpha_gpu of P1-16 of any other LM that is not in `gpu_weights`. P1 gives 1.0 for its small text LM."""
    gpu_weights: Mapping[str, float] = field(default_factory=_paper_gpu_weights)
    """alpha_gpu of P1-16 by the LM's `model`: the last part of a path, whatever its capitals and hyphens. P1: 1.0 for
    GPT-2 (LM1), 1.2 for GPT-2 large (LM2)."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            values = value.values() if isinstance(value, Mapping) else [value]
            top = 1.0 if f.name == "smoothing" else math.inf
            if not all(0.0 <= x <= top and math.isfinite(x) for x in values):
                limit = "from 0 to 1" if f.name == "smoothing" else "0 or more"
                raise InputError(f"The Lyapunov parameter {f.name} must be {limit}, not {value}.")

    def smooth(self, headroom: float) -> float:
        """Return f(headroom) of P1-16, the headroom taken as a share in [0, 1]."""
        return self.smoothing + (1.0 - self.smoothing) * min(max(headroom, 0.0), 1.0)

    def gpu_weight(self, model: str, is_image: bool) -> float:
        """Return alpha_gpu of P1-16."""
        weights = {_plain(name): weight for name, weight in self.gpu_weights.items()}
        return weights.get(_plain(model), self.image_gpu_weight if is_image else self.text_gpu_weight)


def _plain(model: str) -> str:
    """Return 'gpt2large' for 'openai-community/gpt2-large' and 'GPT-2 large'."""
    return "".join(c for c in model.rsplit("/", 1)[-1].lower() if c.isalnum())


class LyapunovDeployer:
    """Each node, on its own, takes the pattern with the highest score of P1-15.

    Of patterns with equal scores (see TIE) it takes the one that starts, stops or resizes fewest pods, and of those the
    first in the order of `Patterns`. P1's controller knows nothing of the planner's roles (P1 section VI on MAL); with
    `follow_roles` it leaves LMs off that are not among the node's roles.
    """

    def __init__(
        self, cluster: Cluster, parameters: LyapunovParameters | None = None, follow_roles: bool = False
    ) -> None:
        self.parameters = parameters or LyapunovParameters()
        self._follow_roles = follow_roles
        self._nodes = cluster.nodes
        self._patterns = catalogue(cluster)
        ones = {
            id(kind): np.hstack([kind.modes == Mode.CPU, kind.modes == Mode.GPU]).astype(np.float64)
            for kind in self._patterns
        }
        self._ones = [ones[id(kind)] for kind in self._patterns]
        self._image = np.array([lm.is_image for lm in cluster.lms])
        self._gpu_weight = np.array([self.parameters.gpu_weight(lm.model, lm.is_image) for lm in cluster.lms])

    def deploy(self, snapshot: Snapshot, node: int, policy: MacroPolicy, rng: np.random.Generator) -> Deployment | None:
        """Return the pattern with the highest score; None where the node's state could not be read."""
        if math.isnan(snapshot.age_s[node]):
            return None
        patterns = self._patterns[node]
        allowed = patterns.allowed(snapshot, node, policy.roles[node] if self._follow_roles else None)
        scores = np.where(allowed, self.scores(snapshot, node), -np.inf)
        best = float(scores.max())
        ties = np.flatnonzero(scores >= best - TIE * max(1.0, abs(best)))
        if ties.size > 1:
            switched = (patterns.modes[ties] != patterns.present(snapshot, node)).sum(axis=1)
            ties = ties[[int(switched.argmin())]]
        return patterns.deployment(node, int(ties[0]))

    def scores(self, snapshot: Snapshot, n: int) -> FloatArray:
        """P1-15 of every pattern of node n, allowed or not, shape [P].

        Q_ni is the backlog in prompts. An LM counts as active in slot t-1 where its pod starts, runs or is Pending.
        """
        p, backlog = self.parameters, snapshot.backlog_prompts[n].astype(np.float64)
        cpu, memory, gpu = self._headroom(snapshot, n)
        was_on = is_on(snapshot, n)
        flip = p.churn * (1.0 + p.kappa * backlog)  # P1-19, one LM's term
        switching = np.where(was_on, -flip, flip)  # what having the LM on adds to the cost of having all off
        price = p.p0 + p.p1 * (1.0 - gpu) + p.p2 * self._image_ratio(snapshot, n)  # P1-18
        cpu_rate = p.cpu_weight * p.smooth(cpu) * p.smooth(memory)  # P1-16
        gpu_rate = self._gpu_weight * p.smooth(gpu)
        on_cpu = backlog * cpu_rate - p.v * switching
        on_gpu = backlog * gpu_rate - p.v * (switching + price)  # P1-17: one price for each instance
        all_off = -p.v * float(flip @ was_on)
        scores: FloatArray = self._ones[n] @ np.concatenate([on_cpu, on_gpu]) + all_off
        return scores

    def _headroom(self, snapshot: Snapshot, n: int) -> tuple[float, float, float]:
        """Return eta of P1-16 for CPU, memory and GPU: what no pod holds as a share of all; 0 of none."""
        node = self._nodes[n]
        return (
            float(snapshot.free_cores[n]) / node.cpu_cores if node.cpu_cores else 0.0,
            float(snapshot.free_ram_gb[n]) / node.ram_gb,
            float(snapshot.free_vgpus[n]) / node.vgpus if node.vgpus else 0.0,
        )

    def _image_ratio(self, snapshot: Snapshot, n: int) -> float:
        """Return phi_img of P1-18: the share of image LMs in the requests that wait or run; 0 where there are none."""
        requests = snapshot.backlog_requests[n]
        return float(requests @ self._image) / max(int(requests.sum()), 1)
