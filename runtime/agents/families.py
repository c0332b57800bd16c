"""Families by code: rules, agents, and any mix of them; listing them needs no model.

A mix is written planner+scheduler+deployer, such as `rehearsal+agent+lyapunov` or `none+agent+agent`: each part is
`agent`, the name of a rule, or, for the planner, `none`. Either may bring a dispatch of its own, as in `RH:split`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from domain.errors import InputError
from domain.ledger import Role
from domain.serving import Dispatch
from policies.families import DEPLOYERS, FAMILIES, NOBODY, PLANNERS, SCHEDULERS, Recipe
from runtime.results.own_dispatch import MARK, bare, own_dispatch
from twin.sentences import one_of

AGENT = "agent"
"""Stands in a recipe where a model decides."""
AGENT_FAMILIES: Mapping[str, Recipe] = MappingProxyType(
    {
        "MA": Recipe(
            "Multi-agent planning, scheduling & deployment",
            "Language-model agents write the macro-policy, the routes and every node's deployment; rules check them.",
            scheduler=AGENT,
            deployer=AGENT,
            planner=AGENT,
        ),
        "MAL": Recipe(
            "Multi-agent planning & scheduling, Lyapunov-based deployment",
            "Agents write the macro-policy and the routes; each node weighs its backlogs, whatever its roles.",
            scheduler=AGENT,
            deployer="lyapunov",
            planner=AGENT,
        ),
    }
)
"""P1's families that ask models, by code."""
RULES: Mapping[Role, Mapping[str, object]] = MappingProxyType(
    {Role.PLANNER: PLANNERS, Role.SCHEDULER: SCHEDULERS, Role.DEPLOYER: DEPLOYERS}
)
"""Rules that can fill each role, by name."""


def all_families() -> dict[str, Recipe]:
    """Families with a code: those that need no model, then those of agents."""
    return {**FAMILIES, **AGENT_FAMILIES}


def family_code(text: str) -> str:
    """Read a code or a mix in any case, and its dispatch; raises InputError where there is no such family."""
    name, dispatch = bare(text).strip(), own_dispatch(text)
    code = name.lower() if "+" in name else name.upper()
    recipe_of(code)
    if dispatch is None:
        return code
    dispatch = dispatch.strip().lower()
    if dispatch not in list(Dispatch):
        choice = one_of([str(way) for way in Dispatch], dispatch)
        raise InputError(f"The dispatch of {text.strip()} {choice}.".replace("?.", "?"))
    return f"{code}{MARK}{dispatch}"


def recipe_of(code: str) -> Recipe:
    """Who fills the roles of a family; raises InputError where there is no such family."""
    known, code = all_families(), bare(code)
    if code in known:
        return known[code]
    if "+" not in code:
        raise InputError(
            f"There is no policy family {code!r}; choose from {', '.join(known)}, or write planner+scheduler+deployer."
        )
    return mix(code, f"family {code!r}", with_agents=True)


def mix(text: str, what: str, with_agents: bool) -> Recipe:
    """Read planner+scheduler+deployer; raises InputError, naming `what`, where a part fills no role."""
    parts = [part.strip() for part in text.split("+")]
    if len(parts) != len(Role):
        raise InputError(f"{what} names {len(parts)} parts; write planner+scheduler+deployer.")
    for role, part in zip(Role, parts, strict=True):
        choices = [*RULES[role], *([AGENT] if with_agents else []), *([NOBODY] if role is Role.PLANNER else [])]
        if part not in choices:
            raise InputError(f"{what}: the {role} {one_of(choices, part)}.")
    planner, scheduler, deployer = parts
    return Recipe(f"Mix {text}", "A mix from the command line.", scheduler, deployer, planner)


def roles_of(recipe: Recipe) -> dict[Role, str]:
    """Role to who fills it: a rule's name, AGENT or NOBODY."""
    return {Role.PLANNER: recipe.planner, Role.SCHEDULER: recipe.scheduler, Role.DEPLOYER: recipe.deployer}


def has_agents(code: str) -> bool:
    """True where some role of the family wants a model."""
    return AGENT in roles_of(recipe_of(code)).values()
