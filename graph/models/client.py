"""Models behind OpenAI-compatible servers: which model fills which role, and the client that asks it.

Keys come from the environment and go nowhere but into the client.
"""

from __future__ import annotations

import ipaddress
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from pydantic import SecretStr

from domain.errors import InputError
from domain.ledger import Role
from graph.models.agent import Abilities, Agent, Endpoint
from graph.models.breaker import CircuitBreaker
from graph.models.budget import Price
from memory.secrets import Secrets

if TYPE_CHECKING:
    from openai import DefaultAsyncHttpxClient

OPENAI = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which model fills a role, and how it is asked."""

    model: str
    """Name of the model, as its server knows it."""
    base_url: str | None = None
    """Of an OpenAI-compatible server, such as http://127.0.0.1:8080/v1; None is OPENAI_BASE_URL, else OpenAI's own."""
    key_variable: str | None = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; None sends no key. Settings never hold the key itself."""
    temperature: float | None = None
    """0 takes the likeliest token each time; None leaves it to the server (gpt-5 takes no temperature)."""
    seed: int | None = None
    """Asks the server to sample the same way each time; few promise it. A tape is what makes a run repeatable."""
    reasoning_effort: str | None = None
    """For models that reason: minimal, low, medium or high; None leaves it to the server."""
    timeout_s: float = 10.0
    """Seconds that a question may take, retries and tool calls included."""
    max_completion_tokens: int = 2048
    """Most tokens of one answer; those that a model reasons with count."""
    breaker_failures: int = 5
    """Failed questions in a row after which the server is left alone."""
    breaker_pause_s: float = 60.0
    """Seconds for which it is left alone: two slots."""

    def __post_init__(self) -> None:
        if not self.model:
            raise InputError("a model needs a name; give the one that its server knows")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise InputError(f"the temperature of {self.model} is {self.temperature}; give one from 0 to 2")
        if not 0 < self.timeout_s < float("inf"):
            raise InputError(f"the time limit of {self.model} is {self.timeout_s} s; give more than 0")
        if self.max_completion_tokens < 1:
            raise InputError(f"{self.model} may answer in {self.max_completion_tokens} tokens; give at least 1")
        if self.breaker_failures < 1 or not self.breaker_pause_s >= 0:
            raise InputError("a circuit breaker opens after 1 failure or more, for 0 s or more")
        if self.base_url is not None:
            _check_address(self.base_url)


PLANNER = ModelSettings("gpt-5", timeout_s=25.0, max_completion_tokens=8192)
"""P1 section V-D2 plans with GPT-5. Both answers and a repair have to fit into a slot of 30 s, see `Limits.seconds`."""
TIER_2 = ModelSettings("gpt-4o", temperature=0.0)
"""P1 section V-D2 schedules and deploys with a "GPT-4-based API"; of that family, gpt-4o can be held to a schema."""


def default_settings(role: Role) -> ModelSettings:
    """What a role is asked with where the user does not say, as in P1 section V-D2."""
    return PLANNER if role is Role.PLANNER else TIER_2


def can_be_asked(settings: ModelSettings, environ: Mapping[str, str]) -> bool:
    """True where there is a key or a server of one's own; else a run fills its roles with rules."""
    keyed = settings.key_variable is not None and bool(environ.get(settings.key_variable, "").strip())
    return keyed or _address(settings, environ) != OPENAI


def make_agent(
    role: Role,
    settings: ModelSettings,
    environ: Mapping[str, str],
    *,
    endpoint: Endpoint | None = None,
    client: DefaultAsyncHttpxClient | None = None,
    price: Price | None = None,
) -> Agent:
    """Make the agent of a role.

    Args:
        role: that it fills.
        settings: of its model.
        environ: where the key is looked up, usually `os.environ`.
        endpoint: that it shares with other agents of the same server; None makes its own.
        client: HTTP connections that it shares; None leaves them to the library.
        price: of the model, for budgets in USD.

    Raises:
        InputError: where the server wants a key and there is none, or the key could not be sent.
    """
    from graph.models.chat_openai import ServerChat

    address, key = _address(settings, environ), _key(settings, environ)
    if key is None and address == OPENAI:
        wanted = settings.key_variable or "a variable for the key"
        raise InputError(
            f"the {role} asks {settings.model} at {OPENAI}: set {wanted} in the environment, "
            "or give the base URL of a server that needs no key"
        )
    model = ServerChat(
        model=settings.model,
        base_url=address,
        api_key=SecretStr(key or "none"),
        temperature=settings.temperature,
        seed=settings.seed,
        reasoning_effort=settings.reasoning_effort,
        max_completion_tokens=settings.max_completion_tokens,
        timeout=settings.timeout_s,
        max_retries=0,
        http_async_client=client,
        http_socket_options=(),  # httpx as it comes; else the library warns wherever a proxy is set
    )
    secrets = Secrets.of(environ) | Secrets([key] if key else [])
    return _agent(role, settings, model, endpoint or _endpoint(settings, address), price, secrets)


def make_silent_agent(role: Role, settings: ModelSettings, price: Price | None = None) -> Agent:
    """Make an agent for a run from a tape: it is the same to the tape, needs no key and cannot be asked."""
    return _agent(role, settings, Silent(), Endpoint(), price, Secrets())


@asynccontextmanager
async def open_agents(
    settings: Mapping[Role, ModelSettings],
    environ: Mapping[str, str],
    *,
    prices: Mapping[str, Price] | None = None,
    known: Servers | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[dict[Role, Agent]]:
    """Make the agents of several roles; those that ask the same server share its connections.

    Args:
        settings: of each role.
        environ: where keys are looked up.
        prices: of models, for budgets in USD.
        known: what is known of servers already, and is learned of them now; None begins anew.
        clock: of the breakers: seconds of the world that decides.

    Raises:
        InputError: as `make_agent`.
    """
    from openai import DefaultAsyncHttpxClient

    known = Servers() if known is None else known
    clients: dict[tuple[str, str | None], DefaultAsyncHttpxClient] = {}
    agents = {}
    async with AsyncExitStack() as stack:
        for role, own in settings.items():
            address = _address(own, environ)
            if (address, own.key_variable) not in clients:
                # A proxy of the environment is not meant for this machine.
                client = DefaultAsyncHttpxClient(trust_env=not _is_loopback(address))
                clients[address, own.key_variable] = await stack.enter_async_context(client)
            price = (prices or {}).get(own.model)
            endpoint, client = known.endpoint(own, address, clock), clients[address, own.key_variable]
            agents[role] = make_agent(role, own, environ, endpoint=endpoint, client=client, price=price)
        yield agents


def with_base_url(settings: Mapping[Role, ModelSettings], model: str, base_url: str) -> dict[Role, ModelSettings]:
    """Let every role ask one model on a server that needs no key, such as the one of `runtime.agents.local_llm`."""
    return {
        role: replace(own, model=model, base_url=base_url, key_variable=None, reasoning_effort=None)
        for role, own in settings.items()
    }


class Servers:
    """What is known of model servers, and shared by all who ask the same model there with the same key."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._abilities: dict[tuple[str, str | None, str], dict[str, Abilities]] = {}
        self._endpoints: dict[tuple[str, str | None, str, int, float], Endpoint] = {}

    def endpoint(self, own: ModelSettings, address: str, clock: Callable[[], float]) -> Endpoint:
        """Return the endpoint of a role. Roles that want a breaker of their own kind get one of their own."""
        model = address, own.key_variable, own.model
        key = *model, own.breaker_failures, own.breaker_pause_s
        if key not in self._endpoints:
            endpoint = self._endpoints[key] = _endpoint(own, address, clock)
            endpoint.abilities = self._abilities.setdefault(model, endpoint.abilities)
        return self._endpoints[key]

    def anew(self) -> Servers:
        """Keep what servers were found to take, and forget how they fared, which was in another world."""
        other = Servers()
        other._abilities = self._abilities
        return other


class Silent(BaseChatModel):
    """Stands where a model would be in a run that must not call one."""

    @property
    def _llm_type(self) -> str:
        return "silent"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        raise InputError("this run plays a tape and asks no model")


def _agent(
    role: Role,
    settings: ModelSettings,
    model: BaseChatModel,
    endpoint: Endpoint,
    price: Price | None,
    secrets: Secrets,
) -> Agent:
    given = {
        "temperature": settings.temperature,
        "seed": settings.seed,
        "reasoning_effort": settings.reasoning_effort,
    }
    return Agent(
        role=role,
        model=model,
        name=settings.model,
        endpoint=endpoint,
        timeout_s=settings.timeout_s,
        max_completion_tokens=settings.max_completion_tokens,
        parameters={name: value for name, value in given.items() if value is not None},
        price=price,
        secrets=secrets,
    )


def _endpoint(settings: ModelSettings, address: str, clock: Callable[[], float] = time.monotonic) -> Endpoint:
    return Endpoint(address, CircuitBreaker(settings.breaker_failures, settings.breaker_pause_s, clock))


def _address(settings: ModelSettings, environ: Mapping[str, str]) -> str:
    address = settings.base_url
    if address is None and (address := environ.get("OPENAI_BASE_URL", "").strip() or None):
        _check_address(address)
    return (address or OPENAI).rstrip("/")


def _check_address(address: str) -> None:
    if any(mark in address for mark in "@?#"):  # not quoted, for what may stand there
        raise InputError(
            "a base URL must hold no name, no password and no query (@, ? or #); put the key into OPENAI_API_KEY"
        )
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{address!r} is no base URL; give one such as http://127.0.0.1:8080/v1")


def _is_loopback(address: str) -> bool:
    host = urllib.parse.urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key(settings: ModelSettings, environ: Mapping[str, str]) -> str | None:
    key = environ.get(settings.key_variable, "").strip() if settings.key_variable else ""
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise InputError(f"{settings.key_variable} is no key: it holds characters that cannot be sent")
    return key or None
