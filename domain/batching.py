"""What a batch of prompts takes, as a multiple of one prompt's seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchCurve:
    """Seconds of a batch of b prompts over those of one prompt, from points (b, factor); linear between points.

    The first point is (1, 1). Factors never fall, and are never above b: prompts one after the other are no slower than
    a batch. The last point is the most prompts that a pod takes at once.

    Raises:
        ValueError: the points break one of these rules; the text says which and where.
    """

    points: tuple[tuple[int, float], ...] = ((1, 1.0),)

    def __post_init__(self) -> None:
        if not self.points or self.points[0] != (1, 1.0):
            raise ValueError("a batch curve begins with a batch of 1 at factor 1")
        for (b0, f0), (b1, f1) in zip(self.points, self.points[1:], strict=False):
            if b1 <= b0:
                raise ValueError(f"batch sizes must rise, but {b1} follows {b0}")
            if not f1 >= f0:
                raise ValueError(f"a batch of {b1} cannot take less ({f1:g}) than a batch of {b0} ({f0:g})")
            if f1 > b1:
                raise ValueError(f"a batch of {b1} cannot take more ({f1:g}) than {b1} prompts one by one")

    @property
    def most(self) -> int:
        """Prompts that a pod takes at once."""
        return self.points[-1][0]

    def factor(self, prompts: int) -> float:
        """Seconds of a batch of `prompts`, 1 to `most`, over those of one prompt."""
        if not 1 <= prompts <= self.most:
            raise ValueError(f"a batch has 1 to {self.most} prompts, not {prompts}")
        for (b0, f0), (b1, f1) in zip(self.points, self.points[1:], strict=False):
            if prompts <= b1:
                return f0 + (f1 - f0) * (prompts - b0) / (b1 - b0)
        return 1.0

    def work(self, prompts: int) -> float:
        """Factors of all batches of a request: full ones first, the rest last; 0 for no prompts."""
        full, rest = divmod(prompts, self.most)
        return full * self.factor(self.most) + (self.factor(rest) if rest else 0.0)
