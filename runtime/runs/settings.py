"""What a run was asked to do: everything that its numbers depend on, and nothing else.

Two runs with equal settings, versions and testbed give the same bytes; so no times, hosts or paths belong in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import yaml

from domain.cluster import Cluster
from domain.errors import InputError

DEFAULT_EPOCHS = 10
"""P1 sees its agents settle within 10 to 30 epochs (section VI); rules need no time to settle."""
MOST_SLOTS = 10_000_000
"""Slots with new requests in a run: nine years where a slot takes 30 s."""
MOST_SEEDS = 10_000
"""Seeds of a comparison."""
HIGHEST_SEED = 2**63 - 1
"""What the column of seeds in a run folder holds."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a run, as `settings.yaml` of its folder holds them."""

    testbed: str
    """Name of the testbed; the whole of it is in `testbed.yaml` beside the settings."""
    workload: str
    """Name of the workload: built in, or that of its file without the ending."""
    workload_files: dict[str, str]
    """Name to SHA-256 of the workload file and of the traces that it plays; empty for a built-in workload."""
    load: float
    """Factor of the workload's requests; 1 takes them as they are."""
    families: tuple[str, ...]
    """Policy families, in the order in which they run."""
    seeds: tuple[int, ...]
    """One run of each family per seed; a seed gives every family the same requests."""
    slots: int
    """Slots with new requests."""
    drain_slots: int
    """Slots after them without new requests, until the deadline of every request has passed."""
    slot_s: float
    """Seconds in a slot."""
    epoch_slots: int
    """Slots in an epoch."""
    deadline_s: float
    """End-to-end deadline tau of P1-3, seconds."""
    latency_weight: float
    """lambda of P1-10: 1 weighs latency alone, 0 fairness alone."""
    serving: Mapping[str, str | float | bool] = field(default_factory=dict)
    """What is not P1's in how requests are served, as in `domain.serving.Serving`."""
    agents: dict[str, Any] | None = None
    """What decisions of agents depend on, and the modes of the slot graph; None where no family goes through it."""

    def to_yaml(self) -> str:
        """Return the text of `settings.yaml`."""
        values = asdict(self) | {"families": list(self.families), "seeds": list(self.seeds)}
        for name in ("serving", "agents"):
            if not values[name]:
                del values[name]
        return yaml.safe_dump(values, sort_keys=False)


def choose_slots(
    cluster: Cluster, covered: int | None, epochs: int | None, slots: int | None, affordable: int | None = None
) -> int:
    """Return the slots with new requests that --epochs and --slots ask for.

    Where neither does, a workload that ends is played to its end, or for as many slots as are affordable, and one that
    never ends for DEFAULT_EPOCHS.

    Args:
        cluster: says how long an epoch is.
        covered: slots for which the workload has requests; None where it never ends.
        epochs: what --epochs says, or None.
        slots: what --slots says, or None.
        affordable: slots that a run may take without being told to; None: DEFAULT_EPOCHS.

    Raises:
        InputError: both are given, one is below 1, they are more than MOST_SLOTS, or the workload ends before.
    """
    if epochs is not None and slots is not None:
        raise InputError("--epochs and --slots both say how long the run is; give one of them.")
    for flag, value in (("--epochs", epochs), ("--slots", slots)):
        if value is not None and value < 1:
            raise InputError(f"{flag} must be 1 or more, not {value}.")
    if epochs is None and slots is None:
        usual = DEFAULT_EPOCHS * cluster.epoch_slots
        return usual if covered is None else min(covered, affordable or usual)
    wanted = slots if slots is not None else (epochs or 0) * cluster.epoch_slots
    if covered is not None and wanted > covered:
        raise InputError(
            f"The workload covers {covered} slots and {wanted} were asked for; give --slots {covered} or less."
        )
    if wanted > MOST_SLOTS:
        raise InputError(f"A run takes at most {MOST_SLOTS:,} slots with new requests, not {wanted:,}.")
    return wanted


def check_latency_weight(value: float) -> float:
    """Return lambda of P1-10; raises InputError outside [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise InputError(f"--lambda must be from 0 (fairness alone) to 1 (latency alone), not {value:g}.")
    return value


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read '7', '1,2,5' or '1-5' (both ends included); raises InputError for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = (first, last if dash else first)
        if not all(end.isdecimal() for end in ends):
            raise InputError(f"--seeds must be whole numbers such as 1,2,5 or a range such as 1-5, not {text!r}.")
        if not all(_is_seed(end) for end in ends):
            raise InputError(f"A seed must be a whole number of at most {HIGHEST_SEED:,}.")
        own = range(int(ends[0]), int(ends[1]) + 1)
        if own.stop - own.start + len(seeds) > MOST_SEEDS:
            raise InputError(f"--seeds must name at most {MOST_SEEDS:,} seeds, not {text!r}.")
        seeds += own
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"--seeds must name each seed once, not {text!r}.")
    return tuple(seeds)


def _is_seed(digits: str) -> bool:
    """True where a text of digits is small enough; Python itself refuses to read thousands of them."""
    return len(digits) <= len(str(HIGHEST_SEED)) and int(digits) <= HIGHEST_SEED
