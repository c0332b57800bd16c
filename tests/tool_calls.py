"""Calls of the tools that look, as a model makes them."""

from __future__ import annotations

import json
from typing import Any

from langchain_core.tools import BaseTool

from graph.slot.deps import Deps
from graph.slot.planner_tools import planner_tools
from tests.agents import good_plan
from twin.testbeds import load_builtin

BRISTOL = load_builtin("bristol")
PLAN: dict[str, Any] = {key: value for key, value in json.loads(good_plan(BRISTOL)).items() if key != "reasoning"}


async def call(tool: BaseTool, **arguments: Any) -> str:
    """What a model sees when it calls the tool with these arguments."""
    return str((await tool.ainvoke({"type": "tool_call", "name": tool.name, "args": arguments, "id": "1"})).content)


async def ask(tool: BaseTool, **arguments: Any) -> Any:
    """The same, where it is JSON."""
    return json.loads(await call(tool, **arguments))


def named(deps: Deps) -> dict[str, BaseTool]:
    return {tool.name: tool for tool in planner_tools(deps)}
