"""What went wrong when a model was asked, in the words of the ledger and of the server.

The clients of model servers raise many kinds of errors; langchain-core gives the common ones a family of their own
(`ModelError`), the rest is told by the HTTP status. Nothing here depends on one client.
"""

from __future__ import annotations

import email.utils
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelConnectionError,
    ModelInvalidRequestError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from domain.ledger import Reason
from graph.models.budget import BudgetExhaustedError
from memory.redaction import HIDDEN, redact
from memory.secrets import Secrets

AWAY = frozenset({502, 503, 504})
"""HTTP statuses of a server that is there, but whose model is not (yet): as good as no connection."""
LONGEST = 300
"""Characters of a server's own words that an error keeps."""
MOST_READ = 2_000
"""Characters of them that are looked through for parts of secrets."""
BROKEN = frozenset(
    {"ReadError", "WriteError", "ReadTimeout", "RemoteProtocolError", "ConnectionResetError", "BrokenPipeError"}
)
"""Errors of a connection over which a request had gone out, by the names that HTTP clients give them."""

_KEYS = re.compile(r"\b(?:sk|pk|rk|gsk|xai|hf)[-_][\w.*…-]{3,}|(?<=\bBearer )[\w.*…~+/=-]{4,}", re.IGNORECASE)
"""What looks like a key, whole or masked by the server that shows it."""


class NoAnswerError(Exception):
    """The server answered, but what it sent is no answer to the question."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class ServerSaidError(Exception):
    """An error that came as a reply of status 200."""

    def __init__(self, said: object, status: int | None) -> None:
        """Keep what stands in the reply, and the HTTP status that it names, where it names one."""
        super().__init__(str(said))
        self.body, self.status_code = said, status


class BadReplyError(Exception):
    """A reply that is no chat completion."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure, classified."""

    reason: Reason
    detail: str
    """As the server put it, at any length and with any secrets; `told` is what may be written down."""
    servers_fault: bool
    """True where the next question is likely to fare no better: it counts for the circuit breaker."""
    passes: bool = False
    """True where waiting may mend it: a server that is away or busy, not one that refuses."""
    loading: bool = False
    """True where the server says that it is there and its model is not yet (HTTP 503)."""

    def told(self, secrets: Secrets) -> str:
        """Reason and detail in the words of the ledger, without secrets, parts of them and what looks like a key.

        LONGEST characters at most.
        """
        words = secrets.strike_parts(" ".join(secrets.strike(self.detail).split())[:MOST_READ])
        words = "".join([c if c.isprintable() else "?" for c in redact(_KEYS.sub(HIDDEN, words))])
        return f"{self.reason}: {words if len(words) <= LONGEST else words[: LONGEST - 1] + '…'}"


def classify(error: Exception) -> Failure:
    """Reason and detail of anything that a chat model, or a question on its way to one, raises."""
    status, words = _status(error), _words(error)
    if isinstance(error, NoAnswerError):
        return Failure(error.reason, words, servers_fault=False)
    if isinstance(error, BudgetExhaustedError):
        return Failure(Reason.BUDGET, words, servers_fault=False)
    if isinstance(error, (TimeoutError, ModelTimeoutError)):
        return Failure(Reason.TIMEOUT, words or "the connection timed out", servers_fault=True, passes=True)
    if isinstance(error, ModelRateLimitError) or status == 429:
        if _is_out_of_quota(error):
            return Failure(Reason.REJECTED_BY_SERVER, words, servers_fault=True)
        return Failure(Reason.RATE_LIMIT, words, servers_fault=True, passes=True)
    if isinstance(error, (ModelConnectionError, ConnectionError)) or status in AWAY:
        words = words or "the server cannot be reached"
        return Failure(Reason.CONNECTION, words, servers_fault=True, passes=True, loading=status == 503)
    if isinstance(error, (ContextOverflowError, ModelInvalidRequestError)):
        return Failure(Reason.REJECTED_BY_SERVER, words, servers_fault=False)
    if status is not None:
        asked_wrongly = status in (400, 413, 422)
        return Failure(Reason.REJECTED_BY_SERVER, words, servers_fault=not asked_wrongly, passes=status >= 500)
    if isinstance(error, ServerSaidError):
        return Failure(Reason.REJECTED_BY_SERVER, words, servers_fault=True, passes=True)
    if not isinstance(error, BadReplyError):
        words = f"the model's client failed with {type(error).__name__}: {words}"
    words = f"{words} (does the base URL lead to an OpenAI-compatible API?)"
    return Failure(Reason.INTERNAL, words, servers_fault=True)


def is_retryable(error: BaseException) -> bool:
    """True for rate limits and for connections that could not be made or broke."""
    return isinstance(error, Exception) and classify(error).reason in (Reason.RATE_LIMIT, Reason.CONNECTION)


def rejects_request(error: BaseException) -> bool:
    """True where the server found fault with the request itself, but not with its length."""
    if isinstance(error, ContextOverflowError) or "context" in str(error).lower():
        return False
    return isinstance(error, ModelInvalidRequestError) or _status(error) in (400, 422, 501)


def stumbles(error: BaseException) -> bool:
    """True where the server broke down over the request, as some do over a form of answer that they do not know."""
    status = _status(error)
    return status is not None and status >= 500 and status not in AWAY


def refused_parameter(error: BaseException, sent: Sequence[str]) -> str | None:
    """Which of the parameters that were sent the server complains of; None where it names none of them."""
    if not rejects_request(error):
        return None
    named = getattr(error, "param", None)
    if named in sent:
        return str(named)
    places = {name: found.start() for name in sent if (found := re.search(rf"\b{name}\b", str(error)))}
    return min(places, key=lambda name: places[name]) if places else None


def cost_nothing(error: Exception) -> bool:
    """True where the model cannot have worked: the server was not reached, or it turned the request down."""
    if classify(error).reason not in (Reason.CONNECTION, Reason.RATE_LIMIT, Reason.REJECTED_BY_SERVER):
        return False
    link: BaseException | None = error
    while link is not None and type(link).__name__ not in BROKEN:
        link = link.__cause__ or link.__context__
    return link is None


def retry_after_s(error: BaseException) -> float | None:
    """Seconds that the server asks to wait (RFC 9110, section 10.2.3); None where it does not say."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    read_date = email.utils.parsedate_to_datetime
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
            return float(value)
        # A date is read against the server's own clock, not ours.
        return max(0.0, (read_date(value) - read_date(headers["date"])).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None


def _is_out_of_quota(error: BaseException) -> bool:
    """True for a 429 that no waiting mends."""
    return "insufficient_quota" in (getattr(error, "code", None), getattr(error, "type", None))


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def _words(error: BaseException) -> str:
    """The server's own sentence where it gave one, else the client's."""
    said, status = _said(getattr(error, "body", None)), _status(error)
    text = f"HTTP {status}: {said}" if said and status is not None else said or str(error)
    return " ".join(text.split())


def _said(body: Any) -> str:
    """The sentence in the body of an error, in any of the forms that servers give it."""
    if isinstance(body, Mapping):
        for key in ("message", "detail", "error_description", "error", "msg"):
            if said := _said(body.get(key)):
                return said
        return ""
    if isinstance(body, list):
        return json.dumps(body) if body else ""
    return re.sub(r"<[^<>]*>", " ", body).strip() if isinstance(body, str) else ""
