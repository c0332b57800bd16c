"""What the agents remember between slots, epochs and runs, behind one protocol with two engines."""

from memory.drain import Drained, drain_journal, waiting_in
from memory.engine import MemoryAway, MemoryStatus
from memory.opening import open_memory
from memory.recall import Recalled
from memory.store import EpochEntry, Memory

__all__ = [
    "Drained",
    "EpochEntry",
    "Memory",
    "MemoryAway",
    "MemoryStatus",
    "Recalled",
    "drain_journal",
    "open_memory",
    "waiting_in",
]
