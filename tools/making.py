"""How a tool is made: typed arguments in, text out, every mistake answered in a sentence that a model can act on."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from langchain_core.tools import BaseTool, StructuredTool, ToolException
from pydantic import BaseModel, ValidationError

from domain.cluster import Cluster
from domain.errors import InputError
from twin.sentences import field_name, one_of, what_is_right

LONGEST = 16_000
"""Characters of an answer; a tool that has more to say says how much it left out."""
MOST_NAMES = 64
"""Nodes up to which a tool's schema lists their names."""


def make_tool(
    name: str, description: str, arguments: type[BaseModel], answer: Callable[..., Awaitable[dict[str, Any]]]
) -> BaseTool:
    """Make a read-only tool.

    Args:
        name: by which a model calls it.
        description: what it does and when it helps, for the model.
        arguments: its fields are the tool's arguments.
        answer: takes the arguments by name; what it returns goes to the model as JSON. It raises ToolException or
            InputError for what the model can put right or should know: the sentence goes to the model.
    """

    async def call(**given: Any) -> str:
        try:
            return to_text(await answer(**given))
        except InputError as error:
            raise ToolException(str(error)) from error

    return StructuredTool.from_function(
        coroutine=call,
        name=name,
        description=description,
        args_schema=arguments,
        handle_tool_error=lambda error: f"error: {error}",
        handle_validation_error=_explain,
    )


def to_text(value: dict[str, Any]) -> str:
    """Return compact JSON; numbers with three significant digits, NaN and infinity as null."""
    return json.dumps(_rounded(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def node_number(cluster: Cluster, name: str) -> int:
    """Return n. Raises ToolException where there is no such node."""
    if name not in cluster.node_index:
        raise ToolException(f"node {one_of(list(cluster.node_index), name)}")
    return cluster.node_index[name]


def node_type(cluster: Cluster) -> Any:
    """Type of a field that names a node: one of the names, or any text where a schema could not list them all."""
    return Literal[tuple(node.name for node in cluster.nodes)] if cluster.n_nodes <= MOST_NAMES else str


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.3g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value


def _explain(error: Any) -> str:
    """Turn what pydantic found into sentences."""
    if not isinstance(error, ValidationError):
        return f"error: {error}"
    found = [
        f"{field_name(details['loc'])} {_what_is_right(details)}" for details in error.errors(include_url=False)[:10]
    ]
    return "error: " + "; ".join(found)


def _what_is_right(details: Any) -> str:
    known = {"missing": "is missing", "extra_forbidden": "is no argument of this tool; leave it out"}
    return known.get(details["type"]) or what_is_right(details)
