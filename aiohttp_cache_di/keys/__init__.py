"""Which requests are the same: keys, and the partitions that credentials open.

Two requests with one key get one response, so what must not be shared has to be in the key. This room may import
`rfc9111` and the leaves beside it, yarl, multidict, and aiohttp for the payloads of bodies; it knows no rule, no store
and no request on its way. How its parts move together:

- ``names`` says of a header field or parameter whether it tells who asks, or for what, or is a secret.
- ``credentials`` collects what says who asks; the digest of that is the *partition*.
- ``bodies`` brings a request body into one canonical form.
- ``key`` makes the key of method, URL, partition, body and the way to the origin: the same for the engine, which has
  a request, and for users, who ask about one.
- ``targets`` has what of a URL makes a difference.
- ``tls`` says what a request demands of TLS, as a part of the key, and ``certificates`` whom a TLS context presents.
- ``redaction`` takes out of URLs what may be neither stored nor shown; ``sealing`` hides what is needed nevertheless.
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
