"""Secrets never leave the process: what a config may look like once it is shown, stored or sent.

A value is hidden where its key names a secret, where the text itself carries one (the password of a URL, a secret
query field, the path of a webhook, a bearer token, a key of a well-known shape), and where it is what a secret variable
of the environment holds, however it came into the text. Redaction errs on the side of hiding.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

HIDDEN = "***"

_NAME = (
    r"(?:[a-z]*passw(?:or)?d|passphrase|secret|token|credentials?|authorization|cookie|signature|sig"
    r"|(?:api|access|private|secret|signing|account)[_-]?key)"
)
_SECRET_KEY = re.compile(rf"(?:^|[^A-Za-z]){_NAME}(?:$|[^A-Za-z])", re.IGNORECASE)
_SECRET_FIELD = re.compile(rf"((?:^|[^A-Za-z]){_NAME}=)[^&;\s]+", re.IGNORECASE)
# A password may hold "/" and "@" where whoever wrote it forgot to escape them.
_USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/@\s:]*:\S*|[^/@\s]+)@")
_BEARER = re.compile(r"\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_SHAPED = re.compile(
    r"\b(?:AKIA[0-9A-Z]{16}|(?:ghp|gho|ghs|github_pat|hf|sk|glpat|xox[abp])[-_][A-Za-z0-9_-]{16,})(?![A-Za-z0-9])"
)
LEAST = 8  # characters of an environment's secret that is looked for: shorter ones are words
_WEBHOOK = re.compile(
    r"(https?://(?:hooks\.[^/\s]+/|[^/\s]*discord(?:app)?\.com/api/webhooks/|[^/\s]*webhook\.office\.com/))\S+",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def redact(value: Any) -> Any:
    """The same nested value of mappings, sequences and scalars with every secret replaced by `***`.

    Mappings become dicts with text keys, sequences lists; what is neither, nor text, comes back as it is. A
    secret that is empty or null stays visible: whether one was set is worth knowing.
    """
    if isinstance(value, Mapping):
        return {str(k): _hide(v) if is_secret(str(k)) else redact(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [redact(v) for v in value]
    return redact_text(value) if isinstance(value, str) else value


def redact_text(text: str) -> str:
    """Text without the passwords, tokens and webhook paths that stand in it."""
    for secret in _of_environment():
        text = text.replace(secret, HIDDEN)
    text = _USER_INFO.sub(rf"\1{HIDDEN}@", text)
    text = _SECRET_FIELD.sub(rf"\1{HIDDEN}", text)
    text = _BEARER.sub(rf"\1{HIDDEN}", text)
    text = _SHAPED.sub(HIDDEN, text)
    return _WEBHOOK.sub(rf"\1{HIDDEN}", text)


@lru_cache(4096)  # every text is held against every variable of the environment
def is_secret(key: str) -> bool:
    """Does a key of that name hold a secret: `api_key`, `dbPassword`, `auth-token`; not `max_tokens`."""
    return _SECRET_KEY.search(_CAMEL.sub("_", key)) is not None


def _of_environment() -> list[str]:
    """What the secret variables of the environment hold, the longest first."""
    present = {name: os.environ.get(name, "") for name in list(os.environ)}  # another thread may take one away
    held = {value for name, value in present.items() if len(value) >= LEAST and is_secret(name)}
    return sorted(held, key=len, reverse=True)


def _hide(value: Any) -> Any:
    return value if value is None or value == "" else HIDDEN
