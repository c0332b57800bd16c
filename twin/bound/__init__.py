"""What no policy can beat: lower limits on latency and on the objective, upper limits on service (docs/bound.md)."""

from twin.bound.limits import Bound, bound
from twin.bound.nonanticipating import nonanticipating_mean_s

__all__ = ["Bound", "bound", "nonanticipating_mean_s"]
