"""Testbeds: the nodes, LMs and links that a run takes place on, read from YAML or generated in any size."""

from twin.testbeds.build import to_cluster
from twin.testbeds.generate import generate, generate_testbed
from twin.testbeds.loader import builtin_names, load_builtin, load_testbed, read_testbed, to_yaml, write_testbed
from twin.testbeds.schema import TestbedFile
from twin.testbeds.serving import ServingEdit
from twin.testbeds.sources import SourcedNumber, sources

__all__ = [
    "ServingEdit",
    "SourcedNumber",
    "TestbedFile",
    "builtin_names",
    "generate",
    "generate_testbed",
    "load_builtin",
    "load_testbed",
    "read_testbed",
    "sources",
    "to_cluster",
    "to_yaml",
    "write_testbed",
]
