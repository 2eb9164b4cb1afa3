"""Run a check in the event loop of the app, from a test in another loop or without one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["InLoop", "Verdict", "result_of"]

WITHIN_S: Final = 10.0


class Verdict(Awaitable[None]):
    """The awaitable that an assertion returns: it checks when it is awaited, or has checked already.

    Args:
        doing: the check, None if it is done.
        waiting: the assertions that have not been awaited yet.
    """

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
    """A call in the event loop of the app, which may differ from the test's; awaitable in the test's."""

    loop: asyncio.AbstractEventLoop
    doing: Callable[[], Coroutine[Any, Any, bool]]

    def __await__(self) -> Generator[Any, None, bool]:
        if self.loop is asyncio.get_running_loop():
            return (yield from self.doing().__await__())
        future = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.doing(), self.loop))
        return (yield from asyncio.wait_for(future, WITHIN_S).__await__())


def result_of(one: InLoop) -> bool:
    """Wait for the result of *one* in this thread."""
    if not one.loop.is_running():
        raise AssertionError("the app's event loop does not run any more; check while the client of the test is open")
    return bool(asyncio.run_coroutine_threadsafe(one.doing(), one.loop).result(WITHIN_S))
