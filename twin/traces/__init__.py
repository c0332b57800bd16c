"""Readers of real traces: files of requests, or of arrival rates, that a user names."""

from twin.traces.cells import Names
from twin.traces.clock import Unit
from twin.traces.forms import KINDS, ROLES, Kind, RequestKind, Role, column_named
from twin.traces.requests import Trace, open_text, read_trace
from twin.traces.rows import MALFORMED, Report
from twin.traces.servegen import WINDOW_S, Windows, read_servegen
from twin.traces.summary import TraceSummary, guess_kind, inspect_trace, unknown_name, unknown_names

__all__ = [
    "KINDS",
    "MALFORMED",
    "ROLES",
    "WINDOW_S",
    "Kind",
    "Names",
    "Report",
    "RequestKind",
    "Role",
    "Trace",
    "TraceSummary",
    "Unit",
    "Windows",
    "column_named",
    "guess_kind",
    "inspect_trace",
    "open_text",
    "read_servegen",
    "read_trace",
    "unknown_name",
    "unknown_names",
]
