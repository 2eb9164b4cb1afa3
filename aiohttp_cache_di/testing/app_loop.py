"""What a test asks of an app in the app's own event loop, from the test's loop or from a test without one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["InLoop", "Verdict", "is_asynchronous", "result_of"]

WITHIN_S: Final = 10.0


class Verdict(Awaitable[None]):
    """What an assertion comes to: done already, or when it is awaited."""

    def __init__(self, doing: Callable[[], Awaitable[None]] | None, waiting: set[Verdict]) -> None:
        self._doing = doing
        self._waiting = waiting
        if doing is not None:
            waiting.add(self)

    def __await__(self) -> Generator[Any, None, None]:
        self._waiting.discard(self)
        doing, self._doing = self._doing, None
        if doing is not None:
            yield from doing().__await__()


@dataclass(frozen=True, slots=True)
class InLoop:
    """A call in the event loop of the app, which may be another one than the test's."""

    loop: asyncio.AbstractEventLoop
    doing: Callable[[], Coroutine[Any, Any, bool]]

    def __await__(self) -> Generator[Any, None, bool]:
        if self.loop is asyncio.get_running_loop():
            return (yield from self.doing().__await__())
        future = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.doing(), self.loop))
        return (yield from asyncio.wait_for(future, WITHIN_S).__await__())


def is_asynchronous() -> bool:
    """Whether a loop runs here, so that nothing may be waited for without ``await``."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def result_of(one: InLoop) -> bool:
    """What *one* comes to, waited for in this thread."""
    if not one.loop.is_running():
        raise AssertionError("the app's loop does not run any more: ask while its client is open")
    return bool(asyncio.run_coroutine_threadsafe(one.doing(), one.loop).result(WITHIN_S))
