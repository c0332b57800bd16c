"""The house itself: its locks, its rooms and what its front door drags in."""

import ast
import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

HOUSE = Path(__file__).parents[1]
PROJECT = tomllib.loads((HOUSE / "pyproject.toml").read_text())
ROOMS = PROJECT["tool"]["importlinter"]["root_packages"]
HEAVY = "aiohttp kubernetes langchain_core langchain_openai langgraph matplotlib numba numpy pyarrow pymongo scipy"
LOCKS = ["requirements.lock", "requirements-dev.lock"]


def pins(lock: str) -> dict[str, str]:
    """Name to version, of every requirement in a lock."""
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ]+)", (HOUSE / lock).read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host_and_hashes_every_requirement(lock: str) -> None:
    text = (HOUSE / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE), "an option, which could name an index"
    for requirement in re.split(r"\n(?=\S)", text):
        assert re.fullmatch(r"\S+==[^\\]+( \\\n    --hash=sha256:[0-9a-f]{64})+\n?", requirement), requirement


def test_a_run_has_the_same_versions_as_its_tests() -> None:
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


def test_the_locks_are_as_young_as_the_requirements() -> None:
    project = PROJECT["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    for lock, lines in zip(LOCKS, [project["dependencies"], project["dependencies"] + extras], strict=True):
        locked = pins(lock)
        for requirement in map(Requirement, lines):
            version = locked.get(requirement.name.lower())
            assert version, f"{lock} lacks {requirement.name}: run make lock"
            assert requirement.specifier.contains(version), f"{lock} is older than {requirement}: run make lock"


def test_a_fixed_list_of_rooms_is_packaged() -> None:
    packaged = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {pattern.removesuffix(".*") for pattern in packaged} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_every_package_says_why_it_exists(room: str) -> None:
    for module in (HOUSE / room).rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(module.read_text())), module


def test_the_command_line_answers_before_anything_heavy_is_imported() -> None:
    code = "import sys, runtime.cli.program; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=HOUSE)
    assert not set(HEAVY.split()) & set(imported.stdout.split())


def test_the_door_of_the_gate_is_the_only_way_into_the_world() -> None:
    """Testbeds are told what to do by coroutines; who stands in front of one passes on what it is told."""
    told = []
    for path in [p for room in ROOMS for p in (HOUSE / room).rglob("*.py")]:
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.AsyncFunctionDef) or function.name in ("route", "deploy"):
                continue
            calls = [node.value for node in ast.walk(function) if isinstance(node, ast.Await)]
            names = [c.func.attr for c in calls if isinstance(c, ast.Call) and isinstance(c.func, ast.Attribute)]
            told += [str(path.relative_to(HOUSE)) for name in names if name in ("route", "deploy")]
    assert set(told) == {"graph/gate/door.py"}


def test_no_test_can_reach_beyond_loopback() -> None:
    with socket.socket() as outward, pytest.raises(RuntimeError, match="loopback only"):
        outward.connect(("192.0.2.1", 80))
    with pytest.raises(RuntimeError, match="loopback only"):
        socket.getaddrinfo("model.example", 443)
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()


def test_no_test_sees_the_callers_keys() -> None:
    assert not [name for name in os.environ if name.startswith(("OPENAI_", "LANGSMITH_", "LANGCHAIN_"))]
