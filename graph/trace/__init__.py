"""What the graph did, node by node, for people who look in: a file of JSON lines, and OpenTelemetry spans.

It listens to the stream of a slot and changes nothing in it.
It may write one file and, where a collector is configured, send spans.
"""

from graph.trace.lines import open_trace, read_trace

__all__ = ["open_trace", "read_trace"]
