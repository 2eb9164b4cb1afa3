"""A caching session as type checkers and editors see it; nothing here is needed at run time.

Each option is a key of a TypedDict, with its unit and default in a docstring: that is what editors complete and show.
"""

# These overrides take more options than the methods of ClientSession do, which is sound in practice. pyright reports
# them, since code that has a ClientSession might pass on options that that does not know; mypy accepts them.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from aiohttp import ClientResponse, ClientSession
from aiohttp.typedefs import StrOrURL

from aiohttp_cache_di._aiohttp.options import ClientOptions
from aiohttp_cache_di.backends.options.typed import CacheOptions
from aiohttp_cache_di.policy.rules.expiration import ExpirationTime
from aiohttp_cache_di.policy.rules.principals import Principal
from aiohttp_cache_di.policy.rules.tags import Tags
from aiohttp_cache_di.policy.rules.windows import Window
from aiohttp_cache_di.telemetry.reasons import CacheDecision

__all__ = ["CacheRequestOptions", "DescribedResponse", "SessionOptions"]


class DescribedResponse(ClientResponse):
    """The response of a cached session, for type checkers: a miss has the same attributes as a hit."""

    from_cache: bool
    cache_status: str
    cache_decision: CacheDecision
    created_at: datetime
    expires: datetime | None
    is_expired: bool
    body_path: Path | None


class SessionOptions(ClientOptions, CacheOptions, total=False):
    """Options of a `CachedSession`: aiohttp's, and without a ``cache=`` those of the cache in memory."""

    cache_name: str
    """Name of the cache in memory, as metrics show it. Default: "aiohttp-cache"."""
    autoclose: bool
    """No effect here: the session closes a cache that it made itself. Default: False."""


class CacheRequestOptions(TypedDict, total=False):
    """Options that a request of a caching session takes besides aiohttp's own."""

    expire_after: ExpirationTime
    """Lifetime of this response: seconds, ``"5m"``, a timedelta, a datetime or an HTTP date; -1 for ever, 0 not to
    cache. Default: None, for the backend's setting."""
    refresh: bool
    """Validate with the origin before a stored response is used (RFC 9111 §4.3). Default: False."""
    only_if_cached: bool
    """Answer from the cache or with 504, without asking the origin (RFC 9111 §5.2.1.7). Default: False."""
    stale_if_error: Window
    """How long past its lifetime a stored response may be used instead of an error: seconds, ``"1h"``, a timedelta, or
    True for as long as it is stored (RFC 5861 §4). Default: None, for the backend's setting."""
    principal: Principal
    """The user that the request is for, instead of the one that its credentials identify: a name, or a function of the
    request. Default: None, for that of the session or the backend."""
    tags: Tags
    """Tags by which the response can be purged together with others, besides the tags that the origin gives it: a
    string, or several. Default: none."""


if TYPE_CHECKING:
    from typing import Self, Unpack, overload

    from aiohttp.client import _BaseRequestContextManager, _RequestOptions

    class RequestOptions(_RequestOptions, CacheRequestOptions, total=False):
        """Options of a request of a caching session: aiohttp's and those of the cache."""

    Answer: TypeAlias = _BaseRequestContextManager[DescribedResponse]

    class TypedSession(ClientSession):
        """Each method has two signatures: aiohttp's, to be a valid override, and one with the cache's options."""

        async def __aenter__(self) -> Self: ...

        @overload
        def request(self, method: str, url: StrOrURL, **kwargs: Unpack[_RequestOptions]) -> Answer: ...
        @overload
        def request(self, method: str, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer: ...
        def request(self, method: str, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a request, or answer it from the cache."""
            ...

        @overload
        def get(self, url: StrOrURL, **kwargs: Unpack[_RequestOptions]) -> Answer: ...
        @overload
        def get(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer: ...
        def get(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a GET request, or answer it from the cache."""
            ...

        @overload
        def options(self, url: StrOrURL, **kwargs: Unpack[_RequestOptions]) -> Answer: ...
        @overload
        def options(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer: ...
        def options(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform an OPTIONS request."""
            ...

        @overload
        def head(self, url: StrOrURL, **kwargs: Unpack[_RequestOptions]) -> Answer: ...
        @overload
        def head(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer: ...
        def head(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a HEAD request, or answer it from the cache."""
            ...

        @overload
        def post(self, url: StrOrURL, **kwargs: Unpack[_RequestOptions]) -> Answer: ...
        @overload
        def post(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer: ...
        def post(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a POST request; ``post_as_query`` and ``allowed_methods`` decide whether it is cached."""
            ...

        @overload
        def put(self, url: StrOrURL, **kwargs: Unpack[_RequestOptions]) -> Answer: ...
        @overload
        def put(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer: ...
        def put(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a PUT request."""
            ...

        @overload
        def patch(self, url: StrOrURL, **kwargs: Unpack[_RequestOptions]) -> Answer: ...
        @overload
        def patch(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer: ...
        def patch(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a PATCH request."""
            ...

        @overload
        def delete(self, url: StrOrURL, **kwargs: Unpack[_RequestOptions]) -> Answer: ...
        @overload
        def delete(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer: ...
        def delete(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a DELETE request."""
            ...

    class DocumentedSession(TypedSession):
        """Each method once, as editors show it: with the options of the cache, and documentation."""

        def request(self, method: str, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a request, or answer it from the cache; ``async with session.request(…) as response``.

            The response tells where it comes from, on a miss too: ``from_cache``, ``cache_status`` (RFC 9211),
            ``created_at``, ``expires`` and ``is_expired``. The method and the settings decide whether it may be cached.

            Args:
                method: the HTTP method; GET and HEAD are cached, others if ``allowed_methods`` or ``post_as_query``
                    allow it.
                url: absolute, or relative to the session's ``base_url``; a string or a `yarl.URL`.
                kwargs: aiohttp's options of a request, and those of the cache (`CacheRequestOptions`), each with
                    a docstring of its own.

            Raises:
                aiohttp.ClientError, TimeoutError: as aiohttp does, if the origin fails and no stored response may be
                    used instead (``stale_if_error``, RFC 5861 §4); failures of the cache are not raised.
                TypeError: an option is known neither to aiohttp nor to the cache.
            """
            ...

        def get(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a GET request, or answer it from the cache (RFC 9111 §4); see `request`."""
            ...

        def options(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform an OPTIONS request, which the origin answers (RFC 9110 §9.3.7); see `request`."""
            ...

        def head(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a HEAD request, or answer it from the cache (RFC 9111 §4.3.5); see `request`."""
            ...

        def post(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a POST request, cached if ``post_as_query`` or ``allowed_methods`` allow it; see `request`."""
            ...

        def put(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a PUT request; by the standard, it invalidates stored responses for its URL (RFC 9111 §4.4)."""
            ...

        def patch(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a PATCH request; it invalidates stored responses as PUT does (RFC 9111 §4.4)."""
            ...

        def delete(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a DELETE request; it invalidates stored responses as PUT does (RFC 9111 §4.4)."""
            ...
