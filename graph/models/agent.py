"""An agent is a model in a role, behind an endpoint that it may share with other agents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from langchain_core.language_models import BaseChatModel

from domain.ledger import Role
from graph.models.breaker import CircuitBreaker
from graph.models.budget import Price
from graph.models.turns import Turns
from memory.secrets import Secrets


class AnswerFormat(StrEnum):
    """How tightly a server can hold an answer to a form, from tight to loose."""

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    TEXT = "text"


@dataclass
class Abilities:
    """What a model on a server was found to take. Changed as its agents learn."""

    answer_format: AnswerFormat = AnswerFormat.JSON_SCHEMA
    """The tightest form that it has not turned down yet."""
    left_out: frozenset[str] = frozenset()
    """Parameters that it complained of. Without `max_completion_tokens` it is sent `max_tokens`."""
    given_up: bool = False
    """True where it was waited for in vain before the first slot, until it answers."""
    stumbled: int = 0
    """Answers in a row that came in a looser form only, after the server had broken down over the tightest."""


@dataclass
class Presence:
    """Whether a model on a server was there in the slot in hand."""

    asked: int = 0
    """Questions, those that the breaker refused included."""
    answered: int = 0
    passes: bool = False
    """True where the last failure was one that waiting may mend."""
    loading: bool = False
    """True where it was that the model is not there yet."""
    said: str = ""
    """What came with it."""

    @property
    def missed(self) -> bool:
        """True where it was asked in vain, and may be back later."""
        return bool(self.asked and not self.answered and self.passes)

    def begin(self) -> None:
        """Begin the next slot."""
        self.asked = self.answered = 0


@dataclass
class Endpoint:
    """A model server, as the agents know it that share a breaker there. Changed as they learn."""

    address: str = ""
    """Base URL, for sentences; it holds no credentials."""
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    abilities: dict[str, Abilities] = field(default_factory=lambda: defaultdict(Abilities))
    """What each model there was found to take, by its name: one may be older than the other."""
    turns: Turns = field(default_factory=Turns)
    presence: Presence = field(default_factory=Presence)


@dataclass(frozen=True)
class Agent:
    """A model in a role."""

    role: Role
    model: BaseChatModel
    """It must not retry on its own: retries are made in one place, inside the time of a question."""
    name: str
    """Name of the model; the ledger says 'agent:NAME'."""
    endpoint: Endpoint = field(default_factory=Endpoint)
    timeout_s: float = 20.0
    """Seconds that a question may take, retries and tool calls included; below the slot (P1: 30 s)."""
    max_completion_tokens: int = 2048
    """Most tokens of one answer, which a budget sets aside. The model itself must be held to it too."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What else shapes an answer (temperature, seed …): plain data, part of the key of a tape's entry."""
    price: Price | None = None
    secrets: Secrets = field(default=Secrets())
    """They are struck out of answers, errors and tool calls, whatever the server sends."""

    @property
    def abilities(self) -> Abilities:
        """What its model was found to take."""
        return self.endpoint.abilities[self.name]

    @property
    def where(self) -> str:
        """The server, for sentences."""
        return self.endpoint.address or self.name
