"""Workloads: who sends which requests when. Generators, real traces, and files that compose them."""

from twin.workloads.load import builtin_names, load_workload
from twin.workloads.streams import Stream, Streams, describe

__all__ = ["Stream", "Streams", "builtin_names", "describe", "load_workload"]
