"""What the agents may spend in one slot: tokens, money and seconds. What is spent is refused, not overdrawn.

Questions are asked side by side, so a question first reserves the most that it can cost, which is given back when
its real cost is known. No tokenizer makes more than one token of a byte, so all bytes of a request, its schema and its
tools included, are what a prompt can cost at most. That only guards the budget and is never reported as measured;
where a server does not count, what was reserved stands.

Seconds count while a question is under way. What a person takes to approve, or the twin to rehearse, is not the
agents'.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from domain.errors import InputError

FRAME_TOKENS = 64
"""Beyond its bytes, what a chat template may put around a whole request (dates, a system text of its own)."""
MESSAGE_TOKENS = 16
"""The same around each message."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, as the user gives it: there is no built-in table that could be out of date."""

    prompt_usd: float
    """US dollars per million prompt tokens."""
    completion_usd: float
    """US dollars per million completion tokens."""

    def cost_usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars for so many tokens."""
        return (prompt_tokens * self.prompt_usd + completion_tokens * self.completion_usd) / 1e6


def read_prices(table: Mapping[str, Any], source: str) -> dict[str, Price]:
    """Model name to price, from {MODEL: {"prompt_usd": …, "completion_usd": …}}, US dollars per million tokens.

    Args:
        table: as read from a file.
        source: name of the file, for the sentence of an error.

    Raises:
        InputError: where a price is missing, negative or no number.
    """
    prices = {}
    for model, entry in table.items():
        try:
            price = Price(float(entry["prompt_usd"]), float(entry["completion_usd"]))
        except (KeyError, TypeError, ValueError):
            price = Price(math.nan, math.nan)
        if not (0 <= price.prompt_usd < math.inf and 0 <= price.completion_usd < math.inf):
            raise InputError(
                f"{source}: the price of {model} needs prompt_usd and completion_usd, "
                "both US dollars per million tokens, 0 or more"
            )
        prices[model] = price
    return prices


@dataclass(frozen=True, slots=True)
class Limits:
    """Most that all agents together may spend in one slot; None sets no limit."""

    tokens: int | None = None
    """Prompt and completion tokens."""
    cost_usd: float | None = None
    seconds: float | None = None
    """Seconds of the slot in which at least one question is under way."""

    def __post_init__(self) -> None:
        for name in ("tokens", "cost_usd", "seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"a budget of {value} {name} a slot is none; give a number greater than 0")


class BudgetExhaustedError(Exception):
    """The sentence says which limit a question would break."""


class Reservation(NamedTuple):
    """The most that a question can cost."""

    prompt_tokens: int
    completion_tokens: int
    cost_usd: float

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


class Account:
    """What one slot has spent and reserved."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits, self._clock = limits, clock
        self._under_way, self._since_s, self._spent_s = 0, 0.0, 0.0
        self.tokens = 0
        """Spent and reserved, prompt and completion together."""
        self.cost_usd = 0.0

    @property
    def counts(self) -> bool:
        """True where tokens or money are limited, so that sizes have to be known."""
        return self._limits.tokens is not None or self._limits.cost_usd is not None

    @property
    def seconds_left(self) -> float:
        """Seconds that are left for questions, never negative; infinity where there is no limit."""
        if self._limits.seconds is None:
            return math.inf
        now = self._clock() - self._since_s if self._under_way else 0.0
        return max(0.0, self._limits.seconds - self._spent_s - now)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """A question is under way for as long as the block runs."""
        if not self._under_way:
            self._since_s = self._clock()
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._spent_s += self._clock() - self._since_s

    def reserve(self, prompt_tokens: int, completion_tokens: int, price: Price | None) -> Reservation:
        """Set aside what a question can cost at most.

        Args:
            prompt_tokens: most tokens of the request.
            completion_tokens: most tokens of an answer.
            price: of the model; None counts as free.

        Raises:
            BudgetExhaustedError: where that is more than is left.
        """
        limits = self._limits
        wanted = Reservation(
            prompt_tokens,
            completion_tokens,
            price.cost_usd(prompt_tokens, completion_tokens) if price else 0.0,
        )
        if limits.tokens is not None and self.tokens + wanted.tokens > limits.tokens:
            raise BudgetExhaustedError(
                f"the question could take {wanted.tokens} tokens and {max(0, limits.tokens - self.tokens)} "
                f"of the slot's {limits.tokens} are left"
            )
        if limits.cost_usd is not None and self.cost_usd + wanted.cost_usd > limits.cost_usd:
            raise BudgetExhaustedError(
                f"the question could cost {wanted.cost_usd:.4f} USD and "
                f"{max(0.0, limits.cost_usd - self.cost_usd):.4f} of the slot's {limits.cost_usd:g} are left"
            )
        self.tokens += wanted.tokens
        self.cost_usd += wanted.cost_usd
        return wanted

    def settle(self, reserved: Reservation, prompt_tokens: int, completion_tokens: int, price: Price | None) -> None:
        """Put the measured cost in the place of what was reserved."""
        self.tokens += prompt_tokens + completion_tokens - reserved.tokens
        self.cost_usd += (price.cost_usd(prompt_tokens, completion_tokens) if price else 0.0) - reserved.cost_usd

    def pay(self, prompt_tokens: int, completion_tokens: int, price: Price | None) -> None:
        """Count what an earlier process has spent in this slot."""
        self.settle(Reservation(0, 0, 0.0), prompt_tokens, completion_tokens, price)

    def give_back(self, reserved: Reservation) -> None:
        """The question cost nothing: the server did not take it."""
        self.settle(reserved, 0, 0, None)


class Budget:
    """Hands each slot its account; all agents of a run share it."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._slot: int | None = None
        self._account = Account(limits, clock)

    def account(self, slot: int) -> Account:
        """The account of a slot, opened by the first question of the slot."""
        if slot != self._slot:
            self._slot, self._account = slot, Account(self.limits, self._clock)
        return self._account
