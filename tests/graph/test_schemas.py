"""The schemas of answers: what they name, and that strict decoding takes them."""

import dataclasses
import json
import timeit
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from domain.cluster import Cluster
from domain.constraints import check_routing
from domain.serving import Dispatch
from graph.gate.answers import (
    parse_deployment,
    parse_macro_policy,
    parse_routing,
    schema_for_deployment,
    schema_for_macro_policy,
    schema_for_routing,
)
from policies.random import RandomDeployer, RandomPlanner, RandomScheduler
from tests.clusters import as_text, deployer_answer, opened, planner_answer, quiet, renamed, scheduler_answer, tiny
from twin.testbeds import generate_testbed, load_builtin

BRISTOL = load_builtin("bristol")
TOLERANCE = 1e-3
FIXED = json.dumps({"routes": {node: {"chat": "south", "draw": "south"} for node in ("north", "south")}})


@pytest.fixture(params=["tiny", "bristol", "generated", "tiny, open", "bristol, open"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    made = {"tiny": tiny(), "bristol": BRISTOL, "generated": generate_testbed(12, seed=5)}
    name, _, way = request.param.partition(", ")
    return opened(made[name]) if way else made[name]


ALLOWED = {"type", "properties", "required", "additionalProperties", "enum", "items", "$ref", "$defs"}


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema within a schema."""
    yield schema
    for part in [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]:
        yield from parts(part)
    if "items" in schema:
        yield from parts(schema["items"])


def fits(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    """Whether a value is what the schema asks for, in the words that the schemas here use."""
    if "$ref" in schema:
        return fits(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root)
    if "enum" in schema and value not in schema["enum"]:
        return False
    if schema["type"] == "object":
        return (
            isinstance(value, dict)
            and list(value) == schema["required"]
            and all(fits(part, value[key], root) for key, part in schema["properties"].items())
        )
    if schema["type"] == "array":
        return isinstance(value, list) and all(fits(schema["items"], item, root) for item in value)
    kinds: dict[str, tuple[type, ...]] = {"string": (str,), "number": (int, float), "integer": (int,)}
    return isinstance(value, kinds[schema["type"]])


def schemas(cluster: Cluster) -> list[dict[str, Any]]:
    deployments = [schema_for_deployment(cluster, n) for n in range(cluster.n_nodes)]
    return [schema_for_macro_policy(cluster), schema_for_routing(cluster), *deployments]


def test_schemas_keep_to_what_strict_decoding_takes(cluster: Cluster) -> None:
    for schema in schemas(cluster):
        for part in parts(schema):
            assert part.keys() <= ALLOWED
            if part.get("type") == "object":
                assert part["additionalProperties"] is False
                assert part["required"] == list(part["properties"])
            if "$ref" in part:
                assert part["$ref"].removeprefix("#/$defs/") in schema["$defs"]


@pytest.mark.parametrize("dispatch", Dispatch)
@pytest.mark.parametrize("nodes", [6, 600, 1700])
def test_schemas_of_large_clusters_stay_within_openais_limits(nodes: int, dispatch: Dispatch) -> None:
    for schema in schemas(opened(generate_testbed(nodes, seed=1), dispatch))[:3]:
        enums = [part["enum"] for part in parts(schema) if "enum" in part]
        names = [name for part in parts(schema) for name in part.get("properties", {})]
        assert sum(map(len, enums)) <= 1000
        assert len(names) <= 5000
        assert sum(map(len, names)) + sum(len(str(value)) for enum in enums for value in enum) <= 120_000
        assert all(len(enum) <= 250 or sum(map(len, enum)) <= 15_000 for enum in enums)


def test_sound_answers_fit_their_schemas(cluster: Cluster) -> None:
    rng, snapshot = np.random.default_rng(4), quiet(cluster)
    policy = RandomPlanner(cluster).plan(snapshot, (), rng)
    schema = schema_for_macro_policy(cluster)
    assert fits(schema, planner_answer(cluster, policy), schema)
    schema = schema_for_routing(cluster)
    assert fits(schema, scheduler_answer(cluster, RandomScheduler(cluster).schedule(snapshot, policy, rng)), schema)
    for n in range(cluster.n_nodes):
        deployment = RandomDeployer(cluster).deploy(snapshot, n, policy, rng)
        assert deployment is not None
        schema = schema_for_deployment(cluster, n)
        assert fits(schema, deployer_answer(cluster, deployment), schema)


def test_schemas_name_what_is_feasible_and_nothing_else() -> None:
    cluster = tiny()
    macro = schema_for_macro_policy(cluster)
    shares = {
        lm: list(macro["$defs"][part["$ref"].removeprefix("#/$defs/")]["properties"])
        for lm, part in macro["properties"]["routing"]["properties"].items()
    }
    assert shares == {"chat": ["north", "south"], "draw": ["south"]}
    routing = schema_for_routing(cluster)
    assert [part["enum"] for part in routing["$defs"].values() if "enum" in part] == [["north", "south"], ["south"]]
    on_cpu = schema_for_deployment(cluster, 0)["properties"]["deployment"]["properties"]
    assert {lm: cell["properties"]["mode"]["enum"] for lm, cell in on_cpu.items()} == {"chat": ["off", "cpu"]}
    on_gpu = schema_for_deployment(cluster, 1)["properties"]["deployment"]["properties"]
    assert {lm: cell["properties"]["mode"]["enum"] for lm, cell in on_gpu.items()} == {
        "chat": ["off", "cpu", "gpu"],
        "draw": ["off", "gpu"],
    }


def test_an_open_schema_names_the_nodes_of_each_lm_and_the_origins() -> None:
    schema = schema_for_routing(opened(tiny()))
    entry = schema["properties"]["routes"]["items"]["properties"]
    assert entry["origin"]["enum"] == ["*", "north", "south"]
    nodes = {
        lm: list(schema["$defs"][part["$ref"].removeprefix("#/$defs/")]["properties"])
        for lm, part in entry["nodes"]["properties"].items()
    }
    assert nodes == {"chat": ["north", "south"], "draw": ["south"]}
    assert not fits(schema, scheduler_answer(tiny(), parse_routing(tiny(), FIXED)), schema)


def test_an_lm_that_no_node_can_run_is_asked_of_nobody() -> None:
    cluster = tiny()
    cluster = dataclasses.replace(cluster, lms=(cluster.lms[0], dataclasses.replace(cluster.lms[1], ram_gb=99.0)))
    assert "draw" not in json.dumps(schemas(cluster))
    plan = parse_routing(cluster, '{"routes": {"north": {"chat": "south"}, "south": {"chat": "south"}}}')
    assert check_routing(cluster, plan) == []
    assert scheduler_answer(cluster, plan)["routes"]["north"] == {"chat": "south"}


def test_odd_names_are_keys_like_any_other() -> None:
    cluster = renamed(tiny(), {"north": 'a "b"\n$c', "chat": "reasoning", "draw": "ключ 🔑"})
    policy = RandomPlanner(cluster).plan(quiet(cluster), (), np.random.default_rng(5))
    answer = planner_answer(cluster, policy)
    schema = schema_for_macro_policy(cluster)
    assert fits(schema, answer, schema)
    assert parse_macro_policy(cluster, as_text(answer), TOLERANCE)[0].roles.tolist() == policy.roles.tolist()


@pytest.mark.bench
def test_how_long_a_deployers_answer_takes_to_read() -> None:
    cells = {lm: {"mode": "gpu", "amount": 1} for lm in ("LM1", "LM4")} | {
        lm: {"mode": "off", "amount": 0} for lm in ("LM2", "LM3")
    }
    text = as_text({"reasoning": "LM4 has the longest queue, LM1 the next.", "deployment": cells})
    best = min(timeit.repeat(lambda: parse_deployment(BRISTOL, 1, text), number=2000, repeat=5)) / 2000
    print(f"\nread a deployment: {best * 1e6:.1f} us")
    assert best < 60e-6
