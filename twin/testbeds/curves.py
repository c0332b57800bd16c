"""What must hold within the batch curves of an LM: they rise, and no batch is slower than its prompts one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from twin.sentences import one_of
from twin.testbeds.schema import Curve, FieldSteps, LmEntry, Problem


def curves(i: int, lm: LmEntry) -> Iterator[Problem]:
    """Yield what is wrong with the curves of LM i."""
    for model, curve in lm.cpu_batch.items():
        where = ("lms", i, "cpu_batch", model)
        if model not in lm.cpu_profiles:
            known = list(lm.cpu_profiles)
            yield where, one_of(known, model) if known else "must be left out, since the LM has no cpu_profiles"
        yield from _curve(where, curve)
    for model, speed in lm.gpu_profiles.items():
        yield from _curve(("lms", i, "gpu_profiles", model, "batch"), speed.batch)


def _curve(where: FieldSteps, curve: Curve) -> Iterator[Problem]:
    points = list(curve.items())
    if points and points[0][0] != 1:
        yield (*where, str(points[0][0])), "must stand behind 1: 1, since a curve begins with one prompt"
    elif points and points[0][1].value != 1.0:
        yield (*where, "1"), f"must be 1, since curves count in what one prompt takes, not {points[0][1].value:g}"
    for size, units in points[1:]:
        if units.value > size:
            most = f"must be at most {size}, what {size} prompts take one by one"
            yield (*where, str(size)), f"{most}, not {units.value:g}"
    for (size, units), (more, longer) in itertools.pairwise(points):
        if more <= size:
            yield (*where, str(more)), f"must stand before {size}, so that sizes rise"
        elif longer.value < units.value:
            yield (
                (*where, str(more)),
                f"must be at least {units.value:g}, what {size} take, not {longer.value:g}: "
                "a larger batch takes no less",
            )
