"""A caching session as type checkers and editors see it; nothing here is needed at run time.

Each option is a key of a TypedDict, with its unit and default in a docstring: that is what editors complete and show.
"""

# What takes more options can stand in the place of what takes fewer. pyright sees it otherwise, since who has a
# ClientSession might hand on options that it does not know; mypy looks at overrides too, and finds none that is wrong.
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
    """What a cached session answers with, for type checkers: a miss tells the same of itself as a hit."""

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
    """Of no effect here: the session's own cache is closed with it. Default: False."""


class CacheRequestOptions(TypedDict, total=False):
    """What a request of a caching session takes beside aiohttp's own options."""

    expire_after: ExpirationTime
    """Lifetime of this response: seconds, ``"5m"``, a timedelta, a datetime or an HTTP date; -1 for ever, 0 not to
    cache. Default: None, for what the backend says."""
    refresh: bool
    """Validate with the origin before a stored response is used (RFC 9111 §4.3). Default: False."""
    only_if_cached: bool
    """Answer from the cache or with 504, without asking the origin (RFC 9111 §5.2.1.7). Default: False."""
    stale_if_error: Window
    """How long past its lifetime a stored response may stand in for an error: seconds, ``"1h"``, a timedelta, or True
    for as long as it is stored (RFC 5861 §4). Default: None, for what the backend says."""
    principal: Principal
    """Whom the request is for, in place of what its credentials say: a name, or a function of the request.
    Default: None, for what the session or the backend says."""
    tags: Tags
    """By which the response can be purged with others, beside the tags that the origin gives it: a text, or several.
    Default: none."""


if TYPE_CHECKING:
    from typing import Self, Unpack, overload

    from aiohttp.client import _BaseRequestContextManager, _RequestOptions

    class RequestOptions(_RequestOptions, CacheRequestOptions, total=False):
        """What a request of a caching session takes beside a URL."""

    Answer: TypeAlias = _BaseRequestContextManager[DescribedResponse]

    class TypedSession(ClientSession):
        """Each method twice: as aiohttp has it, so that it overrides that one, and with the options of the cache."""

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
            """Perform a POST request; it is answered from the cache where its URL is told to be a query."""
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
        """Each method once, as an editor is to show it: with the options of the cache, and what they do."""

        def request(self, method: str, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a request, or answer it from the cache; ``async with session.request(…) as response``.

            The response says where it comes from, on a miss too: ``from_cache``, ``cache_status`` (RFC 9211),
            ``created_at``, ``expires`` and ``is_expired``. Whether it may be cached, method and settings say.

            Args:
                method: the HTTP method; GET and HEAD are cached, others as ``allowed_methods`` and
                    ``post_as_query`` say.
                url: absolute, or relative to the session's ``base_url``; a text or a `yarl.URL`.
                kwargs: aiohttp's own options of a request, and those of the cache (`CacheRequestOptions`), each with
                    a docstring of its own.

            Raises:
                aiohttp.ClientError, TimeoutError: as aiohttp does, where the origin fails and no stored response may
                    stand in for it (``stale_if_error``, RFC 5861 §4); a failure of the cache is none of the caller's.
                TypeError: an option that neither aiohttp nor the cache knows.
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
            """Perform a POST request, cached if ``post_as_query`` or ``allowed_methods`` say so; see `request`."""
            ...

        def put(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a PUT request; the standard drops what is stored for its URL (RFC 9111 §4.4)."""
            ...

        def patch(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a PATCH request; it drops what is stored as PUT does (RFC 9111 §4.4)."""
            ...

        def delete(self, url: StrOrURL, **kwargs: Unpack[RequestOptions]) -> Answer:
            """Perform a DELETE request; it drops what is stored as PUT does (RFC 9111 §4.4)."""
            ...
