"""No secrets in the memory: what connection strings of databases and endpoints hide is cut out before it is written.

Settings, error texts and prompts may quote such a string. Nothing but the secret is lost.
"""

from __future__ import annotations

import re

HIDDEN = "***"
_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/?#\"'<>]*|[^\s/?#@:\"'<>]+:[^\s\"'<>]*)@")
"""scheme://user:password@ as RFC 3986 has it, and with the characters that a password should have had escaped."""
_PARAMETER = re.compile(
    r"([?&;](?:key|sig|auth|[^=&;\s\"'<>]*(?:password|passwd|token|secret|api[_-]?key|access[_-]?key|signature|"
    r"credential)[^=&;\s\"'<>]*)=)[^&;\s\"'<>]+",
    re.IGNORECASE,
)
"""?apiKey=…, &tlsCertificateKeyFilePassword=… and their like."""


def holds_secret(address: str) -> bool:
    """True for an address with a user name, a password or a secret parameter."""
    return redact(address) != address


def redact(text: str) -> str:
    """Return the text with user names, passwords and secret parameters of the URIs in it replaced by ***."""
    if "://" not in text:
        return text
    return _PARAMETER.sub(rf"\g<1>{HIDDEN}", _USERINFO.sub(rf"\g<1>{HIDDEN}@", text))
