"""The state that each event loop has, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import weakref

from aiohttp_cache_di.backends.loops import LoopLocal, PerLoop
from tests.interleaving import at_each_line, in_loop_that_ends


class Opened:
    """Records when the state of a loop is opened and closed."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.per_loop = PerLoop(self._open, self._close)

    async def _open(self) -> int:
        self.log.append("opened")
        return len(self.log)

    async def _close(self, number: int) -> None:
        await asyncio.sleep(0)
        self.log.append("closed")


def test_what_is_open_is_closed_when_its_loop_ends_though_no_one_closes_it() -> None:
    opened = Opened()
    for _ in range(2):
        asyncio.run(opened.per_loop.here())
    assert opened.log == ["opened", "closed"] * 2


def test_what_is_closed_is_not_closed_again_when_its_loop_ends() -> None:
    opened = Opened()

    async def use() -> None:
        await opened.per_loop.here()
        await opened.per_loop.close()
        await opened.per_loop.close()
        await opened.per_loop.here()

    asyncio.run(use())
    assert opened.log == ["opened", "closed"] * 2


def test_loops_of_other_threads_may_begin_and_end_at_any_step() -> None:
    opened, ended = Opened(), list[asyncio.AbstractEventLoop]()

    async def use() -> None:
        with at_each_line(lambda: ended.append(in_loop_that_ends(opened.per_loop.here))):
            await opened.per_loop.here()

    asyncio.run(use())
    assert len(ended) > 10
    assert opened.log.count("closed") == 1


class Value:
    """A value that can be seen to be freed."""


def test_the_value_of_the_latest_loop_is_freed_with_the_loop() -> None:
    values = LoopLocal(Value)

    async def use() -> weakref.ref[Value]:
        assert values.here() is values.here()
        return weakref.ref(values.here())

    value = asyncio.run(use())
    gc.collect()  # a loop refers to itself
    assert value() is None


def test_a_freed_loop_leaves_the_value_of_a_later_one_alone() -> None:
    values = LoopLocal(Value)
    first = asyncio.new_event_loop()
    values.here(first)
    second = asyncio.new_event_loop()
    kept = values.here(second)
    first.close()
    del first
    gc.collect()
    assert values.here(second) is kept
    assert values.items() == [(second, kept)]
    second.close()
