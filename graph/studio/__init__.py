"""LangGraph Studio's way in: threads that are runs of their own, on the twin, slot by slot.

It builds the same slot graph as a run does, and brings a thread's world back from the thread's state.
It may open a memory and models for as long as one call lasts.
"""

from graph.studio.serving import make_graph, shared_checkpoints

__all__ = ["make_graph", "shared_checkpoints"]
