"""Methods ``_request`` of other base classes: which of them only pass requests on."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession

from aiohttp_cache_di import CacheMixin
from aiohttp_cache_di.engine.bases.bytecode import steps_of
from aiohttp_cache_di.engine.bases.overrides import hands_on
from tests.origin import Origin, answer


class Base:
    """A base whose next base is `aiohttp.ClientSession`."""

    def tell(self, **named: Any) -> None:
        """Take *named*, and do with it what the code of ``_request`` does not show."""


class Selective(Base):
    """A base that sends some requests without their other arguments."""

    async def _request(self, method: str, url: Any, **kwargs: Any) -> Any:
        base: Any = super()
        if method == "HEAD":
            return await base._request(method, url, allow_redirects=False)
        return await base._request(method, url, **kwargs)


class Telling(Base):
    """A base that has an argument of the request by name, so that it may set it elsewhere."""

    async def _request(self, method: str, url: Any, **kwargs: Any) -> Any:
        base: Any = super()
        self.tell(headers=None)
        return await base._request(method, url, **kwargs)


class Weighing(Base):
    """A base that has an argument of its own by name."""

    async def _request(self, method: str, url: Any, **kwargs: Any) -> Any:
        base: Any = super()
        self.tell(weight=None)
        return await base._request(method, url, **kwargs)


def test_the_names_of_keyword_arguments_are_seen() -> None:
    steps = steps_of(Telling._request.__code__)
    assert ("headers",) in [step.argument for step in steps]


@pytest.mark.parametrize(("base", "hands"), [(Selective, False), (Telling, False), (Weighing, True)])
async def test_what_a_base_names_decides_whether_a_hit_skips_it(base: type[Any], hands: bool, origin: Origin) -> None:
    class Session(CacheMixin, base, ClientSession):  # type: ignore[misc]  # a variable as a base
        pass

    assert hands_on(base._request) is hands
    url = origin.on("/", answer("a"))
    session: Any = Session()
    async with session:
        for is_hit in (False, True, True):
            async with session.get(url) as response:
                assert (await response.text(), response.from_cache) == ("a", is_hit)
