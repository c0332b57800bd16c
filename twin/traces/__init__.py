"""Readers of real traces: files of requests, or of arrival rates, that a user names."""

from twin.traces.requests import Trace
from twin.traces.servegen import WINDOW_S, Windows, read_servegen
from twin.traces.summary import Kind, TraceSummary, guess_kind, inspect_trace, read_trace
from twin.traces.table import MALFORMED, Report

__all__ = [
    "MALFORMED",
    "WINDOW_S",
    "Kind",
    "Report",
    "Trace",
    "TraceSummary",
    "Windows",
    "guess_kind",
    "inspect_trace",
    "read_servegen",
    "read_trace",
]
