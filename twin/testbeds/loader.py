"""Testbeds by name or by path: the one that comes with Edgewise, or a person's own file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from domain.cluster import Cluster
from domain.errors import InputError
from twin.files import Document, dump_yaml, read_document, write_text
from twin.sentences import one_of
from twin.testbeds.build import to_cluster
from twin.testbeds.checks import problems
from twin.testbeds.schema import TestbedFile


def load_testbed(path: Path) -> Cluster:
    """Read a testbed file; raises InputError with one sentence for whatever is wrong with it."""
    return to_cluster(_check(read_document(path)))


def load_builtin(name: str) -> Cluster:
    """Return a testbed that comes with Edgewise; raises InputError, with the names that exist, for another."""
    return to_cluster(_check(_builtin(name)))


def builtin_names() -> list[str]:
    """Names of the testbeds that come with Edgewise."""
    files = [entry.name for entry in resources.files(__package__).iterdir()]
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


def read_testbed(path_or_name: Path | str) -> TestbedFile:
    """Return a testbed with its sources, by path (a Path, or text that ends in .yaml or .yml) or by name."""
    if isinstance(path_or_name, Path) or path_or_name.endswith((".yaml", ".yml")):
        return _check(read_document(Path(path_or_name)))
    return _check(_builtin(path_or_name))


def to_yaml(testbed: TestbedFile) -> str:
    """Return the text of a file that reads back as the same testbed."""
    return dump_yaml(testbed.model_dump(mode="json", exclude_defaults=True))


def write_testbed(path: Path, testbed: TestbedFile) -> None:
    """Write a testbed file, whole or not at all; raises InputError where the path cannot be written."""
    write_text(path, to_yaml(testbed))


def _builtin(name: str) -> Document:
    names = builtin_names()
    if name not in names:
        raise InputError(
            f"The testbed, where it is no path that ends in .yaml, {one_of(names, name)}.".replace("?.", "?")
        )
    file = f"{name}.yaml"
    return Document(Path(file), resources.files(__package__).joinpath(file).read_text("utf-8"))


def _check(document: Document) -> TestbedFile:
    testbed = document.validate(TestbedFile)
    found = sorted(problems(testbed), key=lambda problem: document.line(problem[0]))
    if found:
        raise document.error(*found[0])
    return testbed
