"""Cache keys: which requests get the same stored response, and which must not.

Requests with the same key get the same response, so everything that may not be shared is part of the key. This room may
import `rfc9111` and the leaves beside it, yarl, multidict, and aiohttp for the payloads of bodies; it knows neither
rules nor stores nor the engine. Its parts:

- ``names`` judges header fields and parameters by their names: which identify the user, which are secrets.
- ``credentials`` collects everything that identifies the user; its digest is the *partition*.
- ``bodies`` brings a request body into a canonical form.
- ``key`` makes the key from method, URL, partition, body and the way to the origin: the same key for the engine, which
  has a request, and for users, who have its arguments.
- ``targets`` has the part of the key that comes from the URL.
- ``tls`` has the part that comes from the TLS options, and ``certificates`` finds the client certificate of a context.
- ``redaction`` removes secrets from URLs that are stored or shown; ``sealing`` encrypts those that are needed later.
"""

from __future__ import annotations

from aiohttp_cache_di.keys.certificates import client_certificate
from aiohttp_cache_di.keys.key import create_key, plain_key
from aiohttp_cache_di.keys.names import (
    DEFAULT_CREDENTIAL_HEADERS,
    CredentialNames,
    credential_names,
    is_secret_param,
    lower_names,
    says_which_resource,
)
from aiohttp_cache_di.keys.redaction import (
    REDACTED,
    has_param,
    is_redacted,
    is_sealed,
    redact_url,
    redacted,
    unsealed,
)
from aiohttp_cache_di.keys.targets import host_of, is_own_host, spellings, target_of
from aiohttp_cache_di.keys.tls import is_verifying, tls_token, without_client

__all__ = [
    "DEFAULT_CREDENTIAL_HEADERS",
    "REDACTED",
    "CredentialNames",
    "client_certificate",
    "create_key",
    "credential_names",
    "has_param",
    "host_of",
    "is_own_host",
    "is_redacted",
    "is_sealed",
    "is_secret_param",
    "is_verifying",
    "lower_names",
    "plain_key",
    "redact_url",
    "redacted",
    "says_which_resource",
    "spellings",
    "target_of",
    "tls_token",
    "unsealed",
    "without_client",
]
