"""The settings of a thread in Studio: which world, and who decides in it. Studio draws a form from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from domain.errors import InputError
from domain.ledger import Role
from graph.studio.world import Made
from policies.families import DEPLOYERS, FAMILIES, NOBODY, PLANNERS, SCHEDULERS, Recipe
from twin.sentences import field_name, one_of, what_is_right

AGENT, FAMILY = "agent", "family"
CHOICES = {
    Role.PLANNER: (FAMILY, AGENT, NOBODY, *PLANNERS),
    Role.SCHEDULER: (FAMILY, AGENT, *SCHEDULERS),
    Role.DEPLOYER: (FAMILY, AGENT, *DEPLOYERS),
}


@dataclass(frozen=True)
class Context:
    """What a thread runs, and who decides."""

    family: Annotated[
        str, Field(description="Policy family: its rules fill the roles.", json_schema_extra={"enum": list(FAMILIES)})
    ] = "RL"
    planner: Annotated[
        str,
        Field(
            description="Who plans: the family, an agent (needs a key or a base URL in .env), nobody, or a rule.",
            json_schema_extra={"enum": list(CHOICES[Role.PLANNER])},
        ),
    ] = FAMILY
    scheduler: Annotated[
        str,
        Field(
            description="Who schedules: the family, an agent, or a rule.",
            json_schema_extra={"enum": list(CHOICES[Role.SCHEDULER])},
        ),
    ] = FAMILY
    deployer: Annotated[
        str,
        Field(
            description="Who deploys on each node: the family, an agent, or a rule.",
            json_schema_extra={"enum": list(CHOICES[Role.DEPLOYER])},
        ),
    ] = FAMILY
    seed: Annotated[
        int, Field(ge=0, description="Seed of requests and rules. A thread keeps the one it began with.")
    ] = 1
    testbed: Annotated[
        str, Field(description="Built-in testbed or YAML file. A thread keeps the one it began with.")
    ] = "bristol"
    workload: Annotated[
        str, Field(description="Built-in workload or YAML file. A thread keeps the one it began with.")
    ] = "p1"
    load: Annotated[
        float, Field(gt=0, allow_inf_nan=False, description="Factor of the workload's requests. A thread keeps it.")
    ] = 1.0
    planner_model: Annotated[str | None, Field(description="Model that plans; empty for gpt-5, as in P1.")] = None
    model: Annotated[str | None, Field(description="Model that schedules and deploys; empty for gpt-4o.")] = None
    rehearse: Annotated[
        bool, Field(description="Try what agents decide in the twin first, and take the rules' where it is worse.")
    ] = True
    slot_seconds: Annotated[
        float | None,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="Seconds that all questions of a run may take; empty: a slot.",
        ),
    ] = None
    slot_tokens: Annotated[
        int | None, Field(gt=0, description="Tokens that all questions of a run may take; empty: no limit.")
    ] = None
    planner_tools: Annotated[
        bool, Field(description="Let a planning agent recall, look and rehearse before it answers.")
    ] = False

    @property
    def made(self) -> Made:
        """What its world is made of."""
        return Made(self.testbed, self.workload, self.seed, self.load)

    @property
    def filled(self) -> dict[Role, str]:
        """Who fills each role, as chosen."""
        return {Role.PLANNER: self.planner, Role.SCHEDULER: self.scheduler, Role.DEPLOYER: self.deployer}

    @property
    def recipe(self) -> Recipe:
        """The family with the rules that were chosen instead; where an agent fills a role, the family's stands by."""
        chosen = {str(role): by for role, by in self.filled.items() if by not in (AGENT, FAMILY)}
        return replace(FAMILIES[self.family], **chosen)


def read_context(given: Any) -> Context:
    """Read what the server hands over: nothing, a mapping, or a Context. Raises InputError where a field is wrong."""
    if isinstance(given, Context):
        context = given
    else:
        try:
            context = TypeAdapter(Context).validate_python(given or {})
        except ValidationError as error:
            found = error.errors(include_url=False)[0]
            raise InputError(f"The context's {field_name(found['loc'])} {what_is_right(found)}.") from None
    if context.family not in FAMILIES:
        raise InputError(f"The context's family {one_of(list(FAMILIES), context.family)}.")
    for role, by in context.filled.items():
        if by not in CHOICES[role]:
            raise InputError(f"The context's {role} {one_of(CHOICES[role], by)}.")
    return context
