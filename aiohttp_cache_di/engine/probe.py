"""Which key a session's request comes to: it is made as the session makes it, and ends where the cache is asked."""

from __future__ import annotations

from typing import NoReturn

from aiohttp import ClientHandlerType, ClientRequest

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.call import Call
from aiohttp_cache_di.engine.question import Questions, key_arguments, request_body

__all__ = ["Asked", "Probe"]


class Asked(BaseException):
    """Ends a request that was only made for its *key*; no failure, so that nothing takes it for one."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class Probe:
    """Stands in the place of the cache, innermost among the middlewares of a session."""

    def __init__(self, backend: CacheBackend, questions: Questions, call: Call) -> None:
        self._backend = backend
        self._questions = questions
        self._call = call

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> NoReturn:
        """Tell the key of *request*."""
        body = await request_body(request)
        if body is None:
            raise TypeError("what has a body that cannot be read twice is not kept: give the body as bytes")
        arguments = key_arguments(request, body, self._call, self._backend)
        raise Asked(self._questions.key_of(request, arguments, str(request.url))[0])
