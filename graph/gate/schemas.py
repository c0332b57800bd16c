"""JSON schemas of the answers, for decoders that can be held to one; they name what is feasible on the cluster alone.

They keep to what OpenAI's strict decoding takes: every property required, no others allowed, no bounds on numbers. It
also takes no more than 5,000 properties and 120,000 characters of names in one schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.cluster import Cluster
from domain.decisions import EVERYBODY
from domain.serving import Dispatch
from prompts.scheduler import MOST_ORIGINS

MODES = ("off", "cpu", "gpu")
"""What an LM may be on a node."""
MOST_ENUM_VALUES, MANY_ENUM_VALUES, MOST_ENUM_CHARACTERS = 1000, 250, 15_000
"""OpenAI's limits (guide to structured outputs): values of all enums of a schema, and characters of one enum that has
more than 250 values."""

Json = dict[str, Any]


def schema_for_macro_policy(cluster: Cluster) -> Json:
    """JSON schema of a planner's answer: of each LM the nodes that can run it, of each node the LMs that it can run.

    LMs with the same nodes, and nodes with the same LMs, share one definition.
    """
    definitions = _Definitions()
    nodes, lms = [node.name for node in cluster.nodes], [lm.name for lm in cluster.lms]
    routing, roles = {}, {}
    for lm, able in zip(lms, cluster.feasible.T, strict=True):
        if able.any():
            names = _those(nodes, able)
            routing[lm] = definitions.ref("shares", names, _record({name: {"type": "number"} for name in names}))
    for node, able in zip(nodes, cluster.feasible, strict=True):
        if able.any():
            names = _those(lms, able)
            roles[node] = definitions.ref("roles", names, _list(_choice(names)))
    return _answer({"routing": _record(routing), "roles": _record(roles)}, definitions)


def schema_for_routing(cluster: Cluster) -> Json:
    """JSON schema of a scheduler's answer: of each origin and LM a node that can run the LM.

    In clusters with more names than OpenAI takes in enums, a target is any text; reading refuses unknown ones. Where
    origins choose: entries of an origin, or `*` for all, with the weights of each LM on the nodes that can run it.
    """
    definitions = _Definitions()
    nodes = [node.name for node in cluster.nodes]
    able = [(lm.name, _those(nodes, row)) for lm, row in zip(cluster.lms, cluster.feasible.T, strict=True)]
    if cluster.serving.dispatch is not Dispatch.FIXED:
        number = {"type": "number"}
        lists = {
            lm: definitions.ref("weights", names, _record(dict.fromkeys(names, number))) for lm, names in able if names
        }
        origins = [EVERYBODY, *(nodes if len(nodes) <= MOST_ORIGINS else ())]
        return _answer({"routes": _list(_record({"origin": _choice(origins), "nodes": _record(lists)}))}, definitions)
    total = sum(map(len, {tuple(names) for _, names in able}))
    closed = total <= MOST_ENUM_VALUES and all(_fits_enum(names) for _, names in able)
    row = {
        lm: definitions.ref("targets", names, _choice(names)) if closed else {"type": "string"}
        for lm, names in able
        if names
    }
    origin = definitions.ref("origin", list(row), _record(row))
    return _answer({"routes": _record(dict.fromkeys(nodes, origin))}, definitions)


def schema_for_deployment(cluster: Cluster, n: int) -> Json:
    """JSON schema of a deployer's answer: of each LM that node n can run, the modes in which it can.

    Amounts are listed up to what the node has: a small model that is held to any integer may never end it.
    """
    definitions, most = _Definitions(), max(cluster.nodes[n].cpu_cores, cluster.nodes[n].vgpus)
    amounts = {"enum": list(range(most + 1))} if most < MANY_ENUM_VALUES else {}
    amount = definitions.ref("amount", [], {"type": "integer", **amounts})
    cells = {}
    for i, lm in enumerate(cluster.lms):
        runs = {"off": True, "cpu": cluster.runs_on_cpu(n, i), "gpu": cluster.runs_on_gpu(n, i)}
        modes = [mode for mode in MODES if runs[mode]]
        if len(modes) > 1:
            cells[lm.name] = _record({"mode": _choice(modes), "amount": amount})
    return _answer({"deployment": _record(cells)}, definitions)


class _Definitions:
    """Parts of a schema that stand in it once, whatever refers to them."""

    def __init__(self) -> None:
        self.parts: dict[str, Json] = {}
        self._known: dict[tuple[str, ...], Json] = {}

    def ref(self, what: str, names: Sequence[str], part: Json) -> Json:
        """Return a reference to the part, which depends on nothing but `what` and `names`."""
        key = (what, *names)
        if key not in self._known:
            name = f"{what}_{len(self.parts)}"
            self.parts[name], self._known[key] = part, {"$ref": f"#/$defs/{name}"}
        return self._known[key]


def _answer(parts: dict[str, Json], definitions: _Definitions) -> Json:
    return {**_record({"reasoning": {"type": "string"}, **parts}), "$defs": definitions.parts}


def _record(properties: dict[str, Json]) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _choice(names: Sequence[str]) -> Json:
    return {"type": "string", "enum": list(names)}


def _fits_enum(names: Sequence[str]) -> bool:
    return len(names) <= MANY_ENUM_VALUES or sum(map(len, names)) <= MOST_ENUM_CHARACTERS


def _those(names: Sequence[str], chosen: Any) -> list[str]:
    return [name for name, is_chosen in zip(names, chosen.tolist(), strict=True) if is_chosen]
