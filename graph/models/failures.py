"""What went wrong when a model was asked, in the words of the ledger.

The clients of model servers raise many kinds of errors; langchain-core gives the common ones a family of their own
(`ModelError`), the rest is told by the HTTP status. Nothing here depends on one client.
"""

from __future__ import annotations

import email.utils
import re
from dataclasses import dataclass

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelConnectionError,
    ModelInvalidRequestError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from domain.ledger import Reason
from graph.models.budget import BudgetExhaustedError
from memory.secrets import Secrets

AWAY = frozenset({502, 503, 504})
"""HTTP statuses of a server that is there, but whose model is not (yet): as good as no connection."""
LONGEST = 300
"""Characters of a server's own words that an error keeps."""
MOST_READ = 2_000
"""Characters of them that are looked through for parts of secrets."""


class NoAnswerError(Exception):
    """The server answered, but what it sent is no answer to the question."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure, classified."""

    reason: Reason
    detail: str
    """As the server put it, at any length and with any secrets; `told` is what may be written down."""
    servers_fault: bool
    """True where the next question is likely to fare no better: it counts for the circuit breaker."""

    def told(self, secrets: Secrets) -> str:
        """Reason and detail in the words of the ledger, without secrets and parts of them, LONGEST characters."""
        words = secrets.strike_parts(" ".join(secrets.strike(self.detail).split())[:MOST_READ])
        return f"{self.reason}: {words if len(words) <= LONGEST else words[: LONGEST - 1] + '…'}"


def classify(error: Exception) -> Failure:
    """Reason and detail of anything that a chat model, or a question on its way to one, raises."""
    status = _status(error)
    if isinstance(error, NoAnswerError):
        return Failure(error.reason, str(error), servers_fault=False)
    if isinstance(error, BudgetExhaustedError):
        return Failure(Reason.BUDGET, str(error), servers_fault=False)
    if isinstance(error, (TimeoutError, ModelTimeoutError)):
        return Failure(Reason.TIMEOUT, _words(error) or "the connection timed out", servers_fault=True)
    if isinstance(error, ModelRateLimitError) or status == 429:
        return Failure(Reason.RATE_LIMIT, _words(error), servers_fault=True)
    if isinstance(error, (ModelConnectionError, ConnectionError)) or status in AWAY:
        return Failure(Reason.CONNECTION, _words(error) or "the server cannot be reached", servers_fault=True)
    if (name := type(error).__name__) in _FINISHES:
        return Failure(_FINISHES[name], _finish_words(error), servers_fault=False)
    if isinstance(error, (ContextOverflowError, ModelInvalidRequestError)):
        return Failure(Reason.REJECTED_BY_SERVER, _words(error), servers_fault=False)
    if status is not None:
        return Failure(Reason.REJECTED_BY_SERVER, _words(error), servers_fault=status not in (400, 413, 422))
    words = f"the model's client failed with {type(error).__name__}: {_words(error)}"
    return Failure(
        Reason.INTERNAL, f"{words} (does the base URL lead to an OpenAI-compatible API?)", servers_fault=True
    )


# The openai client has these of its own, outside of the family, and tells no status.
_FINISHES = {
    "LengthFinishReasonError": Reason.TRUNCATED,
    "ContentFilterFinishReasonError": Reason.REFUSAL,
    "OpenAIRefusalError": Reason.REFUSAL,
}


def is_retryable(error: BaseException) -> bool:
    """True for rate limits and for connections that could not be made or broke."""
    return isinstance(error, Exception) and classify(error).reason in (Reason.RATE_LIMIT, Reason.CONNECTION)


def rejects_request(error: BaseException) -> bool:
    """True where the server found fault with the request itself, but not with its length."""
    if isinstance(error, ContextOverflowError) or "context" in str(error).lower():
        return False
    return isinstance(error, ModelInvalidRequestError) or _status(error) in (400, 422, 501)


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


def tokens_of(error: BaseException) -> tuple[int, int] | None:
    """Prompt and completion tokens of an answer that the client turned into an error; None where none are told."""
    usage = getattr(getattr(error, "completion", None), "usage", None)
    return None if usage is None else (int(usage.prompt_tokens), int(usage.completion_tokens))


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def _finish_words(error: BaseException) -> str:
    used = tokens_of(error)
    return _words(error) if used is None else f"the answer was cut off or withheld after {used[1]} tokens"


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())
