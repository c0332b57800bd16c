"""What a check returns: one rule that a decision breaks, where, by how much, and what would be right."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

TOLERANCE = 1e-9
"""Slack on sums of GB and of probabilities that only rounding may use up."""


class Rule(StrEnum):
    """Names of the rules, stable: counters, records and prompts use them."""

    VGPUS = "vgpus"
    CORES = "cores"
    RAM = "ram"
    VRAM = "vram"
    GPU_VRAM = "gpu_vram"
    GPU_ONLY = "gpu_only"
    MODE = "mode"
    SHAPE = "shape"
    WEIGHT = "weight"
    PROBABILITY = "probability"
    SUM_TO_ONE = "sum_to_one"
    FEASIBLE = "feasible"
    ROLE = "role"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that a decision breaks."""

    rule: Rule
    place: str
    """Node, LM or 'origin -> LM' that it concerns."""
    amount: float
    """By how much: cores, GB, vGPUs, probability; 1 where the rule is yes or no."""
    sentence: str

    def __str__(self) -> str:
        return self.sentence
