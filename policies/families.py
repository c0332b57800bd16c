"""Policy families: who plans, who schedules, who deploys (P1 section VI).

A new rule is a file of its own and a line in one of the tables of roles here; a new family is a line in FAMILIES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from domain.cluster import Cluster
from domain.errors import InputError
from policies.average import AverageScheduler
from policies.backlog import BacklogScheduler
from policies.full import FullDeployer
from policies.local import LocalScheduler
from policies.lyapunov import LyapunovDeployer
from policies.random import RandomDeployer, RandomPlanner, RandomScheduler
from policies.rehearsal.planner import RehearsalPlanner
from policies.roles import Deployer, Planner, Scheduler
from policies.steady import SteadyDeployer

NOBODY = "none"
"""Name of the planner where there is none."""
PLANNERS: Mapping[str, Callable[[Cluster], Planner]] = MappingProxyType(
    {"random": RandomPlanner, "rehearsal": RehearsalPlanner}
)
"""Rules that can fill the role of the planner, by name."""
SCHEDULERS: Mapping[str, Callable[[Cluster], Scheduler]] = MappingProxyType(
    {"random": RandomScheduler, "average": AverageScheduler, "local": LocalScheduler, "backlog": BacklogScheduler}
)
"""Rules that can fill the role of the scheduler, by name."""
DEPLOYERS: Mapping[str, Callable[[Cluster], Deployer]] = MappingProxyType(
    {"random": RandomDeployer, "lyapunov": LyapunovDeployer, "full": FullDeployer, "steady": SteadyDeployer}
)
"""Rules that can fill the role of the deployer, by name."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A family in words: names of the rules in the tables above."""

    title: str
    summary: str
    """One sentence for the command line and the docs."""
    scheduler: str
    deployer: str
    planner: str = NOBODY
    """NOBODY: every node may host what it can run, for the whole run."""


FAMILIES: Mapping[str, Recipe] = MappingProxyType(
    {
        "RR": Recipe(
            "Random scheduling & random deployment",
            "Every slot sends each LM's requests to a random node and gives each node a random pattern.",
            scheduler="random",
            deployer="random",
        ),
        "RL": Recipe(
            "Random scheduling & Lyapunov-based deployment",
            "Requests go to random nodes; each node weighs its backlogs against the cost of vGPUs and switching.",
            scheduler="random",
            deployer="lyapunov",
        ),
        "AL": Recipe(
            "Average scheduling & Lyapunov-based deployment",
            "Requests rotate over all nodes that can run the LM; each node weighs its backlogs against the same cost.",
            scheduler="average",
            deployer="lyapunov",
        ),
        "RF": Recipe(
            "Random scheduling & full activation",
            "Requests go to random nodes; each node keeps as many LMs on as fit and never changes that.",
            scheduler="random",
            deployer="full",
        ),
        "LL": Recipe(
            "Local processing & Lyapunov-based deployment",
            "Requests stay where they arrive; each node weighs its backlogs against the cost of vGPUs and switching.",
            scheduler="local",
            deployer="lyapunov",
        ),
        "RH": Recipe(
            "Rehearsed planning, backlog-aware scheduling & steady deployment",
            "Plans are tried in the twin; requests go where they are answered first; pods change where it pays.",
            scheduler="backlog",
            deployer="steady",
            planner="rehearsal",
        ),
    }
)
"""Families that need no model, by code: P1's in the paper's order, then ours."""


@dataclass(frozen=True, slots=True)
class Family:
    """A family at work on one cluster."""

    code: str
    title: str
    planner: Planner | None
    scheduler: Scheduler
    deployer: Deployer
    scheduler_name: str
    deployer_name: str
    planner_name: str = NOBODY

    @property
    def decided_by(self) -> Mapping[str, str]:
        """Role to the name of who fills it, as records of decisions have it."""
        return {"planner": self.planner_name, "scheduler": self.scheduler_name, "deployer": self.deployer_name}

    @property
    def local(self) -> bool:
        """True where requests stay at their origin whatever it can run: `local` of constraints.check_routing."""
        return isinstance(self.scheduler, LocalScheduler)


def make(code: str, cluster: Cluster, recipes: Mapping[str, Recipe] = FAMILIES) -> Family:
    """Build the family `code` for a cluster.

    Raises:
        InputError: there is no such family, or the cluster's patterns are too many to enumerate.
    """
    if code not in recipes:
        known = "; ".join(f"{key} ({recipe.title})" for key, recipe in recipes.items())
        raise InputError(f"There is no policy family {code!r}; choose one of {known}.")
    recipe = recipes[code]
    return Family(
        code=code,
        title=recipe.title,
        planner=None if recipe.planner == NOBODY else PLANNERS[recipe.planner](cluster),
        scheduler=SCHEDULERS[recipe.scheduler](cluster),
        deployer=DEPLOYERS[recipe.deployer](cluster),
        scheduler_name=recipe.scheduler,
        deployer_name=recipe.deployer,
        planner_name=recipe.planner,
    )
