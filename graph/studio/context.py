"""The settings of a thread in Studio: which world, and who decides in it. Studio draws a form from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from domain.errors import InputError
from domain.ledger import Role
from domain.serving import Batching, Dispatch
from graph.studio.world import TESTBED, Made
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
    dispatch: Annotated[
        str,
        Field(
            description="Who sends a request where: the routing plan for the slot (fixed, P1), its origin as it comes "
            "(arrival), or the same prompt by prompt (split); testbed: as it says. A thread keeps it.",
            json_schema_extra={"enum": [TESTBED, *Dispatch]},
        ),
    ] = TESTBED
    news_s: Annotated[
        float | None,
        Field(
            ge=0,
            allow_inf_nan=False,
            description="Age of what an origin knows of other nodes' queues, seconds, at most a slot; empty: the "
            "testbed's. A thread keeps it.",
        ),
    ] = None
    batching: Annotated[
        str,
        Field(
            description="Which prompts a pod computes together: none (P1), those of one request, or those that wait in "
            "its queue; testbed: as it says. A thread keeps it.",
            json_schema_extra={"enum": [TESTBED, *Batching]},
        ),
    ] = TESTBED
    copies: Annotated[
        bool | None,
        Field(
            description="Let a pod with vGPUs on several GPUs hold a copy of its LM on each; empty: the testbed's. "
            "A thread keeps it."
        ),
    ] = None
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
        served = (self.dispatch, self.news_s, self.batching, self.copies)
        return Made(self.testbed, self.workload, self.seed, self.load, *served)

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
        raise _unknown("family", list(FAMILIES), context.family)
    for name, word, words in (
        ("dispatch", context.dispatch, (TESTBED, *Dispatch)),
        ("batching", context.batching, (TESTBED, *Batching)),
    ):
        if word not in words:
            raise _unknown(name, [str(option) for option in words], word)
    for role, by in context.filled.items():
        if by not in CHOICES[role]:
            raise _unknown(role, CHOICES[role], by)
    return context


def _unknown(name: str, known: Sequence[str], given: str) -> InputError:
    return InputError(f"The context's {name} {one_of(known, given)}.".replace("?.", "?"))
