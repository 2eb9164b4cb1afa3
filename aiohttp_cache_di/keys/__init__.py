"""Which requests are the same: keys, and the partitions that credentials open."""

from __future__ import annotations

from aiohttp_cache_di.keys.key import create_key, is_own_host, spellings, tls_token
from aiohttp_cache_di.keys.names import (
    DEFAULT_CREDENTIAL_HEADERS,
    CredentialNames,
    credential_names,
    lower_names,
    says_which_resource,
)
from aiohttp_cache_di.keys.redaction import REDACTED, has_param, redact_url, redacted

__all__ = [
    "DEFAULT_CREDENTIAL_HEADERS",
    "REDACTED",
    "CredentialNames",
    "create_key",
    "credential_names",
    "has_param",
    "is_own_host",
    "lower_names",
    "redact_url",
    "redacted",
    "says_which_resource",
    "spellings",
    "tls_token",
]
