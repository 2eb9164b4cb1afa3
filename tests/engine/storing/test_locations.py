from __future__ import annotations

from typing import Any

import pytest
from multidict import CIMultiDict

from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.engine.storing.locations import next_key
from aiohttp_cache_di.rfc9111.messages import Request


class TestAfterRedirect:
    def key(self, status: int, location: str, method: str = "GET", **headers: str) -> str | None:
        """The key of the request that follows a redirect."""
        fields = CIMultiDict(headers)
        request = Request(method, "http://example.org/a/b?c=d", fields)
        arguments: dict[str, Any] = {"headers": fields, "data": b"data" if method == "POST" else None}
        return next_key(request, status, CIMultiDict(Location=location), arguments, CacheBackend())

    @pytest.mark.parametrize(
        ("location", "target"),
        [
            ("/e", "http://example.org/e"),
            ("e", "http://example.org/a/e"),
            ("?f", "http://example.org/a/b?f"),
            ("http://example.com/", "http://example.com/"),
            ("/e#part", "http://example.org/e"),
        ],
    )
    def test_the_location_is_resolved(self, location: str, target: str) -> None:
        assert self.key(302, location) == CacheBackend().create_key("GET", target)

    @pytest.mark.parametrize("location", ["http://[::1", "http://:80/"])
    def test_a_location_that_is_none_has_no_key(self, location: str) -> None:
        assert self.key(302, location) is None

    @pytest.mark.parametrize(
        ("status", "method", "following"),
        [
            (303, "POST", "GET"),
            (302, "POST", "GET"),
            (301, "POST", "GET"),
            (307, "POST", "POST"),
            (303, "HEAD", "HEAD"),
        ],
    )
    def test_the_method_may_change(self, status: int, method: str, following: str) -> None:
        data = b"data" if following == "POST" else None
        assert self.key(status, "/e", method) == CacheBackend().create_key(
            following, "http://example.org/e", data=data, headers={}
        )

    def test_credentials_stay_with_their_origin(self) -> None:
        backend = CacheBackend()
        assert self.key(302, "http://example.com/", Authorization="a") == backend.create_key(
            "GET", "http://example.com/"
        )
        assert self.key(302, "/e", Authorization="a") != backend.create_key("GET", "http://example.org/e")
