"""P1-1 and the rules around it, as checks that return what is wrong instead of raising.

Every check returns a list of violations, empty where the decision is sound. A violation names the rule, the place and
the amount, and says in one sentence what would be right, so that a person and a model can both act on it.
"""

from domain.constraints.capacity import check_capacity
from domain.constraints.deployment import check_deployment
from domain.constraints.macro_policy import check_macro_policy
from domain.constraints.routing import MOST_WEIGHT, check_routing
from domain.constraints.together import fits_together
from domain.constraints.violation import TOLERANCE, Rule, Violation

__all__ = [
    "MOST_WEIGHT",
    "TOLERANCE",
    "Rule",
    "Violation",
    "check_capacity",
    "check_deployment",
    "check_macro_policy",
    "check_routing",
    "fits_together",
]
