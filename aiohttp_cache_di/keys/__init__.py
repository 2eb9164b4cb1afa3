"""Which requests are the same: keys, and the partitions that credentials open."""

from __future__ import annotations

from aiohttp_cache_di.keys.credentials import DEFAULT_CREDENTIAL_HEADERS
from aiohttp_cache_di.keys.key import REDACTED, create_key, has_param, redact_url, tls_token

__all__ = ["DEFAULT_CREDENTIAL_HEADERS", "REDACTED", "create_key", "has_param", "redact_url", "tls_token"]
